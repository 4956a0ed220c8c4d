"""What training reads: the samples of a source, their labels, and what is known about them."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from equipoise.data import duplicates, mirror
from equipoise.data.report import Report
from equipoise.errors import InputError

Array = npt.NDArray[Any]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Dataset:
    """Samples ready for training.

    Errors: `open_dataset` and `from_arrays` raise InputError for data that cannot be trained on; a Dataset is sound.
    """

    images: Array  # uint8 [N, C, H, W], possibly a read-only memory map, or float32 [N, d] vectors
    labels: Ints | None  # [N], 0 to K-1
    classes: tuple[str, ...]  # K names; () when unlabelled
    groups: Ints  # [N]: near-duplicates share a number
    report: Report
    fingerprint: str  # hash of content and options
    mirror_safe: bool  # whether horizontal flips keep the distribution; False for vectors
    modes: Array | None = None  # float32 [K, d]: the known centres of ring and grid
    mode_std: float | None = None
    name: str = ""
    names: Sequence[str] = ()  # [N] file names, where the source has them

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one sample: (C, H, W) or (d,)."""
        return tuple(self.images.shape[1:])

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class Analysis:
    """What the samples say about themselves; costs a pass over them, so the cache keeps it."""

    groups: Ints
    exact: int  # samples that repeat an earlier one exactly
    near: int  # samples that repeat an earlier one nearly
    mirror_safe: bool
    mirror: str  # the sentence about it


def analyse(images: Array) -> Analysis:
    """Find duplicates and test whether flips can be told, of uint8 [N, C, H, W] or float32 [N, d]."""
    if images.ndim == 2:
        groups = duplicates.exact(images)
        return Analysis(groups, len(images) - len(np.unique(groups)), 0, False, "")
    same, thumbnails = duplicates.exact(images), duplicates.thumbnails(images)
    groups = duplicates.near(images, thumbnails, same)
    distinct = len(np.unique(same))
    safe, sentence = mirror.judge(thumbnails)
    return Analysis(groups, len(images) - distinct, distinct - len(np.unique(groups)), safe, sentence)


def assemble(
    images: Array,
    report: Report,  # what is known so far; counts, classes and duplicates are filled in here
    *,
    labels: Ints | None,
    classes: tuple[str, ...],
    content: str,  # a hash of content and options
    analysis: Analysis | None = None,
    modes: Array | None = None,
    mode_std: float | None = None,
    name: str = "",
    names: Sequence[str] = (),
) -> Dataset:
    """Make the Dataset; raise InputError where it would hold nothing to learn."""
    if len(images) < 2:
        raise InputError(f"{report.source} holds only one usable sample, and a GAN learns a distribution; give many.")
    analysis = analysis or analyse(images)
    if analysis.exact == len(images) - 1:
        raise InputError(
            f"all {len(images):,} samples of {report.source} are identical, so there is nothing to learn; give others."
        )
    counts: Any = np.bincount(labels, minlength=len(classes)) if labels is not None else ()
    report = dataclasses.replace(
        report,
        count=len(images),
        shape=tuple(images.shape[1:]),
        classes={one: int(count) for one, count in zip(classes, counts, strict=True)},
        exact_duplicates=analysis.exact,
        near_duplicates=analysis.near,
        duplicates=duplicates.named(analysis.groups, names),
        mirror=analysis.mirror,
    )
    digest = hashlib.blake2b(content.encode(), digest_size=16)
    digest.update(b"" if labels is None else labels.tobytes())
    return Dataset(
        images=images,
        labels=labels,
        classes=classes,
        groups=analysis.groups,
        report=report,
        fingerprint=digest.hexdigest(),
        mirror_safe=analysis.mirror_safe,
        modes=modes,
        mode_std=mode_std,
        name=name or report.source,
        names=names,
    )
