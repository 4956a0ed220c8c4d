"""Outer rules: who is ahead, asked a hundred times a run; they turn the governor's set points and D's moves.

At most one of them weakens D in an interval, and set points drift back once the reading is healthy.
"""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median
from typing import Any

from equipoise.autopilot.governor import Governor
from equipoise.autopilot.penalties import GUESSING, SOON, WHILE, Penalties
from equipoise.balancer import Move
from equipoise.diagnosis import History
from equipoise.metrics.coverage import harmonic_mean
from equipoise.plant import Plant
from equipoise.turn import Role

STARVED, FAR_AHEAD, HEALTHY, FOOLED = 0.97, 0.5, 0.8, 1.15  # of D's loss over its ideal value
OUTRUN = 1.0  # the same: above it D does worse than by guessing
SHIFT = 0.85  # of a set point, at a time
LOWEST, HIGHEST = 0.25, 4.0  # of a set point
FAR = 0.15  # energy distance in units of the data: samples are far from it
FALLING = 0.7  # energy over that of an interval before, below which a run gets better by itself
MEMORY = 0.05  # of the run: the interval over which energy is compared
SHARP, GOOD = 5.0, 0.8  # slope above which D is a wall between samples and data, where F is below


class Holds:
    """D's moves and the two set points."""

    def __init__(self, plant: Plant, governor: Governor) -> None:
        self.plant, self.governor = plant, governor
        self.tempo = plant.actuator("D.steps", 1e-3, 1e3, "log")
        self.penalties = Penalties(plant)

    def decide(self, kimg: float, history: History, act: bool) -> list[Move]:
        """The first of the rules that applies."""
        loss = history.now("loss_D", 0.0)
        if loss != loss:  # not told: a loss without an ideal value
            return []
        self.penalties.see(history)
        for rule in (
            self._starved,
            self._outrun,
            self._far_ahead,
            self._sharp,
            self._fooled,
            self.penalties.weaken,
            self._blind,
        ):
            made = rule(kimg, loss, history, act)
            if made is not None:
                return [made]
        return self._back(kimg, loss, act)

    def _starved(self, kimg: float, loss: float, history: History, act: bool) -> Move | None:
        """Several moves of D and a low loss: the generator hardly gets to move."""
        now = self.tempo.read()
        if loss >= STARVED or now <= 1:
            return None
        why = f"since loss_D is {loss:.3g}, below {STARVED:g}, with several moves of D to one of G"
        return self._paced(now, max(1.0, now / 2), kimg, why, act)

    def _outrun(self, kimg: float, loss: float, history: History, act: bool) -> Move | None:
        """Several moves of G, and a D that sees too little, or has long been worse than a guess; and bad samples."""
        now, lately = self.tempo.read(), history.now("loss_D", WHILE)
        if now >= 1 or self.plant.progress < SOON:
            return None
        quality = harmonic_mean(history.now("precision", WHILE), history.now("coverage", WHILE))
        if not self._sees_little(kimg, loss, history) and not (lately > OUTRUN and quality < GOOD):
            return None
        why = f"since loss_D is {loss:.3g}, {lately:.3g} lately, with several moves of G to one of D and bad samples"
        return self._paced(now, min(1.0, now * 2), kimg, why, act)

    def _paced(self, before: float, after: float, kimg: float, why: str, act: bool) -> Move:
        if act:
            self.tempo.set(after)
        return Move(kimg, "autopilot: holds", "D.steps", before, after, why, act)

    def _far_ahead(self, kimg: float, loss: float, history: History, act: bool) -> Move | None:
        """A low loss, and bad samples that get no better. A D far ahead of a G that learns is no fault.

        If nothing keeps D's gradient in bounds, R1 is to do so; else D moves less.
        """
        if loss >= FAR_AHEAD or not self._stuck(kimg, history):
            return None
        energy = history.now("energy", 0.0)
        why = f"since energy is {energy:.3g} and does not fall while loss_D is {loss:.3g}: D is far ahead"
        bare = "r1.gamma" in self.plant.dials and self.plant.dials["r1.gamma"].base == 0
        return (self.penalties.damp(kimg, why, act) if bare else None) or self._shift("D", SHIFT, kimg, why, act, True)

    def _stuck(self, kimg: float, history: History) -> bool:
        """Samples are far from the data and come no nearer."""
        now = history.now("energy", 0.0)
        total = self.plant.config.total / 1000
        then = history.values("energy", kimg - 2 * MEMORY * total, kimg - MEMORY * total)
        return bool(then) and now > FAR and now >= FALLING * median(then)

    def _sharp(self, kimg: float, loss: float, history: History, act: bool) -> Move | None:
        """A D that has been steep for long, and samples that miss the data: the players circle, and R1 is to damp them.

        Without it gradients do not fade where samples reach the data (Mescheder et al. 2018, arXiv:1801.04406).
        """
        slope = history.now("slope_fake", WHILE)
        quality = harmonic_mean(history.now("precision", WHILE), history.now("coverage", WHILE))
        told = history.has("precision", "coverage")
        if not (told and slope > SHARP and quality < GOOD) or self.plant.progress < SOON:
            return None
        why = f"since D's slope is {slope:.3g} and F of precision and coverage {quality:.3g} lately"
        return self.penalties.damp(kimg, why, act)

    def _fooled(self, kimg: float, loss: float, history: History, act: bool) -> Move | None:
        return self._shift("G", SHIFT, kimg, f"since loss_D is {loss:.3g}, above {FOOLED:g}", act, loss > FOOLED)

    def _blind(self, kimg: float, loss: float, history: History, act: bool) -> Move | None:
        """A D that does not see what is wrong with samples takes larger steps."""
        if not self._sees_little(kimg, loss, history):
            return None
        energy = history.now("energy", 0.0)
        why = f"since energy is {energy:.3g} and does not fall while loss_D is {loss:.3g}: D sees too little"
        if self.governor.slow("D", history):
            return self._centred(kimg, why, act)
        return self._shift("D", 1 / SHIFT, kimg, why, act, True)

    def _sees_little(self, kimg: float, loss: float, history: History) -> bool:
        """A loss near its ideal, samples far from the data, and no progress."""
        return loss >= GUESSING - 0.1 and self._stuck(kimg, history)

    def _centred(self, kimg: float, why: str, act: bool) -> Move:
        """D's step up to the middle of its wide band: conv16 with D's rate /10 came to .86, .80 and not to .60, .68."""
        before, after = self.governor.bands["D"][0], self.governor.centred_band("D")[0]
        if act:
            self.governor.centre("D")
        return Move(kimg, "autopilot: holds", "D's least step", before, after, why, act)

    def _shift(self, role: Role, factor: float, kimg: float, why: str, act: bool, due: bool) -> Move | None:
        before = self.governor.hold[role]
        after = min(max(before * factor, LOWEST), HIGHEST)
        if not due or after == before:
            return None
        if act:
            self.governor.hold[role] = after
        return Move(kimg, "autopilot: holds", f"{role}'s step", before, after, why, act)

    def _back(self, kimg: float, loss: float, act: bool) -> list[Move]:
        """Set points drift back to 1 while the reading is healthy."""
        made = []
        for role, hold in self.governor.hold.items():
            if hold == 1 or not HEALTHY < loss < FOOLED - 0.1:
                continue
            after = min(1.0, hold / SHIFT) if hold < 1 else max(1.0, hold * SHIFT)
            if act:
                self.governor.hold[role] = after
            why = f"since loss_D is {loss:.3g} again"
            made.append(Move(kimg, "autopilot: holds", f"{role}'s step", hold, after, why, act, said=False))
        return made

    def state_dict(self) -> dict[str, Any]:
        """What is known of the penalties; positions are the tempo's and the governor's."""
        return self.penalties.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        self.penalties.load_state_dict(state)
