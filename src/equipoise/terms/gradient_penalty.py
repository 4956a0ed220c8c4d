"""Penalties on the gradient of the discriminator's score with respect to its input, one value per sample.

Each sums over pixels (hence gamma depends on resolution) and never averages over the batch inside the gradient. The
gradient is taken at the image before augmentation. All of them need a discriminator that is twice differentiable and
judges each sample by itself.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from equipoise import distributed
from equipoise.errors import InputError
from equipoise.registry import register
from equipoise.terms import Regulariser
from equipoise.turn import input_gradient


def squared_norm(gradient: Tensor) -> Tensor:
    """The squared Euclidean norm over everything but the batch: `[N, ...] -> [N]`."""
    return gradient.square().flatten(1).sum(1)


EPSILON = 1e-12  # keeps the root differentiable where the gradient is zero


def between(real: Tensor, fake: Tensor) -> Tensor:
    """Points on the lines from fakes to reals, one uniform share per pair, as leaves that track a gradient."""
    share = torch.rand([len(real)] + [1] * (real.dim() - 1), dtype=real.dtype, device=real.device)
    return torch.lerp(fake.detach(), real.detach(), share).requires_grad_(True)


def one_centred(judge: Callable[[Tensor], Tensor], points: Tensor) -> Tensor:
    """(|grad D(x)| - 1)^2 at each of the points, `[N]`."""
    return ((squared_norm(*input_gradient(judge(points), points)) + EPSILON).sqrt() - 1).square()


class _Penalty(Regulariser):
    differentiates = True


@register(
    "term",
    "r1",
    paper="arXiv:1801.04406",
    formula="gamma / 2 |grad D(x)|^2 at reals",
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
    formula="gamma / 2 |grad D(x)|^2 at fakes",
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
    formula="weight (|grad D(x)| - 1)^2 between reals and fakes",
    claim="holds the discriminator near slope 1 between real and fake",
    treats="EG VG",
    cost="a forward and a double backward",
    cautions={
        "norm_D=spectral": "both bound the slope of D, and together they may hold it back too far; lower the weight"
    },
)
class WGANGP(_Penalty):
    """WGAN-GP (Gulrajani et al. 2017, arXiv:1704.00028): weight (|grad D(x)| - 1)^2 on the line from real to fake.

    One mixing share per sample, uniform on [0, 1].
    """

    dials = ("weight",)
    weight: Tensor

    def __init__(
        self,
        weight: float = 10.0,  # 1 to 100
        every: int = 1,  # moves of the discriminator
    ) -> None:
        super().__init__("weight", weight, every)

    def forward(self, real: Tensor, fake: Tensor, judge: Callable[[Tensor], Tensor]) -> Tensor:
        return self.weight * one_centred(judge, between(real, fake))


@register(
    "term",
    "0-gp",
    paper="arXiv:1902.03984",
    formula="weight |grad D(x)|^2 between reals and fakes",
    claim="makes the discriminator vary slowly between real and fake, so that it remembers less",
    treats="DF OSC GC",
    cost="a forward and a double backward",
)
class ZeroGP(_Penalty):
    """0-GP (Thanh-Tung et al. 2019, arXiv:1902.03984): weight |grad D(x)|^2 on the line from real to fake.

    No half and no root: a weight of gamma / 2 is as strong as R1 and R2 with gamma. Mixing as in `WGANGP`.
    """

    dials = ("weight",)
    weight: Tensor

    def __init__(
        self,
        weight: float = 10.0,  # 1 to 100
        every: int = 1,  # moves of the discriminator
    ) -> None:
        super().__init__("weight", weight, every)

    def forward(self, real: Tensor, fake: Tensor, judge: Callable[[Tensor], Tensor]) -> Tensor:
        points = between(real, fake)
        return self.weight * squared_norm(*input_gradient(judge(points), points))


@register(
    "term",
    "dragan",
    paper="arXiv:1705.07215",
    formula="weight (|grad D(x)| - 1)^2 around reals",
    claim="forbids a steep discriminator close to single training images, the mark of a collapse",
    treats="GC EG",
    cost="a forward and a double backward",
)
class DRAGAN(_Penalty):
    """DRAGAN (Kodali et al. 2017, arXiv:1705.07215): weight (|grad D(x)| - 1)^2 around the real images.

    Variants differ in the noise: Gaussian in the paper, `spread * std * U(0, 1)` times another uniform share in its
    code, `spread * std * U(-1, 1)` in compare_gan, which then clips to the range of images. This is the last without
    the clipping: noise to both sides keeps an image's brightness, which the code's raises, and vectors have no range.
    `std` is one number, over all values of the batch on all ranks.
    """

    dials = ("weight",)
    weight: Tensor
    couples_samples = True

    def __init__(
        self,
        weight: float = 10.0,  # 1 to 100
        spread: float = 0.5,  # half the width of the noise, in standard deviations of the data
        every: int = 1,  # moves of the discriminator
    ) -> None:
        super().__init__("weight", weight, every)
        if not spread >= 0:
            raise InputError(f"spread={spread} is no width of noise; give 0 or more standard deviations")
        self.spread = spread

    def forward(self, real: Tensor, judge: Callable[[Tensor], Tensor]) -> Tensor:
        real = real.detach()
        mean, square = distributed.mean(torch.stack([real.mean(), real.square().mean()])).unbind()
        std = (square - mean.square()).clamp(min=0).sqrt()
        points = (real + self.spread * std * (2 * torch.rand_like(real) - 1)).requires_grad_(True)
        return self.weight * one_centred(judge, points)
