"""Three grey images as the colours of one: K classes become K^3 known modes (Metz et al. 2017, arXiv:1611.02163)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from equipoise.data.builtin import BUILTIN
from equipoise.data.dataset import Analysis, Dataset, assemble
from equipoise.data.report import Report
from equipoise.errors import InputError

PREFIX = "stacked:"
ALIASES = {"stacked-digits": "stacked:digits"}
SEED = 1611  # any fixed number: the triples are always the same ones
FEW, MANY = 10_000, 60_000  # triples of images of at most 8x8 pixels, and of larger ones
BYTES = 2**28  # of the triples, which are held in memory: fewer of them above 38x38 pixels
POOL = 2**20  # images at most that triples are drawn from: its cube is still a whole number of 64 bits


def is_stacked(source: str) -> bool:
    """Whether the source asks for triples."""
    return source.startswith(PREFIX) or source in ALIASES


def singles(source: str, labels: str | None = None, **options: Any) -> Dataset:
    """The labelled grey images, uint8 [n, 1, H, W], that `stacked:SOURCE` is made of; options as of `open_dataset`.

    Labels are those of the source, or else the sub-folders. Raises InputError for vectors, colour, and missing labels.
    """
    from equipoise.data.sources import open_dataset  # which needs this module

    inner = ALIASES.get(source, source).removeprefix(PREFIX)
    found = open_dataset(inner, labels=labels, **options)
    if len(found.shape) != 3 or found.shape[0] != 1:
        what = "vectors" if len(found.shape) == 1 else "colour images"
        raise InputError(
            f"{source} cannot stack the {what} of {inner}, for each sample becomes one channel; give grey images."
        )
    if found.labels is None and labels is None and _has_folders(inner):
        found = open_dataset(inner, labels="folders", **options)
    if found.labels is None:
        raise InputError(f"{source} needs to know the classes of {inner}, which has no labels; give some by --labels.")
    return found


def triples(available: int, count: int) -> npt.NDArray[np.int64]:
    """Which images stand in the three channels: [count, 3] from 0 to available - 1, no two rows alike."""
    pool = min(available, POOL)
    chosen = np.random.default_rng(SEED).choice(pool**3, count, replace=False)
    return np.stack([chosen // pool**2, chosen // pool % pool, chosen % pool], axis=1)


def stacked(
    source: str,  # stacked:SOURCE, or an alias
    *,
    resolution: int | None = None,
    channels: int | None = None,  # None or 3
    labels: str | None = None,  # of the single images; None: the source's own, or its sub-folders
    **options: Any,  # cache and progress, as of `open_dataset`
) -> Dataset:
    """Random triples of the source's images, uint8 [N, 3, H, W], unlabelled, always the same ones.

    10,000 of images up to 8x8, up to 60,000 of larger ones, and never more than there are. No search for duplicates.
    """
    if channels not in (None, 3):
        raise InputError(f"{source} has three channels, one for each image, not {channels}; leave the channels out.")
    one = singles(source, labels, resolution=resolution, **options)
    side = one.shape[-1]
    count = min(FEW if side <= 8 else MANY, BYTES // (3 * side**2), min(len(one), POOL) ** 3)
    which = triples(len(one), count)
    note = f"random triples of {len(one):,} images in {len(one.classes)} classes: {len(one.classes) ** 3:,} modes"
    return assemble(
        np.asarray(one.images)[which, 0],  # [count, 3, H, W]
        Report(source, sizes=one.report.sizes, modes=one.report.modes, notes=(note, *one.report.notes)),
        labels=None,
        classes=(),
        content=f"stacked 1 {one.fingerprint} {count}",
        analysis=Analysis(np.arange(count), 0, 0, False, "not used: the classes of the single images may not allow it"),
        name=f"stacked-{one.name}",
    )


def _has_folders(inner: str) -> bool:
    """Whether the source is made of files whose folders may be classes."""
    return inner not in BUILTIN and not inner.startswith("hf:") and Path(inner).suffix.lower() not in (".npy", ".npz")
