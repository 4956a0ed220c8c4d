"""Consistency: the discriminator shall say the same of an image and of a slightly moved copy.

CR (Zhang et al. 2020, https://arxiv.org/abs/1910.12027) asks it on real images, bCR (Zhao et al. 2021,
https://arxiv.org/abs/2002.04724) on generated ones too. Unlike with an augmentation, nobody is told that the moved copy
is real or fake; it is still seen, so that a strong change would leak into the generator by bCR.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from equipoise.errors import InputError
from equipoise.registry import register
from equipoise.terms import Regulariser


def moved(images: Tensor, shift: float, flip: bool) -> Tensor:
    """Each image by a draw of its own moved whole pixels along every axis, up to `shift` of the side, reflected at the
    border, and with `flip` mirrored left to right half of the time. `[N, C, ...]`, detached from whatever made it."""
    images = images.detach()
    for axis in range(2, images.dim()):
        size = images.shape[axis]
        reach = min(round(shift * size), size - 1)
        offset = torch.randint(-reach, reach + 1, (len(images), 1), device=images.device)
        place = torch.arange(size, device=images.device) + offset  # [N, size]
        place = size - 1 - (size - 1 - place.abs()).abs()  # reflected: -1 is 1, size is size - 2
        if flip and axis == images.dim() - 1:
            mirrored = torch.rand(len(images), 1, device=images.device) < 0.5
            place = torch.where(mirrored, size - 1 - place, place)
        index = place.reshape(len(images), *(size if a == axis else 1 for a in range(1, images.dim())))
        images = torch.take_along_dim(images, index, axis)
    return images


class _Consistency(Regulariser):
    """What both have: labels stay, as no move changes them; scores are compared, as patches move with the image."""

    dials = ("weight",)
    weight: Tensor

    def __init__(self, weight: float, shift: float, flip: bool, every: int) -> None:
        super().__init__("weight", weight, every)
        if not 0 <= shift < 1:
            raise InputError(f"shift={shift} is no share of an image's side; give 0 to below 1, such as 0.125")
        self.shift, self.flip = shift, flip

    def _change(self, images: Tensor, score: Tensor, judge: Callable[[Tensor], Tensor]) -> Tensor:
        if images.dim() < 3:
            raise InputError(
                f"consistency compares an image with a moved copy, and a vector of {images.shape[1]} numbers cannot be "
                "moved; drop cr and bcr"
            )
        return (score - judge(moved(images, self.shift, self.flip))).square()


@register(
    "term",
    "cr",
    paper="arXiv:1910.12027",
    formula="weight (D(x) - D(T(x)))^2 at reals",
    claim="keeps the discriminator from learning real images by heart, without showing it changed ones as real",
    treats="DF",
    cost="a forward and backward of the discriminator over the reals",
)
class CR(_Consistency):
    """CR (Zhang et al. 2020): weight (D(x) - D(T(x)))^2 on real images, gradients through both."""

    def __init__(
        self,
        weight: float = 10.0,  # 0 to 20
        shift: float = 0.125,  # share of the side that T moves images by at most
        flip: bool = False,  # whether T also mirrors: only where mirrored images could be data
        every: int = 1,  # moves of the discriminator
    ) -> None:
        super().__init__(weight, shift, flip, every)

    def forward(self, real: Tensor, real_score: Tensor, judge: Callable[[Tensor], Tensor]) -> Tensor:
        return self.weight * self._change(real, real_score, judge)


@register(
    "term",
    "bcr",
    paper="arXiv:2002.04724",
    formula="weight (D(x) - D(T(x)))^2 at reals and fakes",
    claim="consistency on real and generated images alike",
    treats="DF DO",
    cautions={
        "augmentation": "bcr shows the generator what its changes look like, and strong ones leak; keep shift small"
    },
    cost="two forwards and backwards of the discriminator",
)
class BCR(_Consistency):
    """bCR (Zhao et al. 2021): weight ((D(x) - D(T(x)))^2 + (D(G(z)) - D(T(G(z))))^2), not reaching G.

    One weight for both, as published (10 and 10).
    """

    def __init__(
        self,
        weight: float = 10.0,  # 0 to 20
        shift: float = 0.125,  # share of the side that T moves images by at most; 1/32 for large images
        flip: bool = False,  # whether T also mirrors: only where mirrored images could be data
        every: int = 1,  # moves of the discriminator
    ) -> None:
        super().__init__(weight, shift, flip, every)

    def forward(
        self,
        real: Tensor,
        fake: Tensor,
        real_score: Tensor,
        fake_score: Tensor,
        judge: Callable[[Tensor], Tensor],
    ) -> Tensor:
        return self.weight * (self._change(real, real_score, judge) + self._change(fake, fake_score, judge))
