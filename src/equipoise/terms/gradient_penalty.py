"""Penalties on the gradient of the discriminator's score with respect to its input, one value per sample.

Each sums over pixels (hence gamma depends on resolution) and never averages over the batch inside the gradient. The
gradient is taken at the image before augmentation. All of them need a discriminator that is twice differentiable and
judges each sample by itself.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from equipoise.errors import InputError
from equipoise.registry import register
from equipoise.turn import input_gradient


def squared_norm(gradient: Tensor) -> Tensor:
    """The squared Euclidean norm over everything but the batch: `[N, ...] -> [N]`."""
    return gradient.square().flatten(1).sum(1)


class _Penalty(nn.Module):
    """A penalty with one strength, a 0-d buffer, and an interval."""

    role = "D"
    differentiates = True

    def __init__(self, name: str, strength: float, every: int) -> None:
        super().__init__()
        if not strength >= 0 or every < 1:
            raise InputError(
                f"{name}={strength}, every={every}: {name} must be 0 or more and every a whole number from 1"
            )
        self.register_buffer(name, torch.tensor(float(strength)))
        self.every = int(every)


@register(
    "term",
    "r1",
    paper="arXiv:1801.04406",
    claim="damps rotation and holds back a discriminator that wins",
    treats="OSC DO EG",
    cost="a double backward over the reals",
)
class R1(_Penalty):
    """R1 (Mescheder et al. 2018, arXiv:1801.04406): gamma/2 |grad D(x)|^2 on real images.

    The half belongs to this convention: implementations without it mean twice the gamma. With `every=k` it joins each
    k-th move weighted by k (lazily, Karras et al. 2020, arXiv:1912.04958; here within the same optimiser step, so that
    Adam's settings stay as they are).
    """

    dials = ("gamma",)
    gamma: Tensor

    def __init__(
        self,
        gamma: float = 1.0,  # log scale: 0.01 (32x32) to 100 (256x256)
        every: int = 1,  # moves of the discriminator
    ) -> None:
        super().__init__("gamma", gamma, every)

    def forward(self, real_gradient: Tensor) -> Tensor:
        return self.gamma / 2 * squared_norm(real_gradient)


@register(
    "term",
    "r2",
    paper="arXiv:1801.04406",
    claim="R1 on generated images; rpgan with both converges (arXiv:2501.05441)",
    treats="OSC DO DF EG",
    cost="a double backward over the fakes",
)
class R2(_Penalty):
    """R2 (Mescheder et al. 2018, arXiv:1801.04406): gamma/2 |grad D(x)|^2 on generated images, not reaching G."""

    dials = ("gamma",)
    gamma: Tensor

    def __init__(
        self,
        gamma: float = 1.0,  # log scale, usually as for r1
        every: int = 1,  # moves of the discriminator
    ) -> None:
        super().__init__("gamma", gamma, every)

    def forward(self, fake_gradient: Tensor) -> Tensor:
        return self.gamma / 2 * squared_norm(fake_gradient)


@register(
    "term",
    "wgan-gp",
    paper="arXiv:1704.00028",
    claim="holds the discriminator near slope 1 between real and fake",
    treats="EG VG",
    cost="a forward and a double backward",
)
class WGANGP(_Penalty):
    """WGAN-GP (Gulrajani et al. 2017, arXiv:1704.00028): weight (|grad D(x)| - 1)^2 on the line from real to fake.

    One mixing share per sample, uniform on [0, 1]. `EPSILON` keeps the root differentiable where the gradient is zero.
    """

    dials = ("weight",)
    weight: Tensor
    EPSILON = 1e-12

    def __init__(
        self,
        weight: float = 10.0,  # 1 to 100
        every: int = 1,  # moves of the discriminator
    ) -> None:
        super().__init__("weight", weight, every)

    def forward(self, real: Tensor, fake: Tensor, judge: Callable[[Tensor], Tensor]) -> Tensor:
        share = torch.rand([len(real)] + [1] * (real.dim() - 1), dtype=real.dtype, device=real.device)
        between = torch.lerp(fake.detach(), real.detach(), share).requires_grad_(True)
        norm = (squared_norm(*input_gradient(judge(between), between)) + self.EPSILON).sqrt()
        return self.weight * (norm - 1).square()
