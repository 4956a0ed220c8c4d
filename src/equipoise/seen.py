"""What is remembered of a step's moves until the host looks: readings, the trace, and the inputs of a failed move."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from equipoise.optimiser import Optimiser
from equipoise.sensors import Meter, Sensor
from equipoise.sensors.trace import Trace
from equipoise.terms import Objective
from equipoise.turn import ROLES, Role, Turn


class Seen:
    """Reads turns and what the optimisers made of them; nothing is read back to the host.

    `meter` has the moments of all readings, `trace` the losses of the last rounds, `failed` the inputs of a player's
    first skipped move since its `alarm` was last put out.
    """

    def __init__(
        self,
        objective: Objective,  # whose parts are read
        sensors: Sequence[Sensor],
        device: torch.device,
        accumulate: int,  # parts that a batch is worked off in
    ) -> None:
        self.sensors = {role: [s for s in sensors if s.role == role] for role in ROLES}
        self.accumulate = accumulate
        self.meter = Meter(self._names(objective), device)
        self.trace = Trace(device) if sensors else None
        self.alarm = {role: torch.zeros([], dtype=torch.bool, device=device) for role in ROLES}
        self.failed: dict[Role, list[Tensor]] = {"D": [], "G": []}
        self._kept: dict[object, list[Tensor]] = {}  # `failed` by player and shapes: a graph may write there
        self._pulled: dict[str, Tensor] = {}  # readings of the gradient at the generator's output, until they are kept
        self._awaited: tuple[Turn, Sequence[Sensor]] | None = None  # whose gradient is to come by, and who reads it

    def _names(self, objective: Objective) -> list[str]:
        """What the meter keeps, in a fixed order."""
        return [
            name
            for role in ROLES
            for name in (
                f"{role}.loss",
                *(f"{role}.{term}" for term in objective.of(role)),
                *(sensor.name for sensor in self.sensors[role]),
                f"{role}.gradient",
                f"{role}.update",
                f"{role}.skipped",
            )
        ]

    def see(self, turn: Turn, values: dict[str, Tensor]) -> None:
        """Read a turn and the objective's values per sample, before the backward pass."""
        readings = {f"{turn.role}.{name}": value.detach() for name, value in values.items()}
        with torch.no_grad():
            ready = [sensor for sensor in self.sensors[turn.role] if not sensor.reads("pull")]
            readings |= {sensor.name: sensor(turn) for sensor in ready}
        if self.trace is not None:
            self.trace.see(turn.role, values["loss"], turn["fake_score"] if turn.role == "D" else None)
        size = len(values["loss"])  # fewer than images where the discriminator judges packs of them
        self.meter.add({n: v if len(v) in (1, size) else v.mean().reshape(1) for n, v in readings.items()})

    def await_pull(self, turn: Turn) -> None:
        """Have the sensors that read `pull` read it once, when the backward pass comes by the generated images."""
        waiting = [sensor for sensor in self.sensors[turn.role] if sensor.reads("pull")]
        if not waiting or turn.role != "G" or not turn["fake"].requires_grad:
            return
        # kept here and not by the hook: a hook that holds its own tensor is never freed, nor is the graph behind it
        self._awaited = turn, waiting
        turn["fake"].register_hook(self._read_pull)

    @torch.no_grad()
    def _read_pull(self, gradient: Tensor) -> None:
        if self._awaited is not None:  # a rule may come by twice
            (turn, waiting), self._awaited = self._awaited, None
            turn.add(pull=gradient.detach() * (len(gradient) * self.accumulate))
            self._pulled = {sensor.name: sensor(turn).mean().reshape(1) for sensor in waiting}

    def record(self, role: Role, optimiser: Optimiser, ok: Tensor, inputs: list[Tensor]) -> None:
        """Remember what the optimiser saw, and the inputs of a move that was skipped, for the host to look into."""
        self.meter.add(
            {
                f"{role}.gradient": optimiser.norm.reshape(1),
                f"{role}.update": optimiser.update_norm.reshape(1),
                f"{role}.skipped": (1 - ok).reshape(1),
                **(self._pulled if role == "G" else {}),
            }
        )
        self._pulled = {} if role == "G" else self._pulled
        if self.trace is not None and role == "G":
            self.trace.close()
        kind = (role, *((t.shape, t.dtype) for t in inputs))
        if kind not in self._kept:
            self._kept[kind] = [torch.zeros_like(tensor) for tensor in inputs]
            self.alarm[role].zero_()
        self.failed[role] = self._kept[kind]
        first = (ok == 0) & ~self.alarm[role]
        for kept, tensor in zip(self.failed[role], inputs, strict=True):
            kept.copy_(torch.where(first, tensor, kept))
        self.alarm[role] |= first
