"""How an array of images is to be read: axes and range told apart, and the images made uint8 [n, C, R, R]."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from equipoise.data.report import Report
from equipoise.data.sizes import check_channels, check_resolution, default_resolution, largest_square
from equipoise.errors import InputError

Array = npt.NDArray[Any]
CHUNK = 1024  # samples converted at once


@dataclass(frozen=True)
class Layout:
    """How an array of images is to be read."""

    axes: str  # "NHW", "NCHW" or "NHWC"
    dtype: str
    count: int
    height: int
    width: int
    channels: int  # 1, 3 or 4
    scale: float  # value * scale + shift is 0 to 255
    shift: float
    said: str  # what was found, for the report


def find_layout(array: Array, name: str) -> Layout:
    """Tell the axes and the range of images apart; InputError where neither fits."""
    if array.ndim == 3:
        axes, (height, width), channels = "NHW", array.shape[1:], 1
    elif array.ndim == 4 and array.shape[1] in (1, 3, 4):
        axes, (channels, height, width) = "NCHW", array.shape[1:]
    elif array.ndim == 4 and array.shape[3] in (1, 3, 4):
        axes, (height, width, channels) = "NHWC", array.shape[1:]
    else:
        raise InputError(
            f"{name} of shape {list(array.shape)} is neither images ([N, H, W], [N, C, H, W] or [N, H, W, C],"
            " of 1, 3 or 4 channels) nor vectors ([N, d]); reshape it."
        )
    scale, shift, said = _range(array, name)
    return Layout(axes, str(array.dtype), len(array), height, width, channels, scale, shift, said)


def settle(layout: Layout, resolution: int | None, channels: int | None) -> tuple[int, int]:
    """The training resolution and channels."""
    side = check_resolution(resolution) or default_resolution(min(layout.height, layout.width))
    return side, check_channels(channels) or min(layout.channels, 3)


def convert(array: Array, layout: Layout, side: int, channels: int) -> Iterator[Array]:
    """The images in parts, uint8 [n, channels, side, side]: centre-cropped to squares and scaled."""
    for start in range(0, len(array), CHUNK):
        part = array[start : start + CHUNK]
        part = {"NHW": lambda x: x[:, None], "NCHW": lambda x: x, "NHWC": lambda x: x.transpose(0, 3, 1, 2)}[
            layout.axes
        ](part)
        if part.dtype != np.uint8 or (layout.scale, layout.shift) != (1, 0):
            values = np.rint(part.astype(np.float64) * layout.scale + layout.shift)
            part = np.clip(values, 0, 255).astype(np.uint8)
        top, left, edge = largest_square(layout.height, layout.width)
        part = _channels(part[:, :, top : top + edge, left : left + edge], channels)
        yield np.ascontiguousarray(part) if edge == side else _resize(part, side)


def describe(name: str, layout: Layout, side: int, channels: int, notes: tuple[str, ...] = ()) -> Report:
    """The report on an array of images."""
    count, shorter = layout.count, min(layout.height, layout.width)
    converted = {
        layout.said: bool(layout.said),
        "centre-cropped to a square": layout.height != layout.width,
        f"scaled down to {side}": shorter > side,
        f"enlarged to {side}": shorter < side,
        "transparency put on white": layout.channels == 4,
        "colour made grey": layout.channels > 1 and channels == 1,
        "grey made colour": layout.channels == 1 and channels == 3,
    }
    size = [layout.width, layout.height]
    return Report(
        name,
        sizes={"smallest": size, "largest": size, "shorter_median": float(shorter), "kinds": 1},
        modes={f"{layout.dtype} {layout.axes}": count},
        converted={what: count for what, done in converted.items() if done},
        notes=notes,
    )


def _range(array: Array, name: str) -> tuple[float, float, str]:
    """Scale, shift and the words for them that bring an array's values to 0..255."""
    if array.dtype == np.uint8:
        return 1, 0, ""
    if array.dtype == np.bool_:
        return 255, 0, "black and white scaled to 0..255"
    low = float(min(array[i : i + CHUNK].min() for i in range(0, len(array), CHUNK)))
    high = float(max(array[i : i + CHUNK].max() for i in range(0, len(array), CHUNK)))
    tolerance = 1e-3 if array.dtype.kind == "f" else 0  # resampling and float16 overshoot a little
    if array.dtype.kind == "f" and -tolerance <= low and high <= 1 + tolerance:
        return 255, 0, "floats in [0, 1] scaled to 0..255"
    if array.dtype.kind == "f" and low >= -1 - tolerance and high <= 1 + tolerance:
        return 127.5, 127.5, "floats in [-1, 1] scaled to 0..255"
    if low >= -tolerance and high <= 255 + tolerance:
        return 1, 0, f"{array.dtype} in 0..255 taken as it is"
    if array.dtype == np.uint16:
        return 1 / 257, 0, "16 bits scaled to 8"
    raise InputError(
        f"the images of {name} hold values from {low:g} to {high:g}, which fit no known range of pixels; give uint8, or"
        " floats in [0, 1] or [-1, 1]."
    )


def _channels(images: Array, channels: int) -> Array:
    """uint8 [n, 1, 3 or 4, H, W] to `channels`: transparency on white, Rec. 601 grey."""
    if images.shape[1] == 4:
        opacity = images[:, 3:].astype(np.float32) / 255
        images = np.rint(images[:, :3] * opacity + 255 * (1 - opacity)).astype(np.uint8)
    if images.shape[1] == 3 and channels == 1:
        grey = np.tensordot(images.astype(np.float32), np.array([0.299, 0.587, 0.114], np.float32), axes=(1, 0))
        images = np.rint(grey)[:, None].astype(np.uint8)
    return np.repeat(images, channels, axis=1) if images.shape[1] < channels else images


def _resize(images: Array, side: int) -> Array:
    result = np.empty((*images.shape[:2], side, side), np.uint8)
    for image, target in zip(images, result, strict=True):
        for plane, small in zip(image, target, strict=True):
            small[:] = np.asarray(Image.fromarray(plane).resize((side, side), Image.Resampling.LANCZOS))
    return result
