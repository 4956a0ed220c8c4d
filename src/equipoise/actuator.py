"""What an actuator is: a number that may be turned during a run, with limits, a scale and a largest move.

Plain Python. A controller hands over a move; the actuator holds the position. On a log scale a move is a factor's
logarithm, so that a number turned by hand, restored from a checkpoint or left at a limit is simply where the next move
starts.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

from equipoise.errors import InputError

Scale = Literal["linear", "log"]
SLACK = 1e-9  # of rounding, in a scale's units


class Moved(NamedTuple):
    """What a move came to; `before` and `after` are the same where there was nothing left to give."""

    name: str  # of the actuator that moved
    before: float
    after: float


class Turnable(Protocol):
    """What a loop moves: one actuator, or several that hand over to each other."""

    @property
    def name(self) -> str:
        """What is turned."""

    def read(self) -> float:
        """Where it stands."""

    def move(self, delta: float, act: bool = True) -> Moved:
        """Move by `delta` as far as the limits allow; without `act` only say where that would lead."""


@dataclass(frozen=True)
class Actuator:
    """A number with limits. Moves are in its own units, or in natural logarithms on a log scale."""

    name: str
    get: Callable[[], float]
    set: Callable[[float], None]
    low: float
    high: float
    scale: Scale = "linear"
    largest: float = math.inf  # move at a time, in the scale's units
    what: Any = None  # the same for two that turn the same number; None: nothing is known of that

    def __post_init__(self) -> None:
        if not self.low < self.high or (self.scale == "log" and not self.low > 0) or not self.largest > 0:
            raise InputError(
                f"{self.name} cannot move from {self.low} to {self.high} on a {self.scale} scale by at most "
                f"{self.largest}: low must lie below high, above 0 on a log scale, and the largest move above 0"
            )

    def read(self) -> float:
        """Where it stands."""
        return float(self.get())

    def move(self, delta: float, act: bool = True) -> Moved:
        """Move by `delta`, no further than `largest` and the limits; without `act` only say where that would lead.

        A position beyond a limit, set by hand, is left alone by moves that lead further away, and moved back by others.
        """
        now = self.read()
        if not math.isfinite(delta) or not math.isfinite(now):
            return Moved(self.name, now, now)
        delta = max(-self.largest, min(self.largest, delta))
        before = self._inner(now)
        low, high = self._inner(self.low), self._inner(self.high)
        after = min(max(before + delta, min(low, before)), max(high, before))
        if after == before:
            return Moved(self.name, now, now)
        position = math.exp(after) if self.scale == "log" else after
        if act:
            self.set(position)
            if now == 0 == self.read():
                return Moved(self.name, now, now)  # as of a rate that a schedule has brought to 0
        return Moved(self.name, now, position)

    def above(self, start: float) -> float:
        """How far it stands above `start`, in the scale's units."""
        return self._inner(self.read()) - self._inner(start)

    def _inner(self, value: float) -> float:
        return math.log(max(value, self.low)) if self.scale == "log" else value


class Handover:
    """Several actuators as one: each takes what those before it could not, and they give way in the opposite order.

    Moving up, the first moves until its upper limit and then the second goes on; moving down, the last one that has
    left its start returns first.
    """

    def __init__(self, *actuators: Actuator) -> None:
        if len(actuators) < 2:
            raise InputError("a hand-over needs two actuators at least; give one actuator to the loop itself")
        self.actuators = actuators
        self.start = [one.read() for one in actuators]
        self.name = " then ".join(one.name for one in actuators)

    def read(self) -> float:
        """Where the last one stands that has left its start; else the first."""
        away = [one for one, start in zip(self.actuators, self.start, strict=True) if abs(one.above(start)) > SLACK]
        return away[-1].read() if away else self.actuators[0].read()

    def move(self, delta: float, act: bool = True) -> Moved:
        """Move the first that can."""
        order = range(len(self.actuators)) if delta > 0 else reversed(range(len(self.actuators)))
        for number in order:
            own = delta
            if delta < 0 and number > 0:
                own = max(delta, -self.actuators[number].above(self.start[number]))
                if own > -SLACK:
                    continue  # it has nothing to give back
            moved = self.actuators[number].move(own, act)
            if moved.before != moved.after:
                return moved
        return Moved(self.name, self.read(), self.read())
