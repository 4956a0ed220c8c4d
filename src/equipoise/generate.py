"""Files from a run's generator: a grid, a folder of PNGs, or an array file."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from equipoise import images, runs, samples
from equipoise.config import Config
from equipoise.data.builtin import BUILTIN
from equipoise.errors import InputError
from equipoise.files import atomic_write

MOST = 1_000_000  # samples at once: they are held in memory


def generate_files(
    run: Path,
    count: int | None = None,
    seeds: str | None = None,  # "0-63" or "1,5,9"
    label: str | None = None,  # name or number of a class
    truncation: float = 1.0,
    grid: Path | None = None,
    out: Path | None = None,  # a folder, or a file ending in .npz
    which: str = "G_ema",
    at: str | None = None,  # a checkpoint's name
    ema: float | None = None,  # relative width of a power-function average, made of what the run kept
) -> list[str]:
    """Generate samples and write what was asked for; returns a sentence for each thing written."""
    chosen = parse_seeds(seeds, count)
    if grid is None and out is None:
        grid = run / "generated.png"
    _check_targets(grid, out)
    generator, config = load_generator(run, which, at, ema)
    made, labels = samples.from_seeds(generator, chosen, parse_class(label, config.class_names), truncation)
    made_labels = None if labels is None else labels.numpy()
    bytes_ = made.numpy() if len(config.shape) == 1 else images.to_uint8(made)
    written = []
    try:
        if grid is not None:
            grid.parent.mkdir(parents=True, exist_ok=True)
            images.save_png(grid, images.picture(bytes_, reference(config)))
            written.append(f"{len(chosen)} samples in {grid}")
        if out is not None and out.suffix.lower() == ".npz":
            _save_npz(out, bytes_, made_labels)
            written.append(f"{len(chosen)} samples in {out}")
        elif out is not None:
            _save_folder(out, bytes_, chosen)
            written.append(f"{len(chosen)} files in {out}")
    except OSError as error:
        raise InputError(f"the samples could not be written ({error}); name a place where you may write") from None
    return written


def load_generator(
    run: Path,
    which: str = "G_ema",
    at: str | None = None,  # a checkpoint's name
    ema: float | None = None,  # relative width of an average made of what the run kept
) -> tuple[nn.Module, Config]:
    """The generator of a run that is asked for, ready to generate, and the run's configuration."""
    if which not in ("G", "G_ema"):
        raise InputError(f"--network {which} generates nothing; there are G_ema (averaged) and G (as trained)")
    if ema is not None and which == "G":
        raise InputError(f"--ema {ema} is an average and --network G is none; give one of them")
    return runs.load_network(run, which, at) if ema is None else runs.load_average(run, ema, at)


def reference(settings: Config) -> NDArray[Any] | None:
    """The real points to draw samples over, where they come with the package."""
    return BUILTIN[settings.source]().images if settings.source in BUILTIN and len(settings.shape) == 1 else None


def parse_seeds(text: str | None, count: int | None) -> list[int]:
    """Seeds from `0-63`, `1,5,9` or both together; with a count alone, 0 to count-1."""
    if count is not None and not 1 <= count <= MOST:
        raise InputError(f"--count {count} cannot be generated at once; give 1 to {MOST:,}")
    if text is None:
        return list(range(count or 64))
    found: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?", part)
        if not match or (match[2] and int(match[2]) < int(match[1])):
            raise InputError(f"--seeds {text} cannot be read; write for example 0-63 or 1,5,9")
        first, last = int(match[1]), int(match[2] or match[1])
        if last >= 2**63 or len(found) + last - first >= MOST:
            raise InputError(f"--seeds {text} asks for too much; give at most {MOST:,} seeds below 2^63")
        found += range(first, last + 1)
    if count is not None and count != len(found):
        raise InputError(
            f"--seeds {text} names {len(found)} samples and --count {count}; give one of them, or the same number"
        )
    return found


def parse_class(label: str | None, names: tuple[str, ...]) -> int | None:
    """The number of a class from its name or its number."""
    if label is None:
        return None
    if label in names:
        return names.index(label)
    if label.isdecimal() and int(label) < max(len(names), 1):
        return int(label)
    known = f"there are {', '.join(names[:20])}" if names else "the run was trained without labels: train with --labels"
    raise InputError(f"there is no class {label!r}; {known}")


def _check_targets(grid: Path | None, out: Path | None) -> None:
    if grid is not None and grid.suffix.lower() != ".png":
        raise InputError(f"--grid {grid} must end in .png, for it is one picture")
    if out is not None and out.suffix.lower() == ".npz" and out.exists():
        raise InputError(f"{out} exists already, and nothing is overwritten; give another name")
    if out is not None and out.suffix.lower() != ".npz" and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} exists already and is not empty, and nothing is overwritten; give another folder")


def _save_npz(out: Path, made: NDArray[Any], labels: NDArray[np.int64] | None) -> None:
    """`images` uint8 [N, H, W, C], as the field's evaluators read it, or vectors [N, d]; `labels` where there are."""
    arrays = {"images": made.transpose(0, 2, 3, 1) if made.ndim == 4 else made}
    if labels is not None:
        arrays["labels"] = labels
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    out.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(out, buffer.getvalue())


def _save_folder(out: Path, made: NDArray[Any], seeds: list[int]) -> None:
    if made.ndim != 4:
        raise InputError("vectors cannot be written as PNG files; give --out a name ending in .npz")
    out.mkdir(parents=True, exist_ok=True)
    for seed, image in zip(seeds, made, strict=True):
        images.save_png(out / f"seed{seed:06d}.png", image.transpose(1, 2, 0))
