"""`equipoise walk`: a run's way between seeds, between classes and through truncations, as one file to look at.

What moves goes a closed way, so that an animation repeats without a jump; a picture shows an open way, a row a moment.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import torch
from torch import Tensor, nn

from equipoise import animation, generate, images
from equipoise.apps.ways import Way, plan_way, walk
from equipoise.config import Config
from equipoise.errors import InputError
from equipoise.files import atomic_write
from equipoise.images import Bytes

POINTS = 256  # walks at once where a sample is a point
STOPS = 4  # seeds of a walk, where none are named
SECONDS = 1.0  # from stop to stop
ROWS = 9  # of a picture, where neither frames nor truncations say how many
SIDE = 256  # pixels of an animation of one small image; several share them
LARGEST = 2**30  # bytes of all frames, which are held in memory


@dataclass(frozen=True)
class Asked:
    """What a user may say of a walk; None: choose well."""

    seeds: str | None = None  # 0-7 or 1,5,9
    label: str | None = None  # a class to stay in
    classes: str | None = None  # classes to pass: names or numbers with commas, or `all`
    truncation: str = "1"  # one number, or several to pass
    frames: int | None = None
    seconds: float | None = None  # of the whole; an animation has seconds x fps frames
    fps: float = 25.0
    rows: int | None = None
    columns: int | None = None


def write(
    run: Path,
    out: Path | None = None,  # .gif, .webp, .apng, .mp4 or .png; default: walk-N.gif in the run
    asked: Asked = Asked(),
    which: str = "G_ema",
    at: str | None = None,  # a checkpoint's name
    ema: float | None = None,  # relative width of an average made of what the run kept
) -> tuple[Path, int]:
    """Walk through a run's latent space and write what is seen; returns the file and its number of frames."""
    path = out or next(name for number in count(1) if not (name := run / f"walk-{number}.gif").exists())
    still = path.suffix.lower() == ".png"
    _check_target(path, still, asked.fps)
    generator, config = generate.load_generator(run, which, at, ema)
    _check_shape(config.shape, still)
    way, columns = _way(generator, config, asked, still)
    frames = _length(asked, way, still)
    _check_size(frames, way.latents.shape[1], columns, config.shape)
    made = walk(generator, way, frames, closed=not still)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if still:
            rows = torch.cat(list(made))
            images.save_png(path, images.grid(images.to_uint8(rows), columns=way.latents.shape[1]))
        else:
            atomic_write(path, animation.encode(_drawn(made, config, columns), path.suffix, asked.fps))
    except OSError as error:
        raise InputError(f"{path} could not be written ({error}); name a place where you may write") from None
    return path, frames


def _drawn(made: Iterator[Tensor], config: Config, columns: int) -> Iterator[Bytes]:
    """Each moment as a picture: points over the real ones, or images in a grid."""
    reference = generate.reference(config)
    for moment in made:
        if moment.dim() == 2:
            yield images.scatter(moment, reference)
        else:
            yield images.grid(images.to_uint8(moment), columns, scale=_scale(len(moment), columns, config.shape))


def _scale(walks: int, columns: int, shape: tuple[int, ...]) -> int:
    """How many times images are enlarged: as many stand side by side, as they share `SIDE` pixels."""
    cell = max(images.CELL, SIDE // max(columns, -(-walks // columns)))
    return -(-cell // max(shape[1:]))


def _way(generator: nn.Module, config: Config, asked: Asked, still: bool) -> tuple[Way, int]:
    """The way that was asked for, and how many walks stand side by side."""
    classes, truncations = _classes(asked, config.class_names), _numbers(asked.truncation)
    moving = len(classes) > 1 or len(truncations) > 1
    given = None if asked.seeds is None else generate.parse_seeds(asked.seeds, None)
    walks = (asked.rows or 1) * (asked.columns or 1)
    if asked.rows is None and asked.columns is None:
        usual = POINTS if len(config.shape) == 1 else 8 if still else 1
        walks = usual if given is None else len(given) if moving else 1
    if walks > generate.MOST:
        raise InputError(f"{walks} walks cannot be shown side by side; give fewer --rows or --columns")
    way = plan_way(generator, given or range(walks * (1 if moving else STOPS)), walks, classes, truncations)
    if way.stops == 1:
        raise InputError("nothing moves; give at least two --seeds for each walk, two --classes or two truncations")
    return way, asked.columns or (1 if asked.rows else math.isqrt(walks - 1) + 1)


def _classes(asked: Asked, names: tuple[str, ...]) -> list[int]:
    if asked.label is not None and asked.classes is not None:
        raise InputError("--class stays in one class and --classes passes several; give one of them")
    words = [asked.label] if asked.label is not None else [] if asked.classes is None else asked.classes.split(",")
    if asked.classes == "all":
        words = list(names) or ["all"]
    return [found for word in words if (found := generate.parse_class(word.strip(), names)) is not None]


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise InputError(
            f"--truncation {text} cannot be read; write for example 0.7, or 0,0.5,1 to pass them"
        ) from None


def _length(asked: Asked, way: Way, still: bool) -> int:
    """Frames of the whole."""
    if asked.frames is not None and asked.seconds is not None:
        raise InputError("--frames and --seconds both fix the length; give one of them, with --fps if you like")
    rows = len(way.truncations) if len(way.truncations) > 1 else ROWS
    seconds = way.stops * SECONDS if asked.seconds is None else asked.seconds
    if asked.seconds is not None and (still or not 0 < seconds < math.inf):
        raise InputError(
            f"--seconds {seconds:g} is no length of this; give a number above 0, or --frames for a picture"
        )
    found = asked.frames if asked.frames is not None else rows if still else round(seconds * asked.fps)
    if found < 2:
        raise InputError(f"a walk of {found} frames does not move; give more --frames or --seconds")
    return found


def _check_target(path: Path, still: bool, fps: float) -> None:
    if not still:
        try:
            animation.check(path.suffix, fps)
        except InputError as error:
            raise InputError(f"--out {path}: {error}") from None
    if path.exists():
        raise InputError(f"{path} exists already, and nothing is overwritten; give another name")


def _check_shape(shape: tuple[int, ...], still: bool) -> None:
    if len(shape) == 1 and (still or shape[0] != 2):
        raise InputError(
            f"the run makes vectors of {shape[0]} numbers; a walk is drawn of images or, as an animation, of points in "
            "the plane"
        )


def _check_size(frames: int, walks: int, columns: int, shape: tuple[int, ...]) -> None:
    scale = 1 if len(shape) == 1 else _scale(walks, columns, shape)
    size = frames * (3 * 512**2 if len(shape) == 1 else walks * math.prod(shape) * scale**2)
    if size > LARGEST:
        raise InputError(
            f"{frames} frames of {walks} walks take {size / 2**30:.1f} GiB, and {LARGEST / 2**30:g} is the most; give "
            "fewer --frames, --rows or --columns"
        )
