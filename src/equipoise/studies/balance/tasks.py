"""The tasks of the proving ground: data, healthy settings, and a score from 0 to 1 of samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from equipoise.data import open_dataset
from equipoise.metrics import harmonic_mean, modes, prdc

Array = NDArray[Any]
Score = Callable[[Array], float]
NEIGHBOURS = 5  # whose distance is a ball's radius
SPLIT = 1797  # seed of the digits' halves, the same for all runs
TAIL = 20.0  # how much more frequent the first mode of a long tail is than the last


@dataclass(frozen=True)
class Material:
    """What a cell is trained on and judged by."""

    rows: Array  # float32 [N, ...]
    labels: NDArray[np.int64]  # [N]: the mode or class of each row
    score: Score  # of samples [n, ...]
    samples: int  # judged


@dataclass(frozen=True)
class Task:
    """A distribution, a pair for it, and settings under which the pair is healthy."""

    name: str
    cfg: Mapping[str, Any]
    material: Callable[[int, str], Material]  # seed; "whole", "tiny", "tail" or "copies"


# ------------------------------------------------------------------------------------------------ what is done to data


def shares(modes: int, tail: bool) -> NDArray[np.float64]:
    """True shares [modes]: equal, or falling by the same factor from mode to mode, 20 to 1 over all."""
    weights = TAIL ** -(np.arange(modes) / (modes - 1)) if tail else np.ones(modes)
    return np.asarray(weights / weights.sum())


def thinned(labels: NDArray[np.int64], true: NDArray[np.float64], seed: int) -> NDArray[np.int64]:
    """The most rows whose labels have the true shares."""
    counts = np.bincount(labels, minlength=len(true))
    wanted = np.floor((counts / true).min() * true + 1e-9).astype(int)
    order = np.random.default_rng(seed).permutation(len(labels))
    return np.sort(np.concatenate([order[labels[order] == k][:n] for k, n in enumerate(wanted)]))


def copies(rows: Array, labels: NDArray[np.int64], seed: int) -> tuple[Array, NDArray[np.int64]]:
    """Half of the rows replaced by copies of five of them."""
    order = np.random.default_rng(seed).permutation(len(rows))
    half, five = order[: len(rows) // 2], order[len(rows) // 2 :][:5]
    index = np.arange(len(rows))
    index[half] = five[np.arange(len(half)) % 5]
    return rows[index], labels[index]


# ------------------------------------------------------------------------------------------------ mixtures


def _mixture(centres: Array, std: float, count: int) -> Callable[[int, str], Material]:
    def material(seed: int, data: str) -> Material:
        true = shares(len(centres), data == "tail")
        generator = np.random.default_rng([7, seed])
        labels = generator.choice(len(centres), size=50 if data == "tiny" else count, p=true)
        rows = (centres[labels] + std * generator.standard_normal((len(labels), 2))).astype(np.float32)
        if data == "copies":
            rows, labels = copies(rows, labels, seed)
        return Material(rows, labels, lambda made: modes(made, centres, std, true).overlap, 5000)

    return material


def ring(number: int = 8) -> Array:
    """Centres on the unit circle [number, 2]."""
    angles = np.arange(number) * (2 * np.pi / number)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def grid(side: int = 5) -> Array:
    """Centres on [-1, 1]^2: [side * side, 2]."""
    axis = np.linspace(-1, 1, side)
    return np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)


# ------------------------------------------------------------------------------------------------ digits


def fidelity(real: Array, made: Array) -> float:
    """Harmonic mean of precision and coverage, k = 5, in the space of the rows; a row with NaN is a miss."""
    sound = np.isfinite(made).reshape(len(made), -1).all(axis=1)
    if sound.sum() <= NEIGHBOURS:
        return 0.0
    found = prdc(real.reshape(len(real), -1), made[sound].reshape(int(sound.sum()), -1), NEIGHBOURS)
    return harmonic_mean(found.precision * float(sound.mean()), found.coverage)


def _digits(seed: int, data: str) -> Material:
    whole = open_dataset("digits")
    order = np.random.default_rng(SPLIT).permutation(len(whole))
    rows = (np.asarray(whole.images, np.float32) / 127.5 - 1).reshape(len(whole), -1)
    assert whole.labels is not None
    inner, outer = order[:900], order[900:]
    if data == "tiny":
        inner = np.random.default_rng([7, seed]).permutation(inner)[:100]
    elif data == "tail":
        true = shares(10, tail=True)
        inner, outer = (part[thinned(whole.labels[part], true, seed)] for part in (inner, outer))
    shown, labels, unseen = rows[inner], whole.labels[inner], rows[outer]
    if data == "copies":
        shown, labels = copies(shown, labels, seed)
    return Material(shown, labels, lambda made: fidelity(unseen, made), len(unseen))


# ------------------------------------------------------------------------------------------------ all of them

RING8 = Task(
    "ring8",
    {"shape": 2, "zdim": 4, "g_widths": [48] * 3, "d_widths": [48] * 3, "activation": "leaky_relu", "out": "linear",
     "init_std_g": 1.0, "init_std_d": 1.0, "loss": "non-saturating", "lr_g": 4e-3, "lr_d": 2e-3, "beta1": 0.5,
     "beta2": 0.99, "n_dis": 1, "batch": 64, "decay": True, "ema": 0.0, "r1": 0.1, "r2": 0.0, "aug": 0.0,
     "updates": 2500, "balance": "off"},
    _mixture(ring(), 0.05, 4096),
)  # fmt: skip
DIGITS = Task(
    "digits",
    {"shape": 64, "zdim": 32, "g_widths": [64] * 3, "d_widths": [64] * 3, "activation": "leaky_relu", "out": "tanh",
     "init_std_g": 1.0, "init_std_d": 1.0, "loss": "non-saturating", "lr_g": 3e-3, "lr_d": 3e-3, "beta1": 0.5,
     "beta2": 0.99, "n_dis": 1, "batch": 64, "decay": False, "ema": 0.998, "r1": 0.0, "r2": 0.0, "aug": 0.0,
     "updates": 2000, "balance": "off"},
    _digits,
)  # fmt: skip
TASKS = {task.name: task for task in (RING8, DIGITS)}
