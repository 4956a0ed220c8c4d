"""Which labelled images train, which choose, which judge: every class in proportion, near-duplicates on one side."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from equipoise.data import Dataset
from equipoise.data import duplicates as repeats
from equipoise.errors import InputError

Ints = NDArray[np.int64]

SHARE = 0.2  # of each class for validation, and as much for the test where none was given
STREAM = 0xA06  # sets this split's random numbers apart from others of the same seed


class Part(NamedTuple):
    """Images of one side of the split, with their classes."""

    images: NDArray[np.uint8]  # [N, C, H, W]
    labels: Ints  # [N], 0 to K-1


class Split(NamedTuple):
    """Rows of the labelled set; `test` is empty where a test set was given."""

    training: Ints
    validation: Ints
    test: Ints


def part(dataset: Dataset, rows: Ints) -> Part:
    """These rows, in memory."""
    assert dataset.labels is not None
    return Part(np.asarray(dataset.images[rows]), dataset.labels[rows])


def divide(
    dataset: Dataset,  # labelled images
    seed: int,
    test: bool = True,  # whether a part is kept to test on
) -> Split:
    """Deal each class's groups of near-duplicates, shuffled, to the test, then to validation, the rest to training.

    A group goes where its first image's class sends it; one that would overfill a side is trained on.
    """
    assert dataset.labels is not None
    _, first, member, sizes = np.unique(dataset.groups, return_index=True, return_inverse=True, return_counts=True)
    side = np.zeros(len(sizes), np.int64)  # of each group: 0 training, 1 validation, 2 test
    random = np.random.default_rng([STREAM, seed])
    for label in range(len(dataset.classes)):
        mine = random.permutation(np.flatnonzero(dataset.labels[first] == label))
        share = max(1, math.floor(SHARE * sizes[mine].sum() + 0.5))
        for number in (2, 1) if test else (1,):
            free = mine[side[mine] == 0]
            side[free[_filling(sizes[free], share)]] = number
    found = Split(*(np.flatnonzero(side[member] == number) for number in range(3)))
    _check(dataset, found, test)
    return found


def _filling(sizes: Ints, room: int) -> NDArray[np.bool_]:
    """Which of these groups are taken, in order, so that none overfills the room."""
    taken = np.zeros(len(sizes), bool)
    for index, size in enumerate(sizes):
        if size <= room:
            taken[index], room = True, room - int(size)
    return taken


def _check(dataset: Dataset, found: Split, test: bool) -> None:
    """Every class must be on every side."""
    assert dataset.labels is not None
    for label, name in enumerate(dataset.classes):
        have = [int((dataset.labels[rows] == label).sum()) for rows in found]
        if have[0] < 2 or have[1] < 1 or (test and have[2] < 1):
            needs = "4 different ones (two to train on, one to choose by, one to test)"
            raise InputError(
                f"class {name!r} of {dataset.name} has too few images ({sum(have)}, near-duplicates among them), and "
                f"augment needs {needs if test else needs.replace('4', '3').replace(', one to test', '')} of each "
                "class; add images, or leave the class out."
            )


def unseen(dataset: Dataset, other: Dataset) -> Ints:
    """Rows of another source that repeat no image of this one, exactly or nearly."""
    images = np.concatenate([dataset.images, other.images])
    groups = repeats.near(images, repeats.thumbnails(images), repeats.exact(images))
    return np.flatnonzero(~np.isin(groups[len(dataset) :], groups[: len(dataset)]))
