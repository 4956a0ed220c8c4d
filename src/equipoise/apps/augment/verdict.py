"""From what the classifiers recognised to a plain answer: use the synthetic images, this many, or do not.

Two intervals, for there are two sources of luck: the seeds of the classifier (paired, since every arm has the same
seeds), and which images happened to be in the test set (paired, since every arm sees the same images). A difference
counts where both exclude zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from equipoise.apps.augment.arms import ARMS, Setting
from equipoise.apps.augment.split import Ints
from equipoise.studies.statistics import Estimate, estimate

Correct = NDArray[np.bool_]  # [seeds, N]: which images were recognised


class Result(NamedTuple):
    """One arm with its chosen setting."""

    setting: Setting
    validation: float  # mean accuracy there, by which the setting was chosen
    accuracy: Estimate  # on the test images, over the seeds
    classes: list[Estimate]  # the same for each class


class Difference(NamedTuple):
    """How much more one arm recognises than another, in accuracy."""

    more: str  # an arm
    than: str
    seeds: Estimate  # interval over the classifier's seeds
    images: Estimate  # interval over the test images

    @property
    def sign(self) -> int:
        """1: more, -1: less, 0: no difference is shown."""
        low, high = min(self.seeds.low, self.images.low), max(self.seeds.high, self.images.high)
        return 1 if low > 0 else -1 if high < 0 else 0  # nan, of a single seed, shows nothing


@dataclass(frozen=True)
class Verdict:
    """The answer and what it rests on."""

    use: bool
    effect: str  # helps | hurts | unclear
    amount: int  # synthetic images of the largest class, chosen on validation images
    sentences: list[str]
    results: dict[str, Result]
    differences: list[Difference]  # the first decides


def choose(tried: Mapping[Setting, Correct]) -> tuple[Setting, float]:
    """The setting with the best mean accuracy, and that; of equals the one with the fewest synthetic images."""
    means = {setting: float(correct.mean()) for setting, correct in tried.items()}
    best = min(means, key=lambda setting: (-means[setting], setting))
    return best, means[best]


def difference(more: str, than: str, tests: Mapping[str, Correct]) -> Difference:
    """The paired difference of two arms' accuracies."""
    change = tests[more].astype(float) - tests[than].astype(float)  # [seeds, N]
    return Difference(more, than, estimate(change.mean(axis=1).tolist()), estimate(change.mean(axis=0).tolist()))


def decide(
    chosen: Mapping[str, tuple[Setting, float]],  # by arm: the setting, and its accuracy on validation images
    tests: Mapping[str, Correct],  # by arm: what the chosen setting recognised
    labels: Ints,  # [N] of the test images
    names: tuple[str, ...],  # of the classes
) -> Verdict:
    """Compare the best way with synthetic images with the best without, both chosen on validation images."""
    best = {
        synthetic: max((arm.name for arm in ARMS if arm.synthetic is synthetic), key=lambda name: chosen[name][1])
        for synthetic in (True, False)
    }
    pairs = [(best[True], best[False]), *((ARMS[i + 2].name, ARMS[i].name) for i in (0, 1))]
    differences = [difference(more, than, tests) for more, than in dict.fromkeys(pairs)]
    results = {
        name: Result(
            *chosen[name],
            estimate(correct.mean(axis=1).tolist()),
            [estimate(correct[:, labels == label].mean(axis=1).tolist()) for label in range(len(names))],
        )
        for name, correct in tests.items()
    }
    sign, amount = differences[0].sign, chosen[best[True]][0].amount
    effect = {1: "helps", -1: "hurts", 0: "unclear"}[sign]
    sentences = [_answer(differences[0], results, amount), *_besides(differences, results)]
    return Verdict(sign > 0, effect, amount, sentences, results, differences)


def _answer(decisive: Difference, results: Mapping[str, Result], amount: int) -> str:
    """What to do, and why."""
    more, than = results[decisive.more], results[decisive.than]
    shown = f"{percent(than.accuracy.mean)} ({decisive.than}) to {percent(more.accuracy.mean)} ({decisive.more})"
    if decisive.sign > 0:
        return (
            f"Use them, {amount} of the largest class and as many more of rarer ones as make the classes even: "
            f"accuracy on real test images rises from {shown}, {points(decisive.seeds)}."
        )
    if decisive.sign < 0:
        return f"Do not use them, they hurt: accuracy on real test images falls from {shown}, {points(decisive.seeds)}."
    return (
        f"Do not use them, no gain is shown: accuracy on real test images goes from {shown}, "
        f"{points(decisive.seeds)} over the seeds and {points(decisive.images)} over the test images."
    )


def _besides(differences: list[Difference], results: Mapping[str, Result]) -> list[str]:
    """Where the other comparisons say more than the one that decides."""
    words = {1: "raise", -1: "lower", 0: "do not measurably change"}
    return [
        f"Beside {each.than}, synthetic images {words[each.sign]} accuracy: {points(each.seeds)}."
        for each in differences[1:]
    ]


def percent(share: float) -> str:
    """0.9134 as 91.3 %."""
    return f"{100 * share:.1f} %"


def points(change: Estimate) -> str:
    """A difference in points of percent, with its interval."""
    return f"{100 * change.mean:+.1f} points (95 % interval {100 * change.low:+.1f} to {100 * change.high:+.1f})"
