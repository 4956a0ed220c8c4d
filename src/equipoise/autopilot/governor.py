"""The step governor: each player's step, relative to its weights, is held in a band that follows the schedule.

The strongest lever on runs of ours (docs/studies/balance.md). Outer rules turn its set point (`hold`), never the rate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median
from typing import Any

from equipoise.actuator import Actuator
from equipoise.autopilot.beginning import is_long, is_wide, let_be, within
from equipoise.autopilot.scale import overstated
from equipoise.balancer import Move
from equipoise.diagnosis import History
from equipoise.plant import Plant
from equipoise.turn import ROLES, Role

BAND = (0.008, 0.015)  # relative change of the weights a step, in runs of 2,250 updates of layers of 64: see `within`
WIDEST = 1000.0  # factor on the rate it began with, either way
SLOWEST, FASTEST = 0.3, 2.0  # factors on the rate at a look
LOOKS = 11  # of a long run, whose median says whether the rate that it came with is wrong: one may be a dip
GROSS = 3.0  # beyond what is let be: then one look is enough
FADED = 0.02  # below this factor of its schedule the rate has had its time


class Governor:
    """Two rates, each held by its own reading; `hold` is what other rules multiply the band with."""

    def __init__(self, plant: Plant) -> None:
        self.plant = plant
        self.hold: dict[Role, float] = dict.fromkeys(ROLES, 1.0)
        self.slower = self.landing = 1.0  # the same for both players: for good, and towards the end
        self.bands = {role: within(BAND, plant, role) for role in ROLES}
        self.lenient = {role: let_be(BAND, plant, role) for role in ROLES}  # for the rates that the run came with
        self.centred: list[Role] = []  # players too slow for a wide band: now held near its middle
        self.rates: dict[Role, Actuator] = {}
        self.own: dict[Role, float] = {}  # the rate that the run came with
        for role in ROLES:
            self.own[role] = base = plant.dials[f"{role}.lr"].base
            if base > 0:
                self.rates[role] = plant.actuator(
                    f"{role}.lr", base / WIDEST, base * WIDEST, "log", largest=-math.log(SLOWEST)
                )

    def actuators(self) -> Sequence[Actuator]:
        """The two rates."""
        return list(self.rates.values())

    def decide(self, kimg: float, history: History, act: bool) -> list[Move]:
        """Bring each step that is outside its band to the nearer edge."""
        made = []
        for role, rate in self.rates.items():
            reading, band, scheduled = self._reading(history, role, kimg), self.band(role), self._scheduled(role)
            if reading is None or reading <= 0 or scheduled <= FADED:
                continue
            if self._own(role):
                if not self._wrong(history, role, reading):
                    continue
                if reading < band[0]:
                    self.centre(role)
                    band = self.band(role)
            if band[0] <= reading <= band[1]:
                continue
            wanted = min(max(reading, band[0]), band[1])
            factor = min(max(wanted / reading, SLOWEST), FASTEST)
            moved = rate.move(math.log(factor), act)
            why = f"since step_{role} is {reading:.3g}, outside {band[0]:.3g} to {band[1]:.3g}"
            if moved.before != moved.after:
                made.append(Move(kimg, "autopilot: governor", *moved, why, act, said=False))
        return made

    def _reading(self, history: History, role: Role, kimg: float) -> float | None:
        """The step of this moment over the weights, if it is told, without what paced layers make of it."""
        newest = _newest(history, f"step_{role}", kimg)
        return None if newest is None else newest / overstated(self.plant, role)

    def _scheduled(self, role: Role) -> float:
        """The schedule's factor of this moment."""
        return self.plant.dials[f"{role}.lr"].factor

    def _own(self, role: Role) -> bool:
        """Whether the run has its own rate still, and nothing holds the player back: then the edges are not sharp."""
        return self.rates[role].read() == self.own[role] and self.hold[role] * self.slower * self.landing == 1

    def _wrong(self, history: History, role: Role, reading: float) -> bool:
        """Whether the run's own rate is wrong beyond doubt: in a long run by far, or in the median of looks too."""
        least, most = (edge * self._scheduled(role) for edge in self.lenient[role])
        far = GROSS if is_long(self.plant) else 1.0
        if not least / far <= reading <= most * far:
            return True
        points = history.signals.get(f"step_{role}", [])[-LOOKS:]
        usual = median(value for _, value in points) / overstated(self.plant, role)
        return len(points) == LOOKS and (max(usual, reading) < least or min(usual, reading) > most)

    def band(self, role: Role) -> tuple[float, float]:
        """The band of this moment: for this length and width, times the schedule's factor, times what holds it back."""
        scale = self._scheduled(role) * self.hold[role] * self.slower * self.landing
        return self.bands[role][0] * scale, self.bands[role][1] * scale

    def slow(self, role: Role, history: History) -> bool:
        """Whether a player's step lies below the middle of a wide band, to which it is not held yet."""
        if role in self.centred or not is_wide(self.plant, role):
            return False
        reading = history.now(f"step_{role}") / overstated(self.plant, role)
        return reading < self._middle(role) * self._scheduled(role)

    def centre(self, role: Role) -> None:
        """From now on a wide band is as narrow as any other, about its middle."""
        if role not in self.centred and is_wide(self.plant, role):
            self.bands[role] = self.centred_band(role)
            self.centred.append(role)

    def centred_band(self, role: Role) -> tuple[float, float]:
        """As narrow as a plain player's, about the middle."""
        middle, half = self._middle(role), math.sqrt(BAND[1] / BAND[0])
        return middle / half, middle * half

    def _middle(self, role: Role) -> float:
        """Of what would have been let be."""
        return math.sqrt(math.prod(self.lenient[role]))

    def state_dict(self) -> dict[str, Any]:
        """What holds it back."""
        centred = list(self.centred)
        return {"hold": dict(self.hold), "slower": self.slower, "landing": self.landing, "centred": centred}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        self.hold = {role: float(state["hold"][role]) for role in ROLES}
        self.slower, self.landing = float(state["slower"]), float(state["landing"])
        for role in state["centred"]:
            self.centre(role)


def _newest(history: History, signal: str, kimg: float) -> float | None:
    """The reading of this moment, if there is one."""
    points = history.signals.get(signal, [])
    return points[-1][1] if points and points[-1][0] >= kimg else None
