"""Controllers turn an error into a move: laws and wrappers, frozen settings with explicit memory. Plain Python.

`init() -> state`, `update(error, state, dt) -> (move, state)`: the error is reading minus target times the loop's
acting, so that a positive one asks for a positive move; `dt` is in thousands of real samples; the move is in the
actuator's scale. No law stores a position, so nothing winds up at a limit.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from equipoise.errors import InputError

S = TypeVar("S")


class Controller(ABC, Generic[S]):
    """A law or a wrapper of one, whose settings are checked when it is made (InputError); memory is plain data."""

    @abstractmethod
    def init(self) -> S:
        """The state before the first error; plain data."""

    @abstractmethod
    def update(self, error: float, state: S, dt: float) -> tuple[float, S]:
        """The move for an error that has stood for `dt` kimg, and the state after."""

    def wait(self, state: S, dt: float) -> S:
        """The state after `dt` kimg without a reading: nothing moves, and only what counts time goes on."""
        return state


# ------------------------------------------------------------------------------------------------ laws


@dataclass(frozen=True)
class Sign(Controller[None]):
    """`move = rate dt sign(error)`, 0 for an error of 0: ADA's law (Karras et al. 2020, arXiv:2006.06676)."""

    rate: float = 1 / 500  # of the actuator's scale per kimg, above 0; the paper's

    def __post_init__(self) -> None:
        _positive("Sign", rate=self.rate)

    def init(self) -> None:
        """No memory."""

    def update(self, error: float, state: None, dt: float) -> tuple[float, None]:
        return (math.copysign(self.rate * dt, error) if error else 0.0), None


@dataclass(frozen=True)
class PID(Controller["tuple[float, ...]"]):
    """A PID law in velocity form: the move is the change that the law's position would make.

    `move = kp (e - e1) + ki e dt + kd (e - 2 e1 + e2) / dt`, with the errors e1 and e2 before. The integral part is in
    the actuator's position, so that it cannot wind up; `ki` alone is the usual slow integrator, as that of BEGAN's k
    (Berthelot et al. 2017, arXiv:1703.10717).
    """

    kp: float = 0.0  # scale units per unit of error, 0 or more
    ki: float = 0.0  # per unit of error and kimg, 0 or more; this or kp above 0
    kd: float = 0.0  # per unit of error, times kimg, 0 or more

    def __post_init__(self) -> None:
        if not all(math.isfinite(k) and k >= 0 for k in (self.kp, self.ki, self.kd)) or self.kp + self.ki <= 0:
            raise InputError(f"{self}: gains must be 0 or more and kp or ki above 0; reverse a loop by its acting")

    def init(self) -> tuple[float, ...]:
        """No errors yet."""
        return ()

    def update(self, error: float, state: tuple[float, ...], dt: float) -> tuple[float, tuple[float, ...]]:
        one = state[0] if state else error
        two = state[1] if len(state) > 1 else one
        move = self.kp * (error - one) + self.ki * error * dt
        if dt > 0:
            move += self.kd * (error - 2 * one + two) / dt
        return move, (error, one)


@dataclass(frozen=True)
class Relay(Controller[bool]):
    """`move = rise dt` while on, `-fall dt` while off; switches on above `on`, off below `off` (hysteresis)."""

    on: float  # error above which it switches on
    off: float  # error below which it switches off, at most `on`
    rise: float  # scale units per kimg while on, 0 or more
    fall: float = 0.0  # scale units per kimg while off, 0 or more

    def __post_init__(self) -> None:
        if not self.off <= self.on or min(self.rise, self.fall) < 0:
            raise InputError(f"{self}: off must not lie above on, and rise and fall must be 0 or more")

    def init(self) -> bool:
        """Off."""
        return False

    def update(self, error: float, state: bool, dt: float) -> tuple[float, bool]:
        on = error > self.on if not state else error >= self.off
        return (self.rise if on else -self.fall) * dt, on


@dataclass(frozen=True)
class Ratio(Controller[None]):
    """`move = share error` at each look, whatever its dt: for errors that are logarithms of factors."""

    share: float = 1.0  # of the error, above 0 to 1

    def __post_init__(self) -> None:
        _positive("Ratio", share=self.share)

    def init(self) -> None:
        """No memory."""

    def update(self, error: float, state: None, dt: float) -> tuple[float, None]:
        return self.share * error, None


# ------------------------------------------------------------------------------------------------ wrappers


@dataclass(frozen=True)
class DeadBand(Controller[Any]):
    """The law sees `sign(error) max(|error| - width, 0)`: nothing within the band, outside what exceeds it."""

    law: Controller[Any]
    width: float  # half of the band, in units of the error, above 0

    def __post_init__(self) -> None:
        _positive("DeadBand", width=self.width)

    def init(self) -> Any:
        """The law's."""
        return self.law.init()

    def update(self, error: float, state: Any, dt: float) -> tuple[float, Any]:
        return self.law.update(math.copysign(max(abs(error) - self.width, 0.0), error), state, dt)

    def wait(self, state: Any, dt: float) -> Any:
        return self.law.wait(state, dt)


@dataclass(frozen=True)
class Limit(Controller[Any]):
    """The law's move, cut to `min(largest, rate dt)` either way; what is cut off is lost, not made up for."""

    law: Controller[Any]
    largest: float = math.inf  # at a time, in the actuator's scale, above 0
    rate: float = math.inf  # per kimg, in the actuator's scale, above 0

    def __post_init__(self) -> None:
        _positive("Limit", largest=self.largest, rate=self.rate)

    def init(self) -> Any:
        """The law's."""
        return self.law.init()

    def update(self, error: float, state: Any, dt: float) -> tuple[float, Any]:
        move, state = self.law.update(error, state, dt)
        most = min(self.largest, self.rate * dt) if math.isfinite(self.rate) else self.largest
        return max(-most, min(most, move)), state

    def wait(self, state: Any, dt: float) -> Any:
        return self.law.wait(state, dt)


@dataclass(frozen=True)
class Hold(Controller["tuple[float, Any]"]):
    """After a move, none for `kimg`: what was turned shows its effect first, and errors of that time are not seen."""

    law: Controller[Any]
    kimg: float  # thousands of real samples, above 0

    def __post_init__(self) -> None:
        _positive("Hold", kimg=self.kimg)

    def init(self) -> tuple[float, Any]:
        """Free to move at once."""
        return 0.0, self.law.init()

    def update(self, error: float, state: tuple[float, Any], dt: float) -> tuple[float, tuple[float, Any]]:
        left, inner = state
        if left - dt > 1e-12:
            return 0.0, (left - dt, inner)
        move, inner = self.law.update(error, inner, dt)
        return move, (self.kimg if move else 0.0, inner)

    def wait(self, state: tuple[float, Any], dt: float) -> tuple[float, Any]:
        return max(state[0] - dt, 0.0), self.law.wait(state[1], dt)


@dataclass(frozen=True)
class Smooth(Controller["tuple[float | None, Any]"]):
    """The law sees `e + (before - e) 0.5^(dt / kimg)`, an average with a half-life; time without readings is none."""

    law: Controller[Any]
    kimg: float  # half-life, thousands of real samples, above 0

    def __post_init__(self) -> None:
        _positive("Smooth", kimg=self.kimg)

    def init(self) -> tuple[float | None, Any]:
        """Nothing averaged yet."""
        return None, self.law.init()

    def update(
        self, error: float, state: tuple[float | None, Any], dt: float
    ) -> tuple[float, tuple[float | None, Any]]:
        before, inner = state
        mean = error if before is None else error + (before - error) * 0.5 ** (dt / self.kimg)
        move, inner = self.law.update(mean, inner, dt)
        return move, (mean, inner)

    def wait(self, state: tuple[float | None, Any], dt: float) -> tuple[float | None, Any]:
        return state[0], self.law.wait(state[1], dt)


def _positive(what: str, **values: float) -> None:
    for name, value in values.items():
        if not value > 0:
            raise InputError(f"{what}({name}={value}): {name} must be above 0")
