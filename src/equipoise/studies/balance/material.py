"""What a cell of the proving ground is trained on and judged by, and the ways to make its data wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from equipoise.metrics import finite_rows, harmonic_mean, prdc

Array = NDArray[Any]
Labels = NDArray[np.int64]
NEIGHBOURS = 5  # whose distance is a ball's radius
TAIL = 20.0  # how much more frequent the first mode of a long tail is than the last


@dataclass(frozen=True)
class Material:
    """What a cell is trained on and judged by."""

    rows: Array  # float32 [N, ...]
    labels: Labels  # [N]: the mode or class of each row
    judge: Callable[[Array], dict[str, float]]  # of samples [n, ...]: the score, 0 to 1, and then what else is known
    samples: int  # judged

    def score(self, made: Array) -> float:
        """The one number that cells are compared by."""
        return next(iter(self.judge(made).values()))


@dataclass(frozen=True)
class Task:
    """A distribution, a pair for it, and settings under which the pair is healthy."""

    name: str
    cfg: Mapping[str, Any]
    material: Callable[[int, str], Material]  # seed; "whole", "tiny", "tail" or "copies"
    ready: Callable[[], object] = lambda: None  # raises an InputError where this machine lacks the data


def shares(modes: int, tail: bool) -> NDArray[np.float64]:
    """True shares [modes]: equal, or falling by the same factor from mode to mode, 20 to 1 over all."""
    weights = TAIL ** -(np.arange(modes) / (modes - 1)) if tail else np.ones(modes)
    return np.asarray(weights / weights.sum())


def thinned(labels: Labels, true: NDArray[np.float64], seed: int) -> Labels:
    """The most rows whose labels have the true shares."""
    counts = np.bincount(labels, minlength=len(true))
    wanted = np.floor((counts / true).min() * true + 1e-9).astype(int)
    order = np.random.default_rng(seed).permutation(len(labels))
    return np.sort(np.concatenate([order[labels[order] == k][:n] for k, n in enumerate(wanted)]))


def copies(rows: Array, labels: Labels, seed: int) -> tuple[Array, Labels]:
    """Half of the rows replaced by copies of five of them."""
    order = np.random.default_rng(seed).permutation(len(rows))
    half, five = order[: len(rows) // 2], order[len(rows) // 2 :][:5]
    index = np.arange(len(rows))
    index[half] = five[np.arange(len(half)) % 5]
    return rows[index], labels[index]


def neighbourly(real: Array, made: Array) -> dict[str, float]:
    """F, the harmonic mean of precision and coverage, k = 5, of rows [n, ...] and [m, ...]; one with NaN is a miss."""
    sound = finite_rows(made)
    if sound.sum() <= NEIGHBOURS:
        return {"F": 0.0, "precision": 0.0, "coverage": 0.0}
    found = prdc(real.reshape(len(real), -1), made[sound].reshape(int(sound.sum()), -1), NEIGHBOURS)
    precision = found.precision * float(sound.mean())
    return {"F": harmonic_mean(precision, found.coverage), "precision": precision, "coverage": found.coverage}
