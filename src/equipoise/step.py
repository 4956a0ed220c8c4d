"""One update of one player, in pure tensor code: nothing is read back to the host.

Everything a schedule or a controller may turn is a 0-d tensor, and a lazy penalty makes a second kind of move, so that
each kind can be captured whole as a CUDA graph. A non-finite gradient skips the update, the networks' buffers included.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from equipoise import distributed
from equipoise.augmentations import Augmentation
from equipoise.ema import EMA
from equipoise.errors import InputError
from equipoise.game import Game
from equipoise.initialise import projections
from equipoise.networks.protocols import latent_dim
from equipoise.optimiser import Optimiser
from equipoise.power_ema import PowerEMA
from equipoise.replays import Graphs, Recorder, Replays
from equipoise.rules import Alternating, Draw, Rule
from equipoise.seen import Seen
from equipoise.sensors import Sensor
from equipoise.terms import Objective, fact
from equipoise.turn import Role, Turn


class Pending(NamedTuple):
    """A player's gradients, formed and not yet applied."""

    role: Role
    total: Tensor  # value of the objective
    before: list[Tensor]  # the guarded buffers as they were
    inputs: list[Tensor]  # images, latents, and labels where there are any


class Step:
    """The two players with their objective and optimisers; `move` is one update of one of them.

    Reading it top to bottom is reading the training step: `differentiate` asks `turn` for the fields and the objective
    for values per sample, `apply` the optimiser for the update and `seen` to remember it. A rule plays rounds of both
    players' moves. The networks lie on the device already, where the step stays; their parameters give its type.
    """

    def __init__(
        self,
        generator: nn.Module,  # latents [N, latent_dim], labels [N] or None -> images [N, C, ...]
        discriminator: nn.Module,  # images, labels -> logits [N, ...] or a list of such heads
        objective: Objective,
        optimisers: dict[Role, Optimiser],
        ema: EMA,
        *,
        sensors: Sequence[Sensor] = (),
        augmentations: Mapping[str, Augmentation] | None = None,  # by name, in the order they are applied
        powers: PowerEMA | None = None,  # averages of several widths beside it
        rule: Rule | None = None,  # how the two players' moves interleave; None: they alternate
        rates: Mapping[str, nn.Module] | None = None,  # by name: feedback on the discriminator's learning rate
        constraints: Mapping[str, nn.Module] | None = None,  # by name: on the discriminator's weights after its moves
        mixed: bool = False,  # bfloat16 where it is safe; moves with a gradient penalty judge in float32
        accumulate: int = 1,  # equal parts a batch is worked off in, to save memory
        channels_last: bool = False,
        captured: bool = False,  # moves are replayed as CUDA graphs
    ) -> None:
        self.networks: dict[Role, nn.Module] = {"D": discriminator, "G": generator}
        self.objective = objective
        self.optimisers = optimisers
        self.ema, self.powers = ema, powers
        self.augmentations = dict(augmentations or {})
        self.rates, self.constraints = dict(rates or {}), dict(constraints or {})
        self.accumulate = accumulate
        self.latent_dim = latent_dim(generator)
        self.device, self.dtype = next(generator.parameters()).device, optimisers["G"].gradient.dtype
        self.game = Game(self.networks, objective, self.augmentations, self.dtype, self.device, mixed, channels_last)
        self.turn, self.show = self.game.turn, self.game.show
        self.seen = seen = Seen(objective, sensors, self.device, accumulate)
        self.meter, self.trace, self.alarm, self.failed = seen.meter, seen.trace, seen.alarm, seen.failed
        self.moves: dict[Role, int] = {"D": 0, "G": 0}
        self.kept: dict[str, Tensor] = {}  # what looks at the run keep for the next look
        self.pack = self.game.pack
        self.resting: set[str] = set()  # terms left out of the moves: their strength is 0
        self.averaging = True  # whether each of the generator's moves moves the average too
        self.replays = self._replays(Graphs(self.device)) if captured else None
        self._projections = {role: projections(network) for role, network in self.networks.items()}
        self._buffers = self._guarded_buffers()
        self.rule = rule or Alternating()
        self.rule.bind(self)

    def _guarded_buffers(self) -> list[Tensor]:
        """Buffers that a forward may change and a skipped update must restore: all but the dials."""
        networks = [buffer for network in self.networks.values() for buffer in network.buffers()]
        return networks + list(self.memory().values())

    def parts(self) -> dict[str, nn.Module]:
        """All parts that are modules, by name: what may have dials and memory."""
        found = {**self.objective.parts(), **self.augmentations, **self.rates, **self.constraints}
        return {name: part for name, part in found.items() if isinstance(part, nn.Module)}

    def memory(self) -> dict[str, Tensor]:
        """What the parts remember from move to move, by name: their buffers that are no dials."""
        return {
            f"{name}.{key}": buffer
            for name, part in self.parts().items()
            for key, buffer in part.named_buffers()
            if key not in fact(part, "dials")
        }

    # ------------------------------------------------------------------------------------------------ one update

    def due(self, role: Role) -> frozenset[str]:
        """The terms that join the player's next move: the kind of the move."""
        return self.objective.due(role, self.moves[role]) - self.resting

    def move(
        self,
        role: Role,
        images: Tensor,  # uint8 [N, C, H, W] or float [N, d]: real ones; in G's move read where the loss compares
        labels: Tensor | None,  # int64 [N]: of the real images, and asked of the generated ones
        due: frozenset[str] = frozenset(),
    ) -> None:
        """Update one player once, with the terms named in `due`; whoever calls counts `moves[role]` on."""
        (self.replays or self._move)(role, images, labels, due)

    def _replays(self, record: Recorder) -> Replays:
        return Replays(self._move, lambda role: self.optimisers[role].paces is None, record)

    def _move(self, role: Role, images: Tensor, labels: Tensor | None, due: frozenset[str]) -> None:
        self.apply(self.differentiate(role, images, labels, due))

    def round(self, moves: int, draw: Draw) -> None:
        """The discriminator's `moves` moves and one of the generator, as the rule has it."""
        self.rule(self, moves, draw)

    def differentiate(self, role: Role, images: Tensor, labels: Tensor | None, due: frozenset[str]) -> Pending:
        """Form the player's gradients, in its parameters' `.grad`, without moving anything."""
        pending = self._begin(role, images, labels)
        value = torch.zeros_like(pending.total)
        with frozen(self.networks["G" if role == "D" else "D"]):
            for part in self.parts_of(images, labels, pending.inputs[1]):
                values, loss = self._evaluated(self.turn(role, *part, due), due)
                loss.backward(inputs=self.optimisers[role].parameters)
                pending.total.add_(loss.detach())
                value += self._adversarial(values)
        self._pace(role, value)
        return pending

    def undifferentiated(
        self, role: Role, images: Tensor, labels: Tensor | None, due: frozenset[str]
    ) -> tuple[Pending, Tensor]:
        """The value of a player's objective with the graph through both networks, for rules that differentiate it."""
        pending = self._begin(role, images, labels)
        values, loss = self._evaluated(self.turn(role, images, labels, pending.inputs[1], due, through=True), due)
        pending.total.add_(loss.detach())
        self._pace(role, self._adversarial(values))
        return pending, loss

    def unrolled(self, images: Tensor, labels: Tensor | None, due: frozenset[str], steps: int) -> Pending:
        """The generator's gradients through `steps` differentiable steps of a discriminator that does not move."""
        pending, own = self._begin("G", images, labels), self.networks["D"]
        weights: dict[str, Tensor] = dict(own.named_parameters())
        optimiser, trained = self.optimisers["D"], [n for n, p in weights.items() if p.requires_grad]
        scales = dict(zip(map(id, optimiser.parameters), optimiser.preconditioner(), strict=True))
        now = {name: weights[name] for name in trained}
        try:
            for _ in range(steps):
                self.game.stand_in = now
                turn = self.turn("D", images, labels, torch.randn_like(pending.inputs[1]), due, through=True)
                loss = turn.call(self.objective.loss.d).mean()
                gradients = torch.autograd.grad(loss, list(now.values()), create_graph=True)
                rate = optimiser.lr * optimiser.factor
                now = {n: now[n] - rate * g * scales[id(weights[n])] for n, g in zip(trained, gradients, strict=True)}
            self.game.stand_in = now
            _, loss = self._evaluated(self.turn("G", images, labels, pending.inputs[1], due), due)
        finally:
            self.game.stand_in = None
        loss.backward(inputs=self.optimisers["G"].parameters)
        pending.total.add_(loss.detach())
        return pending

    def apply(self, pending: Pending) -> None:
        """Move a player along its gradients; one that is not finite leaves everything as it was before."""
        role = pending.role
        ok = self.optimisers[role].step(pending.total)
        self.restore(pending.before, ok)
        with torch.no_grad():
            for project in self._projections[role]:
                project()
            for constraint in self.constraints.values() if role == "D" else ():
                constraint(self.networks[role])
        if role == "D":
            for average in self._averages():
                average.see(len(pending.inputs[0]) * distributed.world_size())
        elif self.averaging:
            self.average(ok)
        self.seen.record(role, self.optimisers[role], ok, pending.inputs)

    def average(self, ok: Tensor | None = None) -> None:
        """Let the averages follow the generator."""
        for average in self._averages():
            average.update(ok)

    def _averages(self) -> list[EMA | PowerEMA]:
        return [self.ema] if self.powers is None else [self.ema, self.powers]

    @torch.no_grad()
    def restore(self, buffers: list[Tensor], ok: Tensor | None = None) -> None:
        """Put the guarded buffers back to what they were, unless `ok` is 1."""
        if ok is not None:
            moved = ok > 0
            buffers = [torch.where(moved, new, old) for new, old in zip(self._buffers, buffers, strict=True)]
        if buffers:
            torch._foreach_copy_(self._buffers, buffers)

    def _begin(self, role: Role, images: Tensor, labels: Tensor | None) -> Pending:
        latents = torch.randn(len(images), self.latent_dim, device=self.device, dtype=self.dtype)
        inputs = [images, latents] if labels is None else [images, latents, labels]
        total = torch.zeros([], device=self.device, dtype=self.dtype)
        return Pending(role, total, [buffer.clone() for buffer in self._buffers], inputs)

    def _evaluated(self, turn: Turn, due: frozenset[str]) -> tuple[dict[str, Tensor], Tensor]:
        """The objective's values per sample, seen by the meter, and their sum."""
        values = self.objective(turn, due)
        self.seen.see(turn, values)
        self.seen.await_pull(turn)
        return values, torch.stack([value.mean() for value in values.values()]).sum() / self.accumulate

    def _adversarial(self, values: dict[str, Tensor]) -> Tensor:
        """The value of the game alone: the loss and what belongs to it, without penalties."""
        mine = [value.detach().mean() for name, value in values.items() if self.objective.adversarial(name)]
        return torch.stack(mine).sum() / self.accumulate

    def _pace(self, role: Role, value: Tensor) -> None:
        """Let the rates set the factor of the discriminator's learning rate for the move to come."""
        if role == "D" and self.rates:
            value = distributed.mean(value)
            factors = [rate(value) for rate in self.rates.values()]
            self.optimisers["D"].factor.copy_(torch.stack(factors).prod())

    # ------------------------------------------------------------------------------------------------ its parts

    def parts_of(
        self, images: Tensor, labels: Tensor | None, latents: Tensor
    ) -> Iterator[tuple[Tensor, Tensor | None, Tensor]]:
        """A batch in its `accumulate` equal parts: images, labels, latents; InputError where it has no such parts."""
        size = len(images) // self.accumulate
        if size * self.accumulate != len(images):
            raise InputError(
                f"a batch of {len(images)} cannot be worked off in {self.accumulate} equal parts; change batch"
            )
        for start in range(0, len(images), size):
            part = slice(start, start + size)
            yield images[part], None if labels is None else labels[part], latents[part]


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """Let a network pass gradients without collecting any: it saves memory, and nothing stale stays behind."""
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)
