"""What several processes must agree on: means over all ranks, and one flat sum of gradients per optimiser step.

Networks stay bare. With a single process every function here is the identity and starts no communication.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def world_size() -> int:
    """Number of processes training together; 1 without torch.distributed."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """This process's number, 0 to world_size() - 1."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def average_(flat: Tensor) -> Tensor:
    """Replace `flat` by its mean over all ranks, in place and in one communication."""
    if world_size() > 1:
        dist.all_reduce(flat)
        flat /= world_size()
    return flat


def mean(value: Tensor) -> Tensor:
    """The mean of a small statistic over all ranks, through which gradients flow."""
    if world_size() == 1:
        return value
    over_all: Tensor = _Mean.apply(value)  # type: ignore[no-untyped-call]  # torch leaves it so
    return over_all


def means(
    told: Mapping[str, float],
    names: Sequence[str],  # that any rank may tell, the same in the same order on all
    device: torch.device,
) -> dict[str, float]:
    """Numbers by name, each the mean over those ranks that tell it: what one cannot tell must not part them."""
    if world_size() == 1:
        return dict(told)
    rows = torch.tensor([[told.get(name, 0.0), float(name in told)] for name in names], device=device)  # [names, 2]
    sums = zip(names, average_(rows).tolist(), strict=True)
    return {name: total / share for name, (total, share) in sums if share}


class _Mean(torch.autograd.Function):
    """A rank's statistic is in every rank's loss, and all ranks' gradients are averaged at last (`average_`): so what
    comes back here is averaged likewise, and each rank passes on its share of the gradient of the mean loss."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        return average_(value.clone(memory_format=torch.contiguous_format))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return mean(gradient)


def broadcast_(tensors: list[Tensor]) -> None:
    """Give every rank the values of rank 0: called once, before the first step."""
    if world_size() > 1:
        with torch.no_grad():
            for tensor in tensors:
                dist.broadcast(tensor, src=0)
