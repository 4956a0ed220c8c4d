"""The answer for each image: the discriminator's percentile, its neighbours, and a plain word from both."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from equipoise.apps.judge.given import Given
from equipoise.apps.judge.opinion import Opinion, percentiles
from equipoise.apps.judge.witnesses import Witnesses, spread
from equipoise.metrics.neighbours import nearest

Ints = NDArray[np.int64]

RARE = 2.5  # per cent of real images that each of two measures may find odd, so that at most 5 % are called unlike
NEIGHBOURS = 5
COMPARED = 500  # held-out images whose nearest training image says what is usual


@dataclass(frozen=True)
class Answer:
    """What is said of one image."""

    name: str
    converted: tuple[str, ...]
    label: int | None  # the class it is judged under
    percentile: float  # of its logit among held-out real images
    fakes: float  # per cent of fresh fakes that it exceeds
    real: float  # distance to the nearest training image, 0 to 1
    real_percentile: float  # of that distance among the held-out images'
    generated: float  # distance to the nearest fresh fake
    usual: float  # median distance of held-out images to the nearest training image
    verdict: str


@dataclass(frozen=True)
class Neighbours:
    """Places of the nearest images, [N, NEIGHBOURS]."""

    training: Ints
    fakes: Ints


def answers(
    opinion: Opinion,
    known: Witnesses,
    given: Given,
    label: int | None = None,  # the class asked for
) -> tuple[list[Answer], Neighbours]:
    """An answer for each image, and where its neighbours are in `known.training` and `known.fakes()`."""
    fakes, asked = known.fakes()
    real, training = nearest(given.images, known.training, NEIGHBOURS)
    made, generated = nearest(given.images, fakes, NEIGHBOURS)
    usual = np.sort(nearest(known.real[spread(len(known.real), COMPARED)], known.training)[0][:, 0])
    far = percentiles(usual, real[:, 0])
    labels = np.full(len(given.names), label) if label is not None else None
    ranks = opinion.percentiles(given.images, labels)
    if opinion.classes and labels is None:
        labels = opinion.guess(given.images)
    against = percentiles(np.sort(opinion.scores(fakes, asked)), opinion.scores(given.images, labels))
    found = [
        Answer(
            name,
            given.converted[i],
            None if labels is None or not opinion.classes else int(labels[i]),
            float(ranks[i]),
            float(against[i]),
            float(real[i, 0]),
            float(far[i]),
            float(made[i, 0]),
            float(np.median(usual)),
            verdict(float(ranks[i]), float(far[i]), float(real[i, 0])),
        )
        for i, name in enumerate(given.names)
    ]
    return found, Neighbours(training, generated)


def verdict(percentile: float, far: float, distance: float) -> str:
    """A plain word; at most 5 % of real images are called unlike, since each of two reasons holds for 2.5 % of them."""
    reasons = []
    if percentile < RARE:
        reasons.append(f"the discriminator takes it for less real than {100 - RARE:g} % of real images")
    if far > 100 - RARE:
        reasons.append(f"it is farther from all training images than {100 - RARE:g} % of real images are")
    if reasons:
        return f"not like the real ones: {', and '.join(reasons)}"
    return "a copy of a training image, to the pixel" if distance == 0 else "like the real ones"
