"""What a run leaves behind and shows: its journal, its TensorBoard events, its progress line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from equipoise.readings import Reading


@dataclass(frozen=True)
class Tick:
    """One look at a run: where it stands and what was read since the last look."""

    number: int
    samples: int  # real images seen by the discriminator
    total: int  # of the whole run
    seconds: float  # trained so far, resumed parts included
    images_per_second: float  # since the last tick
    readings: dict[str, Reading]
    balance: dict[str, float]  # readings put in relation, by the names of `equipoise.signals`
    dials: dict[str, float]  # everything that may be turned, as it stands

    def as_dict(self) -> dict[str, Any]:
        """Plain data, one line of run.jsonl."""
        return {
            "event": "tick",
            "tick": self.number,
            "kimg": self.samples / 1000,
            "total_kimg": self.total / 1000,
            "seconds": round(self.seconds, 3),
            "images_per_second": round(self.images_per_second, 3),
            "readings": {name: reading._asdict() for name, reading in self.readings.items()},
            "balance": self.balance,
            "dials": self.dials,
        }
