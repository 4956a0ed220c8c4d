"""The rounds of a loop that is not ours: its discriminators' losses one by one, with the generator's beside each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from equipoise import distributed
from equipoise.sensors.oscillation import oscillation
from equipoise.sensors.trace import Trace
from equipoise.turn import Role


class Rounds:
    """A trace for each discriminator whose loss is seen.

    A round ends with the step in which the generator moved, as in our trainer; of several moves in it the last counts.
    """

    def __init__(self) -> None:
        self.traces: dict[str, Trace] = {}
        self.open = False  # whether G has moved since the last round ended
        self.number = self.samples = 0  # of rounds that have ended, and of real samples in them

    def see(self, player: str, role: Role, loss: Tensor | None, fake_score: Tensor | None) -> None:
        """Take in one player's move; one of G's without its loss only ends the round."""
        self.open = self.open or role == "G"
        if loss is None:
            return
        if role == "D" and player not in self.traces:
            self.traces[player] = Trace(loss.device)
        elif role == "D" and self.traces[player].rows.device != loss.device:
            self.traces[player].to(loss.device)  # it came from a checkpoint, which is read to the CPU
        for name, trace in self.traces.items():
            if role == "G" or name == player:
                trace.see(role, loss, fake_score)

    def step(self, samples: int) -> None:
        """Count the real samples of a step of the loop, and keep the round if it ends here."""
        if not self.traces:
            self.open = False
            return
        self.samples += samples
        if self.open:
            self.number, self.open = self.number + 1, False
            for trace in self.traces.values():
                trace.close()

    def read(self, player: str, ideal: float) -> dict[str, float]:
        """Whether a discriminator's losses come and go with a period; of several ranks' losses the mean is judged."""
        if player not in self.traces or not self.number:
            return {}
        trace = self.traces[player]
        distributed.average_(trace.rows)  # rows that were averaged at an earlier look stay as they are
        told = oscillation.function(trace.read().numpy(), self.samples / self.number / 1000, ideal or None)
        return {name: float(value) for name, value in told.items()}

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on."""
        traces = {
            player: {name: tensor.clone() for name, tensor in trace.state_dict().items()}
            for player, trace in self.traces.items()
        }
        return {"traces": traces, "open": self.open, "number": self.number, "samples": self.samples}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        self.open, self.number, self.samples = bool(state["open"]), int(state["number"]), int(state["samples"])
        for player, kept in state["traces"].items():
            trace = self.traces.setdefault(player, Trace(kept["rows"].device))
            for name, tensor in trace.state_dict().items():
                tensor.copy_(kept[name])
