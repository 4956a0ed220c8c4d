"""The comparison: every setting of every arm on validation images, then the chosen ones, once, on the test images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from equipoise.apps.augment.arms import ARMS, Arm, Setting, correct, settings
from equipoise.apps.augment.material import Material
from equipoise.apps.augment.rows import Fit, Rows
from equipoise.apps.augment.split import Part
from equipoise.apps.augment.synthesis import Pool
from equipoise.apps.augment.verdict import Correct, choose
from equipoise.errors import Interrupted

TUNING = 2  # seeds of each setting on validation images


class Outcome(NamedTuple):
    """What came of a comparison, by arm."""

    tried: dict[str, dict[Setting, float]]  # mean accuracy of each setting on validation images
    chosen: dict[str, tuple[Setting, float]]  # the best of them
    tests: dict[str, Correct]  # [seeds, N]: which test images the chosen one recognised


@dataclass(frozen=True)
class Contest:
    """What all classifiers share."""

    material: Material
    pool: Pool  # of synthetic images
    amounts: Sequence[int]  # synthetic images of the largest class, to choose among
    updates: int  # of each classifier
    seeds: int  # classifiers of each arm on the test images
    first_seed: int = 0
    device: str = "cpu"

    def run(self, rows: Rows, say: Callable[[str], None], stop: Callable[[], bool]) -> Outcome:
        """Fit what has no row yet; Interrupted where a stop is asked for."""
        tuning = range(self.first_seed, self.first_seed + TUNING)
        wanted = [Fit("validation", a.name, *s, n) for n in tuning for a in ARMS for s in settings(a, self.amounts)]
        self._fit(wanted, self.material.validation, rows, say, stop)
        tried = {arm.name: rows.of("validation", arm.name) for arm in ARMS}
        chosen = {name: choose(results) for name, results in tried.items()}
        seeds = range(tuning.stop, tuning.stop + self.seeds)  # others than those that chose
        wanted = [Fit("test", arm.name, *chosen[arm.name][0], seed) for seed in seeds for arm in ARMS]
        self._fit(wanted, self.material.test, rows, say, stop)
        return Outcome(
            {name: {each: float(seen.mean()) for each, seen in results.items()} for name, results in tried.items()},
            chosen,
            {arm.name: rows.of("test", arm.name)[chosen[arm.name][0]] for arm in ARMS},
        )

    def _fit(
        self, wanted: list[Fit], judged: Part, rows: Rows, say: Callable[[str], None], stop: Callable[[], bool]
    ) -> None:
        missing = [each for each in wanted if each not in rows.found]
        for number, each in enumerate(missing, 1):
            if stop():
                raise Interrupted(
                    f"stopped with {len(missing) - number + 1} classifiers to fit; the same command goes on"
                )
            seen = correct(
                _arm(each.arm), each.setting, self.material.training, self.pool, judged,
                classes=len(self.material.classes), flips=self.material.flips, updates=self.updates, seed=each.seed,
                device=self.device,
            )  # fmt: skip
            rows.add(each, seen)
            amount = f", {each.amount} synthetic" if each.amount else ""
            say(f"{each.stage} {number}/{len(missing)}: {each.arm}{amount}, rate {each.rate:g}: {seen.mean():.1%}")


def _arm(name: str) -> Arm:
    return next(arm for arm in ARMS if arm.name == name)
