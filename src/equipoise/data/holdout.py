"""The held-out split: seeded, stratified by class, near-duplicates on one side, rotating when data are scarce.

A pure function of the seed, the labels, the groups and the samples seen, hence the same in every mode of training,
on every rank and after a resume.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from equipoise.data.dataset import Dataset
from equipoise.errors import InputError

Ints = npt.NDArray[np.int64]

SCARCE = 2000  # samples below which the folds rotate
PASSES = 20  # over the data, before the next fold is held out
LEAST, MOST = 32, 2048  # samples held out
LEFT_OUT = -2  # in the place of a fold's number
STREAM = 0x5EED  # sets the split's random numbers apart from those of the batches


class Holdout:
    """Which samples are held out at a given moment.

    With scarce data (`rotates`), the folds partition the data and take turns, `period` samples each: fold number
    `samples_seen // period % folds` is out. Else one fold is out for good (`folds == 1`, `period` is 0).

    Every class is held out in proportion, so a class of at least N / size samples is represented. A group of
    near-duplicates is never divided; one too large to be held out is always trained on. Only where this would leave
    nothing to hold out (all samples alike) are the groups given up, and `divides_groups` says so.
    """

    def __init__(
        self,
        dataset: Dataset,
        seed: int,
        fraction: float = 0.03,  # of the samples, within 32 and 2048, and never above a tenth
    ) -> None:
        if not 0 < fraction <= 0.5:
            raise InputError(f"a held-out fraction of {fraction} cannot work; give one above 0 and at most 0.5.")
        count = len(dataset)
        if count < 2:
            raise InputError(f"{count} samples cannot be split into a training and a held-out part; give at least 2.")
        self.count = count
        self.size = heldout_size(count, fraction)  # samples aimed at
        self.rotates = count < SCARCE
        self.folds = count // self.size if self.rotates else 1
        self.period = PASSES * count if self.rotates else 0  # samples
        labels = np.zeros(count, np.int64) if dataset.labels is None else dataset.labels
        groups, self.divides_groups = dataset.groups, False
        if not (np.bincount(groups)[groups] <= self._largest()).any():
            groups, self.divides_groups = np.arange(count), True
        self._fold = self._deal(labels, groups, seed)  # [N]: the fold of each sample, -1 for never held out
        self.folds = int(self._fold.max()) + 1  # fewer than asked for where large groups leave little to deal

    def heldout(self, samples_seen: int) -> Ints:
        """Indices out at this moment, sorted."""
        return np.flatnonzero(self._fold == self.fold(samples_seen))

    def training(self, samples_seen: int) -> Ints:
        """Indices trained on at this moment, sorted: the complement."""
        return np.flatnonzero((self._fold != self.fold(samples_seen)) & (self._fold != LEFT_OUT))

    def leave_out(self, rows: Ints) -> None:
        """Neither train on these rows nor hold them out, from now on; `Batches.leave_out` tells the batches too."""
        self._fold[rows] = LEFT_OUT

    def fold(self, samples_seen: int) -> int:
        """Number of the fold that is out at this moment."""
        return self.turn(samples_seen) % self.folds

    def turn(self, samples_seen: int) -> int:
        """How many times the held-out fold has changed."""
        return samples_seen // self.period if self.rotates else 0

    def _largest(self) -> int:
        """A group may fill half of what is held out, and a fold always leaves something to train on."""
        return max(1, self.size // 2)

    def _deal(self, labels: Ints, groups: Ints, seed: int) -> Ints:
        """Lay the groups out by class and size, shuffled within, and deal them to the folds like cards."""
        _, first, member, sizes = np.unique(groups, return_index=True, return_inverse=True, return_counts=True)
        small = np.flatnonzero(sizes <= self._largest())
        tie = np.random.default_rng([STREAM, seed]).permutation(len(sizes))
        order = small[np.lexsort((tie[small], sizes[small], labels[first[small]]))]
        fold = np.full(len(sizes), -1, np.int64)
        if self.rotates:
            fold[order] = np.arange(len(order)) % self.folds
        else:
            out = max(1, round(len(order) * self.size / self.count))
            fold[order[np.arange(len(order)) * out % len(order) < out]] = 0  # evenly spaced, exactly `out` of them
        return np.asarray(fold[member])

    def __repr__(self) -> str:
        turns: dict[str, Any] = {"folds": self.folds, "period": self.period} if self.rotates else {}
        return f"Holdout(count={self.count}, size={self.size}{''.join(f', {k}={v}' for k, v in turns.items())})"


def heldout_size(count: int, fraction: float = 0.03) -> int:
    """How many of `count` samples are held out: `fraction` within 32 and 2048, at most a tenth, at least one."""
    return max(1, min(max(round(fraction * count), LEAST), MOST, count // 10))
