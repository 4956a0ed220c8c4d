"""Generated images beside the training images nearest to them: the likeliest copies, and some at random."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from equipoise import images
from equipoise.apps.evaluate.sides import Sides
from equipoise.metrics.neighbours import nearest

ROWS = 8
NEIGHBOURS = 5


def beside(
    sides: Sides,
    ratios: NDArray[np.float64],  # [M]: how like a copy each is, 0 most
    seed: int = 0,
) -> NDArray[np.uint8]:
    """A picture: in each row a generated image, a gap, its five nearest training images by their pixels.

    The left half shows the likeliest copies, the likeliest first, the right half images drawn at random.
    """
    assert sides.training is not None
    likely = np.argsort(ratios, kind="stable")[:ROWS]
    drawn = np.random.default_rng(seed).permutation(len(sides.made))[:ROWS]
    halves = [_half(sides.made.samples[rows], sides.training.samples) for rows in (likely, drawn)]
    return np.concatenate([halves[0], _gap(halves[0], 2), halves[1]], axis=1)


def _half(made: Any, pool: Any) -> NDArray[np.uint8]:
    near = pool[nearest(made, pool, NEIGHBOURS)[1]]  # [rows, neighbours, C, H, W]
    scale = max(1, -(-48 // max(made.shape[2:])))
    left = images.grid(made, columns=1, scale=scale)
    right = images.grid(near.reshape(-1, *made.shape[1:]), columns=near.shape[1], scale=scale)
    return np.concatenate([left, _gap(left), right], axis=1)


def _gap(beside: NDArray[np.uint8], times: int = 1) -> NDArray[np.uint8]:
    return np.full((len(beside), 16 * times, beside.shape[2]), 255, np.uint8)
