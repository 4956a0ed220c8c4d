"""A run that explodes or dies early begins again, more slowly: its networks are not worth going on from.

Only early: later there are states worth going back to, which is the keeper's work.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from equipoise.autopilot.governor import Governor
from equipoise.autopilot.keeper import all_lost
from equipoise.balancer import Move
from equipoise.diagnosis import History
from equipoise.plant import Plant

STEEP = 30.0  # slope of D at samples: healthy runs of ours stay below 8, and none that had passed 30 recovered
FAR = 1.0  # energy: samples are as far from the data as the data are wide
LOOKS = 4  # in a row at which D is too steep, or samples are far from the data and further than at first
EARLY = 0.3  # of the run
TRIES = 3
SLOWER = 0.5  # both players' steps, for good


class Restart:
    """The state before the first update."""

    def __init__(self, plant: Plant, governor: Governor) -> None:
        self.plant, self.governor = plant, governor
        self.kept: dict[str, Tensor] | None = None
        self.rates: dict[str, float] = {}
        self.first: float | None = None  # energy at the first look
        self.lost = self.tries = 0  # looks in a row, and restarts
        self.tempo = plant.actuator("D.steps", 1e-3, 1e3, "log")

    def begin(self) -> None:
        """Remember the beginning."""
        self.kept = self.plant.capture()
        self.rates = {role: rate.read() for role, rate in self.governor.rates.items()}

    def decide(self, kimg: float, history: History, act: bool) -> list[Move]:
        """Begin again if the run has been lost for a while."""
        if self.plant.progress > EARLY or self.tries == TRIES:
            self.kept = None  # its memory is wanted elsewhere
            return []
        why = self._lost(kimg, history)
        self.lost = LOOKS if all_lost(history, kimg) else self.lost + 1 if why else 0
        if self.lost < LOOKS or (act and self.kept is None):
            return []
        self.lost, self.tries = 0, self.tries + 1
        return [self._again(kimg, why, act)]

    def _again(self, kimg: float, why: str, act: bool) -> Move:
        """Everything as it was at first, but for one thing: G has its several moves to one of D no longer, or all steps
        are smaller."""
        slower, moves = self.governor.slower, self.tempo.read()
        outrun = moves < 1
        if act and self.kept is not None:
            self.plant.put_back(self.kept)
            if outrun:
                self.tempo.set(1.0)
            else:
                self.governor.slower = SLOWER * slower
            for role, rate in self.governor.rates.items():
                rate.set(self.rates[role] * self.governor.slower)
        if outrun:
            return Move(kimg, "autopilot: restart", "D.steps", moves, 1.0, why, act)
        return Move(kimg, "autopilot: restart", "both players' steps", slower, SLOWER * slower, why, act)

    def _lost(self, kimg: float, history: History) -> str:
        """Why this look is one of a lost run; empty if it is not."""
        if all_lost(history, kimg):
            return "since no update of a player came to anything finite"
        now = {name: values[-1] for name in ("slope_fake", "energy") if (values := history.values(name, since=kimg))}
        if self.first is None:
            self.first = now.get("energy")
        elif now.get("slope_fake", 0.0) > STEEP:
            return f"since D's slope at samples is {now['slope_fake']:.3g}, above {STEEP:g}"
        elif now.get("energy", 0.0) > max(self.first, FAR):
            return f"since energy is {now['energy']:.3g}, above the {self.first:.3g} of the first look"
        return ""

    def state_dict(self) -> dict[str, Any]:
        """The beginning, while it is wanted."""
        return {"kept": self.kept, "rates": self.rates, "first": self.first, "lost": self.lost,
                "tries": self.tries}  # fmt: skip

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        self.kept, self.rates = state["kept"], {role: float(rate) for role, rate in state["rates"].items()}
        self.first = None if state["first"] is None else float(state["first"])
        self.lost, self.tries = int(state["lost"]), int(state["tries"])
