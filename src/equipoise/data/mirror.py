"""Whether horizontal flips keep a distribution: can a small classifier tell images from their mirror images?

Features of a thumbnail, its pixels and random rectified projections (Rahimi & Recht 2007), are subtracted from those
of its mirror image; a ridge regression towards +1 on the difference is then a classifier of original against mirrored
that treats the two alike. Its accuracy on images it was not fitted on is 1/2 when flips cannot be told.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

FEWEST = 200  # images below which the test says nothing: then flips count as unsafe
MOST = 6000  # images looked at
FOLDS = 5
BOUND = 0.55  # accuracy from which flips are told apart
PROJECTIONS = 256


def judge(thumbnails: Array) -> tuple[bool, str]:
    """Whether flips are safe for uint8 thumbnails [N, C, 8, 8], and the sentence that says so with the number."""
    if len(thumbnails) < FEWEST:
        return (
            False,
            f"not by default: {len(thumbnails)} images are too few to tell whether flips keep the distribution",
        )
    value = accuracy(thumbnails)
    told = f"mirrored images are told from originals with accuracy {value:.3f} (chance 0.5, bound {BOUND})"
    return value < BOUND, ("safe: " if value < BOUND else "unsafe: ") + told


def accuracy(thumbnails: Array, seed: int = 0) -> float:
    """Cross-validated accuracy of telling original from mirrored thumbnails uint8 [N, C, 8, 8]."""
    generator = np.random.default_rng(seed)
    chosen = np.sort(generator.permutation(len(thumbnails))[:MOST])
    images = thumbnails[chosen].astype(np.float32) / 127.5 - 1
    projection = generator.standard_normal((images[0].size, PROJECTIONS)).astype(np.float32) / np.sqrt(images[0].size)
    difference = _features(images, projection) - _features(images[..., ::-1], projection)
    fold = generator.permutation(len(images)) % FOLDS
    correct = 0.0
    for one in range(FOLDS):
        weights = _ridge(difference[fold != one])
        score = difference[fold == one] @ weights
        correct += float((score > 0).sum() + 0.5 * (score == 0).sum())  # a symmetric image is a coin's toss
    return correct / len(images)


def _features(images: Array, projection: Array) -> Array:
    flat = images.reshape(len(images), -1)
    return np.concatenate([flat, np.maximum(flat @ projection, 0)], axis=1)


def _ridge(rows: Array) -> Array:
    """Weights [d] that bring rows [N, d] to +1, with a penalty of a hundredth of the mean energy."""
    gram = rows.T @ rows / len(rows)
    penalty = 1e-2 * np.trace(gram) / len(gram) + 1e-8
    return np.asarray(np.linalg.solve(gram + penalty * np.eye(len(gram), dtype=gram.dtype), rows.mean(axis=0)))
