"""ADA's five colour transforms (Karras et al. 2020, arXiv:2006.06676, appendix B), as one 4x4 matrix for each image.

Matrices act on (red, green, blue, 1). Luma is the component along grey, (1, 1, 1)/sqrt(3), and chroma the rest. Of an
image with one channel the matrix changes what it would change of a grey image with three: brightness, contrast and the
luma flip act, hue and saturation leave it alone.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from equipoise.augmentations._geometry import Chances
from equipoise.augmentations._images import among, beside, lognormal, maybe, uniform
from equipoise.augmentations._matrices import identity, is_identity, matrix, product
from equipoise.errors import InputError


def brighten(offset: Tensor) -> Tensor:
    """Add a number to each colour: `[N] -> [N, 4, 4]`."""
    return matrix(
        (1.0, 0.0, 0.0, offset),
        (0.0, 1.0, 0.0, offset),
        (0.0, 0.0, 1.0, offset),
        (0.0, 0.0, 0.0, 1.0),
    )


def recolour(luma: Tensor, chroma: Tensor, angle: Tensor) -> Tensor:
    """Scale luma and chroma and turn the hue by an angle in radians: `[N]` each `-> [N, 4, 4]`.

    That is luma gg' + chroma (cos (1 - gg') + sin [g]x) with g the grey axis, whose columns are turned copies of one.
    """
    cos, sin = chroma * angle.cos(), chroma * angle.sin() / math.sqrt(3)
    same, mixed = (luma + 2 * cos) / 3, (luma - cos) / 3
    return matrix(
        (same, mixed - sin, mixed + sin, 0.0),
        (mixed + sin, same, mixed - sin, 0.0),
        (mixed - sin, mixed + sin, same, 0.0),
        (0.0, 0.0, 0.0, 1.0),
    )


def draw_colour(
    like: Tensor,  # [N]: of the type and device wanted
    chances: Chances,
) -> Tensor:
    """The matrices `[N, 4, 4]` of brightness, contrast, luma flip, hue and saturation, in this order."""
    total, one, none = identity(like, 4), torch.ones_like(like), torch.zeros_like(like)
    if "brightness" in chances:
        total = product(brighten(maybe(torch.randn_like(like) * 0.2, 0.0, chances["brightness"])), total)
    if "contrast" in chances:
        factor = maybe(lognormal(like, 0.5), 1.0, chances["contrast"])
        total = product(recolour(factor, factor, none), total)
    if "lumaflip" in chances:
        sign = maybe(1 - 2 * among(like, 0, 1), 1.0, chances["lumaflip"])
        total = product(recolour(sign, one, none), total)
    if "hue" in chances:
        angle = maybe(uniform(like, -math.pi, math.pi), 0.0, chances["hue"])
        total = product(recolour(one, one, angle), total)
    if "saturation" in chances:
        total = product(recolour(one, maybe(lognormal(like, 1.0), 1.0, chances["saturation"]), none), total)
    return total


def colour(
    images: Tensor,  # [N, C, H, W] with C = 1 or 3
    matrices: Tensor,  # [N, 4, 4]
) -> Tensor:
    """Change the colours of images; those whose matrix is the identity pass to the bit."""
    linear, offset = matrices[:, :3, :3], matrices[:, :3, 3]
    if images.shape[1] == 3:
        changed = (linear @ images.flatten(2) + offset[:, :, None]).unflatten(2, images.shape[2:])
    elif images.shape[1] == 1:
        changed = images * beside(linear.sum(2).mean(1)) + beside(offset.mean(1))
    else:
        raise InputError(
            f"ada's colour transforms were given images of {images.shape[1]} channels, and know grey and RGB, 1 and 3; "
            "choose a preset without color, such as bg"
        )
    return torch.where(beside(is_identity(matrices)), images, changed)
