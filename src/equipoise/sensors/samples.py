"""What comes of the game: samples against real data, from the distances between them.

All distances are Euclidean, in pixels for images (above 32 a side averaged down). The shares depend on how many samples
are compared, so the trainer compares as many generated as training samples, always as many.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from equipoise.sensors.probes import distances, probe

K = 5  # neighbours to the edge of a ball (arXiv:2002.09797)
LEAST = 30  # held-out samples below which nothing is said: with 5 to 10 the noise exceeds the differences


@probe(cost="distances among samples and among training data")
def diversity(samples_to_samples: Tensor, training_to_training: Tensor) -> Tensor | float:
    """Mean distance between samples over that between training data: 0 collapsed, 1 as diverse as the data."""
    return mean_distance(samples_to_samples) / mean_distance(training_to_training)


@probe(paper="doi:10.1016/j.jspi.2013.03.018", cost="distances to held-out data")
def energy(
    samples_to_heldout: Tensor,
    training_to_heldout: Tensor,
    samples_to_samples: Tensor,
    training_to_training: Tensor,
) -> Tensor | float:
    """Energy distance of samples to held-out data, less that of training to held-out data, in units of the data.

    The unit is the mean distance between training samples; what belongs to the held-out data alone cancels. It sees
    lost modes and shifts, and does not see fine noise.
    """
    if samples_to_heldout.shape[1] < LEAST:
        return math.nan
    ours = 2 * samples_to_heldout.mean() - mean_distance(samples_to_samples)
    unit = mean_distance(training_to_training)
    return (ours - 2 * training_to_heldout.mean() + unit) / unit


@probe("precision", "coverage", paper="arXiv:2002.09797", claim="quality and diversity apart", cost="none of its own")
def balls(samples_to_training: Tensor, training_to_training: Tensor) -> dict[str, Tensor] | dict[str, float]:
    """Share of samples within the training data's balls, and share of those balls with a sample inside."""
    if len(training_to_training) <= K or not len(samples_to_training):
        return {"precision": math.nan, "coverage": math.nan}
    inside = samples_to_training < radii(training_to_training)
    return {"precision": inside.any(1).double().mean(), "coverage": inside.any(0).double().mean()}


@probe(paper="arXiv:1904.06991", claim="what of unseen data the samples reach", cost="none of its own")
def recall(samples_to_heldout: Tensor, samples_to_samples: Tensor) -> Tensor | float:
    """Share of held-out samples within the generated ones' balls."""
    if samples_to_heldout.shape[1] < LEAST or len(samples_to_samples) <= K:
        return math.nan
    return (samples_to_heldout < radii(samples_to_samples)[:, None]).any(0).double().mean()


@probe(every=4, claim="below 1 where training data are copied", cost="distances to a thousand training samples")
def nearest(samples_to_pool: Tensor, heldout_to_pool: Tensor) -> Tensor | float:
    """Median distance of samples to the nearest training sample over that of held-out samples.

    The trainer looks through a thousand training samples. In larger data most copies have their original elsewhere, so
    the number tells memorising of small data only.
    """
    if len(heldout_to_pool) < LEAST or not len(samples_to_pool):
        return math.nan
    return samples_to_pool.amin(1).median() / heldout_to_pool.amin(1).median()


@probe(claim="above 0 where G imitates what D's augmentation does to images", cost="distances to augmented data")
def leak(
    samples_to_training: Tensor,
    samples_to_augmented: Tensor,
    training_to_training: Tensor,
    training_to_augmented: Tensor,
) -> Tensor | float:
    """How much likelier a sample's nearest is an augmented image than a training image's is, 0 to 1.

    `augmented[i]` is `training[i]` after D's augmentation; both lie as near where that left it alone, which counts as
    not augmented. A training image is compared with others only. On MNIST at 16x16 it reads 0 for held-out images and
    .44, .82, .85 for images changed by ada at p = .2, .6, .9, half of that where every second one is; on CIFAR-10,
    where images have no near neighbours, .05, .16, .23. Samples that are dull or far from all data read high too.
    """
    if len(training_to_training) < 2 or not len(samples_to_training):
        return math.nan
    itself = torch.eye(len(training_to_training), dtype=torch.bool, device=training_to_training.device)
    others = [apart.masked_fill(itself, math.inf) for apart in (training_to_augmented, training_to_training)]
    return (_nearer(samples_to_augmented, samples_to_training) - _nearer(*others)).clamp(min=0)


def _nearer(one: Tensor, other: Tensor) -> Tensor:
    """Share of rows whose nearest column is nearer in the first of two matrices of distances."""
    return (one.amin(1) < other.amin(1)).double().mean()


def both_ways(
    made: Tensor,  # [n, d] features of samples
    real: Tensor,  # [m, d]
) -> float:
    """Mean distance of samples to the nearest datum, and of data to the nearest sample, added up: 0 for copies of all.

    The first sees noise and what is no datum, the second what is left out. Infinite where a sample is not finite.
    """
    if not bool(torch.isfinite(made).all()):
        return math.inf
    apart = distances(made, real)
    return float(apart.amin(0).mean() + apart.amin(1).mean())


def spread(
    made: Tensor,  # [n, d] features of samples, n > 1
    real: Tensor,  # [m, d]
) -> float:
    """Energy distance but for what belongs to the real ones alone; infinite where a sample is not finite."""
    if not bool(torch.isfinite(made).all()):
        return math.inf
    return float(2 * distances(made, real).mean() - mean_distance(distances(made, made)))


def mean_distance(
    within: Tensor,  # [n, n] distances of a set to itself
) -> Tensor | float:
    """The mean over pairs of different samples; nan where there is no pair."""
    n = len(within)
    return within.sum() / (n * (n - 1)) if n > 1 else math.nan


def radii(
    within: Tensor,  # [n, n] distances of a set to itself, n > K
) -> Tensor:
    """Distance `[n]` from each sample to its K-th nearest neighbour, itself not counted."""
    return torch.kthvalue(within, K + 1, dim=1).values
