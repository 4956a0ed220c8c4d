"""The arms: what the same classifier is trained on, and as many settings for each arm to choose among."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from equipoise.apps.augment import classical
from equipoise.apps.augment.split import Ints, Part
from equipoise.apps.augment.synthesis import Pool, some, wanted
from equipoise.metrics import fit_classifier

RATES = 2  # learning rates tried with each amount of synthetic images
LOWEST, HIGHEST = 1e-3, 4e-3  # of them: the range about the rate that the classifier was made with, 3e-3
BATCH = 32


@dataclass(frozen=True)
class Arm:
    """One way to train."""

    name: str
    classical: bool
    synthetic: bool


REAL = Arm("real", False, False)
CLASSICAL = Arm("real + classical", True, False)
SYNTHETIC = Arm("real + synthetic", False, True)
BOTH = Arm("real + classical + synthetic", True, True)
ARMS = (REAL, CLASSICAL, SYNTHETIC, BOTH)


class Setting(NamedTuple):
    """What validation chooses."""

    amount: int  # synthetic images of the largest class; 0: none
    rate: float  # highest learning rate


def settings(arm: Arm, amounts: Sequence[int]) -> list[Setting]:
    """The settings that an arm chooses among: the same number for each, over the same range of learning rates."""
    tried = amounts if arm.synthetic else (0,)
    rates = np.geomspace(LOWEST, HIGHEST, RATES * len(amounts) // len(tried))
    return [Setting(amount, float(f"{rate:.3g}")) for amount in tried for rate in rates]


def correct(
    arm: Arm,
    setting: Setting,
    training: Part,
    pool: Pool,  # of synthetic images
    judged: Part,
    *,
    classes: int,
    flips: bool,  # whether mirrored images are like the real ones
    updates: int,
    seed: int,
    device: str = "cpu",
) -> NDArray[np.bool_]:
    """Fit the classifier and say which of the judged images it recognises, [N]."""
    images, labels = training.images[rows := even(training.labels, classes)], training.labels[rows]
    if arm.synthetic:
        chosen = some(pool, wanted(training.labels, classes, setting.amount), seed)
        images, labels = np.concatenate([training.images, chosen.images]), np.r_[training.labels, chosen.labels]
    change = classical.unchanged
    if arm.classical:
        change = classical.moved_or_flipped if flips else classical.moved
    fitted = fit_classifier(
        images, labels, num_classes=classes, seed=seed, updates=updates, batch=BATCH, rate=setting.rate,
        change=change, device=device,
    )  # fmt: skip
    return np.asarray(fitted.predict(judged.images) == judged.labels)


def even(labels: Ints, classes: int) -> Ints:
    """Rows in which every class comes as often as the largest, and a batch is full: rare images are repeated.

    Synthetic images make the classes even; this gives the arms without them the same, so that what is compared is the
    images and not the balance.
    """
    most = max(int(np.bincount(labels, minlength=classes).max()), -(-BATCH // classes))
    return np.concatenate([np.resize(np.flatnonzero(labels == label), most) for label in range(classes)])
