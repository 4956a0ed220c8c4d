"""The size training works at: a power of two from 8 to 256, and the square cut out of an image for it."""

from __future__ import annotations

from equipoise.errors import InputError

RESOLUTIONS = (8, 16, 32, 64, 128, 256)


def check_resolution(resolution: int | None) -> int | None:
    """`resolution` itself, or InputError."""
    if resolution is not None and resolution not in RESOLUTIONS:
        raise InputError(
            f"a resolution of {resolution} is not supported; choose one of {', '.join(map(str, RESOLUTIONS))}."
        )
    return resolution


def check_channels(channels: int | None) -> int | None:
    """`channels` itself, or InputError."""
    if channels not in (None, 1, 3):
        raise InputError(f"{channels} channels are not supported; choose 1 for grey or 3 for colour.")
    return channels


def default_resolution(shorter: float) -> int:
    """The largest resolution that `shorter`, the (median) shorter side, fills to seven eighths; 8 for what is smaller.

    Seven eighths, so that images of 28, 56, 112 and 224 pixels are enlarged a little rather than halved.
    """
    return max((side for side in RESOLUTIONS if side * 7 <= shorter * 8), default=RESOLUTIONS[0])


def largest_square(height: int, width: int) -> tuple[int, int, int]:
    """Top, left and edge of the centred square."""
    edge = min(height, width)
    return (height - edge) // 2, (width - edge) // 2, edge
