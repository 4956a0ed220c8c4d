"""Pictures inside a page: as data URIs, made smaller where they are large, thinned out where they are many."""

from __future__ import annotations

import base64
import functools
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

MOST = 40  # sample grids on a page
LARGEST = 800  # pixels: the longer side of a picture on a page
HEAVY = 150_000  # bytes of a PNG from which WebP takes its place
QUALITY = 75  # of the WebP, of 100

T = TypeVar("T")


class Picture(NamedTuple):
    """A picture in a page."""

    uri: str
    width: int
    height: int
    size: int  # bytes in the page
    shrunk: bool  # smaller, or coarser, than the file


def thinned(items: Sequence[T], most: int = MOST) -> list[T]:
    """At most `most` of the items, evenly spaced, the first and the last among them."""
    if len(items) <= most:
        return list(items)
    step = (len(items) - 1) / (most - 1)
    return [items[round(number * step)] for number in range(most)]


def inlined(path: Path) -> Picture | None:
    """A picture file as it goes into a page; None if it is none, or not whole."""
    try:
        return _inlined(path, path.stat().st_mtime_ns)
    except (OSError, ValueError, SyntaxError):  # Pillow raises all three for broken files
        return None


def from_png(content: bytes) -> Picture:
    """The picture in a PNG file's bytes."""
    from PIL import Image

    with Image.open(io.BytesIO(content)) as image:
        image.load()
        width, height = image.size
        if max(image.size) <= LARGEST and len(content) <= HEAVY:
            return Picture(_uri("png", content), width, height, len(content), False)
        small = image.convert("RGB")
    small.thumbnail((LARGEST, LARGEST), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, format="WEBP", quality=QUALITY)
    return Picture(_uri("webp", buffer.getvalue()), *small.size, len(buffer.getvalue()), True)


@functools.lru_cache(maxsize=256)
def _inlined(path: Path, changed: int) -> Picture:
    """By the file's time, so that a page that is followed live reads each picture once."""
    return from_png(path.read_bytes())


def _uri(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
