"""All numbers that compare two sets of features, each with its interval."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from equipoise.metrics._matrices import distance_blocks, pair
from equipoise.metrics.coverage import prdc_of_distances, vendi
from equipoise.metrics.distances import frechet
from equipoise.metrics.intervals import Measure, counted, jackknife

GROUPS = 10
MOST = 5_000  # samples of each set in what needs the distances between all of them: 300 MB

Numbers = dict[str, float]


def measure(
    real: Any,  # [N, d] features
    fake: Any,  # [M, d]
    *,
    k: int = 5,  # neighbours to the edge of a ball; fewer where a set has not so many
    groups: int = GROUPS,  # for the intervals; 0: none, at a tenth of the cost
    frechets: bool = True,  # False leaves the Fréchet distances out
    seed: int = 0,  # of the division into groups
) -> dict[str, Measure]:
    """The distances and shares of `equipoise.metrics` between two sets, and how diverse they are.

    `frechet` as usually computed, biased upwards and without an interval, and `frechet_unbiased`, an estimate for
    infinitely many samples; `kernel` (of all pairs) and `energy`, unbiased; `precision`, `recall`, `density` and
    `coverage`; `vendi` of the second set; `diversity`, the mean distance within the second set over that within the
    first. All but the Fréchet distances are of the first 5,000 samples of a set at most.

    Raises:
        InputError: fewer than four samples, dimensions that differ, NaN or infinity.
    """
    real, fake = pair(real, fake, least=4)
    groups = min(groups, len(real) // 2, len(fake) // 2)
    source = torch.Generator().manual_seed(seed)
    ours, theirs = (
        torch.randperm(len(part), generator=source).remainder(max(groups, 1)).to(part.device) for part in (real, fake)
    )
    found: dict[str, Measure] = {}
    if frechets:
        found["frechet"] = Measure(frechet(real, fake))
        parts = [frechet(real[ours != left], fake[theirs != left]) for left in range(groups)]
        found["frechet_unbiased"] = jackknife(found["frechet"].value, parts, unbiased=True)
    few = real[:MOST], fake[:MOST], ours[:MOST], theirs[:MOST]
    for statistic in (_kernel(*few, max(groups, 1)), _of_distances(*few, k), _vendi(*few)):
        whole, without = statistic(-1), [statistic(left) for left in range(groups)]
        found |= {name: jackknife(value, [one[name] for one in without]) for name, value in whole.items()}
    for name, side in (("precision", fake), ("recall", real), ("coverage", real)):
        found[name] = counted(found[name], min(MOST, len(side)))
    return found


def _kernel(real: Tensor, fake: Tensor, ours: Tensor, theirs: Tensor, groups: int) -> Callable[[int], Numbers]:
    """As `distances.kernel` of all samples, without those of a group: from sums over each pair of groups."""
    kinds = torch.arange(groups, device=real.device)
    sides = [(real, (ours[:, None] == kinds).double()), (fake, (theirs[:, None] == kinds).double())]  # [n, groups]
    sums = [[_similarity(a, own, b, other) for b, other in sides] for a, own in sides]
    selves = [((part.square().sum(dim=1) / part.shape[1] + 1) ** 3) @ own for part, own in sides]
    sizes = [own.sum(dim=0) for _, own in sides]

    def statistic(left: int) -> Numbers:
        kept = kinds != left
        n = [size[kept].sum() for size in sizes]
        within = [
            (sums[i][i][kept][:, kept].sum() - selves[i][kept].sum()) / (n[i] * (n[i] - 1)) for i in range(len(n))
        ]
        return {"kernel": float(sum(within) - 2 * sums[0][1][kept][:, kept].sum() / (n[0] * n[1]))}

    return statistic


def _similarity(rows: Tensor, own: Tensor, columns: Tensor, other: Tensor, block: int = 512) -> Tensor:
    """Sums [groups, groups] of the kernel (x.y / d + 1)^3."""
    total = torch.zeros(own.shape[1], other.shape[1], dtype=rows.dtype, device=rows.device)
    for part, kind in zip(rows.split(block), own.split(block), strict=True):
        total += kind.T @ ((part @ columns.T / rows.shape[1] + 1) ** 3 @ other)
    return total


def _of_distances(real: Tensor, fake: Tensor, ours: Tensor, theirs: Tensor, k: int) -> Callable[[int], Numbers]:
    """Energy distance, precision and the like, diversity: all from three matrices of distances, kept in float32."""
    pairs = ((real, real), (fake, fake), (real, fake))
    matrices = [torch.cat([block.float() for _, block in distance_blocks(a, b)]) for a, b in pairs]

    def statistic(left: int) -> Numbers:
        i, j = torch.nonzero(ours != left)[:, 0], torch.nonzero(theirs != left)[:, 0]
        reals, fakes, across = (m[a][:, b] for m, a, b in zip(matrices, (i, j, i), (i, j, j), strict=True))
        within = [float(m.sum(dtype=torch.float64)) / (len(m) * (len(m) - 1)) for m in (reals, fakes)]
        shares = prdc_of_distances(reals, fakes, across, min(k, len(i) - 1, len(j) - 1))
        energy = 2 * float(across.mean(dtype=torch.float64)) - sum(within)
        diversity = within[1] / within[0] if within[0] > 0 else float("nan")
        return {"energy": energy, **shares._asdict(), "diversity": diversity}

    return statistic


def _vendi(real: Tensor, fake: Tensor, ours: Tensor, theirs: Tensor) -> Callable[[int], Numbers]:
    return lambda left: {"vendi": vendi(fake[theirs != left])}
