"""The plant: what our own trainer lets a controller read and turn, between the loop and whatever steers it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

from torch import Tensor

from equipoise import step_state
from equipoise.actuator import Actuator, Scale
from equipoise.balancer import Balancer, Mode
from equipoise.config import Config
from equipoise.data import Batches
from equipoise.errors import InputError
from equipoise.registry import find, suggest
from equipoise.schedules import Dial
from equipoise.step import Step
from equipoise.tempo import Tempo
from equipoise.turn import Role

WITHOUT = " without "  # between the autopilot's name and the parts that it is to do without


@dataclass
class Plant:
    """A run as those who steer it see it. Everything here is read and turned between updates only."""

    config: Config
    step: Step
    dials: dict[str, Dial]  # by the names that schedules use: G.lr, r1.gamma, ada.p
    tempo: Tempo
    batches: Batches
    samples: int = 0  # real samples seen, over all ranks
    back: int = -1  # what they were when the run last went back to an earlier state
    paces: dict[str, float] = field(default_factory=dict)  # factors on the steps of parameters, as G.4.weight
    _standins: dict[str, list[float]] = field(default_factory=dict)

    @property
    def progress(self) -> float:
        """How much of the run is over, 0 to 1."""
        return min(1.0, self.samples / self.config.total)

    @property
    def updates(self) -> float:
        """D's updates of the whole run."""
        return self.config.total / self.config.recipe.batch

    def names(self) -> list[str]:
        """Everything that may be turned."""
        return ["D.steps", *self.dials]

    def actuator(
        self,
        name: str,  # a dial's, or D.steps
        low: float,
        high: float,
        scale: Scale = "linear",
        largest: float = math.inf,
        rest: float | None = None,  # where it stands if this run does not have it; None: that is an error
    ) -> Actuator:
        """Something that may be turned, with limits. A dial's base is turned, and its schedule goes on.

        A run that only watches may lack what a controller would turn: then a number stands in for it.
        """
        if name == "D.steps":
            return Actuator(name, lambda: self.tempo.ratio, self._pace, low, high, scale, largest)
        if name in self.dials:
            return Actuator(name, lambda: self.dials[name].base, self._turn(name), low, high, scale, largest)
        if rest is None or self.config.balance == "act":
            known = ", ".join(self.names())
            raise InputError(f"this run has nothing called {name!r} to turn{suggest(name, self.names()) or known}")
        number = self._standins.setdefault(name, [rest])
        return Actuator(name, lambda: number[0], lambda x: number.__setitem__(0, x), low, high, scale, largest)

    def _pace(self, ratio: float) -> None:
        self.tempo.ratio = float(ratio)

    def _turn(self, name: str) -> Callable[[float], None]:
        """Set a dial; a term whose strength is 0 rests, so that it costs nothing."""
        part = name.partition(".")[0]

        def put(value: float) -> None:
            self.dials[name].set(value)
            self.rest(part)

        return put

    def rest(self, term: str) -> None:
        """Leave a term out of the moves while its only dial is 0, and take it in again when it is not."""
        own = [dial for name, dial in self.dials.items() if name.partition(".")[0] == term]
        if term in self.step.objective.terms and len(own) == 1:
            (self.step.resting.add if own[0].base == 0 else self.step.resting.discard)(term)

    def pace(self, name: str, factor: float) -> None:
        """Multiply the steps of a parameter, called by its player and its name in the network; before the first."""
        role, _, own = name.partition(".")
        self.step.optimisers[cast(Role, role)].pace(self.step.networks[cast(Role, role)].get_parameter(own), factor)
        self.paces[name] = factor

    def capture(self) -> dict[str, Tensor]:
        """Copies of everything that training changes on the device: to go back to."""
        return step_state.capture(self.step)

    def put_back(self, state: dict[str, Tensor]) -> None:
        """Go back to what `capture` gave; the clock, the data and the dials go on."""
        step_state.put_back(self.step, state)
        self.back = self.samples
        for dial in self.dials.values():
            dial.set(dial.base)  # those of the networks went back with them

    def state(self) -> dict[str, Any]:
        """Positions, as plain data."""
        dials = {name: dial.base for name, dial in self.dials.items()}
        return {"dials": dials, "ratio": self.tempo.ratio, "paces": dict(self.paces)}

    def restore(self, state: dict[str, Any]) -> None:
        """Positions as `state` gave them."""
        for name, base in state["dials"].items():
            self.dials[name].set(base)
            self.rest(name.partition(".")[0])
        self.tempo.ratio = float(state["ratio"])
        for name, factor in state["paces"].items():
            self.pace(name, float(factor))


def of_images(plant: Plant) -> bool:
    """Whether the data are images, of which distances in pixels tell less than of vectors."""
    return len(plant.batches.dataset.shape) == 3


def steered(plant: Plant) -> Balancer:
    """The balancer of a run, with what its controller turns."""
    config = plant.config
    chosen = config.controller if config.balance != "off" else None
    name, _, left_out = (chosen or "").partition(WITHOUT)  # parts of the autopilot, for its switched-off twins
    steering = find("controller", name).part(plant, *left_out.split()) if chosen else ()
    for term in plant.step.objective.terms:
        plant.rest(term)
    facts = {
        "source": "equipoise",
        "loss": config.recipe.loss,
        "total_kimg": config.total / 1000,
        "batch": config.recipe.batch,
        "count": plant.batches.holdout.count,
        "labelled": bool(config.classes),
        "signless": plant.step.objective.loss.zero != 0,
        "augmented": bool(config.recipe.augmentations),
        "anchored": False,
    }
    return Balancer(
        *steering, mode=cast(Mode, config.balance), facts=facts, rules=() if config.balance == "off" else None
    )
