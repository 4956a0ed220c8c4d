"""The labelled images, divided, and the images to test on where they were given."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from equipoise.apps.augment.split import Part, divide, part, unseen
from equipoise.data import Dataset, open_dataset
from equipoise.errors import InputError


class Material(NamedTuple):
    """What a comparison works on; no part shares an image, or a near-duplicate, with another."""

    name: str
    fingerprint: str
    classes: tuple[str, ...]
    flips: bool  # whether mirrored images are like the real ones
    training: Part
    validation: Part
    test: Part
    repeated: int  # test images left out because they repeat labelled ones


def prepare(
    source: str,
    test: str | None = None,  # a source of real images to test on; None: a part of the labelled ones
    resolution: int | None = None,
    labels: str | None = None,  # None: the source's own, or its folders
    seed: int = 0,
) -> Material:
    """Open and divide the data.

    Raises:
        InputError: no labels, too few images of a class, a test set of other classes, or the same images twice.
    """
    dataset = opened(source, resolution, labels)
    found = divide(dataset, seed, test=test is None)
    fingerprint, repeated, tested = dataset.fingerprint, 0, part(dataset, found.test)
    if test is not None:
        other = _given(test, source, dataset)
        rows = unseen(dataset, other)
        if not len(rows):
            raise InputError(f"every image of {test} is among those of {source}; give others to test on.")
        fingerprint, repeated, tested = f"{fingerprint} {other.fingerprint}", len(other) - len(rows), part(other, rows)
    sides = (part(dataset, found.training), part(dataset, found.validation), tested)
    return Material(dataset.name, fingerprint, dataset.classes, dataset.mirror_safe, *sides, repeated)


def opened(source: str, resolution: int | None, labels: str | None, channels: int | None = None) -> Dataset:
    """Labelled images: by the labels named, or the source's own, or its folders."""
    dataset = open_dataset(source, resolution=resolution, labels=labels, channels=channels)
    if len(dataset.shape) != 3:
        raise InputError(f"{source} holds vectors, and augment is for images; give a folder of labelled images.")
    if dataset.labels is None and dataset.names:
        dataset = open_dataset(source, resolution=resolution, labels="folders", channels=channels)
    if dataset.labels is None:
        raise InputError(
            f"{source} has no labels, and augment is for labelled images; give --labels, or another source."
        )
    return dataset


def _given(test: str, source: str, dataset: Dataset) -> Dataset:
    """The test set, as the labelled images are: their size, their channels, their classes."""
    channels, side, _ = dataset.shape
    other = opened(test, side, None, channels)
    if other.classes != dataset.classes:
        raise InputError(
            f"{test} has {len(other.classes)} classes ({', '.join(other.classes[:5])}, ...), {source} has "
            f"{len(dataset.classes)} ({', '.join(dataset.classes[:5])}, ...); give a test set with the same ones."
        )
    return other


def largest(training: Part) -> int:
    """How many training images the largest class has."""
    return int(np.bincount(training.labels).max())
