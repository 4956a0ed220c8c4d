"""The last few hundred rounds, loss by loss, kept on the device: what averages over a tick cannot show."""

from __future__ import annotations

import torch
from torch import Tensor

from equipoise.turn import Role

LENGTH = 512  # rounds


class Trace:
    """D's loss, G's loss and the mean score of generated samples for each of the last rounds, `[512, 3]`.

    A round ends with the generator's move; of several moves of the discriminator the last counts, and where it made
    none, the one before. `see` and `close` are pure tensor code; `read` is the only place that waits for the device.
    """

    def __init__(self, device: torch.device) -> None:
        self.rows = torch.zeros(LENGTH, 3, device=device)
        self.now = torch.zeros(3, device=device)
        self.told = torch.zeros(3, dtype=torch.bool, device=device)  # which of them have been seen; the others are NaN
        self.rounds = torch.zeros([], dtype=torch.int64, device=device)
        self._places = torch.arange(3, device=device)

    @torch.no_grad()
    def see(self, role: Role, loss: Tensor, fake_score: Tensor | None = None) -> None:
        """Take in one player's move: its loss per sample, and in D's move what it said of generated samples."""
        self._put(0 if role == "D" else 1, loss)
        if fake_score is not None:
            self._put(2, fake_score)

    def _put(self, place: int, values: Tensor) -> None:
        """What was not seen is NaN in `rows` only: to write over a NaN is what `equipoise.wiring` calls hiding it."""
        here = self._places[place : place + 1]
        self.now.index_copy_(0, here, values.mean().reshape(1).to(self.now.device, self.now.dtype))
        self.told.index_fill_(0, here, True)

    @torch.no_grad()
    def close(self) -> None:
        """Keep the round that ends here."""
        row = self.now.masked_fill(~self.told, torch.nan)
        self.rows.index_copy_(0, (self.rounds % LENGTH).reshape(1), row[None])
        self.rounds += 1

    def to(self, device: torch.device) -> None:
        """Go on on another device."""
        kept = self.rows, self.now, self.told, self.rounds, self._places
        self.rows, self.now, self.told, self.rounds, self._places = (tensor.to(device) for tensor in kept)

    def read(self) -> Tensor:
        """The rounds in order, the oldest first, `[n, 3]` on the host; nothing is cleared."""
        rounds = int(self.rounds)
        rows = self.rows.cpu()
        return rows[:rounds] if rounds < LENGTH else rows.roll(-(rounds % LENGTH), 0)

    def state_dict(self) -> dict[str, Tensor]:
        """The rounds kept."""
        return {"rows": self.rows, "now": self.now, "told": self.told, "rounds": self.rounds}
