"""The autopilot: several readings together, few moves, each reversible and with its reason.

Before the first update it sets right what would ruin the first hundred (`beginning`, `scale`); at every look the
governor holds the players' steps (`governor`); a hundred times a run it asks who is ahead (`holds`). It undoes what
changed the weights from outside (`intact`), begins again when a run explodes early (`restart`), keeps healthy states,
goes back to them, and gives up after a few tries (`keeper`). Towards the end it brings to rest a run that swings
(`landing`), and it hands over the best of several generators (`choice`).
What it found by experiment, and what limits it: docs/studies/balance.md.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from equipoise.actuator import Turnable
from equipoise.autopilot import beginning, scale
from equipoise.autopilot.choice import Choice
from equipoise.autopilot.governor import Governor
from equipoise.autopilot.holds import Holds
from equipoise.autopilot.intact import Intact
from equipoise.autopilot.keeper import Keeper
from equipoise.autopilot.landing import Landing
from equipoise.autopilot.restart import Restart
from equipoise.balancer import Move
from equipoise.diagnosis import History
from equipoise.errors import InputError
from equipoise.plant import Plant
from equipoise.registry import suggest

BEFORE = {  # the first update
    "copies": beginning.copies, "scales": scale.scales, "momentum": beginning.momentum, "rates": beginning.rates,
    "penalty": beginning.penalty,
}  # fmt: skip
PARTS = (*BEFORE, "governor", "holds", "intact", "restart", "keeper", "landing", "choice")
INTERVALS = 100  # of a run, at which the outer rules are asked
FORM = 5  # raise it with every rule that changes what a run does: the benchmark measures rows of another form again


class Autopilot:
    """All parts on one plant; `without` leaves some out, to see what they are worth (InputError for none of `PARTS`).

    It steers for a `Balancer` as loops do: `act` says whether moves are made or only told. Time is in kimg.
    """

    name = "autopilot"

    def __init__(self, plant: Plant, without: Collection[str] = ()) -> None:
        for name in without:
            if name not in PARTS:
                raise InputError(f"the autopilot has no part {name!r} to leave out{suggest(name, list(PARTS))}")
        self.plant, self.parts = plant, [part for part in PARTS if part not in without]
        self.governor = Governor(plant)
        self.holds, self.keeper, self.choice = Holds(plant, self.governor), Keeper(plant, self.governor), Choice(plant)
        self.intact, self.restart = Intact(plant), Restart(plant, self.governor)
        self.landing = Landing(plant, self.governor)
        self.thinned = False  # copies were left out of the data
        self.asked = 0.0  # share of the run at which the outer rules were asked last

    def actuators(self) -> Sequence[Turnable]:
        """The rates and D's moves."""
        return [*self.governor.actuators(), self.holds.tempo]

    def begin(self, act: bool) -> list[Move]:
        """What would ruin the first hundred updates."""
        made: list[Move] = []
        for name, part in BEFORE.items():
            made += part(self.plant, act) if name in self.parts else []
        if act and "restart" in self.parts:
            self.restart.begin()
        self.thinned = act and any(move.actuator == "data" for move in made)
        return made

    def decide(self, kimg: float, history: History, act: bool) -> list[Move]:
        """A way back leaves everything else for the next look; else outer rules first, then the governor."""
        for name, part in (("intact", self.intact), ("restart", self.restart), ("keeper", self.keeper)):
            if name in self.parts and (back := part.decide(kimg, history, act)):
                if name != "intact":
                    self.intact.anew()  # a way back moves weights further than updates do
                return back
        made: list[Move] = []
        if "holds" in self.parts and self.plant.progress >= self.asked + 1 / INTERVALS - 1e-9:
            self.asked = self.plant.progress
            made += self.holds.decide(kimg, history, act)
        if "landing" in self.parts:
            made += self.landing.decide(kimg, history, act)
        if "governor" in self.parts:
            made += self.governor.decide(kimg, history, act)
        if "choice" in self.parts and act:
            self.choice.remember()
        return made

    def finish(self, kimg: float, history: History, act: bool) -> list[Move]:
        """The best generator."""
        return self.choice.finish(kimg, act) if "choice" in self.parts and act else []

    def state_dict(self) -> dict[str, Any]:
        """Memory of all parts."""
        return {
            "governor": self.governor.state_dict(),
            "holds": self.holds.state_dict(),
            "intact": self.intact.state_dict(),
            "restart": self.restart.state_dict(),
            "keeper": self.keeper.state_dict(),
            "landing": self.landing.state_dict(),
            "choice": self.choice.state_dict(),
            "thinned": self.thinned,
            "asked": self.asked,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        self.governor.load_state_dict(state["governor"])
        self.holds.load_state_dict(state["holds"])
        self.intact.load_state_dict(state["intact"])
        self.restart.load_state_dict(state["restart"])
        self.keeper.load_state_dict(state["keeper"])
        self.landing.load_state_dict(state["landing"])
        self.choice.load_state_dict(state["choice"])
        self.asked = float(state["asked"])
        if state["thinned"]:
            self.thinned = True
            self.plant.batches.leave_out(beginning.spares(self.plant.batches.dataset)[0])
