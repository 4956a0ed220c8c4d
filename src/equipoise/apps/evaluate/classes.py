"""What labels make possible: every class by itself, and whether a classifier learns from the generated images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from equipoise.apps.evaluate.opening import Array, Rows
from equipoise.apps.evaluate.sides import Side, Sides
from equipoise.metrics import fit_classifier
from equipoise.metrics.intervals import Measure, wilson
from equipoise.metrics.measures import measure

LEAST = 12  # samples of a class on either side: twice the neighbours of a ball, and two


@dataclass(frozen=True)
class Class:
    """One class of both sides; no numbers where the samples are too few."""

    name: str
    made: int  # samples
    real: int
    numbers: dict[str, Measure]


@dataclass(frozen=True)
class Accuracy:
    """Classification accuracy score (Ravuri & Vinyals 2019, arXiv:1905.10887): fitted to generated, tested on real."""

    generated: Measure  # share of real test images recognised
    real: Measure  # of the same classifier fitted to as many real images
    fitted: int  # images in either fit
    tested: int
    by_class: dict[str, tuple[float, float]]  # generated, real; nan for a class that is not tested


def by_class(
    real: Array,  # [N, d] features
    real_labels: Rows,
    fake: Array,  # [M, d]
    fake_labels: Rows,
    names: tuple[str, ...],
) -> tuple[Class, ...]:
    """All numbers within each class; Fréchet distances only where a class has more samples than features."""
    found = []
    for number, name in enumerate(names):
        ours, theirs = real[real_labels == number], fake[fake_labels == number]
        few, numbers = min(len(ours), len(theirs)), dict[str, Measure]()
        if few >= LEAST:
            numbers = measure(ours, theirs, frechets=few > real.shape[1])
        found.append(Class(name, len(theirs), len(ours), numbers))
    return tuple(found)


def accuracy(sides: Sides, seed: int = 0) -> Accuracy | None:
    """Fit the package's small classifier twice and test both on the same real images; None without labels or images."""
    made, test, train = sides.made, sides.real, sides.twin
    if train is None or train.labels is None:  # halves of the real ones
        train, test = _part(test, 0), _part(test, 1)
    if made.labels is None or test.labels is None or train.labels is None or test.samples.ndim != 4:
        return None
    count, number = min(len(made), len(train)), len(sides.classes)
    right = [
        fit_classifier(side.samples[:count], side.labels[:count], num_classes=number, seed=seed).predict(test.samples)  # type: ignore[index]
        == test.labels
        for side in (made, train)
    ]
    shares = [Measure(float(one.mean()), *wilson(float(one.mean()), len(one))) for one in right]
    each = {
        name: tuple(float(one[test.labels == k].mean()) if (test.labels == k).any() else float("nan") for one in right)
        for k, name in enumerate(sides.classes)
    }
    return Accuracy(shares[0], shares[1], count, len(test), each)  # type: ignore[arg-type]


def _part(side: Side, first: int) -> Side:
    """Every second sample."""
    rows = np.arange(first, len(side), 2)
    return Side(side.name, side.samples[rows], None if side.labels is None else side.labels[rows])
