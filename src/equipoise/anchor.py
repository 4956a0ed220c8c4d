"""The anchor: another loss that holds G, such as a reconstruction, and what it costs since a discriminator came in."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from equipoise.readings import Reading


class Anchor:
    """One G's adversarial share of its gradient, and the other loss over its value when the discriminator came in.

    D came in when its share was no longer 0; where that is not read, when D was first observed. Before, no share is
    told: that it is 0 then is no sign of anything. Windows in which the adversarial loss began to count are left out
    of that value: a D that comes in with too much weight may spoil the reconstruction within a few steps.
    """

    def __init__(self) -> None:
        self.first: float | None = None  # what held G when D came in; nan: a ratio to it would say nothing
        self.joined: bool | None = None  # whether D has come in, by its share; None: no share was read

    def read(
        self,
        readings: Mapping[str, Reading],  # of G: `share`, `reconstruction` and `weighted`, where there are any
        watched: bool,  # whether a discriminator has been observed
    ) -> dict[str, float]:
        """The signals of a window."""
        found: dict[str, float] = {}
        told = self.joined is None or "share" in readings  # which is read at some steps only
        if "share" in readings:
            self.joined = bool(self.joined) or readings["share"].mean > 0
            found |= {"adversarial_share": readings["share"].mean} if self.joined else {}
        if "reconstruction" in readings:
            now = readings["reconstruction"].mean
            waiting = not (watched if self.joined is None else self.joined)
            begins = "weighted" in readings and 0 < readings["weighted"].mean < 1
            if self.first is None or (waiting and told and not begins and not math.isnan(self.first)):
                self.first = now
            self.first = math.nan if now < 0 else self.first  # it has no zero, so that a ratio says nothing
            found["reconstruction"] = now / self.first if self.first else math.nan
        return {name: value for name, value in found.items() if math.isfinite(value)}

    def state_dict(self) -> dict[str, Any]:
        """Both, as plain data."""
        return {"first": self.first, "joined": self.joined}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        self.first, self.joined = state["first"], state["joined"]
