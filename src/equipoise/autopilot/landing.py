"""A run without a decay whose quality swings gets one at its end: it would stop wherever it happens to be.

Runs that do not swing have nothing to gain and lose a little by the smaller steps, so the swing decides, not the
schedule alone. Of images F in pixels swings with their sharpness, and landed runs of CIFAR-10 were worse for it: none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from equipoise.autopilot.governor import Governor
from equipoise.autopilot.keeper import deviation, quality_between
from equipoise.balancer import Move
from equipoise.diagnosis import History
from equipoise.plant import Plant, of_images
from equipoise.turn import ROLES

BEGIN, WATCHED = 0.8, 0.5  # of the run: where the decay begins, and from where on F is watched for it
SWING = 0.1  # deviation of F over F: .05 and less on digits, .1 to .4 on the ring
LOWEST = 0.05  # of the steps, at the end
STEADY = 0.95  # of its schedule at BEGIN: a rate that has no decay of its own


class Landing:
    """Whether there is one is decided once."""

    def __init__(self, plant: Plant, governor: Governor) -> None:
        self.plant, self.governor = plant, governor
        self.due: bool | None = None

    def decide(self, kimg: float, history: History, act: bool) -> list[Move]:
        """Bring both players down in a straight line, if it is due."""
        if self.plant.progress < BEGIN:
            return []
        made = []
        if self.due is None:
            steady = all(self.plant.dials[f"{role}.lr"].factor >= STEADY for role in ROLES)
            usual, spread = deviation(quality_between(history, WATCHED * self.plant.config.total / 1000, kimg))
            self.due = steady and spread > SWING * usual and not of_images(self.plant)
            if self.due:
                why = f"since F of precision and coverage swings by {spread:.2g} about {usual:.2g}, and no rate decays"
                made = [Move(kimg, "autopilot: landing", "both players' steps", 1.0, LOWEST, why, act)]
        if self.due and act:
            self._descend(max(LOWEST, (1 - self.plant.progress) / (1 - BEGIN)))
        return made

    def _descend(self, share: float) -> None:
        """Bring the bands and both rates to this share of what they were.

        The rates too: of two players that stand at different places in their bands, the one near the upper edge would
        be slowed long before the other, and the game would tip.
        """
        for rate in self.governor.rates.values():
            rate.set(rate.read() * share / self.governor.landing)
        self.governor.landing = share

    def state_dict(self) -> dict[str, Any]:
        """What was decided."""
        return {"due": self.due}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        self.due = state["due"]
