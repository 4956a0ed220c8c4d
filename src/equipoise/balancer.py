"""The balancer closes the loops once per tick: signals in, findings and moves out, everything written down.

Our trainer hands it signals; in anybody's own loop it reads them itself, from what `observe` is given. Without loops
it only watches.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from equipoise.actuators import Moved, Turnable
from equipoise.controllers import Controller
from equipoise.diagnosis import History, Rule, Verdict, diagnose
from equipoise.errors import InputError

Mode = Literal["off", "watch", "advise", "act"]
MODES = ("off", "watch", "advise", "act")


@dataclass(frozen=True)
class Move:
    """Something that was turned, or would have been, and why."""

    kimg: float
    loop: str
    actuator: str
    before: float
    after: float
    why: str  # the reading that caused it, in words
    done: bool  # False where the mode only watches or advises
    said: bool = True  # worth a line in the terminal; all moves are in the log

    def text(self) -> str:
        """One line."""
        verb = "" if self.done else "would be "
        return f"{self.kimg:g} kimg: {self.actuator} {verb}{self.before:.4g} -> {self.after:.4g}, {self.why}"


class Steering(Protocol):
    """Whatever decides on moves: a loop, or the autopilot."""

    name: str

    def actuators(self) -> Sequence[Turnable]:
        """What it may turn: two that turn the same are refused."""

    def begin(self, act: bool) -> list[Move]:
        """What is to be set right before the first update."""

    def decide(self, kimg: float, history: History, act: bool) -> list[Move]:
        """Look at the newest signals and turn what is to be turned, if `act`; the moves made or withheld."""

    def finish(self, kimg: float, history: History, act: bool) -> list[Move]:
        """After the last update: what of all that was made is handed over."""

    def state_dict(self) -> dict[str, Any]:
        """Memory as plain data; snapshots in it may be tensors."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` gave."""


class Loop:
    """One closed loop: a signal is held at a target by turning an actuator.

    The error is `acting * (reading - target)`: acting +1 where a reading above the target asks for a larger position
    (more augmentation when `sign_real` is too high), -1 where for a smaller. `target` is an attribute that may itself
    be actuated by an outer loop. A missing reading makes no move. In a mode that does not act the law still runs on
    the readings, and its move is logged and not made.
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
        if acting not in (1, -1) or not math.isfinite(target) or (log and target <= 0):
            raise InputError(
                f"a loop on {signal} with target {target} and acting {acting} cannot work: acting must be 1 or -1, and "
                "the target finite, above 0 where the error is a logarithm"
            )
        if not hasattr(actuator, "move"):
            raise InputError(
                f"a loop on {signal} cannot turn a {type(actuator).__name__}: give an actuator, such as "
                "equipoise.actuators.learning_rate(optimiser, low, high)"
            )
        self.signal, self.target, self.controller, self.actuator = signal, float(target), controller, actuator
        self.acting, self.log, self.begin_kimg = acting, log, begin_kimg
        self.name = name or f"{signal} by {actuator.name}"
        self.frozen = False  # readings are taken and nothing is turned
        self.state: Any = controller.init()
        self.last: float | None = None  # kimg of the last step
        self.told: float | None = None  # the position that was last worth a line in the terminal
        self.exhausted = 0  # the direction in which the actuator was last found at its limit
        self.turned = self.actuators()[0].name  # which of several it moved last
        self.withheld = 0.0  # by how much all moves that were not made would have moved it

    def of(self, player: str) -> Loop:
        """This loop, reading one of several discriminators; by itself it reads their mean."""
        self.signal, self.name = f"{player}/{self.signal}", f"{self.name} of {player}"
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
        if history.has(self.signal):
            return []
        now, why = self.actuator.read(), f"since no reading of {self.signal} has come, and without one nothing moves"
        return [Move(kimg, self.name, self.actuator.name, now, now, why, act)]

    def decide(self, kimg: float, history: History, act: bool) -> list[Move]:
        """One step of the loop at the newest reading."""
        points = history.signals.get(self.signal, [])
        if not points or points[-1][0] < kimg or kimg < self.begin_kimg:
            return []
        dt = kimg - (self.last if self.last is not None else 0.0)
        self.last, reading = kimg, points[-1][1]
        move, self.state = self.controller.update(self.error(reading), self.state, dt)
        if not move or self.frozen:
            return []
        moved = self.actuator.move(move, act)
        why, handed = f"since {self.signal} is {reading:.3g} and {self.target:.3g} is aimed at", ""
        if moved.before == moved.after:
            way = 1 if move > 0 else -1
            if self.exhausted == way:
                return []  # which has been said
            self.exhausted, why = way, f"{why}, but there is nothing left to give"
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
        return {"state": self.state, "last": self.last, "target": self.target, "frozen": self.frozen,
                "exhausted": self.exhausted, "told": self.told, "turned": self.turned,
                "withheld": self.withheld}  # fmt: skip

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        self.state = _tuples(state["state"])
        self.last, self.target, self.frozen = state["last"], float(state["target"]), bool(state["frozen"])
        self.exhausted, self.told = int(state["exhausted"]), state["told"]
        self.turned, self.withheld = str(state["turned"]), float(state["withheld"])


@dataclass
class Decision:
    """What a tick came to."""

    kimg: float
    signals: Mapping[str, float]
    verdict: Verdict
    moves: list[Move] = field(default_factory=list)
    judged: bool = True  # False where nothing is watched


class Balancer:
    """History, rules and loops of one run. `decide` is called once per tick, on the host."""

    def __init__(
        self,
        *steering: Steering,  # loops, or an autopilot; none: only watch
        mode: Mode = "watch",  # watch and advise: what would be done is logged, and said; act: it is done
        rules: Sequence[Rule] | None = None,  # None: all registered ones
        facts: Mapping[str, Any] | None = None,  # about the run, see `History`
        on_tick: Callable[[Decision], None] | None = None,
    ) -> None:
        if mode not in MODES:
            raise InputError(f"mode={mode!r} is no way to balance; there are {', '.join(MODES)}")
        for one in steering:
            if not hasattr(one, "decide"):
                came = repr(one) if isinstance(one, str) else f"a {type(one).__name__}"
                raise InputError(f"{came} does not steer: give a loop, such as equipoise.loops.ada(actuator)")
        _check_apart(steering)
        self.steering, self.mode, self.rules, self.on_tick = list(steering), mode, rules, on_tick
        self.history = History(facts=dict(facts or {}))
        self.moves: list[Move] = []  # made or withheld, since the process began

    def begin(self) -> list[Move]:
        """Before the first update: what those who steer set right."""
        return self._noted(move for one in self._steering() for move in one.begin(self.mode == "act"))

    def finish(self) -> list[Move]:
        """After the last update."""
        kimg = self.history.kimg
        act = self.mode == "act"
        return self._noted(move for one in self._steering() for move in one.finish(kimg, self.history, act))

    def _noted(self, moves: Iterable[Move]) -> list[Move]:
        made = list(moves)
        self.moves += made
        return made

    def _steering(self) -> Sequence[Steering]:
        return self.steering if self.mode != "off" else ()

    def decide(self, samples: int, signals: Mapping[str, float], dials: Mapping[str, float] | None = None) -> Decision:
        """Take in the signals of a tick at `samples` real samples seen, over all ranks; judge, and move what moves."""
        kimg = samples / 1000
        self.history.add(kimg, signals, dials)
        verdict = diagnose(self.history, () if self.mode == "off" else self.rules)
        made = Decision(kimg, signals, verdict, judged=self.mode != "off")
        for one in self._steering():
            made.moves += self._noted(one.decide(kimg, self.history, self.mode == "act"))
        if self.on_tick is not None:
            self.on_tick(made)
        return made

    def memory(self) -> dict[str, Any]:
        """What those who steer remember, as plain data and tensors."""
        return {one.name: one.state_dict() for one in self.steering}

    def remember(self, memory: Mapping[str, Any]) -> None:
        """Restore what `memory` gave; loops that are not in it start anew."""
        for one in self.steering:
            if one.name in memory:
                one.load_state_dict(memory[one.name])

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on, as plain data."""
        stores = {"signals": self.history.signals, "dials": self.history.dials}  # points stay as they are: no deep copy
        kept: dict[str, Any] = {key: {n: list(points) for n, points in store.items()} for key, store in stores.items()}
        return {"history": kept | {"facts": dict(self.history.facts)}, "steering": self.memory()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` gave; what is known of the run by now goes before what was."""
        kept = state["history"]
        points = {key: {n: [(float(k), float(v)) for k, v in p] for n, p in kept[key].items()}
                  for key in ("signals", "dials")}  # fmt: skip
        self.history = History(points["signals"], {**kept["facts"], **self.history.facts}, points["dials"])
        self.remember(state["steering"])


def _check_apart(steering: Sequence[Steering]) -> None:
    """Refuse two that turn the same, and two of one name, whose memories could not be told apart."""
    turned: dict[Any, str] = {}
    for number, one in enumerate(steering):
        for actuator in one.actuators():
            what = getattr(actuator, "what", None) or id(actuator)
            if what in turned:
                raise InputError(
                    f"{turned[what]} and {one.name} both turn {actuator.name} and would work against each other; keep "
                    "one, or let one set the other's target"
                )
            turned[what] = one.name
        if one.name in [other.name for other in steering[:number]]:
            raise InputError(
                f"two that steer are called {one.name}, and their memories could not be told apart: give one another "
                'name, or, where each follows a discriminator of its own, loops.NAME(actuator).of("mpd")'
            )


def _tuples(value: Any) -> Any:
    """JSON turns tuples into lists; states of controllers are tuples."""
    return tuple(_tuples(item) for item in value) if isinstance(value, (list, tuple)) else value
