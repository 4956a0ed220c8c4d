"""Showing images at other positions: in one resampling, at twice the resolution, between two wavelet filters.

The chain of Karras et al. 2020 (arXiv:2006.06676, appendix B): reflect at the border, double the resolution by the
low-pass filter of the sym6 wavelet, look up between pixels linearly, and halve it again by the same filter. All of it
is linear in the image: the filters are products with matrices, and the look-up's gradient is written out below, since
`grid_sample` has no second derivative of its own. The filters are applied as numbers and not from a table, which would
have to be copied to the device and could not be captured in a CUDA graph.

Two points differ from the paper. The reflection goes on for ever in place of ending in zeros, so that no margin has to
be read from the device. And positions are counted from the filter's true centre, `DELAY`, so that nothing shifts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor

from equipoise.augmentations._images import take

# Daubechies 1992, the least asymmetric wavelet with six vanishing moments: the sum is sqrt(2), the sum of squares 1.
SYM6 = (
    0.015404109327027373, 0.0034907120842174702, -0.11799011114819057, -0.048311742585633,
    0.4910559419267466, 0.787641141030194, 0.3379294217276218, -0.07263752278646252,
    -0.021060292512300564, 0.04472490177066578, 0.0017677118642428036, -0.007800708325034148,
)  # fmt: skip
DELAY = sum(k * tap for k, tap in enumerate(SYM6)) / sum(SYM6)  # 5.098 fine samples: the centre of the filter's weight
FIRST = int(DELAY)  # the fine sample at, or just before, the first pixel


def fold(position: Tensor, size: int) -> Tensor:
    """Reflect positions at the centres of the first and the last pixel, as often as it takes, into [0, size - 1]."""
    last = size - 1
    return last - (position.remainder(2 * last) - last).abs()


def folded(outer: Tensor, size: int, like: Tensor) -> Tensor:
    """The matrix `[len(outer), size]` that extends pixels by reflection to the whole positions `outer`."""
    return (fold(outer, size)[:, None] == torch.arange(size, device=outer.device)).to(like.dtype)


def tap(index: Tensor, like: Tensor) -> Tensor:
    """The filter's entry at each index, 0 outside it."""
    found = torch.zeros(index.shape, dtype=like.dtype, device=index.device)
    for k, value in enumerate(SYM6):
        found = found.masked_fill(index == k, value)
    return found


def upsampling(size: int, like: Tensor) -> Tensor:
    """The matrix `[2 size, size]` from pixels to fine samples, the first of which is number `FIRST`."""
    fine = torch.arange(FIRST, FIRST + 2 * size, device=like.device)
    pixels = torch.arange(-len(SYM6) // 2, size + FIRST, device=like.device)  # all that the filter reaches
    return tap(fine[:, None] - 2 * pixels, like) @ folded(pixels, size, like)


def downsampling(size: int, like: Tensor) -> Tensor:
    """The matrix `[size, 2 size + 10]` from fine samples, the first of which is number 0, to pixels."""
    fine = torch.arange(2 * size + len(SYM6) - 2, device=like.device)
    return tap(fine - 2 * torch.arange(size, device=like.device)[:, None], like)


class _Lookup(torch.autograd.Function):
    """Bilinear look-up: linear in the images, and the gradient of a linear map is its transpose, linear again."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, grid: Tensor) -> Tensor:
        ctx.save_for_backward(grid)
        ctx.shape = images.shape
        return torch.grid_sampler_2d(images, grid, 0, 1, True)  # bilinear, border, corners are centres

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _spread(gradient, *ctx.saved_tensors, ctx.shape), None


class _Spread(torch.autograd.Function):
    """The transpose of `_Lookup`: adds each value to the four pixels it came from."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, grid: Tensor, shape: torch.Size) -> Tensor:
        ctx.save_for_backward(grid)
        images = values.new_zeros(1).expand(shape)  # only its shape matters
        spread = torch.ops.aten.grid_sampler_2d_backward(values, images, grid, 0, 1, True, [True, False])[0]
        return cast(Tensor, spread)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return _lookup(gradient, *ctx.saved_tensors), None, None


_lookup: Callable[..., Tensor] = _Lookup.apply
_spread: Callable[..., Tensor] = _Spread.apply


def look_up(
    images: Tensor,  # [N, C, H, W]
    y: Tensor,  # [N, H', W']: rows, from 0 to H - 1, between pixels too
    x: Tensor,  # [N, H', W']: columns
) -> Tensor:
    """Values between pixels, `[N, C, H', W']`; any number of times differentiable in the images, not in y and x."""
    if images.is_cuda and torch.are_deterministic_algorithms_enabled():
        return look_up_slowly(images, y, x)
    height, width = images.shape[2:]
    grid = torch.stack([x * (2 / (width - 1)) - 1, y * (2 / (height - 1)) - 1], -1)
    return _lookup(images, grid)


def look_up_slowly(images: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """The same by copying four pixels, whose gradient CUDA can add up in the same order each time; twice the time."""
    top, left = y.floor().clamp(max=images.shape[2] - 2), x.floor().clamp(max=images.shape[3] - 2)
    down, right = (y - top)[:, None], (x - left)[:, None]
    rows, columns = top.long(), left.long()
    upper = torch.lerp(take(images, rows, columns), take(images, rows, columns + 1), right)
    lower = torch.lerp(take(images, rows + 1, columns), take(images, rows + 1, columns + 1), right)
    return torch.lerp(upper, lower, down)


def sources(
    inverse: Tensor,  # [N, 3, 3]: from where pixels are shown to where they come from, relative to the image's centre
    rows: Tensor,  # [h]: where they are shown
    columns: Tensor,  # [w]
    size: tuple[int, int],  # of the image: height, width
) -> tuple[Tensor, Tensor]:
    """Where the pixels shown at these rows and columns come from: rows and columns `[N, h, w]`, in the image."""
    middle_y, middle_x = (size[0] - 1) / 2, (size[1] - 1) / 2
    at_y, at_x = (rows - middle_y)[:, None], columns - middle_x
    x, y = ((at_x * m[:, 0] + at_y * m[:, 1]) + m[:, 2] for m in inverse[:, :2, :, None, None].unbind(1))
    return fold(y + middle_y, size[0]), fold(x + middle_x, size[1])


def resample(
    images: Tensor,  # [N, C, H, W]
    inverse: Tensor,  # [N, 3, 3], in pixels, as for `sources`
) -> Tensor:
    """The images under the transforms whose inverses are given; what lies outside is their reflection."""
    height, width = images.shape[2:]
    fine = upsampling(height, images) @ images @ upsampling(width, images).mT
    shown = [(torch.arange(2 * size + len(SYM6) - 2, device=images.device) - DELAY) / 2 for size in (height, width)]
    y, x = sources(inverse, shown[0].to(images.dtype), shown[1].to(images.dtype), (height, width))
    fine = look_up(fine, *(2 * at + (DELAY - FIRST) for at in (y, x)))
    return downsampling(height, images) @ fine @ downsampling(width, images).mT
