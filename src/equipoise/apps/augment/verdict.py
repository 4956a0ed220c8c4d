"""From what the classifiers recognised to a plain answer: use the synthetic images, this many, or do not.

Two intervals, for there are two sources of luck: the seeds of the classifier (paired, since every arm has the same
seeds), and which images happened to be in the test set (paired, since every arm sees the same images). A difference
counts where both exclude zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

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
    classes: list[Estimate]  # that first one in each class, over the seeds


def choose(tried: Mapping[Setting, Correct]) -> tuple[Setting, float]:
    """The setting with the best mean accuracy, and that; of equals the one with the fewest synthetic images."""
    means = {setting: float(correct.mean()) for setting, correct in tried.items()}
    best = min(means, key=lambda setting: (-means[setting], setting))
    return best, means[best]


def difference(more: str, than: str, tests: Mapping[str, Correct]) -> Difference:
    """The paired difference of two arms' accuracies."""
    change = tests[more].astype(float) - tests[than].astype(float)  # [seeds, N]
    return Difference(more, than, over_seeds(change), estimate(change.mean(axis=0).tolist()))


def over_seeds(values: NDArray[Any]) -> Estimate:
    """The mean of values [seeds, N], and its interval over the seeds."""
    return estimate(values.mean(axis=1).tolist())


def decide(
    chosen: Mapping[str, tuple[Setting, float]],  # by arm: the setting, and its accuracy on validation images
    tests: Mapping[str, Correct],  # by arm: what the chosen setting recognised
    labels: Ints,  # [N] of the test images
    names: tuple[str, ...],  # of the classes
    extra: int = 0,  # images that the rarest class gets beyond those of the largest, to make them even
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
            over_seeds(correct),
            [over_seeds(correct[:, labels == label]) for label in range(len(names))],
        )
        for name, correct in tests.items()
    }
    sign, amount = differences[0].sign, chosen[best[True]][0].amount
    effect = {1: "helps", -1: "hurts", 0: "unclear"}[sign]
    sentences = [_answer(differences[0], results, amount, extra), *map(_beside, differences[1:])]
    change = tests[pairs[0][0]].astype(float) - tests[pairs[0][1]].astype(float)
    classes = [over_seeds(change[:, labels == label]) for label in range(len(names))]
    return Verdict(sign > 0, effect, amount, sentences, results, differences, classes)


def _answer(decisive: Difference, results: Mapping[str, Result], amount: int, extra: int) -> str:
    """What to do, and why."""
    before, after = (percent(results[name].accuracy.mean) for name in (decisive.than, decisive.more))
    shown = f"from {before} ({decisive.than}) to {after} ({decisive.more}), {points(decisive.seeds)} over the seeds"
    if decisive.sign > 0:
        rarer = f", and up to {extra} more of rarer ones" if extra else ""
        return f"Use them, {amount} per class{rarer}: accuracy on real test images rises {shown}."
    if decisive.sign < 0:
        return f"Do not use them, they hurt: accuracy on real test images falls {shown}."
    return (
        f"Do not use them, no gain is shown: accuracy on real test images goes {shown}, {points(decisive.images)} over "
        "the test images."
    )


def _beside(each: Difference) -> str:
    """What a comparison says that does not decide."""
    word = {1: "raise", -1: "lower", 0: "do not measurably change"}[each.sign]
    return f"Beside {each.than}, synthetic images {word} accuracy: {points(each.seeds)}."


def percent(share: float) -> str:
    """0.9134 as 91.3 %."""
    return f"{100 * share:.1f} %"


def points(change: Estimate) -> str:
    """A difference in points of percent, with its interval."""
    return f"{100 * change.mean:+.1f} points (95 % interval {100 * change.low:+.1f} to {100 * change.high:+.1f})"
