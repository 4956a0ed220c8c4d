"""Copies of training data among generated samples, told from what is usual among real samples.

A copy lies much nearer to its original than to any other training sample. So each sample is scored by the ratio of its
distance to the nearest training sample over that to the second nearest (the criterion of Gu et al. 2023,
arXiv:2310.02664, for generated images). Where they take 1/3 as the limit, here real samples outside the training data
set it, as in the test of Meehan et al. 2020 (arXiv:2004.05675): so low a ratio only `CHANCE` of them reach.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from equipoise.errors import InputError
from equipoise.metrics._matrices import distance_blocks, matrix, pair
from equipoise.metrics.intervals import wilson

CHANCE = 0.01  # share of real samples outside the training data that look like copies
LEVEL = 0.01  # of p, below which copies are said to be there
LEAST = 300  # held-out samples; with fewer, training samples held against all others join them
MOST = 2000  # samples that set the limit


@dataclass(frozen=True)
class Memorisation:
    """What was found: `copies` for each sample, `share` and `p` for all of them."""

    copies: NDArray[np.bool_]  # [M]: a ratio below the limit; of sound samples about `chance` have it too
    ratios: NDArray[np.float64]  # [M], 0 (a copy) to 1
    nearest: NDArray[np.int64]  # [M]: which training sample is nearest
    limit: float  # the ratio below which a sample counts as a copy
    chance: float  # the share of real samples, never trained on, expected below the limit
    share: float  # of copies beyond chance, 0 to 1
    low: float  # its 95 % interval
    high: float
    p: float  # probability of so many below the limit if the samples were as independent of the training data
    reference: int  # real samples that set the limit

    @property
    def found(self) -> bool:
        """Whether there are more copies than chance would give: p below 0.01."""
        return self.p < LEVEL

    def text(self) -> str:
        """The finding as one sentence."""
        counts = f"{self.copies.sum():,} of {len(self.copies):,} are as near to a training sample as a copy"
        usual = f"{self.chance:.1%} would be by chance (p = {self.p:.2g}, {self.reference:,} real samples)"
        if self.found:
            return f"Training data are copied: {counts}, where {usual}; beyond chance {self._interval()}."
        return f"No more copies than chance gives: {counts}, and {usual}; beyond chance {self._interval()}."

    def _interval(self) -> str:
        return f"{self.share:.1%} [{self.low:.1%}, {self.high:.1%}]"


def memorised(
    generated: Any,  # [M, d] features; pixels tell copies best
    training: Any,  # [N, d]
    heldout: Any = None,  # [H, d]: real samples that are not among the training data
    *,
    groups: Any = None,  # [N]: near-duplicates among the training data share a number; default: identical ones do
    seed: int = 0,  # of the choice of training samples that are held against all others
) -> Memorisation:
    """Find the generated samples that copy a training sample, exactly or with small changes.

    The limit is an order statistic of the real samples' ratios, so that p is exact whatever the data: the number of
    independent samples below the k-th smallest of n others is beta-binomial (nearly so where training samples, held
    against each other, join few held-out ones). The second nearest training sample is one outside the nearest's
    group, or a copy of a duplicate would go unseen.

    Copies that were moved, cropped or mirrored have other pixels. To find mirrored ones, add the mirrored training
    data, in the same groups.

    Raises:
        InputError: fewer than three different training samples, dimensions that differ, NaN or infinity.
    """
    train, made = pair(training, generated)
    kinds = _groups(train, groups)
    found, nearest = _ratios(made, train, kinds)
    usual = _usual(train, heldout, kinds, seed)
    rank = max(1, math.floor(CHANCE * (len(usual) + 1)))
    limit = float(usual.sort().values[rank - 1])
    copies = (found < limit).cpu().numpy()
    share, low, high = _excess(int(copies.sum()), len(copies), rank, len(usual))
    return Memorisation(
        copies=copies,
        ratios=found.cpu().numpy(),
        nearest=nearest.cpu().numpy(),
        limit=limit,
        chance=rank / (len(usual) + 1),
        share=share,
        low=low,
        high=high,
        p=_exceedance(int(copies.sum()), len(copies), rank, len(usual)),
        reference=len(usual),
    )


def _groups(train: Tensor, given: Any) -> Tensor:
    """A number [N] for each training sample, the same for those that count as one."""
    if given is None:
        kinds: Tensor = torch.unique(train, dim=0, return_inverse=True)[1]
    else:
        kinds = torch.as_tensor(np.array(given, dtype=np.int64), device=train.device)
        if kinds.shape != (len(train),):
            raise InputError(f"{list(kinds.shape)} groups came with {len(train)} training samples; give one for each.")
    if len(kinds.unique()) < 3:
        raise InputError(
            "fewer than three different training samples came, and copies of those cannot be told; give more."
        )
    return kinds


def _usual(train: Tensor, heldout: Any, kinds: Tensor, seed: int) -> Tensor:
    """Ratios of real samples: held-out ones, and where these are few, training samples against all others."""
    parts = []
    if heldout is not None and len(heldout):
        held = matrix(heldout, "held-out samples")
        if held.shape[1] != train.shape[1]:
            raise InputError(
                f"the held-out samples have {held.shape[1]} features and the training samples {train.shape[1]}; "
                "extract both with the same feature network."
            )
        parts.append(_ratios(held[:MOST].to(train.device), train, kinds)[0])
    if not parts or len(parts[0]) < LEAST:
        drawn = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))[:MOST].to(train.device)
        parts.append(_ratios(train[drawn], train, kinds, own=kinds[drawn])[0])
    return torch.cat(parts)


def _ratios(rows: Tensor, train: Tensor, kinds: Tensor, own: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Nearest over second nearest distance [M], and which is nearest [M]; `own` [M] are groups to leave out."""
    ratios, nearest = [], []
    for part, block in distance_blocks(rows, train):
        if own is not None:
            block = block.masked_fill(kinds == own[part, None], torch.inf)
        first, which = block.min(dim=1)
        second = block.masked_fill(kinds == kinds[which, None], torch.inf).min(dim=1).values
        ratios.append(torch.where(second > 0, first / second, 0.0))
        nearest.append(which)
    return torch.cat(ratios), torch.cat(nearest)


def _exceedance(count: int, m: int, rank: int, n: int) -> float:
    """P that `count` or more of m samples fall below the rank-th smallest of n others, all drawn alike."""
    j = torch.arange(count, m + 1, dtype=torch.float64)
    logs = (
        _choose(j + rank - 1, j) + _choose(m - j + n - rank, m - j) - _choose(torch.tensor(m + n).double(), j * 0 + m)
    )
    return min(1.0, float(logs.exp().sum()))


def _choose(n: Tensor, k: Tensor) -> Tensor:
    return torch.lgamma(n + 1) - torch.lgamma(k + 1) - torch.lgamma(n - k + 1)


def _excess(count: int, m: int, rank: int, n: int) -> tuple[float, float, float]:
    """Share of copies beyond chance and its 95 % interval, from two Wilson intervals (Newcombe 1998, method 10)."""
    ours, usual = count / m, rank / (n + 1)
    (low, high), (usual_low, usual_high) = wilson(ours, m), wilson(usual, n)
    least = ours - usual - math.hypot(ours - low, usual_high - usual)
    most = ours - usual + math.hypot(high - ours, usual - usual_low)
    share, low, high = (min(1.0, max(0.0, value / (1 - usual))) for value in (ours - usual, least, most))
    return share, low, high
