"""Layers that let a discriminator see a sample's batch, against a generator that repeats itself."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

KERNELS = 16  # nearnesses that minibatch discrimination appends


class MinibatchStd(nn.Module):
    """Append the spread within groups of the batch as a channel (Karras et al. 2018, arXiv:1710.10196).

    Features [N, C, ...] to [N, C + 1, ...]. A group takes every (N / group)-th sample; where N does not divide by
    `group`, the largest divisor below it serves. The logit of one sample then depends on the others.
    """

    couples_samples = True

    def __init__(self, group: int = 4) -> None:  # samples
        super().__init__()
        self.group = group

    def forward(self, x: Tensor) -> Tensor:
        size = next(g for g in range(min(self.group, len(x)), 0, -1) if len(x) % g == 0)
        groups = x.reshape(size, -1, *x.shape[1:])  # [size, N / size, C, ...]
        variance = (groups - groups.mean(0)).square().mean(0)
        spread = (variance + 1e-8).sqrt().flatten(1).mean(1)  # [N / size]
        channel = spread.repeat(size).reshape(-1, *(1,) * (x.ndim - 1)).expand(-1, 1, *x.shape[2:])
        return torch.cat([x, channel], dim=1)


class MinibatchDiscrimination(nn.Module):
    """Append how near the other samples of the batch are (Salimans et al. 2016, arXiv:1606.03498).

    Features [N, C, ...] to [N, C + kernels, ...]. With M_i = T x_i, of `dims` numbers for each kernel b, the nearness
    is o_b(x_i) = sum over j != i of exp(-|M_ib - M_jb|_1), from 0 to N - 1 (`near`). What is appended, the same at all
    places, is o_b / (N - 1): the published code takes T's scale and an offset from a first batch instead, and without
    either a sum of dozens would be D's first logit. T starts at std 1 / sqrt(features). The others are those of this
    process.
    """

    couples_samples = True

    def __init__(
        self,
        features: int,  # of a sample, places included
        kernels: int = KERNELS,  # nearnesses per sample; the paper has 50 to 100
        dims: int = 5,  # numbers that each is measured by
    ) -> None:
        super().__init__()
        self.kernels, self.std = kernels, features**-0.5
        self.weight = nn.Parameter(torch.empty(kernels * dims, features))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.normal_(self.weight, std=self.std)

    def forward(self, x: Tensor) -> Tensor:
        near = self.near(x).to(x.dtype) / max(len(x) - 1, 1)
        near = near.reshape(len(x), -1, *(1,) * (x.ndim - 2))
        return torch.cat([x, near.expand(-1, -1, *x.shape[2:])], dim=1)

    def near(self, x: Tensor) -> Tensor:
        """Features [N, C, ...] to nearnesses [N, kernels]."""
        points = F.linear(x.flatten(1), self.weight).unflatten(1, (self.kernels, -1))  # [N, kernels, dims]
        points = points.float() if points.dtype in (torch.float16, torch.bfloat16) else points
        distances = (points[:, None] - points[None]).abs().sum(3)  # [N, N, kernels]
        return torch.exp(-distances).sum(1) - 1  # a sample is at no distance from itself
