"""A closed loop: a signal is held at a target by a law that turns an actuator, once per tick."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from equipoise.actuator import Moved, Turnable
from equipoise.balancer import Move, named, whole
from equipoise.controllers import Controller
from equipoise.diagnosis import History
from equipoise.errors import InputError
from equipoise.signals import SPANS


class Loop:
    """One closed loop of a balancer.

    The error is `acting * (reading - target)`: acting +1 where a reading above the target asks for a larger position
    (more augmentation when `sign_real` is too high), -1 where for a smaller. `target` is an attribute that may itself
    be actuated by an outer loop. An error counts for the time since the look before, so that one without a reading, or
    from before the loop began, makes no move, then or later. In a mode that does not act the law still runs on the
    readings, and its move is logged and not made.
    """

    def __init__(
        self,
        signal: str,  # a name of `equipoise.signals`, or one of the sensors' own
        target: float,
        controller: Controller[Any],
        actuator: Turnable,
        acting: Literal[1, -1] = 1,
        *,
        name: str | None = None,
        log: bool = False,  # the error is the logarithm of reading over target
        begin_kimg: float = 0.0,  # no moves before
    ) -> None:
        _check(signal, target, acting, log)
        if not hasattr(actuator, "move"):
            raise InputError(
                f"a loop on {signal} cannot turn a {type(actuator).__name__}: give an actuator, such as "
                "equipoise.actuators.learning_rate(optimiser, low, high)"
            )
        if not hasattr(controller, "update"):
            raise InputError(
                f"a loop on {signal} has no law in a {type(controller).__name__}: give one of equipoise.controllers, "
                "such as Sign(1 / 500)"
            )
        self.signal, self.target, self.controller, self.actuator = signal, float(target), controller, actuator
        self.asked = self.target  # which an outer loop leaves
        self.player = ""  # one of several discriminators; their mean otherwise
        self.acting, self.log, self.begin_kimg = acting, log, begin_kimg
        self.name = name or f"{signal} by {actuator.name}"
        self.frozen = False  # readings are taken and nothing is turned
        self.state: Any = controller.init()
        self.told: float | None = None  # the position that was last worth a line in the terminal
        self.exhausted = 0  # the direction in which the actuator was last found at its limit
        self.turned = self.actuators()[0].name  # which of several it moved last
        self.withheld = 0.0  # by how much all moves that were not made would have moved it

    def of(self, player: str) -> Loop:
        """This loop, reading one of several discriminators; by itself it reads their mean."""
        self.name = f"{self.name.removesuffix(f' of {self.player}')} of {named(player)}"
        self.player = player
        return self

    def actuators(self) -> Sequence[Turnable]:
        """The one it turns, or those that hand over to each other."""
        return getattr(self.actuator, "actuators", (self.actuator,))

    def error(self, reading: float) -> float:
        """How far the reading is from the target, in the direction of the move that it asks for."""
        if self.log:
            reading, target = math.log(max(reading, 1e-12)), math.log(self.target)
            return self.acting * (reading - target)
        return self.acting * (reading - self.target)

    def begin(self, act: bool) -> list[Move]:
        """Nothing: a loop needs a reading first."""
        return []

    def finish(self, kimg: float, history: History, act: bool) -> list[Move]:
        """Nothing: what was turned stays."""
        return []

    def unread(self, kimg: float, history: History, act: bool) -> list[Move]:
        """That its reading has never come, if so: in anybody's loop nothing else would say it."""
        if history.told(self.signal, self.player):
            return []
        whose, others = f"{self.player}'s " if self.player else "", " and ".join(history.players())
        seen = f" ({others} were observed)" if self.player and self.player not in history.players() and others else ""
        why = f"since no reading of {whose}{self.signal} has come{seen}, and without one nothing moves"
        now = self.actuator.read()
        return [Move(kimg, self.name, self.actuator.name, now, now, why, act)]

    def decide(self, kimg: float, history: History, act: bool) -> list[Move]:
        """One step of the loop at the newest reading."""
        points = history.told(self.signal, self.player)
        dt = kimg - history.last(kimg)
        if kimg < self.begin_kimg:
            return []
        if not points or points[-1][0] < kimg:
            self.state = self.controller.wait(self.state, dt)
            return []
        reading = points[-1][1]
        move, self.state = self.controller.update(self.error(reading), self.state, dt)
        if not move or self.frozen:
            return []
        moved, whose = self.actuator.move(move, act), f"{self.player}/" if self.player else ""
        why, handed = f"since {whose}{self.signal} is {reading:.3g} and {self.target:.3g} is aimed at", ""
        if moved.before == moved.after or not math.isfinite(moved.before):
            way = 1 if move > 0 else -1
            if self.exhausted == way:
                return []  # which has been said
            lost = "" if math.isfinite(moved.before) else f"it stands at {moved.before}, from where nothing leads back"
            self.exhausted, why = way, f"{why}, but {lost or 'it is at its limit'}"
        else:
            self.exhausted, handed = 0, self._handing_over(moved.name, move)
        said = self._telling(moved, act) or bool(handed)
        return [Move(kimg, self.name, *moved, why + handed, act, said)]

    def _handing_over(self, name: str, move: float) -> str:
        """What to say where another of several actuators goes on; nothing where it is the same one."""
        last, self.turned = self.turned, name
        if last == name:
            return ""
        self.told = None
        return f"; {last} {'has nothing left to give' if move > 0 else 'is back where it began'}, so {name} goes on"

    def _telling(self, moved: Moved, act: bool) -> bool:
        """Whether a position is a tenth away from the last one told, or an end of the way.

        Where nothing is turned, what all moves withheld so far add up to is held against the position.
        """
        self.withheld += 0.0 if act else moved.after - moved.before
        now, start, size = (moved.after, moved.before, 0.0) if act else (self.withheld, 0.0, abs(moved.before))
        self.told = start if self.told is None else self.told
        if moved.before != moved.after and abs(now - self.told) < 0.1 * max(abs(self.told), abs(now), size):
            return False
        self.told = now
        return True

    def state_dict(self) -> dict[str, Any]:
        """Memory as plain data; the position is the actuator's own."""
        return {"law": _law(self.controller), "state": self.state, "target": self.target, "asked": self.asked,
                "frozen": self.frozen, "exhausted": self.exhausted, "told": self.told, "turned": self.turned,
                "withheld": self.withheld, "start": list(getattr(self.actuator, "start", ()))}  # fmt: skip

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` gave; a target that was asked for anew goes before the one there was."""
        state, start = whole(f"the loop {self.name}", state, *self.state_dict()), getattr(self.actuator, "start", [])
        if state["law"] != _law(self.controller) or len(state["start"]) != len(start):
            raise InputError(
                f"this is the state of another loop than {self.name}: its law is {state['law']} on "
                f"{max(1, len(state['start']))} actuators, and here it is {_law(self.controller)} on "
                f"{max(1, len(start))}: hand over that loop's, or give this one another name, so that it starts anew"
            )
        self.state, start[:] = _tuples(state["state"]), state["start"]
        self.target = float(state["target"]) if state["asked"] == self.asked else self.asked
        self.frozen = bool(state["frozen"])
        self.exhausted, self.told = int(state["exhausted"]), state["told"]
        self.turned, self.withheld = str(state["turned"]), float(state["withheld"])


def _law(controller: Any) -> str:
    """A law and its wrappers by kind; their numbers may change from run to run."""
    inner = getattr(controller, "law", None)
    return type(controller).__name__ + (f"({_law(inner)})" if inner is not None else "")


def _check(signal: str, target: float, acting: int, log: bool) -> None:
    """Refuse what no loop can do."""
    number = isinstance(target, numbers.Real) and math.isfinite(target)
    if acting not in (1, -1) or not number or (log and target <= 0):
        raise InputError(
            f"a loop on {signal} with target {target} and acting {acting} cannot work: acting must be 1 or -1, and "
            "the target a finite number, above 0 where the error is a logarithm"
        )
    low, high = SPANS.get(signal, (-math.inf, math.inf))
    if not low <= target <= high:
        raise InputError(
            f"no loop can hold {signal} at {target:g}, since it lies between {low:g} and {high:g}: give a target there"
        )


def _tuples(value: Any) -> Any:
    """JSON turns tuples into lists; states of controllers are tuples."""
    return tuple(_tuples(item) for item in value) if isinstance(value, (list, tuple)) else value
