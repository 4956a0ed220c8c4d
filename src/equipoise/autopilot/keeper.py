"""Snapshots of healthy states, and the way back to them.

A state is judged by F, the harmonic mean of precision and coverage of the generator's samples among training data, as
the probes at ticks tell it. What counts as a fall is measured on the run itself: on a healthy ring F swings by half, on
digits by a twentieth. Of images F in pixels falls where they merely get sharper, so that energy has to agree.
Rollbacks are few: the first goes back and changes nothing, since the cause may have come from outside; each further one
slows both players first, and after the last one the autopilot says that it gives up. Where all updates of a player were
lost, since nothing finite came of them, it goes back without waiting for samples to tell, and slows both at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from torch import Tensor

from equipoise.autopilot.governor import Governor
from equipoise.balancer import Move
from equipoise.diagnosis import History
from equipoise.metrics.coverage import harmonic_mean
from equipoise.plant import Plant, of_images
from equipoise.turn import ROLES

SHORT, LONG = 3, 12  # looks: F is now the median of the short window, and has been that of the long one before it
SURE = 4.0  # standard deviations, by the median absolute deviation of the long window
LOST = 0.8  # of what F has been: a state to leave, if it is that far below too
SOUND = 0.9  # of it: a state to keep
FAR = 0.15  # energy, over the data's spread, of images that are bad
LEAST = 0.2  # F below which there is nothing to lose
APART = 0.02  # of the run, between snapshots
PROVEN = 0.05  # of the run: a snapshot counts once the run has stayed sound for so long after it
TRIES = 3  # rollbacks
SLOWER = 0.7  # both set points, before a further try


class Keeper:
    """One snapshot that counts, and those that have yet to prove themselves."""

    def __init__(self, plant: Plant, governor: Governor) -> None:
        self.plant, self.governor = plant, governor
        self.kept: dict[str, Tensor] | None = None
        self.waiting: list[tuple[float, dict[str, Tensor]]] = []  # share of the run at which each was taken
        self.past: list[float] = []  # F at the latest looks
        self.tries, self.given_up = 0, False

    def decide(self, kimg: float, history: History, act: bool) -> list[Move]:
        """Keep a healthy state, or go back to the last one."""
        if all_lost(history, kimg):
            self.kept = self.kept or (self.waiting[0][1] if self.waiting else None)
            self.waiting = []
            return self._back(kimg, "since no update of a player came to anything finite", act, slower=True)
        now = quality(history, kimg)
        if now is None:
            return []
        self.past = [*self.past[1 - SHORT - LONG :], now]
        if len(self.past) < SHORT + LONG:
            return []
        recent, usual, floor = self._told()
        if usual > LEAST and recent < min(floor, LOST * usual) and self._far(history, kimg):
            self.waiting = []
            why = f"since F of precision and coverage fell to {recent:.3g} from {usual:.3g}"
            return self._back(kimg, why, act, slower=self.tries > 0)
        if act and recent >= SOUND * usual:
            self._keep()
        return []

    def _far(self, history: History, kimg: float) -> bool:
        """Whether samples are far from the data by energy too, lately; vectors are taken at F's word."""
        lately = history.values("energy", until=kimg)[-SHORT:]
        return not of_images(self.plant) or not lately or median(lately) > FAR

    def _told(self) -> tuple[float, float, float]:
        """F now, what it has been, and how low it may be without a fault."""
        usual, spread = deviation(self.past[:-SHORT])
        return median(self.past[-SHORT:]), usual, usual - SURE * spread

    def _keep(self) -> None:
        share = self.plant.progress
        while self.waiting and share - self.waiting[0][0] >= PROVEN:
            self.kept = self.waiting.pop(0)[1]
        if not self.waiting or share - self.waiting[-1][0] >= APART:
            self.waiting.append((share, self.plant.capture()))

    def _back(self, kimg: float, why: str, act: bool, slower: bool) -> list[Move]:
        if self.given_up or (act and self.kept is None):
            return []
        if self.tries == TRIES:
            self.given_up = True
            why += f": {TRIES} ways back did not help, and nothing more is tried; lower the rates, or give more data"
            return [Move(kimg, "autopilot: keeper", "rollback", self.tries, self.tries, why, act)]
        if act and self.kept is not None:
            self.plant.put_back(self.kept)
            self.past = []
            if slower:
                self.governor.hold = {role: SLOWER * self.governor.hold[role] for role in ROLES}
                why += f"; both set points x{SLOWER:g}"
        self.tries += 1
        return [Move(kimg, "autopilot: keeper", "rollback", self.tries - 1, self.tries, why, act)]

    def state_dict(self) -> dict[str, Any]:
        """Counts and snapshots."""
        return {"past": self.past, "tries": self.tries, "given_up": self.given_up, "kept": self.kept,
                "waiting": self.waiting}  # fmt: skip

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        self.past, self.tries, self.given_up = list(state["past"]), int(state["tries"]), bool(state["given_up"])
        self.kept, self.waiting = state["kept"], [(float(share), snapshot) for share, snapshot in state["waiting"]]


def quality(history: History, kimg: float) -> float | None:
    """F at this moment; None where the probes do not tell."""
    found = [history.signals.get(name, []) for name in ("precision", "coverage")]
    if not all(points and points[-1][0] >= kimg for points in found):
        return None
    return harmonic_mean(*(points[-1][1] for points in found))


def all_lost(history: History, kimg: float) -> bool:
    """Whether every update of a player since the look before was refused, for a value was not finite."""
    points = history.signals.get("skipped", [])
    return bool(points) and points[-1] == (kimg, 1.0)


def quality_between(history: History, since: float, until: float) -> list[float]:
    """F at the looks from `since` to `until` kimg."""
    pairs = (history.values(name, since, until) for name in ("precision", "coverage"))
    return [harmonic_mean(*both) for both in zip(*pairs, strict=False)]


def deviation(values: Sequence[float]) -> tuple[float, float]:
    """Median, and a standard deviation by the median absolute deviation; 0 and 0 of nothing."""
    usual = median(values) if values else 0.0
    return usual, 1.4826 * median(abs(one - usual) for one in values) if values else 0.0
