"""One image file to pixels: any of Pillow's formats and modes to uint8 [C, R, R], and what was done on the way."""

from __future__ import annotations

import contextlib
import functools
import io
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from equipoise.data.sizes import largest_square

Array = npt.NDArray[Any]

# Not for untrusted files: EPS runs Ghostscript; the others are known to Pillow by name only, or on one system only.
REFUSED = frozenset({"EPS", "MPEG", "HDF5", "BUFR", "GRIB", "WMF"})
GREY = frozenset({"1", "L", "LA", "La", "I", "F", "I;16", "I;16B", "I;16L", "I;16N"})
ORIENTATION = 0x0112  # EXIF's tag
DRAFT = 3  # a JPEG may be decoded at a fraction of its size that is still this many times the training resolution


class Unreadable(Exception):
    """Why a file is no usable image; a few words for the report."""


class Header(NamedTuple):
    """What a file says of itself before it is decoded."""

    width: int
    height: int
    mode: str
    grey: bool


@functools.cache
def extensions() -> frozenset[str]:
    """The lower-case extensions that are taken for images."""
    known = Image.registered_extensions()
    return frozenset(one for one, kind in known.items() if kind in formats())


@functools.cache
def formats() -> tuple[str, ...]:
    """Pillow's names of the formats that are read."""
    Image.init()
    return tuple(sorted(set(Image.OPEN) - REFUSED))


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Round any reading: too large an image is an error, and Pillow's remarks on odd files are not printed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def look(data: bytes) -> Header:
    """Read a file's header; raise Unreadable where it is no image."""
    with _opened(data) as image:
        return Header(*image.size, image.mode, _is_grey(image))


def decode(data: bytes, side: int, channels: int) -> tuple[Array, tuple[str, ...]]:
    """Pixels uint8 [channels, side, side] and what was done to make them; raise Unreadable where it cannot be done.

    In this order: first frame, upright by its EXIF tag, 8 bits, transparency put on white, colours, centred square,
    scaled with Lanczos' antialiased filter.
    """
    done: list[str] = []
    with _opened(data) as image:
        if getattr(image, "is_animated", False):
            done.append("first of several frames taken")
        image.draft(image.mode, (DRAFT * side, DRAFT * side))
        image.load()
        upright = _upright(image, done)
        pixels = _square(_coloured(_eight_bits(upright, done), channels, done), side, done)
    return np.ascontiguousarray(pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)), tuple(done)


@contextlib.contextmanager
def _opened(data: bytes) -> Iterator[Image.Image]:
    try:
        with Image.open(io.BytesIO(data), formats=formats()) as image:
            yield image
    except Unreadable:
        raise
    except UnidentifiedImageError:
        raise Unreadable("empty file" if not data else "not an image, or damaged at its start") from None
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise Unreadable(f"more than {Image.MAX_IMAGE_PIXELS:,} pixels, Pillow's limit for safety") from None
    except Exception as error:  # a damaged file raises anything at all in a decoder; the words are kept
        raise Unreadable(str(error).splitlines()[0][:100] if str(error) else type(error).__name__) from None


def _is_grey(image: Image.Image) -> bool:
    if image.mode not in ("P", "PA"):
        return image.mode in GREY
    palette = np.frombuffer(bytes(image.getpalette() or b""), np.uint8).reshape(-1, 3)
    return bool(len(palette)) and bool((palette == palette[:, :1]).all())


def _upright(image: Image.Image, done: list[str]) -> Image.Image:
    if image.getexif().get(ORIENTATION, 1) in (2, 3, 4, 5, 6, 7, 8):
        done.append("turned upright by EXIF")
        return ImageOps.exif_transpose(image)
    return image


def _eight_bits(image: Image.Image, done: list[str]) -> Image.Image:
    """Modes of more bits, which Pillow would clip at 255, scaled to 8."""
    if image.mode not in ("I", "F") and not image.mode.startswith("I;16"):
        return image
    values = np.asarray(image, np.float64)
    if not np.isfinite(values).all():
        raise Unreadable("NaN or infinity among its pixels")
    low, high = values.min(), values.max()
    if image.mode == "F":
        if low < 0 or high > 255:
            raise Unreadable(f"floating-point pixels from {low:g} to {high:g}, outside 0..1 and 0..255")
        done.append("floating point made 8 bits")
        values = values * (255 if high <= 1 else 1)
    else:
        if low < 0 or high > 65535:
            raise Unreadable(f"32-bit pixels from {low:g} to {high:g}, outside 16 bits")
        done.append("16 bits scaled to 8")
        values = values / 257
    return Image.fromarray(np.rint(values).astype(np.uint8))


def _coloured(image: Image.Image, channels: int, done: list[str]) -> Image.Image:
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        done.append("transparency put on white")
        over = image.convert("LA").convert("RGBA") if image.mode == "La" else image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), over).convert("RGB")
        return image.convert("L") if channels == 1 else image
    wanted = "L" if channels == 1 else "RGB"
    if image.mode in ("CMYK", "YCbCr", "LAB", "HSV", "P"):
        done.append("palette made plain" if image.mode == "P" else f"{image.mode} made RGB")
        image = image.convert("RGB")
    elif image.mode in ("1", "L") and channels == 3:
        done.append("grey made colour")
    elif image.mode not in ("1", "L") and channels == 1:
        done.append("colour made grey")
    return image if image.mode == wanted else image.convert(wanted)


def _square(image: Image.Image, side: int, done: list[str]) -> Array:
    if image.width != image.height:
        done.append("centre-cropped to a square")
        top, left, edge = largest_square(image.height, image.width)
        image = image.crop((left, top, left + edge, top + edge))
    if image.width != side:
        done.append(f"scaled down to {side}" if image.width > side else f"enlarged to {side}")
        image = image.resize((side, side), Image.Resampling.LANCZOS)
    return np.asarray(image)
