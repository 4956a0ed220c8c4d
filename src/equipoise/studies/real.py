"""Which real samples a run is judged by: held-out ones, a half of all, or a source that it was not trained on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from equipoise.data import Dataset, open_dataset
from equipoise.data.holdout import Holdout
from equipoise.data.stacked import is_stacked
from equipoise.errors import InputError

Rows = NDArray[np.int64]

MOST = 2_048  # samples to judge by
ENOUGH = 500  # held-out samples that precision and coverage need: balls round 54 digits hold nearly everything
SEARCHED = 20_000  # training samples that are compared with those to judge by
TWINS = 0.1  # share of the samples to judge by that may be among them, since some sources repeat themselves


def split(dataset: Dataset, seed: int, samples_seen: int) -> tuple[Rows, Rows]:
    """Rows to judge by, and the others: the run's held-out samples, or halves of the data where these are too few."""
    holdout = Holdout(dataset, seed)
    if len(holdout.heldout(samples_seen)) >= ENOUGH:
        return holdout.heldout(samples_seen), holdout.training(samples_seen)
    order = np.random.default_rng(0).permutation(len(dataset))
    half = min(len(dataset) // 2, MOST)
    return np.sort(order[:half]), np.sort(order[half:])


def some(dataset: Dataset) -> Rows:
    """Rows of a source that was not trained on: all, or the same 2,048 for every run."""
    return np.sort(np.random.default_rng(0).permutation(len(dataset))[:MOST])


def opposite(
    dataset: Dataset, source: str, against: str, resolution: int | None = None, labels: str | None = None
) -> Dataset:
    """The source to judge runs on `dataset` by; InputError where it is no measure of them, or was trained on."""
    if dataset.modes is not None or is_stacked(source):
        raise InputError(f"the modes of {source} are known, so that runs need no {against} to be judged against.")
    other = open_dataset(against, resolution=resolution, labels=labels)
    if other.shape != dataset.shape:
        raise InputError(
            f"{against} holds samples of shape {other.shape}, {source} such of {dataset.shape}; give a source of the "
            "same kind, or a resolution for both."
        )
    if other.labels is not None and dataset.labels is not None and other.classes != dataset.classes:
        raise InputError(f"{against} has other classes than {source}; give a source with the same ones.")
    judges = {image.tobytes() for image in other.images[some(other)]}
    twins = len(judges & {image.tobytes() for image in dataset.images[:SEARCHED]})
    if twins > TWINS * len(judges):
        raise InputError(
            f"{twins:,} of the {len(judges):,} samples of {against} that would judge are among those of {source} that "
            "are trained on; give others, such as digits:test for digits:train."
        )
    return other
