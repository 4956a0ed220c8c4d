"""Distances between two sets of feature vectors: Fréchet, kernel (MMD) and energy; 0 for equal distributions."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from equipoise.errors import InputError
from equipoise.metrics._matrices import distance_blocks, matrix, pair, tensor64


def frechet(
    real: Any,  # [N, d], N >= 2
    fake: Any,  # [M, d], M >= 2
) -> float:
    """Fréchet distance between the Gaussians fitted to two sets of features (Heusel et al. 2017, arXiv:1706.08500).

    The estimate is biased upwards by about 1/N: compare only values taken with the same numbers of samples and the
    same feature network, and name the network. It is an FID only in the features of the FID's own Inception network.

    Raises:
        InputError: fewer than two samples, dimensions that differ, NaN or infinity.
    """
    real, fake = pair(real, fake, least=2)
    return frechet_from_moments(real.mean(dim=0), _covariance(real), fake.mean(dim=0), _covariance(fake))


def frechet_from_moments(
    real_mean: Any,  # [d]
    real_cov: Any,  # [d, d], symmetric
    fake_mean: Any,  # [d]
    fake_cov: Any,  # [d, d], symmetric
) -> float:
    """|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)), squared units of the features.

    (C1 C2)^(1/2) has the trace of (R C2 R)^(1/2) with R = C1^(1/2), whose eigenvalues are real and not negative, so
    that symmetric eigenvalue problems do and singular covariances do no harm.

    Raises:
        InputError: the shapes do not fit, or values are not finite.
    """
    means = matrix(torch.stack([tensor64(mean).flatten().cpu() for mean in (real_mean, fake_mean)]), "means")
    covs = [matrix(cov, "covariances").cpu() for cov in (real_cov, fake_cov)]
    size = means.shape[1]
    if any(cov.shape != (size, size) for cov in covs):
        shapes = " and ".join(str(list(cov.shape)) for cov in covs)
        raise InputError(
            f"means of {size} features came with covariances shaped {shapes}; give both as [{size}, {size}]."
        )
    values, vectors = torch.linalg.eigh(covs[0])
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    middle = root @ covs[1] @ root
    cross = torch.linalg.eigvalsh((middle + middle.T) / 2).clamp(min=0).sqrt().sum()
    distance = (means[0] - means[1]).square().sum() + covs[0].trace() + covs[1].trace() - 2 * cross
    return max(0.0, float(distance))


def kernel(
    real: Any,  # [N, d], N >= 2
    fake: Any,  # [M, d], M >= 2
    subsets: int = 100,  # random subsets whose estimates are averaged
    size: int = 1000,  # samples of each set in a subset; everything at once where neither set has more
    seed: int = 0,  # of the subsets
) -> float:
    """Squared maximum mean discrepancy under the kernel (x.y / d + 1)^3, unbiased, so it may fall below 0.

    KID (Bińkowski et al. 2018, arXiv:1801.01401) is this in Inception features. Being unbiased, it can be compared
    between different numbers of samples.

    Raises:
        InputError: fewer than two samples, dimensions that differ, NaN or infinity.
    """
    real, fake = pair(real, fake, least=2)
    if max(len(real), len(fake)) <= size:
        return _mmd(real, fake)
    size = min(size, len(real), len(fake))
    generator = torch.Generator().manual_seed(seed)
    estimates = []
    for _ in range(subsets):
        some_real, some_fake = (
            part[torch.randperm(len(part), generator=generator)[:size].to(part.device)] for part in (real, fake)
        )
        estimates.append(_mmd(some_real, some_fake))
    return sum(estimates) / len(estimates)


def energy(
    real: Any,  # [N, d], N >= 2
    fake: Any,  # [M, d], M >= 2
) -> float:
    """Energy distance 2 E|X - Y| - E|X - X'| - E|Y - Y'| (Székely & Rizzo 2013, doi:10.1016/j.jspi.2013.03.018).

    In units of the features. Pairs of a sample with itself are left out, so that two samples of one distribution
    give 0 on average, and may fall below. It needs no feature network's covariance and works from a few samples on.

    Raises:
        InputError: fewer than two samples, dimensions that differ, NaN or infinity.
    """
    real, fake = pair(real, fake, least=2)
    across = _sum_of_distances(real, fake) / (len(real) * len(fake))
    within = [_sum_of_distances(part, part) / (len(part) * (len(part) - 1)) for part in (real, fake)]
    return 2 * across - sum(within)


def _covariance(features: Tensor) -> Tensor:
    centred = features - features.mean(dim=0)
    return centred.T @ centred / (len(features) - 1)


def _mmd(real: Tensor, fake: Tensor) -> float:
    def similarity(left: Tensor, right: Tensor) -> Tensor:
        return (left @ right.T / left.shape[1] + 1) ** 3

    def within(part: Tensor) -> Tensor:
        similar = similarity(part, part)
        return (similar.sum() - similar.diagonal().sum()) / (len(part) * (len(part) - 1))

    return float(within(real) + within(fake) - 2 * similarity(real, fake).mean())


def _sum_of_distances(rows: Tensor, columns: Tensor) -> float:
    return float(sum(block.sum() for _, block in distance_blocks(rows, columns)))
