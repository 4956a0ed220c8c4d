"""What is known of a run so far: signals over time, and facts about the run. Plain numbers, no PyTorch."""

from __future__ import annotations

import math
import statistics
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Point = tuple[float, float]  # kimg, value
STEPS = ("steps", "global_steps", "iterations", "iters", "niters")  # units that are updates


@dataclass
class History:
    """Signals by name (see `equipoise.signals`), each a list of (kimg, value) in order; values are finite.

    `facts` hold what does not change: `loss`, `total_kimg`, `batch`, `count` (training samples), `duplicates` (how
    many of them are copies of others), `labelled`, `anchored` (G is held by a reconstruction loss too, so that a D far
    ahead is normal), `adaptive` (the adversarial loss is weighted by its own gradient), `augmented`, `signless` (an
    undecided D does not say 0, so that the signs of logits say nothing), `moves` (what changes between looks that are
    medians of many entries), `waiting` (the adversarial loss shown has not reached G yet), `metric` (features in which
    snapshots were measured), `unit` (of time, where that is not kimg), and `source` (where the numbers come from). A
    fact that is missing is not known.
    """

    signals: dict[str, list[Point]] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    dials: dict[str, list[Point]] = field(default_factory=dict)  # what was turned, and when

    def add(self, kimg: float, signals: Mapping[str, float | None], dials: Mapping[str, float] | None = None) -> None:
        """Append one look; what is not finite is no reading."""
        for store, values in ((self.signals, signals), (self.dials, dials or {})):
            for name, value in values.items():
                if value is not None and math.isfinite(value):
                    store.setdefault(name, []).append((float(kimg), float(value)))

    @property
    def kimg(self) -> float:
        """The latest moment that anything is known of; 0 where nothing is."""
        return max((points[-1][0] for points in self.signals.values() if points), default=0.0)

    def last(self, kimg: float) -> float:
        """The look before the one at `kimg`, the latest; 0 where there was none."""
        return max((k for points in self.signals.values() for k, _ in points[-2:] if k < kimg), default=0.0)

    @property
    def unit(self) -> str:
        """What time is counted in: kimg, or steps, epochs, rows of somebody's log."""
        found = str(self.facts.get("unit", "kimg"))
        return found if found == "kimg" else f"{found}s"

    @property
    def share(self) -> float | None:
        """How much of the run is over, 0 to 1; None where its length is not known."""
        total = self.facts.get("total_kimg")
        return min(1.0, self.kimg / float(total)) if total else None

    @property
    def updates(self) -> float | None:
        """How many updates it has had; None where neither they are counted nor the batch is known."""
        if self.unit in STEPS:
            return self.kimg
        batch = self.facts.get("batch")
        return 1000 * self.kimg / float(batch) if batch and self.unit == "kimg" else None

    def until(self, kimg: float, name: str) -> History:
        """What was known of one signal at an earlier moment."""
        points = self.signals.get(name, [])
        return History({name: points[: bisect_right(points, (kimg, math.inf))]}, self.facts)

    def cut(self, kimg: float) -> History:
        """What was known until just before a moment."""
        signals, dials = (
            {name: points[: bisect_left(points, (kimg, -math.inf))] for name, points in of.items()}
            for of in (self.signals, self.dials)
        )
        return History(signals, self.facts, dials)

    def players(self) -> list[str]:
        """Discriminators with signals of their own, `mpd/win_rate`."""
        return sorted({name.partition("/")[0] for name in self.signals if "/" in name})

    def told(self, signal: str, player: str = "") -> list[Point]:
        """A signal as one discriminator has it, or all in the mean; D's own has no name before it where it is alone."""
        alone = player == "D" and not self.players()
        return self.signals.get(signal if alone or not player else f"{player}/{signal}", [])

    def of(self, player: str) -> History:
        """The history as one of several discriminators has it: its own signals in place of the means over all."""
        own = {name.partition("/")[2]: points for name, points in self.signals.items() if name.startswith(f"{player}/")}
        shared = {name: points for name, points in self.signals.items() if "/" not in name}
        moves = [name.partition("/")[2] for name in self.facts.get("moves", ()) if name.startswith(f"{player}/")]
        return History({**shared, **own}, self.facts | {"moves": moves}, self.dials)

    def has(self, *names: str) -> bool:
        """Whether all these signals are told."""
        return all(self.signals.get(name) for name in names)

    def values(self, name: str, since: float = 0.0, until: float = math.inf) -> list[float]:
        """The values of a signal from `since` to `until` kimg."""
        return [value for kimg, value in self.signals.get(name, ()) if since <= kimg <= until]

    def now(self, name: str, window: float = 0.1) -> float:
        """The median over the last `window` of what is recorded (three looks at least); nan where it is not told."""
        return median(self._last(name, window))

    def early(self, name: str, window: float = 0.1) -> float:
        """The median over the first `window` of what is recorded (three looks at least); nan where it is not told."""
        points = self.signals.get(name, [])
        return median(value for _, value in points[: _looks(points, window)])

    def best(self, name: str, pick: Callable[[Iterable[float]], float] = min) -> Point:
        """Where a signal was at its best, after a running median of three; (nan, nan) where it is not told."""
        points = self.signals.get(name, [])
        if not points:
            return math.nan, math.nan
        values = _smoothed([value for _, value in points])
        at = values.index(pick(values))
        return points[at][0], values[at]

    def since(self, name: str, holds: Callable[[float], bool]) -> float | None:
        """The moment (kimg) from which a condition has held at every look up to the last; None where it does not."""
        began = None
        for kimg, value in reversed(self.signals.get(name, [])):
            if not holds(value):
                break
            began = kimg
        return began

    def persists(self, name: str, holds: Callable[[float], bool], looks: int = 3) -> bool:
        """Whether a condition has held at each of the last `looks` looks, and there are as many."""
        last = [value for _, value in self.signals.get(name, [])[-looks:]]
        return len(last) == looks and all(map(holds, last))

    def _last(self, name: str, window: float) -> list[float]:
        points = self.signals.get(name, [])
        return [value for _, value in points[len(points) - _looks(points, window) :]]


def median(values: Iterable[float]) -> float:
    """The median; nan of nothing."""
    found = list(values)
    return statistics.median(found) if found else math.nan


def _smoothed(values: Sequence[float]) -> list[float]:
    """A running median of three; at either end the median of what is there. Called at every look, on all looks."""
    if len(values) < 3:
        return [median(values)] * len(values)
    inner = [sorted(three)[1] for three in zip(values, values[1:], values[2:], strict=False)]
    return [median(values[:2]), *inner, median(values[-2:])]


def _looks(points: Sequence[Point], window: float) -> int:
    return min(len(points), max(3, round(window * len(points))))
