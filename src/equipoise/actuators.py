"""Actuators: numbers that may be turned during a run, with limits, a scale, and a largest move. Plain Python.

A controller hands over a move; the actuator holds the position. On a log scale a move is a factor's logarithm, so that
a number turned by hand, restored from a checkpoint or left at a limit is simply where the next move starts.
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


def attribute(
    owner: Any,
    name: str,  # of the attribute: a number, or a 0-d tensor that is filled
    low: float,
    high: float,
    scale: Scale = "linear",
    largest: float = math.inf,
    label: str | None = None,
) -> Actuator:
    """An attribute of any object."""

    def get() -> float:
        held = getattr(owner, name)
        return float(held.detach() if hasattr(held, "detach") else held)

    def put(value: float) -> None:
        held = getattr(owner, name)
        if hasattr(held, "fill_"):
            held.detach().fill_(value)  # a parameter too
        else:
            setattr(owner, name, value)

    if fault := _stuck(owner, name):
        raise InputError(
            f"the attribute {name!r} of {type(owner).__name__} {fault}, and cannot be turned: give one that is a "
            "number or a 0-d tensor of float32"
        )
    return Actuator(label or name, get, put, low, high, scale, largest, (id(owner), name))


def _stuck(owner: Any, name: str) -> str:
    """Why an attribute cannot be turned; empty if it can."""
    if not hasattr(owner, name):
        return "is not there"
    held = getattr(owner, name)
    kind = str(getattr(held, "dtype", type(held).__name__))
    try:
        float(held.detach() if hasattr(held, "detach") else held)
        if not hasattr(held, "fill_"):
            setattr(owner, name, held)
    except (TypeError, ValueError, RuntimeError):
        return f"is a {type(held).__name__}"
    except AttributeError:
        return "cannot be set"
    if isinstance(held, bool) or (hasattr(held, "fill_") and not held.is_floating_point()):
        return f"is of {kind}, which has no values between"
    return f"is of {kind}, which loses small moves" if hasattr(held, "fill_") and held.element_size() < 4 else ""


def learning_rate(
    optimiser: Any,  # a torch.optim.Optimizer
    low: float,
    high: float,
    largest: float = math.log(2.0),  # in natural logarithms: at most a factor of two at a time
    scheduler: Any = None,  # its torch.optim.lr_scheduler, which owns the rate: then the base value is turned
    label: str = "lr",
) -> Actuator:
    """The learning rate of all parameter groups, in proportion; the first group's is read.

    Where a scheduler sets the rate anew at every step, its `base_lrs` are turned too, so that neither undoes the other;
    of several in a row, those of each.
    """
    if not hasattr(optimiser, "param_groups"):
        raise InputError(
            f"learning_rate({type(optimiser).__name__}, ...): hand over an optimiser, whose rate is turned"
        )
    inner, based = _unwrapped(optimiser), _based(scheduler)
    _check_scheduled(inner, scheduler, based, label)

    def get() -> float:
        return float(based[0].base_lrs[0] if based else optimiser.param_groups[0]["lr"])

    def put(value: float) -> None:
        _check_scheduled(inner, scheduler, based, label)  # one may have come since
        now = get()
        factor = value / now if now else 1.0  # a rate that has been brought to 0 stays there
        for group in optimiser.param_groups:  # which are others once a state has been loaded
            if hasattr(group["lr"], "mul_"):
                group["lr"].mul_(factor)
            else:
                group["lr"] = group["lr"] * factor
        for one in based:
            one.base_lrs = [base * factor for base in one.base_lrs]

    if get() == 0:
        raise InputError(
            f"{label} is turned by factors, and 0 stays 0 under any: give the optimiser a rate above 0, or "
            "scheduler=... where one brings it up"
        )
    return Actuator(label, get, put, low, high, "log", largest, (id(inner), "lr"))


def _unwrapped(optimiser: Any) -> Any:
    """The optimiser in Accelerate's and Lightning's wrappers."""
    return getattr(optimiser, "optimizer", optimiser)


def _check_scheduled(optimiser: Any, scheduler: Any, based: list[Any], label: str) -> None:
    """Refuse a rate that a scheduler sets which is not handed over, or is another optimiser's."""
    step = getattr(optimiser, "step", None)
    if scheduler is None and hasattr(step, "_wrapped_by_lr_sched"):
        raise InputError(
            f"a scheduler sets {label} too, and may undo every move: hand it over, "
            "learning_rate(optimiser, low, high, scheduler=...)"
        )
    if any(_unwrapped(getattr(one, "optimizer", optimiser)) is not optimiser for one in based):
        raise InputError(f"the scheduler handed over for {label} is another optimiser's: hand over the one of this")


def _based(scheduler: Any) -> list[Any]:
    """The schedulers that hold base rates; one that lowers the rate from where it stands needs nothing turned."""
    scheduler = getattr(scheduler, "scheduler", scheduler)  # in Accelerate's wrapper
    if scheduler is None or type(scheduler).__name__ == "ReduceLROnPlateau":
        return []
    inner = getattr(scheduler, "_schedulers", None)  # of SequentialLR and ChainedScheduler
    based = [scheduler] if inner is None else [found for one in inner for found in _based(one)]
    if type(scheduler).__name__ in ("OneCycleLR", "CyclicLR") or not all(hasattr(one, "base_lrs") for one in based):
        raise InputError(
            f"scheduler={type(scheduler).__name__}(...) keeps no base rates that could be turned (base_lrs), and would "
            "undo every move: take one that does, such as LambdaLR"
        )
    return based


def dial(
    made: Any,  # an `equipoise.schedules.Dial`: its base is turned, its schedule goes on
    name: str,
    low: float,
    high: float,
    scale: Scale = "linear",
    largest: float = math.inf,
) -> Actuator:
    """A dial of our own trainer."""
    return Actuator(name, lambda: float(made.base), made.set, low, high, scale, largest)
