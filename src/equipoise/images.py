"""Samples as pictures: a grid of images, a scatter of points, a heat map of longer vectors, and PNG files of them."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from equipoise.errors import InputError
from equipoise.files import atomic_write

Bytes = NDArray[np.uint8]
CELL = 32  # pixels: smaller images are enlarged to at least this
REAL = np.array([150, 150, 150], dtype=np.float32)  # colour of the data's points
GENERATED = np.array([213, 70, 20], dtype=np.float32)  # colour of the generator's
PAPER, RULE, INK = (255, 255, 255), (228, 228, 228), (110, 110, 110)


def to_uint8(images: Any) -> Bytes:
    """Images in [-1, 1] (tensor or array, any shape) as bytes in [0, 255], rounded and clipped; NaN becomes 0."""
    values = _array(images).astype(np.float32)
    levels = np.nan_to_num((values + 1) * 127.5, nan=0.0, posinf=255.0, neginf=0.0)
    return np.asarray(levels.round().clip(0, 255), dtype=np.uint8)


def grid(
    images: Bytes,  # [N, C, H, W]
    columns: int | None = None,  # default: about as many as rows
    padding: int = 2,  # white pixels round each cell
    scale: int | None = None,  # integer enlargement; default: cells of at least 32 pixels
) -> Bytes:
    """One picture [height, width, C] of N images, row by row; channels that are no colours stand side by side in grey.

    Raises:
        InputError: the images are no uint8 array [N, C, H, W], or there are none.
    """
    images = np.asarray(images)
    if images.ndim != 4 or images.dtype != np.uint8 or 0 in images.shape:
        raise InputError(
            f"a grid was asked for of {images.dtype} values shaped {list(images.shape)}, but it shows uint8 images, "
            "at least one, as [N, C, H, W]; turn images in [-1, 1] into bytes with to_uint8 first."
        )
    if images.shape[1] not in (1, 3, 4):
        images = images.transpose(0, 2, 1, 3).reshape(len(images), 1, images.shape[2], -1)
    scale = scale or max(1, math.ceil(CELL / max(images.shape[2:])))
    images = images.repeat(scale, axis=2).repeat(scale, axis=3)
    count, channels, height, width = images.shape
    columns = max(1, min(count, columns or round(math.sqrt(count * height / width))))
    rows = math.ceil(count / columns)
    cell = (height + padding, width + padding)
    picture = np.full((rows * cell[0] + padding, columns * cell[1] + padding, channels), 255, dtype=np.uint8)
    for index, image in enumerate(images):
        top, left = index // columns * cell[0] + padding, index % columns * cell[1] + padding
        picture[top : top + height, left : left + width] = image.transpose(1, 2, 0)
    return picture


def scatter(
    points: Any,  # [N, 2]
    reference: Any = None,  # [M, 2] real points: drawn in grey beneath, and they fix the axes
    size: int = 512,  # pixels, of each side
) -> Bytes:
    """A picture [size, size, 3] of points in the plane; those outside the axes stand on the border, NaN is left out.

    Raises:
        InputError: the points or the reference are not shaped [N, 2].
    """
    points = _points(points, "points")
    reference = None if reference is None else _points(reference, "reference points")
    frame = points if reference is None or not len(reference) else reference
    low, span = _axes(frame)
    picture = _paper(low, span, size).astype(np.float32)
    for dots, colour in ((reference, REAL), (points, GENERATED)):
        if dots is not None and len(dots):
            cover = _discs((dots - low) / span, size)[:, :, None]
            picture += cover * (colour - picture)
    return picture.round().astype(np.uint8)


def heat(vectors: Any, reference: Any = None, rows: int = 64) -> Bytes:
    """Vectors [N, d] as rows of a heat map [height, width, 3], blue below the middle, red above; real ones on top."""
    parts = [_array(part).astype(np.float32)[:rows] for part in (reference, vectors) if part is not None]
    scope = parts[0][np.isfinite(parts[0])]
    low, high = (float(scope.min()), float(scope.max())) if scope.size else (0.0, 1.0)
    blocks = [_diverging((part - (low + high) / 2) / max((high - low) / 2, 1e-12)) for part in parts]
    scale = max(1, 384 // blocks[0].shape[1])
    blocks = [block.repeat(max(1, 256 // rows), axis=0).repeat(scale, axis=1) for block in blocks]
    rule = np.full((6, blocks[0].shape[1], 3), 255, dtype=np.uint8)
    return np.concatenate([blocks[0], *(part for block in blocks[1:] for part in (rule, block))])


def picture(samples: Any, reference: Any = None) -> Bytes:
    """Samples as one picture [height, width, C], whatever they are.

    Images [N, C, H, W] (uint8, or floats in [-1, 1]) become a grid, points [N, 2] a scatter over the real `reference`,
    numbers [N, 1] their distribution function, longer vectors [N, d] a heat map.

    Raises:
        InputError: the samples are neither images nor vectors.
    """
    samples = _array(samples)
    reference = None if reference is None else _array(reference)
    if samples.ndim == 4:
        return grid(samples if samples.dtype == np.uint8 else to_uint8(samples))
    if samples.ndim != 2:
        raise InputError(f"samples shaped {list(samples.shape)} cannot be drawn; give [N, C, H, W] or [N, d].")
    if samples.shape[1] == 1:
        return scatter(_ranked(samples), None if reference is None else _ranked(reference))
    return scatter(samples, reference) if samples.shape[1] == 2 else heat(samples, reference)


def encode_png(array: Bytes) -> bytes:
    """The PNG file of a uint8 array [H, W] or [H, W, C] with 1, 3 or 4 channels, as bytes."""
    from PIL import Image

    array = np.asarray(array)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.dtype != np.uint8 or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))):
        raise InputError(
            f"a PNG cannot be made of {array.dtype} values shaped {list(array.shape)}; give uint8 as [H, W], "
            "or as [H, W, C] with 1, 3 or 4 channels."
        )
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(array)).save(buffer, format="PNG")
    return buffer.getvalue()


def save_png(path: str | Path, array: Bytes) -> None:
    """Write a uint8 array [H, W] or [H, W, C] as a PNG file; the file is whole or the old one, never half."""
    atomic_write(path, encode_png(array))


def _array(values: Any) -> NDArray[Any]:
    """A tensor on any device, or whatever numpy takes, as an array; half precision becomes float32."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        return np.asarray((values.float() if values.is_floating_point() else values).numpy())
    return np.asarray(values)


def _points(values: Any, name: str) -> NDArray[np.float64]:
    points = _array(values).astype(np.float64)
    if points.ndim != 2 or points.shape[1] != 2:
        raise InputError(f"{name} shaped {list(points.shape)} cannot be drawn in the plane; give them as [N, 2].")
    return points[~np.isnan(points).any(axis=1)]


def _ranked(values: NDArray[Any]) -> NDArray[np.float64]:
    """Numbers [N, 1] as points of their distribution function [N, 2]."""
    values = np.sort(values.astype(np.float64)[:, 0])
    return np.stack([values, (np.arange(len(values)) + 0.5) / len(values)], axis=1)


def _axes(points: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Low corner and span [2] of what the axes show: the points' range and a margin, one unit long on both axes.

    Where x and y differ by more than a factor of four, each axis has its own unit, or one of them would be a line.
    """
    points = points[np.isfinite(points).all(axis=1)]
    if not len(points):
        return np.full(2, -1.0), np.full(2, 2.0)
    low, high = points.min(axis=0), points.max(axis=0)
    span = np.maximum(high - low, 1e-9 * np.maximum(1.0, np.abs(high)))
    if span.max() <= 4 * span.min():
        span = np.full(2, span.max())
    span = span * 1.3
    return (low + high - span) / 2, span


def _paper(low: NDArray[np.float64], span: NDArray[np.float64], size: int) -> Bytes:
    """The empty picture [size, size, 3]: thin rules at round numbers, the numbers at the lower and left border."""
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (size, size), PAPER)
    draw = ImageDraw.Draw(image)
    for axis in (0, 1):
        for tick in _ticks(float(low[axis]), float(span[axis])):
            place = (tick - low[axis]) / span[axis] * (size - 1)
            place = place if axis == 0 else size - 1 - place
            draw.line((place, 0, place, size) if axis == 0 else (0, place, size, place), fill=RULE)
            draw.text((place + 3, size - 14) if axis == 0 else (3, place + 1), f"{tick:g}", fill=INK)
    draw.rectangle((0, 0, size - 1, size - 1), outline=RULE)
    return np.asarray(image)


def _ticks(low: float, span: float) -> list[float]:
    """Three to eight round numbers between `low` and `low + span`."""
    power = 10.0 ** math.floor(math.log10(span / 3))
    step = next(power * factor for factor in (5, 2, 1) if span / (power * factor) >= 3)
    first = math.ceil(low / step)
    return [round(step * index, 12) for index in range(first, math.floor((low + span) / step) + 1)]


def _discs(places: NDArray[np.float64], size: int, opacity: float = 0.55) -> NDArray[np.float32]:
    """How much colour covers each pixel [size, size] when a disc is laid on each place [N, 2] in the unit square.

    Twice as fine as the picture and then averaged, which smooths the discs' edges.
    """
    fine, radius = 2 * size, max(2, round(size / 180))
    cells = (places.clip(0, 1) * (fine - 1)).round().astype(np.int64)
    counts = np.zeros((fine + 2 * radius, fine + 2 * radius), dtype=np.float32)
    np.add.at(counts, (fine - 1 - cells[:, 1] + radius, cells[:, 0] + radius), 1.0)
    total = np.zeros((fine, fine), dtype=np.float32)
    for down in range(-radius, radius + 1):
        for right in range(-radius, radius + 1):
            if down * down + right * right <= radius * radius:
                total += counts[radius + down : radius + down + fine, radius + right : radius + right + fine]
    cover = 1 - (1 - opacity) ** total
    return np.asarray(cover.reshape(size, 2, size, 2).mean(axis=(1, 3)), dtype=np.float32)


def _diverging(values: NDArray[np.float32]) -> Bytes:
    """Values in [-1, 1] as colours [..., 3] from blue over white to red; NaN is black."""
    strength = np.nan_to_num(np.abs(values), nan=0.0, posinf=1.0).clip(0, 1)[..., None]
    ends = np.where((values > 0)[..., None], np.array([190, 30, 45]), np.array([35, 80, 170]))
    colours = 255 + strength * (ends - 255)
    return np.where(np.isnan(values)[..., None], 0, colours).round().astype(np.uint8)
