"""Instance noise (Sonderby et al. 2017, https://arxiv.org/abs/1610.04490): blur both distributions until they overlap.

Arjovsky & Bottou 2017 (https://arxiv.org/abs/1701.04862) say why: real and generated images lie on thin sets that a
discriminator separates without leaving the generator a gradient; with noise on both there is one everywhere.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from equipoise.errors import InputError
from equipoise.registry import register


@register(
    "augmentation",
    "instance-noise",
    paper="arXiv:1610.04490",
    formula="x + std n, n ~ N(0, 1), for reals and fakes",
    claim="calms rotation and keeps the generator's gradient alive while real and generated images do not overlap",
    treats="VG OSC",
    cost="none",
)
class InstanceNoise(nn.Module):
    """Add std * N(0, 1), drawn for each value by itself, to real and generated images alike; data of any shape.

    The noise does not leak: the generator is compared under the same blur. It is meant to fade, but not before the two
    overlap: `schedules.instance-noise.std=linear`.
    """

    dials = ("std",)
    std: Tensor

    def __init__(
        self,
        std: float = 0.1,  # in units of the images' values, whose range is 2
    ) -> None:
        super().__init__()
        if not std >= 0:
            raise InputError(f"std={std} is no width of noise; give 0 or more, in units of the images' values")
        self.register_buffer("std", torch.tensor(float(std)))

    def forward(self, images: Tensor, labels: Tensor | None, is_real: bool) -> tuple[Tensor, Tensor | None]:
        return images + self.std * torch.randn_like(images), labels
