"""Sensors read a turn without gradients; a meter keeps their moments on the device until the host looks, at a tick."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from equipoise.readings import Reading, reading
from equipoise.registry import register
from equipoise.turn import Role, Turn, parameters


@dataclass(frozen=True)
class Sensor:
    """A gradient-free reading of one player's turns: a function of fields, elementwise or `[N]` or a single number."""

    name: str
    role: Role
    function: Callable[..., Tensor]

    def __call__(self, turn: Turn) -> Tensor:
        return turn.call(self.function)

    def reads(self, field: str) -> bool:
        """Whether it asks for this field."""
        return field in parameters(self.function)


def sensor(role: Role, *, paper: str = "", claim: str = "") -> Callable[[Callable[..., Tensor]], Sensor]:
    """Make a function of a turn's fields a registered sensor, read as `<role>.<function's name>`.

    The function names its fields by its parameters, sees no gradients, and returns values elementwise, `[N]` or one.
    """

    def decorate(function: Callable[..., Tensor]) -> Sensor:
        made = Sensor(f"{role}.{function.__name__}", role, function)
        about = inspect.getdoc(function) or ""
        register("sensor", made.name, paper=paper, claim=claim or about)(made)
        return made

    return decorate


class Meter:
    """Moments of named values since the host last looked: count, sum, sum of squares, non-finite, per name.

    `add` is pure tensor code; `read` is the only place that waits for the device. Values that are not finite are
    counted, never averaged away.
    """

    def __init__(self, names: list[str], device: torch.device) -> None:
        self.names = list(names)
        wide = torch.float32 if device.type == "mps" else torch.float64
        self.moments = torch.zeros(len(names), 4, dtype=wide, device=device)
        self._row = {name: row for row, name in enumerate(names)}
        self._rows: dict[tuple[str, ...], Tensor] = {}

    @torch.no_grad()
    def add(self, values: Mapping[str, Tensor]) -> None:
        """Add one batch of values, each `[N]` or a single number `[1]`."""
        key = tuple(values)
        if key not in self._rows:
            self._rows[key] = torch.tensor([self._row[name] for name in key], device=self.moments.device)
        size = max(len(value) for value in values.values())
        stack = torch.stack([v if len(v) == size else v.expand(size) for v in values.values()]).to(self.moments.dtype)
        finite = torch.isfinite(stack)
        stack = torch.where(finite, stack, 0.0)
        n = finite.sum(1, dtype=stack.dtype)
        batch = torch.stack([n, stack.sum(1), stack.square().sum(1), size - n], dim=1)
        self.moments.index_add_(0, self._rows[key], batch)

    def read(self) -> dict[str, Reading]:
        """The readings of all names that were added to, and a new window."""
        rows = self.moments.tolist()
        self.moments.zero_()
        return {name: reading(*row) for name, row in zip(self.names, rows, strict=True) if row[0] or row[3]}

    def state_dict(self) -> dict[str, Tensor]:
        """The open window."""
        return {"moments": self.moments}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore what `state_dict` gave."""
        self.moments.copy_(state["moments"])
