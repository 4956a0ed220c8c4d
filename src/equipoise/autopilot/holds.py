"""Outer rules: who is ahead, asked a hundred times a run; they turn the governor's set points and D's moves.

At most one of them weakens D in an interval, and set points drift back once the reading is healthy.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from equipoise.actuators import Actuator
from equipoise.autopilot.beginning import fitting
from equipoise.autopilot.governor import Governor
from equipoise.autopilot.scale import has_convolutions
from equipoise.balancer import Move
from equipoise.diagnosis import History
from equipoise.metrics.coverage import harmonic_mean
from equipoise.plant import Plant, of_images
from equipoise.turn import Role

STARVED, FAR_AHEAD, HEALTHY, GUESSING, FOOLED = 0.97, 0.5, 0.8, 0.95, 1.15  # of D's loss over its ideal value
SHIFT = 0.85  # of a set point, at a time
LOWEST, HIGHEST = 0.25, 4.0  # of a set point
FAR = 0.15  # energy distance in units of the data: samples are far from it
FALLING = 0.7  # energy over that of an interval before, below which a run gets better by itself
MEMORY = 0.05  # of the run: the interval over which energy is compared
FLAT, POOR = 0.2, 0.5  # slope of D at samples, and F of precision and coverage, below which the penalty is too strong
SHARP, GOOD = 5.0, 0.8  # slope above which D is a wall between samples and data, where F is below
MUTE, WHILE = 0.1, 0.1  # slope below which D says nothing, whatever the samples, for a tenth of the looks
SOON = 0.08  # of the run, before which samples swing, and D is flat now and then, in healthy runs too
LEAST = 1e-4  # of the strength that a penalty came with
PATIENCE, ANSWER = 32.0, 1.3  # a penalty is at fault if D gets steeper by the one when it is weaker by the other
SOFT, DOUBT = 0.5, 4.0  # slope to which a penalty is weakened on that is at fault, told when it is so many times weaker
NOISES = ("instance-noise.std", "ada.p")  # and what hides the difference between samples and data from it
PENALTIES = ("r1.gamma", "r2.gamma")  # what makes D blind if it is far too strong


class Holds:
    """D's moves and the two set points."""

    def __init__(self, plant: Plant, governor: Governor) -> None:
        self.plant, self.governor = plant, governor
        self.tempo = plant.actuator("D.steps", 1e-3, 1e3, "log")
        self.noises = self._present(NOISES)
        self.penalties = sorted(self._present(PENALTIES), key=lambda one: -one.high)  # the strongest is asked first
        self.asked: dict[str, tuple[float, float, float]] = {}  # of a suspected penalty: strength, D's slope, its best
        self.damped = False  # R1 was given, which is done once
        self.acquitted: list[str] = []  # penalties that were weakened in vain
        self.flat = MUTE if has_convolutions(plant.step.networks["D"]) else FLAT  # healthy conv16: .13 to .2

    def _present(self, names: Sequence[str]) -> list[Actuator]:
        """Those that the run came with at some strength: what is weakened where D is flat."""
        bases = {name: self.plant.dials[name].base for name in names if name in self.plant.dials}
        return [
            self.plant.actuator(name, LEAST * base, base, "log", largest=math.log(2))
            for name, base in bases.items()
            if base > 0
        ]

    def decide(self, kimg: float, history: History, act: bool) -> list[Move]:
        """The first of the rules that applies."""
        loss = history.now("loss_D", 0.0)
        if loss != loss:  # not told: a loss without an ideal value
            return []
        slope = history.now("slope_fake", 0.0)
        self.asked = {name: (was, then, max(best, slope)) for name, (was, then, best) in self.asked.items()}
        for rule in (self._starved, self._far_ahead, self._sharp, self._fooled, self._flat, self._blind):
            made = rule(kimg, loss, history, act)
            if made is not None:
                return [made]
        return self._back(kimg, loss, act)

    def _starved(self, kimg: float, loss: float, history: History, act: bool) -> Move | None:
        """Several moves of D and a low loss: the generator hardly gets to move."""
        now = self.tempo.read()
        if loss >= STARVED or now <= 1:
            return None
        after = max(1.0, now / 2)
        if act:
            self.tempo.set(after)
        why = f"since loss_D is {loss:.3g}, below {STARVED:g}, with several moves of D to one of G"
        return Move(kimg, "autopilot: holds", "D.steps", now, after, why, act)

    def _far_ahead(self, kimg: float, loss: float, history: History, act: bool) -> Move | None:
        """A low loss, and bad samples that get no better. A D far ahead of a G that learns is no fault.

        If nothing keeps D's gradient in bounds, R1 is to do so; else D moves less.
        """
        if loss >= FAR_AHEAD or not self._stuck(kimg, history):
            return None
        energy = history.now("energy", 0.0)
        why = f"since energy is {energy:.3g} and does not fall while loss_D is {loss:.3g}: D is far ahead"
        bare = "r1.gamma" in self.plant.dials and self.plant.dials["r1.gamma"].base == 0
        return (self._damped(kimg, why, act) if bare else None) or self._shift("D", SHIFT, kimg, why, act, True)

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
        return self._damped(kimg, why, act)

    def _damped(self, kimg: float, why: str, act: bool) -> Move | None:
        """R1 in proportion to the data, once, where the run has the term with less."""
        if "r1.gamma" not in self.plant.dials or self.damped:
            return None
        actuator = self.plant.actuator("r1.gamma", 0.0, math.inf)
        now, gamma = actuator.read(), fitting(self.plant)
        if now >= gamma:
            return None
        if act:
            actuator.set(gamma)
            self.damped = True
        return Move(kimg, "autopilot: holds", "r1.gamma", now, gamma, why, act)

    def _fooled(self, kimg: float, loss: float, history: History, act: bool) -> Move | None:
        return self._shift("G", SHIFT, kimg, f"since loss_D is {loss:.3g}, above {FOOLED:g}", act, loss > FOOLED)

    def _flat(self, kimg: float, loss: float, history: History, act: bool) -> Move | None:
        """A loss at its ideal and bad samples: noise is not needed; and if D is flat too, the penalty is too strong.

        Where D has been flat for long, the samples are not asked: few held-out rows call tolerable ones good.
        """
        slope, lately = history.now("slope_fake", 0.0), history.now("slope_fake", WHILE)
        quality = harmonic_mean(history.now("precision", 0.0), history.now("coverage", 0.0))
        poor = history.has("precision", "coverage") and quality < POOR
        mute = lately < MUTE
        if not (loss > GUESSING and (mute or poor)) or self.plant.progress < SOON:
            return None
        why = f"since loss_D is {loss:.3g}, D's slope {slope:.3g} and F of precision and coverage {quality:.3g}"
        blunt = mute or slope < self.flat
        held = [one for one in self.penalties if one.name not in self.acquitted]
        suspects = [one for one in held if blunt or self._convicted(one, slope, history)]
        return self._acquitted(kimg, suspects, slope, act) or self._weaker(kimg, why, act, suspects, slope)

    def _convicted(self, one: Actuator, slope: float, history: History) -> bool:
        """Whether D got steeper as this penalty came down to a quarter, and samples have still been bad for long.

        Then it is weakened on until D is no longer soft. A half says little, since slopes drift; so does F of images.
        """
        _, then, best = self.asked.get(one.name, (0.0, 1.0, 0.0))
        steeper = best >= ANSWER * then and one.read() <= one.high / DOUBT * 1.01
        quality = harmonic_mean(history.now("precision", WHILE), history.now("coverage", WHILE))
        return steeper and slope < SOFT and quality < POOR and not of_images(self.plant)

    def _weaker(self, kimg: float, why: str, act: bool, suspects: Sequence[Actuator], slope: float) -> Move | None:
        """Half the strength of the first noise, else of the first penalty, that has any to give."""
        for actuator in [*self.noises, *suspects]:
            moved = actuator.move(-math.log(2), act)
            if moved.after < moved.before:
                if act and actuator in suspects:
                    self.asked.setdefault(actuator.name, (moved.before, slope, slope))
                return Move(kimg, "autopilot: holds", moved.name, moved.before, moved.after, why, act)
        return None

    def _acquitted(self, kimg: float, suspects: Sequence[Actuator], slope: float, act: bool) -> Move | None:
        """The first penalty that was weakened enough and made no difference comes back, for good."""
        for one in suspects:
            now = one.read()
            strength, then, best = self.asked.get(one.name, (now, slope, slope))
            if now > strength / PATIENCE * 1.01:
                continue
            if best >= ANSWER * then:
                self.asked[one.name] = (now, slope, slope)  # it did, and is suspected anew
                continue
            if act:
                one.set(strength)
                self.acquitted.append(one.name)
            why = (
                f"since D's slope was {then:.3g} and then {best:.3g} at best, at {PATIENCE:g} times less: not at fault"
            )
            return Move(kimg, "autopilot: holds", one.name, now, strength, why, act)
        return None

    def _blind(self, kimg: float, loss: float, history: History, act: bool) -> Move | None:
        """A loss near its ideal, samples far from the data, and no progress: D does not see what is wrong."""
        if loss < GUESSING - 0.1 or not self._stuck(kimg, history):
            return None
        energy = history.now("energy", 0.0)
        why = f"since energy is {energy:.3g} and does not fall while loss_D is {loss:.3g}: D sees too little"
        if self.governor.slow("D", history):
            return self._centred(kimg, why, act)
        return self._shift("D", 1 / SHIFT, kimg, why, act, True)

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
        return {"asked": dict(self.asked), "acquitted": list(self.acquitted), "damped": self.damped}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        self.asked = {
            name: (float(was), float(then), float(best)) for name, (was, then, best) in state["asked"].items()
        }
        self.acquitted, self.damped = list(state["acquitted"]), bool(state["damped"])
