"""Frames as one file: GIF, WebP and APNG by Pillow, MP4 by PyAV (the extra `video`)."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from equipoise.errors import InputError

Bytes = NDArray[np.uint8]
FORMATS = {".gif": "GIF", ".webp": "WEBP", ".apng": "PNG", ".mp4": "MP4"}
UNITS = {"GIF": 10, "WEBP": 1, "PNG": 1}  # milliseconds: what a format counts a frame's time in
FASTEST = 50.0  # frames a second: browsers slow down a GIF that asks for more


def check(suffix: str, fps: float) -> str:
    """The format that belongs to a file's suffix, or an InputError for what cannot be written."""
    if suffix.lower() not in FORMATS:
        raise InputError(f"{suffix or 'a name without suffix'} is no animation; there are {', '.join(FORMATS)}")
    if not 1 <= fps <= FASTEST:
        raise InputError(f"--fps {fps:g} cannot be shown; give 1 to {FASTEST:g} frames a second")
    if suffix.lower() == ".mp4":
        _av()
    return FORMATS[suffix.lower()]


def encode(
    frames: Iterable[Bytes],  # [H, W, C] with 1 or 3 channels, all of one size
    suffix: str,  # .gif, .webp, .apng or .mp4
    fps: float = 25.0,  # frames a second, 1 to 50
) -> bytes:
    """The file as bytes; all formats but MP4 say that they repeat for ever."""
    kind = check(suffix, fps)
    return _video(frames, fps) if kind == "MP4" else _pictures(list(frames), kind, fps)


def durations(count: int, fps: float, unit: int) -> list[int]:
    """Milliseconds of each frame, whole units, whose sum is never a unit off."""
    ends = [round(1000 * number / fps / unit) * unit for number in range(count + 1)]
    return [after - before for before, after in pairwise(ends)]


def _pictures(frames: list[Bytes], kind: str, fps: float) -> bytes:
    from PIL import Image

    first, *rest = (Image.fromarray(frame[:, :, 0] if frame.shape[2] == 1 else frame) for frame in frames)
    settings: dict[str, Any] = {"lossless": True} if kind == "WEBP" else {}
    buffer = io.BytesIO()
    first.save(
        buffer,
        format=kind,
        save_all=True,
        append_images=rest,
        duration=durations(len(frames), fps, UNITS[kind]),
        loop=0,
        **settings,
    )
    return buffer.getvalue()


def _video(frames: Iterable[Bytes], fps: float) -> bytes:
    """H.264 in the pixel format that every player knows, which halves the colours' resolution."""
    av, stream, buffer = _av(), None, io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        for frame in _even(frames):
            if stream is None:
                stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1000))
                stream.height, stream.width, stream.pix_fmt = *frame.shape[:2], "yuv420p"
                stream.options = {"crf": "14"}  # of 0 (lossless) to 51
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        if stream is not None:
            container.mux(stream.encode(None))
    return buffer.getvalue()


def _even(frames: Iterable[Bytes]) -> Iterator[Bytes]:
    """In three colours, with a white line where a side has an odd number of pixels, which the format cannot have."""
    for frame in frames:
        height, width, channels = frame.shape
        edges = ((0, height % 2), (0, width % 2), (0, 0))
        yield np.ascontiguousarray(np.pad(frame.repeat(3 // channels, axis=2), edges, constant_values=255))


def _av() -> Any:
    try:
        import av
    except ImportError:
        raise InputError(
            "an MP4 needs the package av: pip install 'equipoise[video]', or give a name ending in .gif, .webp or .apng"
        ) from None
    return av
