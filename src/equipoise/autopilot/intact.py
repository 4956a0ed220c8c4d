"""Weights that something else has changed: a damaged file, a slip of the surrounding code, a part drawn anew.

Between two looks a player's weights cannot move further than its updates add up to (the triangle inequality), and the
updates are measured. Weights that did were changed from outside, and the run goes back to its last look. Updates turn,
so that weights come by a share of that sum only, and the share changes slowly: one that leaps tells the same where
there are many updates between looks. Unlike a fall in quality, which shows late and may have other causes, this is as
good as a fact, and the damage is a look's worth of updates.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from equipoise.balancer import Move
from equipoise.diagnosis import History
from equipoise.plant import Plant
from equipoise.turn import ROLES, Role

SLACK = 1.1  # on the sum of the updates: they are measured in the networks' own precision
LEAST = 0.05  # of the weights: what is smaller does no harm that training would not mend
LATELY, LEAP = 10, 2.5  # looks, and how far above their largest share of the sum (.1 to .9) one is no chance
TRIES = 3  # ways back


class Intact:
    """Everything as it was at the last look."""

    def __init__(self, plant: Plant) -> None:
        self.plant = plant
        self.kept: dict[str, Tensor] | None = None
        self.at = 0  # samples seen then
        self.tries = 0
        self.shares: dict[Role, list[float]] = {role: [] for role in ROLES}  # distance over sum of updates, lately

    def decide(self, kimg: float, history: History, act: bool) -> list[Move]:
        """Go back to the last look if the weights moved further than the updates; else remember this one."""
        if self.plant.step.constraints:  # they move weights too, unmeasured
            return []
        made: list[Move] = []
        for role in ROLES if self.kept is not None and self.tries < TRIES else ():
            moved, updates = self._moved(role, history, kimg)
            lately = self.shares[role]
            usual = LEAP * max(lately) if len(lately) >= LATELY else SLACK
            most = min(SLACK, usual) * updates + LEAST
            if moved <= most and updates > 0:
                self.shares[role] = [*lately[1 - LATELY :], moved / updates]
            if moved > most:
                why = f"since {role}'s weights moved by {moved:.2g} of their norm, and updates account for {most:.2g}"
                made = [Move(kimg, "autopilot: intact", "rollback", self.tries, self.tries + 1, why, act)]
                break
        self.tries += len(made)
        if made and act and self.kept is not None:
            self.plant.put_back(self.kept)
        else:
            self.kept = self.plant.capture()
        self.at = self.plant.samples
        return made

    def anew(self) -> None:
        """Everything as it is now, where another way back has led: how far weights come from here is not known."""
        self.kept, self.shares = self.plant.capture(), {role: [] for role in ROLES}

    @torch.no_grad()
    def _moved(self, role: Role, history: History, kimg: float) -> tuple[float, float]:
        """How far the weights are from those of the last look, and what their updates add up to, over their norm."""
        assert self.kept is not None
        points = history.signals.get(f"step_{role}", [])
        if not points or points[-1][0] < kimg:
            return 0.0, 0.0
        weights = [(n, p) for n, p in self.plant.step.networks[role].named_parameters() if p.requires_grad]
        norm = _norm([p for _, p in weights])
        # a resumed run has what was kept on the CPU
        apart = _norm([p - self.kept[f"network.{role}.{name}"].to(p.device) for name, p in weights])
        updates = (self.plant.samples - self.at) / self.plant.config.recipe.batch  # D's
        updates /= self.plant.tempo.ratio if role == "G" else 1.0
        return apart / norm, updates * points[-1][1]

    def state_dict(self) -> dict[str, Any]:
        """The last look, and how far the weights came of late."""
        return {"kept": self.kept, "at": self.at, "tries": self.tries, "shares": dict(self.shares)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        self.kept, self.at, self.tries = state["kept"], int(state["at"]), int(state["tries"])
        self.shares = {role: [float(share) for share in state["shares"][role]] for role in ROLES}


def _norm(tensors: list[Tensor]) -> float:
    return float(torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(t.float()) for t in tensors])))
