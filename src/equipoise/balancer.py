"""The balancer asks all who steer once per tick: signals in, findings and moves out, everything written down.

Our trainer hands it signals; in anybody's own loop it reads them itself, from what `observe` is given. Without loops
it only watches.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, Literal, Protocol

from equipoise.actuator import Turnable
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


def named(player: str) -> str:
    """Refuse what cannot be a discriminator's name."""
    if not isinstance(player, str) or not player or "/" in player:
        raise InputError(f'of({player!r}): give the name under which a discriminator is observed, such as "mpd"')
    return player


def whole(what: str, state: Any, *keys: str) -> Mapping[str, Any]:
    """Refuse what is no state of it."""
    missing = [key for key in keys if key not in state] if isinstance(state, Mapping) else keys
    if missing:
        raise InputError(
            f"this is no state of {what}, since {', '.join(missing)} is missing: hand over what its state_dict() gave"
        )
    kept: Mapping[str, Any] = state
    return kept


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


@dataclass
class Decision:
    """What a tick came to."""

    kimg: float
    signals: Mapping[str, float]
    judge: Callable[[], Verdict]  # asked once, and only if somebody wants to know
    moves: list[Move] = field(default_factory=list)
    judged: bool = True  # False where nothing is watched

    @cached_property
    def verdict(self) -> Verdict:
        """What the rules said of the run at this tick, however much later it is asked for."""
        return self.judge()


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
        if self.history.signals and not kimg > self.history.kimg:
            raise InputError(
                f"a look at {samples} samples cannot follow one at {1000 * self.history.kimg:.0f}: count the real "
                "samples of the whole run, and look once at each number"
            )
        self.history.add(kimg, signals, dials)
        made = Decision(kimg, signals, partial(self._judge, kimg), judged=self.mode != "off")
        for one in self._steering():
            made.moves += self._noted(one.decide(kimg, self.history, self.mode == "act"))
        if self.on_tick is not None:
            self.on_tick(made)
        return made

    def _judge(self, kimg: float) -> Verdict:
        """What was to be said at `kimg`: nothing that came later is looked at."""
        known = self.history.cut(math.nextafter(kimg, math.inf))
        return diagnose(known, () if self.mode == "off" else self.rules)

    def memory(self) -> dict[str, Any]:
        """What those who steer remember, as plain data and tensors."""
        return {one.name: one.state_dict() for one in self.steering}

    def remember(self, memory: Mapping[str, Any]) -> None:
        """Restore what `memory` gave; loops that are not in it start anew, and all stay as they are if one refuses."""
        known = [one for one in self.steering if one.name in memory]
        before = [one.state_dict() for one in known]
        try:
            for one in known:
                one.load_state_dict(memory[one.name])
        except InputError:
            for one, state in zip(known, before, strict=True):
                one.load_state_dict(state)
            raise

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on, as plain data."""
        stores = {"signals": self.history.signals, "dials": self.history.dials}  # points stay as they are: no deep copy
        kept: dict[str, Any] = {key: {n: list(points) for n, points in store.items()} for key, store in stores.items()}
        return {"history": kept | {"facts": dict(self.history.facts)}, "steering": self.memory()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` gave; what is known of the run by now goes before what was."""
        kept = whole("a balancer", state, "history", "steering")["history"]
        self.remember(state["steering"])
        points = {key: {n: [(float(k), float(v)) for k, v in p] for n, p in kept[key].items()}
                  for key in ("signals", "dials")}  # fmt: skip
        self.history = History(points["signals"], {**kept["facts"], **self.history.facts}, points["dials"])


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
