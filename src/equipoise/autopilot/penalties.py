"""What keeps D's gradient in bounds, and what hides the difference between samples and data from it.

Where D is flat it is too much: noise goes first, then penalties, the strongest first. One that was weakened in vain
comes back, one whose weakening made D steeper is weakened on. Where D is too steep, R1 is given once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from equipoise.actuator import Actuator
from equipoise.autopilot.beginning import fitting
from equipoise.autopilot.scale import has_convolutions
from equipoise.balancer import Move
from equipoise.diagnosis import History
from equipoise.metrics.coverage import harmonic_mean
from equipoise.plant import Plant, of_images

GUESSING = 0.95  # of D's loss over its ideal value, above which it hardly tells samples from data
FLAT, POOR = 0.2, 0.5  # slope of D at samples, and F of precision and coverage, below which the penalty is too strong
MUTE, WHILE = 0.1, 0.1  # slope below which D says nothing, whatever the samples, for a tenth of the looks
LEAST = 1e-4  # of the strength that a penalty came with
PATIENCE, ANSWER = 32.0, 1.3  # a penalty is at fault if D gets steeper by the one when it is weaker by the other
BLUNT = 5.0  # times what fits the data: no more is given back, nor let be, whatever came of weakening it
SOFT, DOUBT = 0.5, 4.0  # slope to which a penalty is weakened on that is at fault, told when it is so many times weaker
NOISES = ("instance-noise.std", "ada.p")  # what hides the difference between samples and data from D
PENALTIES = ("r1.gamma", "r2.gamma")  # what makes it blind if it is far too strong
SOON = 0.08  # of the run, before which samples swing, and D is flat now and then, in healthy runs too


class Penalties:
    """The noises and penalties that the run came with, and what is known of them."""

    def __init__(self, plant: Plant) -> None:
        self.plant = plant
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

    def see(self, history: History) -> None:
        """Remember how steep D has become since a penalty was weakened."""
        slope = history.now("slope_fake", 0.0)
        self.asked = {name: (was, then, max(best, slope)) for name, (was, then, best) in self.asked.items()}

    def damp(self, kimg: float, why: str, act: bool) -> Move | None:
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

    def weaken(self, kimg: float, loss: float, history: History, act: bool) -> Move | None:
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
            most = BLUNT * fitting(self.plant)
            if now > min(strength / PATIENCE, most) * 1.01:
                continue
            if best >= ANSWER * then:
                self.asked[one.name] = (now, slope, slope)  # it did, and is suspected anew
                continue
            after = min(strength, most)
            if act:
                one.set(after)
                self.acquitted.append(one.name)
            why = (
                f"since D's slope was {then:.3g} and then {best:.3g} at best, at {strength / now:.3g} times less: "
                "not at fault"
            )
            return Move(kimg, "autopilot: holds", one.name, now, after, why, act)
        return None

    def state_dict(self) -> dict[str, Any]:
        """What is known; positions are the dials'."""
        return {"asked": dict(self.asked), "acquitted": list(self.acquitted), "damped": self.damped}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        self.asked = {
            name: (float(was), float(then), float(best)) for name, (was, then, best) in state["asked"].items()
        }
        self.acquitted, self.damped = list(state["acquitted"]), bool(state["damped"])
