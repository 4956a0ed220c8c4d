"""Reference recordings: small labelled runs that we made, healthy and sick, and which of them a run is most like.

A recording is a run of our own trainer with one thing changed on purpose, its signals at a few moments, and what became
of it: healthy where its final score reached 90 % of what the same task and loss reach untouched. How they were made:
`benchmarks/recordings.py`; how well the rules do on them: docs/diagnose.md.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from equipoise.diagnosis.history import History

HEALTHY = 0.9  # share of the reference score from which a run is healthy
LEAST = 4  # signals in common, below which nothing is compared
VOTERS = 5  # recordings, the most alike ones
ALIKE = 1.0  # mean distance, in spreads, up to which two runs are called alike
MOMENTS = (0.33, 0.67, 1.0)  # shares of what is compared at which it is
# Signals that mean the same for other networks and data; those above 0 of many sizes are compared as logarithms.
SEEN = ("energy", "diversity", "coverage", "recall")  # they tell of the samples: one at least has to be shared
LEVELS = ("win_rate", "auc", "sign_real", "memory", "swing", "swing_size", "coverage", "recall", "precision", "nearest")
RATIOS = ("loss_D", "loss_G", "step_D", "step_G", "slope_real", "slope_fake", "diversity", "energy")


@dataclass(frozen=True)
class Recording:
    """One labelled run."""

    task: str
    scenario: str  # what was changed; healthy: nothing
    loss: str
    seed: int
    score: float  # over the median of the same task and loss, untouched
    made: Mapping[str, Any]  # the settings, by path
    facts: Mapping[str, Any]
    kimg: tuple[float, ...]
    signals: Mapping[str, tuple[float | None, ...]]
    group: str = ""  # task, loss and penalties: what thresholds are set on or tried on as a whole

    @property
    def healthy(self) -> bool:
        """Whether it came out well."""
        return self.score >= HEALTHY

    def history(self, share: float = 1.0) -> History:
        """As it stood when this share of the run was over."""
        made = History(facts=dict(self.facts) | {"loss": self.loss, "total_kimg": self.kimg[-1]})
        for look, kimg in enumerate(self.kimg):
            if kimg <= share * self.kimg[-1]:
                read = {name: values[look] for name, values in self.signals.items()}
                made.add(kimg, {"tempo": self.made.get("n_dis")} | read)
        return made

    def text(self) -> str:
        """In a line."""
        state = "healthy" if self.healthy else "sick"
        return f"{self.task}, {self.scenario} ({self.loss}): {state}, {100 * self.score:.0f} % of the reference score"


def from_dict(row: Mapping[str, Any]) -> Recording:
    """The recording that a line of a file holds."""
    signals = {name: tuple(values) for name, values in row["signals"].items()}
    return Recording(**{**row, "kimg": tuple(row["kimg"]), "signals": signals})


@functools.cache
def shipped() -> tuple[Recording, ...]:
    """All recordings that come with the package, one a line in `recorded/*.jsonl`."""
    folder = resources.files("equipoise.diagnosis") / "recorded"
    found = folder.iterdir() if folder.is_dir() else ()
    files = sorted((one for one in found if one.name.endswith(".jsonl")), key=lambda one: one.name)
    lines = [line for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    return tuple(from_dict(json.loads(line)) for line in lines)


def most_like(history: History, recordings: Iterable[Recording] | None = None) -> str:
    """The recording that a history resembles most, in a line; empty where too little is shared or none is alike.

    Of those most alike the majority says whether it is a healthy one that is named or a sick one: the nearest alone is
    sick for a quarter of the healthy runs of another task, the majority for three in a hundred. No recorded generator
    is held by another loss, so what is anchored resembles none; nor does what logits and losses alone tell,
    since "healthy" would be said of what they do not show.
    """
    if history.facts.get("anchored") or not any(history.has(name) for name in SEEN):
        return ""
    found = nearest(history, shipped() if recordings is None else recordings)
    if not found:
        return ""
    healthy = majority(found)
    chosen, far = next((one, far) for one, far in found if one.healthy == healthy)
    number, state = sum(one.healthy == healthy for one, _ in found), "healthy" if healthy else "sick"
    voters = f"; {number} of the {len(found)} most alike are {state}" if len(found) > 1 else ""
    return f"{chosen.text()}; at {far:.2f} spreads{voters}"


def nearest(history: History, recordings: Iterable[Recording]) -> list[tuple[Recording, float]]:
    """Up to five recordings that are alike, each with its distance in spreads, the nearest first.

    Runs are compared at the same share of their length, signal by signal, each in units of its spread over all
    recordings.
    """
    chosen, share = list(recordings), 1.0 if history.share is None else history.share
    mine, theirs = vector(history), [vector(one.history(share)) for one in chosen]
    spread = _spreads(theirs)
    far = [_distance(mine, other, spread) for other in theirs]
    order = sorted(range(len(far)), key=far.__getitem__)[:VOTERS]
    return [(chosen[at], far[at]) for at in order if far[at] <= ALIKE]


def majority(found: Sequence[tuple[Recording, float]]) -> bool:
    """Whether most of the recordings found are healthy; of as many of either the nearest decides."""
    twice = 2 * sum(one.healthy for one, _ in found)
    return found[0][0].healthy if twice == len(found) else twice > len(found)


def vector(history: History) -> dict[tuple[str, int], float]:
    """What is compared of a history: signals at three moments of it, by name and moment."""
    end, found = history.kimg, {}
    for name in (*LEVELS, *RATIOS):
        points = history.signals.get(name, [])
        for number, moment in enumerate(MOMENTS if len(points) >= 3 else ()):
            value = min(points, key=lambda point: abs(point[0] - moment * end))[1]
            found[name, number] = math.log(max(value, 1e-6)) if name in RATIOS else value
    return found


def _spreads(vectors: Iterable[Mapping[tuple[str, int], float]]) -> dict[tuple[str, int], float]:
    """The distance between the quartiles of each number, over all recordings that have it."""
    values: dict[tuple[str, int], list[float]] = {}
    for one in vectors:
        for key, value in one.items():
            values.setdefault(key, []).append(value)
    return {key: sorted(v)[3 * len(v) // 4] - sorted(v)[len(v) // 4] for key, v in values.items()}


def _distance(
    one: Mapping[tuple[str, int], float],
    other: Mapping[tuple[str, int], float],
    spread: Mapping[tuple[str, int], float],
) -> float:
    """The mean distance in spreads, none counting more than three; infinite where too little is shared."""
    shared = [key for key in one if key in other and spread.get(key, 0.0) > 0]
    if len({name for name, _ in shared}) < LEAST:
        return math.inf
    return sum(min(abs(one[key] - other[key]) / spread[key], 3.0) for key in shared) / len(shared)
