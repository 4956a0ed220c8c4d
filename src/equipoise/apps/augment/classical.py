"""Classical augmentation of labelled images: a small turn, a shift, and a flip where flips are safe."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from equipoise.augmentations._geometry import draw_blit, turning, warp
from equipoise.augmentations._images import per_image, uniform

ANGLE = math.radians(10)  # the most an image is turned, either way; a 6 stays a 6


def unchanged(images: Tensor, generator: torch.Generator) -> Tensor:
    """The batch as it is."""
    return images


def moved(images: Tensor, generator: torch.Generator) -> Tensor:
    """Each image shifted by up to an eighth of a side and turned by up to ten degrees; outside lies its reflection."""
    return _change(images, ("shift",))


def moved_or_flipped(images: Tensor, generator: torch.Generator) -> Tensor:
    """The same, and half of the images mirrored."""
    return _change(images, ("flip", "shift"))


def _change(images: Tensor, which: tuple[str, ...]) -> Tensor:
    """Draws come from torch's own random numbers, which `fit_classifier` seeds and puts back."""
    like = per_image(images)
    angle = uniform(like, -ANGLE, ANGLE)
    blit = draw_blit(like, (images.shape[2], images.shape[3]), {name: torch.ones_like(like[0]) for name in which})
    return warp(images, blit, turning(angle.cos(), angle.sin()))
