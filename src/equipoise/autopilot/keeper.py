"""Snapshots of healthy states, the way back to them, and the choice of what is handed over.

A state is judged by F, the harmonic mean of precision and coverage of the generator's samples among training data, as
the probes at ticks tell it. Rollbacks are few: the first goes back and changes nothing, since the cause may have come
from outside; each further one slows both players first, and after the last one the autopilot says that it gives up.
"""

from __future__ import annotations

from statistics import median
from typing import Any

from torch import Tensor

from equipoise.autopilot.governor import Governor
from equipoise.balancer import Move
from equipoise.diagnosis import History
from equipoise.metrics.coverage import harmonic_mean
from equipoise.plant import Plant

RECENT = 8  # looks whose median is what F has been
SOUND = 0.8  # of it: a state to keep
LOST = 0.5  # of it: a state to leave
LEAST = 0.2  # F below which there is nothing to lose
APART = 0.02  # of the run, between snapshots
TRIES = 3  # rollbacks
SLOWER = 0.7  # both set points, before a further try


class Keeper:
    """One snapshot, and what F has been."""

    def __init__(self, plant: Plant, governor: Governor) -> None:
        self.plant, self.governor = plant, governor
        self.kept: dict[str, Tensor] | None = None
        self.at = 0.0  # share of the run at which it was taken
        self.past: list[float] = []  # F at the latest looks
        self.waiting: dict[str, Tensor] | None = None  # a snapshot that the next look has to confirm
        self.tries, self.given_up = 0, False

    def decide(self, kimg: float, history: History, act: bool) -> list[Move]:
        """Keep a healthy state, or go back to the last one."""
        now, usual = quality(history, kimg), median(self.past) if self.past else 0.0
        if now is None:
            return []
        if len(self.past) == RECENT and usual > LEAST and now < LOST * usual and self.kept is not None:
            return self._back(kimg, now, usual, act)
        self.past = [*self.past[1 - RECENT :], now]
        if now >= SOUND * usual and self.plant.progress - self.at >= APART:
            self.kept, self.waiting = self.waiting or self.plant.capture(), self.plant.capture()
            self.at = self.plant.progress
        return []

    def _back(self, kimg: float, now: float, usual: float, act: bool) -> list[Move]:
        if self.given_up:
            return []
        why = f"since F of precision and coverage fell to {now:.3g} from {usual:.3g}"
        if self.tries == TRIES:
            self.given_up = True
            why += f": {TRIES} ways back did not help, and nothing more is tried; lower the rates, or give more data"
            return [Move(kimg, "autopilot: snapshots", "rollback", self.tries, self.tries, why, act)]
        if act and self.kept is not None:
            self.plant.put_back(self.kept)
            if self.tries:
                self.governor.hold = {role: SLOWER * hold for role, hold in self.governor.hold.items()}
                why += f"; both set points x{SLOWER:g}"
        self.tries += 1
        return [Move(kimg, "autopilot: snapshots", "rollback", self.tries - 1, self.tries, why, act)]

    def state_dict(self) -> dict[str, Any]:
        """All but the snapshot itself: after a resume the next healthy state is the first that can be gone back to."""
        return {"past": self.past, "tries": self.tries, "given_up": self.given_up}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        self.past, self.tries, self.given_up = list(state["past"]), int(state["tries"]), bool(state["given_up"])


def quality(history: History, kimg: float) -> float | None:
    """F at this moment; None where the probes do not tell."""
    found = [history.signals.get(name, []) for name in ("precision", "coverage")]
    if not all(points and points[-1][0] >= kimg for points in found):
        return None
    return harmonic_mean(*(points[-1][1] for points in found))
