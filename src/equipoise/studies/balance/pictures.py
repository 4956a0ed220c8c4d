"""Two tasks of images: triples of digits in a thousand modes, and photographs judged by what a classifier sees."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from equipoise.data import Dataset, open_dataset
from equipoise.errors import InputError
from equipoise.images import to_uint8
from equipoise.metrics import finite_rows
from equipoise.studies import scores
from equipoise.studies.balance.material import Array, Labels, Material, copies, neighbourly, shares, thinned
from equipoise.studies.classifiers import classifier

TRIPLES, FEW_TRIPLES = 10_000, 500  # rows of the whole and of tiny data
SIDE = 16  # pixels of the photographs
PHOTOGRAPHS, FEW_PHOTOGRAPHS = 10_000, 500
JUDGES = 1_000  # unseen photographs, and as many samples
SPLIT = 1016  # seed of the choice of photographs, the same for all runs


def triples(seed: int, data: str) -> Material:
    """Three 8x8 digits as channels, float32 [N, 192] in [-1, 1]; a classifier of single digits sees the mode."""
    one, true = open_dataset("digits"), shares(1000, data == "tail")
    generator = np.random.default_rng([7, seed])
    modes = generator.choice(1000, FEW_TRIPLES if data == "tiny" else TRIPLES, p=true)
    rows = drawn(one, modes, generator)
    if data == "copies":
        rows, modes = copies(rows, modes, seed)

    def judge(made: Array) -> dict[str, float]:
        found = scores.by_classes(one, made.reshape(-1, 3, *one.shape[1:]), true).values
        return {name: found[name] for name in ("overlap", "modes", "reverse_kl")}

    return Material(rows, modes, judge, scores.TRIPLES)


def drawn(one: Dataset, modes: Labels, generator: np.random.Generator) -> Array:
    """A digit of each mode's three classes: rows [N, 192]."""
    assert one.labels is not None
    digits = modes[:, None] // [100, 10, 1] % 10  # [N, 3]
    which = np.zeros_like(digits)
    for digit in range(10):
        own = digits == digit
        which[own] = generator.choice(np.flatnonzero(one.labels == digit), own.sum())
    return normal(one.images[which, 0]).reshape(len(modes), -1)


def photographs(seed: int, data: str) -> Material:
    """CIFAR-10 at 16x16, float32 [N, 3, 16, 16] in [-1, 1].

    F in the features of a classifier fitted to the training set. In them unseen real images score .96 and real ones
    blurred over 3x3 pixels .37; in pixels .79 and .98, so that blur would be rewarded.
    """
    shown, judging = (_cifar(part) for part in ("train", "test"))
    inner, outer = (some(len(one), count) for one, count in ((shown, PHOTOGRAPHS), (judging, JUDGES)))
    assert shown.labels is not None and judging.labels is not None
    if data == "tiny":
        inner = np.random.default_rng([7, seed]).permutation(inner)[:FEW_PHOTOGRAPHS]
    elif data == "tail":
        true = shares(len(shown.classes), tail=True)
        inner = inner[thinned(shown.labels[inner], true, seed)]
        outer = outer[thinned(judging.labels[outer], true, seed)]
    rows, labels = normal(shown.images[inner]), shown.labels[inner]
    if data == "copies":
        rows, labels = copies(rows, labels, seed)
    fitted = classifier(shown)
    unseen = fitted.features(judging.images[outer])

    def judge(made: Array) -> dict[str, float]:
        sound = finite_rows(made)
        seen = np.full((len(made), unseen.shape[1]), np.nan, np.float32)
        if sound.any():
            seen[sound] = fitted.features(to_uint8(made[sound]))
        return neighbourly(unseen, seen)

    return Material(rows, labels, judge, len(outer))


def normal(images: Array) -> Array:
    """Bytes as floats in [-1, 1]."""
    return np.asarray(images.astype(np.float32) / 127.5 - 1)


def some(available: int, count: int) -> Labels:
    """The same `count` numbers below `available` for all runs, or all of them."""
    return np.sort(np.random.default_rng(SPLIT).permutation(available)[:count])


def has_photographs() -> None:
    """Refuse where CIFAR-10 is not at hand."""
    _folder("train"), _folder("test")


def _cifar(part: str) -> Dataset:
    return open_dataset(str(_folder(part)), resolution=SIDE, labels="folders")


def _folder(part: str) -> Path:
    root = os.environ.get("EQUIPOISE_DATA")
    folder = Path(root or ".") / "cifar10" / part
    if root is None or not folder.is_dir():
        raise InputError(
            "the task conv16 needs CIFAR-10, and EQUIPOISE_DATA "
            + ("is not set" if root is None else f"has no {folder.relative_to(root)}")
            + "; let it name a folder with cifar10/train/<class>/ and cifar10/test/<class>/, or leave the task out"
        )
    return folder
