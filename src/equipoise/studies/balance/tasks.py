"""The tasks of the proving ground: data, healthy settings, and a score from 0 to 1 of samples."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from equipoise.data import open_dataset
from equipoise.metrics import modes
from equipoise.studies.balance.material import Array, Material, Task, copies, neighbourly, shares, thinned
from equipoise.studies.balance.pictures import has_photographs, photographs, triples

SPLIT = 1797  # seed of the digits' halves, the same for all runs

# ------------------------------------------------------------------------------------------------ mixtures


def mixture(
    centres: Array,  # [K, 2]
    std: float,  # of each mode
    count: int,  # points
    few: int,  # points of tiny data
) -> Callable[[int, str], Material]:
    """Points of equal Gaussians, judged by the overlap with their modes."""

    def material(seed: int, data: str) -> Material:
        true = shares(len(centres), data == "tail")
        generator = np.random.default_rng([7, seed])
        labels = generator.choice(len(centres), size=few if data == "tiny" else count, p=true)
        rows = (centres[labels] + std * generator.standard_normal((len(labels), 2))).astype(np.float32)
        if data == "copies":
            rows, labels = copies(rows, labels, seed)

        def judge(made: Array) -> dict[str, float]:
            found = modes(made, centres, std, true)
            return {"overlap": found.overlap, "modes": float(found.hit), "reverse_kl": found.reverse_kl}

        return Material(rows, labels, judge, 5000)

    return material


def ring(number: int = 8) -> Array:
    """Centres on the unit circle [number, 2]."""
    angles = np.arange(number) * (2 * np.pi / number)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def grid(side: int = 5) -> Array:
    """Centres on [-1, 1]^2: [side * side, 2]."""
    axis = np.linspace(-1, 1, side)
    return np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)


# ------------------------------------------------------------------------------------------------ shapes


def shape(
    draw: Callable[[np.random.Generator, Array], Array],  # classes [n] -> points [n, d]
    classes: int,
) -> Callable[[int, str], Material]:
    """3,000 points of classes that are no round modes, judged by F against 1,000 others."""

    def material(seed: int, data: str) -> Material:
        true = shares(classes, data == "tail")
        generator = np.random.default_rng([7, seed])
        count = 100 if data == "tiny" else 3000
        labels = generator.choice(classes, size=count + 1000, p=true)
        points = draw(generator, labels).astype(np.float32)
        rows, labels, unseen = points[:count], labels[:count], points[count:]
        if data == "copies":
            rows, labels = copies(rows, labels, seed)
        return Material(rows, labels, partial(neighbourly, unseen), len(unseen))

    return material


def arms(generator: np.random.Generator, labels: Array) -> Array:
    """Points of noise .12 on two arms of a spiral with one and a half turns, far from the origin: [n, 2]."""
    turn = 3 * np.pi * np.sqrt(generator.uniform(0.05, 1, len(labels)))
    side = np.where(labels == 0, 1, -1) * turn / 2
    on = np.stack([side * np.cos(turn), side * np.sin(turn)], axis=1) + np.array([2.0, -1.0])
    return np.asarray(on + 0.12 * generator.standard_normal(on.shape))


def clouds(generator: np.random.Generator, labels: Array) -> Array:
    """Points of twelve clouds in ten dimensions, of radii .1 to .6, at fixed places: [n, 10]."""
    centres = 2 * np.random.default_rng(5).standard_normal((12, 10))
    radii = np.linspace(0.1, 0.6, 12)
    return np.asarray(centres[labels] + radii[labels, None] * generator.standard_normal((len(labels), 10)))


# ------------------------------------------------------------------------------------------------ digits


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
    return Material(shown, labels, partial(neighbourly, unseen), len(unseen))


# ------------------------------------------------------------------------------------------------ all of them

RING8 = Task(
    "ring8",
    {"shape": 2, "zdim": 4, "g_widths": [48] * 3, "d_widths": [48] * 3, "activation": "leaky_relu", "out": "linear",
     "init_std_g": 1.0, "init_std_d": 1.0, "loss": "non-saturating", "lr_g": 4e-3, "lr_d": 2e-3, "beta1": 0.5,
     "beta2": 0.99, "n_dis": 1, "batch": 64, "decay": True, "ema": 0.0, "r1": 0.1, "r2": 0.0, "aug": 0.0,
     "updates": 2500, "balance": "off"},
    mixture(ring(), 0.05, 4096, 50),
)  # fmt: skip
DIGITS = Task(
    "digits",
    {"shape": 64, "zdim": 32, "g_widths": [64] * 3, "d_widths": [64] * 3, "activation": "leaky_relu", "out": "tanh",
     "init_std_g": 1.0, "init_std_d": 1.0, "loss": "non-saturating", "lr_g": 3e-3, "lr_d": 3e-3, "beta1": 0.5,
     "beta2": 0.99, "n_dis": 1, "batch": 64, "decay": False, "ema": 0.998, "r1": 0.0, "r2": 0.0, "aug": 0.0,
     "updates": 2000, "balance": "off"},
    _digits,
)  # fmt: skip
GRID25 = Task(
    "grid25",
    {**RING8.cfg, "g_widths": [64] * 3, "d_widths": [64] * 3, "r1": 0.04, "ema": 0.998, "batch": 128,
     "updates": 10_000},
    mixture(grid(), 0.05, 10_000, 100),
)  # fmt: skip
STACKED = Task(
    "stacked",
    {**DIGITS.cfg, "shape": 192, "zdim": 64, "g_widths": [128] * 3, "d_widths": [128] * 3, "lr_g": 1e-3, "lr_d": 1e-3,
     "r1": 0.1, "updates": 10_000},
    triples,
)  # fmt: skip
CONV16 = Task(
    "conv16",
    {**DIGITS.cfg, "shape": [3, 16, 16], "zdim": 64, "g_widths": [32, 16, 8], "d_widths": [32, 16, 8], "batch": 32,
     "lr_g": 5e-4, "lr_d": 1e-3, "r1": 1.0, "decay": True, "updates": 2000},
    photographs,
    has_photographs,
)  # fmt: skip
SPIRAL = Task(  # for this and the next, no rule of the autopilot was made
    "spiral",
    {**RING8.cfg, "g_widths": [64] * 3, "d_widths": [64] * 3, "lr_g": 3e-3, "lr_d": 3e-3, "r1": 0.3, "ema": 0.998,
     "updates": 3000},
    shape(arms, 2),
)  # fmt: skip
CLOUDS = Task(
    "clouds",
    {**RING8.cfg, "shape": 10, "zdim": 16, "g_widths": [64] * 3, "d_widths": [64] * 3, "lr_g": 2e-3, "lr_d": 2e-3,
     "r1": 0.5, "ema": 0.995, "batch": 128, "updates": 2000},
    shape(clouds, 12),
)  # fmt: skip
TASKS = {task.name: task for task in (RING8, DIGITS, GRID25, STACKED, CONV16, SPIRAL, CLOUDS)}
