"""DiffAugment (Zhao et al. 2020, arXiv:2006.10738): the same few changes of every real and generated image."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from equipoise.augmentations._images import (
    among,
    beside,
    in_full_precision,
    maybe,
    per_image,
    square_mask,
    strength,
    take,
    uniform,
)
from equipoise.errors import InputError
from equipoise.registry import register, suggest

Draw = dict[str, tuple[Tensor, Tensor]]  # by operation: which images it changes, bool [N], and its numbers, [N, k]


class Operation(NamedTuple):
    """One change: how its numbers are drawn for images, `-> [N, k]`, and what they do to them."""

    draw: Callable[[Tensor], Tensor]
    apply: Callable[[Tensor, Tensor], Tensor]


def brightness(images: Tensor, drawn: Tensor) -> Tensor:
    """Add a number to every pixel."""
    return images + beside(drawn[:, 0])


def saturation(images: Tensor, drawn: Tensor) -> Tensor:
    """Scale each pixel's distance from the mean of its channels; grey images stay as they are."""
    grey = images.mean(1, keepdim=True)
    return (images - grey) * beside(drawn[:, 0]) + grey


def contrast(images: Tensor, drawn: Tensor) -> Tensor:
    """Scale the distance from the image's mean."""
    mean = images.mean((1, 2, 3), keepdim=True)
    return (images - mean) * beside(drawn[:, 0]) + mean


def translation(images: Tensor, drawn: Tensor) -> Tensor:
    """Move by whole pixels, down and to the right, filling with zeros."""
    height, width = images.shape[2:]
    rows = torch.arange(height, device=images.device)[:, None] - drawn.long()[:, 0, None, None]
    columns = torch.arange(width, device=images.device) - drawn.long()[:, 1, None, None]
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)  # [N, H, W]
    rows, columns = rows.clamp(0, height - 1).expand_as(inside), columns.clamp(0, width - 1).expand_as(inside)
    return take(images, rows, columns).masked_fill(~inside[:, None], 0.0)


def cutout(images: Tensor, drawn: Tensor) -> Tensor:
    """Set a rectangle of half the size each way to zero, given its first row and column."""
    hole = square_mask(images, drawn[:, 0], drawn[:, 1], *(half(size) for size in images.shape[2:]))
    return images.masked_fill(hole, 0.0)


def half(size: int) -> int:
    """The side of a cutout, in pixels."""
    return int(0.5 * size + 0.5)


def shift(size: int) -> int:
    """The largest translation, in pixels: an eighth of the size."""
    return int(0.125 * size + 0.5)


def _number(low: float, high: float, images: Tensor) -> Tensor:
    return uniform(per_image(images), low, high)[:, None]


def _offset(images: Tensor) -> Tensor:
    like = per_image(images)
    return torch.stack([among(like, -shift(size), shift(size)) for size in images.shape[2:]], 1)


def _corner(images: Tensor) -> Tensor:
    """The centre is uniform; where the side is even it is a corner of pixels, and the border counts at both ends."""
    like, sides = per_image(images), [(size, half(size)) for size in images.shape[2:]]
    return torch.stack([among(like, -(side // 2), size - side % 2 - side // 2) for size, side in sides], 1)


OPERATIONS = {
    "brightness": Operation(partial(_number, -0.5, 0.5), brightness),
    "saturation": Operation(partial(_number, 0.0, 2.0), saturation),
    "contrast": Operation(partial(_number, 0.5, 1.5), contrast),
    "translation": Operation(_offset, translation),
    "cutout": Operation(_corner, cutout),
}
POLICIES = {
    "color": ("brightness", "saturation", "contrast"),
    "translation": ("translation",),
    "cutout": ("cutout",),
}


@register(
    "augmentation",
    "diffaugment",
    paper="arXiv:2006.10738",
    formula="D(T(x)), T colour, shift and cutout of every real and fake",
    claim="keeps the discriminator from memorising little data",
    treats="DF DO",
    cost="less than a tenth of a step (dcgan with r1 at 32x32 on a CPU)",
)
class DiffAugment(nn.Module):
    """DiffAugment (Zhao et al. 2020, arXiv:2006.10738): colour, translation and cutout, for reals and fakes alike.

    Images `[N, C, H, W]` in about [-1, 1], of any number of channels; colours do not suit data whose colours mean
    something. The operations come in a fixed order, however the policy names them. `forward` draws and applies; to
    show other images the same changes, keep what `draw` returns and `change` them by it. The paper changes every image:
    p=1. With less, each operation changes each image with probability p, and at 0 the images pass to the bit.
    """

    dials = ("p",)
    p: Tensor

    def __init__(
        self,
        policy: str = "color,translation,cutout",  # any of these three, joined by commas
        p: float = 1.0,  # 0 to 1: chance of each operation for each image
    ) -> None:
        super().__init__()
        names = [name.strip() for name in policy.split(",")]
        for name in names:
            if name not in POLICIES:
                raise InputError(f"diffaugment knows no policy {name!r}{suggest(name, list(POLICIES))}")
        self.operations = tuple(one for name, its in POLICIES.items() if name in names for one in its)
        self.register_buffer("p", strength("diffaugment", p))

    def forward(self, images: Tensor, labels: Tensor | None, is_real: bool) -> tuple[Tensor, Tensor | None]:
        shown = in_full_precision("diffaugment", lambda full: self.change(full, self.draw(full)), images)
        return shown, labels

    def draw(self, images: Tensor) -> Draw:
        """What to do to each of these images; only their shape, type and device are read."""
        like, drawn = per_image(images), {}
        for name in self.operations:
            chosen = maybe(torch.ones_like(like), 0.0, self.p) > 0
            drawn[name] = (chosen, OPERATIONS[name].draw(images))
        return drawn

    def change(self, images: Tensor, drawn: Draw) -> Tensor:
        """Do to images what was drawn."""
        for name, (chosen, numbers) in drawn.items():
            images = torch.where(beside(chosen), OPERATIONS[name].apply(images, numbers), images)
        return images
