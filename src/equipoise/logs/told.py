"""What the user knows of a log and its numbers do not say."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from equipoise.errors import InputError
from equipoise.logs import tables
from equipoise.logs.convert import IDEAL
from equipoise.registry import suggest
from equipoise.signals import SIGNALS


@dataclass(frozen=True)
class Told:
    """What the user knows of a log and its numbers do not say; None: not told."""

    loss: str | None = None  # a loss's name in our registry
    batch: int | None = None  # samples per update, over all devices
    kimg: float | None = None  # length of the whole run
    count: int | None = None  # training samples
    anchored: bool | None = None  # G is held by a reconstruction loss as well
    augmented: bool | None = None  # D is shown augmented samples
    columns: Mapping[str, str] = field(default_factory=dict)  # a name, `2*name`, `a+b`: signal, `A/signal`, `step`

    def __post_init__(self) -> None:
        if self.loss is not None and self.loss not in IDEAL:
            raise InputError(f"there is no known loss called {self.loss!r}{suggest(self.loss, list(IDEAL))}")
        for told in ("batch", "kimg", "count"):
            if (value := getattr(self, told)) is not None and not 0 < value < math.inf:
                raise InputError(f"{told}={value} cannot be: give a number above 0, or leave it out")
        first: dict[str, str] = {}
        for name, signal in self.columns.items():
            player, _, own = signal.rpartition("/")
            if (own not in SIGNALS and signal not in tables.CLOCKS) or "/" in player:
                raise InputError(f"{name!r} is mapped to {signal!r}, which is no signal{suggest(own, list(SIGNALS))}")
            if (other := first.setdefault(signal, name)) != name:
                raise InputError(
                    f"{other} and {name} are both mapped to {signal}; map those of two discriminators to A/{own} and "
                    f"B/{own}, and parts of one loss as their sum, --map '{other}+{name}={signal}'"
                )

    def facts(self) -> dict[str, Any]:
        """What is told, as facts of a history."""
        known = {"loss": self.loss, "batch": self.batch, "total_kimg": self.kimg, "count": self.count,
                 "anchored": self.anchored, "augmented": self.augmented}  # fmt: skip
        return {name: value for name, value in known.items() if value is not None}
