"""ADA's seven geometric transforms (Karras et al. 2020, arXiv:2006.06676, appendix B), as one matrix for each image.

Matrices act on (x, y, 1) in pixels, x to the right and y down, from the image's centre. They are inverses: they lead
from where a pixel is shown to where it comes from, so that the first transform's stands leftmost in the product.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from equipoise.augmentations._images import among, beside, lognormal, maybe, take, uniform
from equipoise.augmentations._matrices import identity, is_identity, matrix, product
from equipoise.augmentations._resample import resample, sources

Chances = Mapping[str, Tensor]  # by transform: its probability, 0-d; transforms that are not in it never happen


def scaling(x: Tensor | float, y: Tensor | float) -> Tensor:
    """Stretch by x and y: one of them a tensor `[N]`."""
    return matrix((x, 0.0, 0.0), (0.0, y, 0.0), (0.0, 0.0, 1.0))


def turning(cos: Tensor, sin: Tensor) -> Tensor:
    """Turn clockwise on the screen by the angle with this cosine and sine."""
    return matrix((cos, -sin, 0.0), (sin, cos, 0.0), (0.0, 0.0, 1.0))


def moving(x: Tensor, y: Tensor) -> Tensor:
    """Move to the right and down."""
    return matrix((1.0, 0.0, x), (0.0, 1.0, y), (0.0, 0.0, 1.0))


def draw_blit(
    like: Tensor,  # [N]: of the type and device wanted
    size: tuple[int, int],  # height, width
    chances: Chances,
) -> Tensor:
    """The inverse `[N, 3, 3]` of flips, quarter turns and whole translations: it maps pixels to pixels."""
    total, height, width = identity(like, 3), *size
    if "flip" in chances:
        total = product(total, scaling(maybe(1 - 2 * among(like, 0, 1), 1.0, chances["flip"]), 1.0))
    if "rotate90" in chances:
        quarters = among(like, 0, 3) if height == width else 2 * among(like, 0, 1)  # only half turns fit oblong images
        quarters = maybe(quarters, 0.0, chances["rotate90"])
        cos, sin = (1.0 * (quarters == k) - 1.0 * (quarters == k + 2) for k in (0, 1))
        total = product(total, turning(cos.to(like.dtype), sin.to(like.dtype)))
    if "shift" in chances:
        still = torch.rand_like(like) >= chances["shift"]
        x, y = ((uniform(like, -0.125, 0.125) * side).round().masked_fill(still, 0.0) for side in (width, height))
        total = product(total, moving(-x, -y))
    return total


def draw_geom(
    like: Tensor,  # [N]: of the type and device wanted
    size: tuple[int, int],  # height, width
    chances: Chances,
) -> Tensor:
    """The inverse `[N, 3, 3]` of scaling, rotation before and after stretching, and translation, all continuous."""
    total, height, width = identity(like, 3), *size
    if "scale" in chances:
        factor = 1 / maybe(lognormal(like, 0.2), 1.0, chances["scale"])
        total = product(total, scaling(factor, factor))
    if "rotate" in chances:
        total = product(total, _rotation(like, chances["rotate"]))
    if "stretch" in chances:
        factor = maybe(lognormal(like, 0.2), 1.0, chances["stretch"])
        total = product(total, scaling(1 / factor, factor))
    if "rotate" in chances:
        total = product(total, _rotation(like, chances["rotate"]))
    if "translate" in chances:
        still = torch.rand_like(like) >= chances["translate"]
        x, y = ((torch.randn_like(like) * (0.125 * side)).masked_fill(still, 0.0) for side in (width, height))
        total = product(total, moving(-x, -y))
    return total


def _rotation(like: Tensor, chance: Tensor) -> Tensor:
    """One of two rotations, each with 1 - sqrt(1 - chance), so that at least one happens with the chance given."""
    each = 1 - (1 - chance.clamp(max=1)).sqrt()
    angle = maybe(uniform(like, -math.pi, math.pi), 0.0, each)
    return turning(angle.cos(), angle.sin())


def warp(
    images: Tensor,  # [N, C, H, W]
    blit: Tensor | None,  # [N, 3, 3], inverse, mapping pixels to pixels; None: nothing of the kind
    geom: Tensor | None,  # [N, 3, 3], inverse, of what follows; None: nothing of the kind
) -> Tensor:
    """Show images under both, composed: in one resampling, or as copied pixels where `geom` is the identity."""
    moved = images if blit is None else copy_pixels(images, blit)
    if geom is None:
        return moved
    total = geom if blit is None else product(blit, geom)
    return torch.where(beside(is_identity(geom)), moved, resample(images, total))


def copy_pixels(
    images: Tensor,  # [N, C, H, W]
    inverse: Tensor,  # [N, 3, 3], mapping pixels to pixels
) -> Tensor:
    """Show images under flips, quarter turns and whole translations, to the bit; outside lies their reflection."""
    height, width = images.shape[2:]
    down, across = (torch.arange(side, device=images.device).to(images.dtype) for side in (height, width))
    rows, columns = sources(inverse, down, across, (height, width))
    return take(images, rows.round().long(), columns.round().long())
