"""Fidelity and diversity apart: precision, recall, density and coverage of nearest-neighbour balls; the Vendi score."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from equipoise.errors import InputError
from equipoise.metrics._matrices import distance_blocks, matrix, pair


class PRDC(NamedTuple):
    """Four shares; all but `density` lie in [0, 1]."""

    precision: float  # generated samples inside some real ball: fidelity
    recall: float  # real samples inside some generated ball: diversity, fooled by outliers
    density: float  # real balls round a generated sample, over k: fidelity, 1 on average for the data itself
    coverage: float  # real balls that hold a generated sample: diversity, and fidelity


def prdc(
    real: Any,  # [N, d], N > k
    fake: Any,  # [M, d], M > k
    k: int = 5,  # a ball's radius is the distance to the k-th nearest neighbour in its own set
) -> PRDC:
    """Improved precision and recall (Kynkäänniemi et al. 2019, arXiv:1904.06991), density and coverage (Naeem et al.
    2020, arXiv:2002.09797).

    A ball is open: its surface does not belong to it. The shares depend on N, M and k, so compare at equal numbers,
    and beside the same shares for held-out real samples. Works in blocks: 10,000 by 10,000 needs some 700 MB.

    Raises:
        InputError: k below 1 or not below both numbers of samples, dimensions that differ, NaN or infinity.
    """
    if k < 1:
        raise InputError(f"k is {k}, but a ball needs a neighbour to reach to; give k of 1 or more (5 is usual).")
    real, fake = pair(real, fake, least=k + 1)
    real_radii, fake_radii = _radii(real, k), _radii(fake, k)
    around = torch.zeros(len(fake), dtype=torch.float64, device=real.device)  # real balls round each generated sample
    recalled, covered = 0, 0
    for rows, block in distance_blocks(real, fake):
        inside = block < real_radii[rows, None]
        around += inside.sum(dim=0)
        covered += int(inside.any(dim=1).sum())
        recalled += int((block < fake_radii).any(dim=1).sum())
    return PRDC(
        precision=float((around > 0).to(torch.float64).mean()),
        recall=recalled / len(real),
        density=float(around.mean()) / k,
        coverage=covered / len(real),
    )


def prdc_of_distances(
    real: Tensor,  # [N, N] distances within the real samples
    fake: Tensor,  # [M, M] within the generated ones
    across: Tensor,  # [N, M] between them
    k: int = 5,
) -> PRDC:
    """The same from matrices of distances, for those who have them and room for them."""
    real_radii, fake_radii = (one.kthvalue(k + 1, dim=1).values for one in (real, fake))  # itself at 0 is the first
    inside = across < real_radii[:, None]
    return PRDC(
        precision=float(inside.any(dim=0).double().mean()),
        recall=float((across < fake_radii).any(dim=1).double().mean()),
        density=float(inside.sum(dim=0).double().mean()) / k,
        coverage=float(inside.any(dim=1).double().mean()),
    )


def harmonic_mean(first: float, second: float) -> float:
    """2ab / (a + b), and 0 where both are 0: the F score of a precision and a coverage."""
    return 2 * first * second / (first + second) if first + second > 0 else 0.0


def vendi(
    features: Any,  # [N, d]
) -> float:
    """Vendi score (Friedman & Dieng 2022, arXiv:2210.02410) under cosine similarity: how many different ones, 1 to N.

    exp of the entropy of the eigenvalues of the similarity matrix over N. Vectors of zeros, which have no direction,
    count as equal to each other and unlike all others.

    Raises:
        InputError: no samples, NaN or infinity.
    """
    features = matrix(features, "samples")
    norms = features.norm(dim=1, keepdim=True)
    unit = torch.cat([features / torch.where(norms > 0, norms, 1.0), (norms == 0).to(features)], dim=1)
    small = unit @ unit.T if len(unit) <= unit.shape[1] else unit.T @ unit  # both have the same eigenvalues but zeros
    values = torch.linalg.eigvalsh(small / len(unit)).clamp(min=0)
    return float(torch.exp(-torch.xlogy(values, values).sum()))


def _radii(points: Tensor, k: int) -> Tensor:
    """Distance [N] from each point to its k-th nearest neighbour, itself not counted."""
    radii = []
    for rows, block in distance_blocks(points, points):
        block[torch.arange(len(block)), torch.arange(rows.start, rows.stop)] = torch.inf
        radii.append(block.kthvalue(k, dim=1).values)
    return torch.cat(radii)
