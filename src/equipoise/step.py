"""One update of one player, in pure tensor code: nothing is read back to the host.

Everything a schedule or a controller may turn is a 0-d tensor, and a lazy penalty makes a second kind of move, so that
each kind can be captured whole as a CUDA graph. A non-finite gradient skips the update, the networks' buffers included.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from equipoise import distributed
from equipoise.augmentations import Augmentation
from equipoise.ema import EMA
from equipoise.errors import InputError
from equipoise.networks.layers import couples_samples
from equipoise.networks.protocols import latent_dim
from equipoise.optimisers import Adam
from equipoise.sensors import Meter, Sensor
from equipoise.terms import Objective, fact
from equipoise.turn import Logits, Role, Turn, heads_of, score

ROLES: tuple[Role, Role] = ("D", "G")


class Step:
    """The two players with their objective and optimisers; `move` is one update of one of them.

    Reading it top to bottom is reading the training step: `move` asks `turn` for the fields, the objective for values
    per sample, the optimiser for the update, and the meter to remember what was seen.
    """

    def __init__(
        self,
        generator: nn.Module,  # latents [N, latent_dim], labels [N] or None -> images [N, C, ...]
        discriminator: nn.Module,  # images, labels -> logits [N, ...] or a list of such heads
        objective: Objective,
        optimisers: dict[Role, Adam],
        ema: EMA,
        *,
        sensors: Sequence[Sensor] = (),
        augmentations: Mapping[str, Augmentation] | None = None,  # by name, in the order they are applied
        mixed: bool = False,  # bfloat16 where it is safe; moves with a gradient penalty judge in float32
        accumulate: int = 1,  # equal parts a batch is worked off in, to save memory
        channels_last: bool = False,
    ) -> None:
        self.networks: dict[Role, nn.Module] = {"D": discriminator, "G": generator}
        self.objective = objective
        self.optimisers = optimisers
        self.ema = ema
        self.sensors = {role: [s for s in sensors if s.role == role] for role in ROLES}
        self.augmentations = dict(augmentations or {})
        self.mixed, self.accumulate, self.channels_last = mixed, accumulate, channels_last
        self.latent_dim = latent_dim(generator)
        self.device = next(generator.parameters()).device
        self.meter = Meter(self._names(), self.device)
        self.moves: dict[Role, int] = {"D": 0, "G": 0}
        self.alarm = {role: torch.zeros([], dtype=torch.bool, device=self.device) for role in ROLES}
        self.failed: dict[Role, list[Tensor]] = {"D": [], "G": []}  # inputs of the first skipped move since the alarm
        self._coupled = bool(couples_samples(discriminator))
        self._buffers = self._guarded_buffers()

    def _names(self) -> list[str]:
        """What the meter keeps, in a fixed order."""
        return [
            name
            for role in ROLES
            for name in (
                f"{role}.loss",
                *(f"{role}.{term}" for term in self.objective.of(role)),
                *(sensor.name for sensor in self.sensors[role]),
                f"{role}.gradient",
                f"{role}.update",
                f"{role}.skipped",
            )
        ]

    def _guarded_buffers(self) -> list[Tensor]:
        """Buffers that a forward may change and a skipped update must restore: all but the dials."""
        networks = [buffer for network in self.networks.values() for buffer in network.buffers()]
        return networks + list(self.memory().values())

    def parts(self) -> dict[str, nn.Module]:
        """The terms and augmentations that are modules, by name: what may have dials and memory."""
        found = {**dict(self.objective.terms.items()), **self.augmentations}
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
        return self.objective.due(role, self.moves[role])

    def move(
        self,
        role: Role,
        images: Tensor,  # uint8 [N, C, H, W] or float [N, d]: real ones; in G's move read where the loss compares
        labels: Tensor | None,  # int64 [N]: of the real images, and asked of the generated ones
        due: frozenset[str] = frozenset(),
    ) -> None:
        """Update one player once."""
        latents = torch.randn(len(images), self.latent_dim, device=self.device, dtype=self._dtype)
        before = [buffer.clone() for buffer in self._buffers]
        total = torch.zeros([], device=self.device, dtype=self._dtype)
        with frozen(self.networks["G" if role == "D" else "D"]):
            for part in self.parts_of(images, labels, latents):
                turn = self.turn(role, *part, due)
                values = self.objective(turn, due)
                loss = torch.stack([value.mean() for value in values.values()]).sum() / self.accumulate
                loss.backward(inputs=self.optimisers[role].parameters)
                total += loss.detach()
                self._observe(turn, values)
        ok = self.optimisers[role].step(total)
        for buffer, old in zip(self._buffers, before, strict=True):
            buffer.copy_(torch.where(ok > 0, buffer, old))
        if role == "D":
            self.ema.see(len(images) * distributed.world_size())
        else:
            self.ema.update(ok)
        self._record(role, ok, [images, latents] if labels is None else [images, latents, labels])

    def turn(self, role: Role, images: Tensor, labels: Tensor | None, latents: Tensor, due: frozenset[str]) -> Turn:
        """The fields of one update: generate, show, judge."""
        precise = self.objective.differentiates(due)
        real = self.show(images)
        with self._autocast(), torch.set_grad_enabled(role == "G" and torch.is_grad_enabled()):
            fake = self.networks["G"](latents, labels)
        fake = fake.float() if self.mixed else fake
        for name, shown in (("real", real), ("fake", fake)):
            if self.objective.tracks(due, name) and not shown.requires_grad:
                shown.requires_grad_(True)
        fields: dict[str, Any] = {"real": real, "fake": fake, "labels": labels, "latents": latents}
        fields["judge"] = lambda shown: score(self._judge([(shown, True)], _over_again(labels, shown), precise)[0])
        fields["generate"] = lambda other: self.networks["G"](other, labels)
        if role == "D" and not self._coupled:  # in one pass, which is quicker, where no sample minds the others
            fields["real_logits"], fields["fake_logits"] = self._judge([(real, True), (fake, False)], labels, precise)
            return Turn(role, role, **fields)
        if role == "D" or self.objective.reads("G", "real_logits"):
            fields["real_logits"] = self._judge([(real, True)], labels, precise)[0]
        fields["fake_logits"] = self._judge([(fake, False)], labels, precise)[0]
        return Turn(role, role, **fields)

    def _judge(self, batches: list[tuple[Tensor, bool]], labels: Tensor | None, precise: bool) -> list[Logits]:
        """What D says of each batch of images, after augmentation, in one pass over all of them."""
        shown = [self._augmented(images, labels, is_real) for images, is_real in batches]
        images = torch.cat([x for x, _ in shown]) if len(shown) > 1 else shown[0][0]
        known = None if labels is None else torch.cat([y for _, y in shown if y is not None])
        with self._autocast(enabled=not precise):
            logits = self.networks["D"](images, known)
        heads = [(head.float() if self.mixed else head).chunk(len(batches)) for head in heads_of(logits)]
        several = isinstance(logits, (list, tuple))
        return [[head[one] for head in heads] if several else heads[0][one] for one in range(len(batches))]

    def _augmented(self, images: Tensor, labels: Tensor | None, is_real: bool) -> tuple[Tensor, Tensor | None]:
        for augmentation in self.augmentations.values():
            images, labels = augmentation(images, labels, is_real)
        return images, labels

    def show(self, images: Tensor) -> Tensor:
        """Images as the networks see them: uint8 becomes float in [-1, 1], floats pass."""
        if images.dtype == torch.uint8:
            images = images.to(self._dtype).div_(127.5).sub_(1)
        images = images.detach()
        return (
            images.contiguous(memory_format=torch.channels_last) if self.channels_last and images.dim() == 4 else images
        )

    # ------------------------------------------------------------------------------------------------ its parts

    @property
    def _dtype(self) -> torch.dtype:
        return self.optimisers["G"].gradient.dtype

    def _autocast(self, enabled: bool = True) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.mixed and enabled)

    def parts_of(
        self, images: Tensor, labels: Tensor | None, latents: Tensor
    ) -> Iterator[tuple[Tensor, Tensor | None, Tensor]]:
        size = len(images) // self.accumulate
        if size * self.accumulate != len(images):
            raise InputError(
                f"a batch of {len(images)} cannot be worked off in {self.accumulate} equal parts; change batch"
            )
        for start in range(0, len(images), size):
            part = slice(start, start + size)
            yield images[part], None if labels is None else labels[part], latents[part]

    def _observe(self, turn: Turn, values: dict[str, Tensor]) -> None:
        readings = {f"{turn.role}.{name}": value.detach() for name, value in values.items()}
        with torch.no_grad():
            readings |= {sensor.name: sensor(turn) for sensor in self.sensors[turn.role]}
        self.meter.add(readings)

    def _record(self, role: Role, ok: Tensor, inputs: list[Tensor]) -> None:
        """Remember what the optimiser saw, and the inputs of a move that was skipped, for the host to look into."""
        optimiser = self.optimisers[role]
        self.meter.add(
            {
                f"{role}.gradient": optimiser.norm.reshape(1),
                f"{role}.update": optimiser.update_norm.reshape(1),
                f"{role}.skipped": (1 - ok).reshape(1),
            }
        )
        if [(t.shape, t.dtype) for t in self.failed[role]] != [(t.shape, t.dtype) for t in inputs]:
            self.failed[role] = [torch.zeros_like(tensor) for tensor in inputs]
            self.alarm[role].zero_()
        first = (ok == 0) & ~self.alarm[role]
        for kept, tensor in zip(self.failed[role], inputs, strict=True):
            kept.copy_(torch.where(first, tensor, kept))
        self.alarm[role] |= first


def _over_again(labels: Tensor | None, images: Tensor) -> Tensor | None:
    """The batch's labels, repeated where there are several times as many images."""
    return None if labels is None else labels.repeat(len(images) // len(labels))


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
