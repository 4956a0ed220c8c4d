"""What augmentations of images share: their checks, their precision, and choices made for each image by itself."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from equipoise.errors import InputError


def strength(
    name: str,  # of the augmentation, for the message
    p: float,  # 0 to 1
) -> Tensor:
    """The 0-d tensor that holds an augmentation's strength; outside 0 to 1 it is refused with an InputError."""
    if not 0 <= p <= 1:
        raise InputError(f"{name} with p={p} cannot work, since p is a probability; choose one from 0 to 1")
    return torch.tensor(float(p))


def in_full_precision(
    name: str,  # of the augmentation, for the message
    change: Callable[[Tensor], Tensor],
    images: Tensor,  # [N, C, H, W], floating point
) -> Tensor:
    """Change images in at least float32, under autocast too; type and memory format come back as they were.

    Raises InputError for anything but floating point images of two pixels or more each way.
    """
    if images.dim() != 4 or not images.is_floating_point() or min(images.shape[2:]) < 2:
        raise InputError(
            f"{name} was given {images.dtype} data of shape {list(images.shape)}, and it changes floating point images "
            "[N, C, H, W] of 2x2 pixels or more; leave it out for other data"
        )
    channels_last = images.is_contiguous(memory_format=torch.channels_last)
    memory = torch.channels_last if channels_last and not images.is_contiguous() else torch.contiguous_format
    with torch.autocast(images.device.type, enabled=False):
        low = images.dtype in (torch.float16, torch.bfloat16)
        return change(images.float() if low else images).to(images.dtype).contiguous(memory_format=memory)


def per_image(images: Tensor) -> Tensor:
    """An empty tensor `[N]` of the images' type and device, for draws to be shaped like."""
    return images.new_empty(len(images))


def uniform(like: Tensor, low: float, high: float) -> Tensor:
    """One draw for each image, uniform from `low` to `high`."""
    return torch.rand_like(like) * (high - low) + low


def lognormal(like: Tensor, deviation: float) -> Tensor:
    """One draw of 2^N(0, deviation) for each image."""
    return torch.exp2(torch.randn_like(like) * deviation)


def among(like: Tensor, low: int, high: int) -> Tensor:
    """One whole number from `low` to `high`, both included, for each image."""
    return torch.randint(low, high + 1, like.shape, device=like.device).to(like.dtype)


def maybe(value: Tensor, neutral: float, chance: Tensor) -> Tensor:
    """`value` with probability `chance`, a 0-d tensor, and else `neutral`: decided for each image by itself."""
    return value.masked_fill(torch.rand_like(value) >= chance, neutral)


def beside(value: Tensor) -> Tensor:
    """`[N] -> [N, 1, 1, 1]`, to stand beside images."""
    return value[:, None, None, None]


def square_mask(
    images: Tensor,  # [N, C, H, W]
    top: Tensor,  # [N]: first row
    left: Tensor,  # [N]: first column
    height: float,  # rows
    width: float,  # columns
) -> Tensor:
    """True `[N, 1, H, W]` inside each image's rectangle, of which what lies outside the image is lost."""
    rows, columns = (torch.arange(size, device=images.device) for size in images.shape[2:])
    inside_y = (rows >= top[:, None]) & (rows < top[:, None] + height)
    inside_x = (columns >= left[:, None]) & (columns < left[:, None] + width)
    return (inside_y[:, :, None] & inside_x[:, None, :])[:, None]


def take(
    images: Tensor,  # [N, C, H, W]
    rows: Tensor,  # int64 [N, H', W']: of the source pixel, within the image
    columns: Tensor,  # int64 [N, H', W']
) -> Tensor:
    """Copy pixels: `[N, C, H', W']`, whose pixel (y, x) is the source's (rows[y, x], columns[y, x]), to the bit."""
    index = (rows * images.shape[3] + columns).flatten(1)[:, None].expand(-1, images.shape[1], -1)
    return images.flatten(2).gather(2, index).reshape(*images.shape[:2], *rows.shape[1:])
