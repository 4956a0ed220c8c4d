"""What one move shows of the game: G makes samples, both kinds are shown to D, and D judges them. Pure tensor code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from equipoise.augmentations import Augmentation
from equipoise.errors import InputError
from equipoise.networks.layers import couples_samples
from equipoise.networks.packing import pack_of, packed, unpacked
from equipoise.terms import Objective
from equipoise.turn import Logits, Role, Turn, heads_of, score


class Game:
    """The two networks and what lies between them; `turn` forms the fields of one update of one player."""

    def __init__(
        self,
        networks: Mapping[Role, nn.Module],
        objective: Objective,  # which is asked what it reads
        augmentations: Mapping[str, Augmentation],  # by name, in the order they are applied
        dtype: torch.dtype,  # of images as the networks see them
        device: torch.device,
        mixed: bool = False,  # bfloat16 where it is safe; moves with a gradient penalty judge in float32
        channels_last: bool = False,
    ) -> None:
        self.networks, self.objective, self.augmentations = networks, objective, augmentations
        self.dtype, self.device, self.mixed, self.channels_last = dtype, device, mixed, channels_last
        discriminator = networks["D"]
        self.pack = pack_of(discriminator)
        self.stand_in: dict[str, Tensor] | None = None  # weights that D judges with in place of its own
        self._coupled = bool(couples_samples(discriminator))
        self._precise = any(getattr(m, "differentiates", False) is True for m in discriminator.modules())

    def turn(
        self,
        role: Role,
        images: Tensor,
        labels: Tensor | None,
        latents: Tensor,
        due: frozenset[str],
        through: bool = False,  # whether the fakes track the generator in the discriminator's turn too
    ) -> Turn:
        """The fields of one update: generate, show, judge."""
        precise = self._precise or self.objective.differentiates(due)
        for part in self.augmentations.values():
            if hasattr(part, "begin"):  # it asks whose move it is
                part.begin(role)
        real = packed(self.show(images), self.pack)
        with self._autocast(), torch.set_grad_enabled((role == "G" or through) and torch.is_grad_enabled()):
            fake = self.networks["G"](latents, labels)
        fake = packed(fake.float() if self.mixed else fake, self.pack)
        for name, shown in (("real", real), ("fake", fake)):
            if self.objective.tracks(due, name) and not shown.requires_grad:
                shown.requires_grad_(True)
        fields: dict[str, Any] = {"real": real, "fake": fake, "labels": labels, "latents": latents}
        fields["network"] = self.networks[role]
        fields["judge"] = lambda shown: score(self._judge([(shown, True)], _over_again(labels, shown), precise)[0])
        fields["generate"] = lambda other: self.networks["G"](other, labels)
        batches = {"real": (real, True), "fake": (fake, False)}
        if role == "G" and not self.objective.compares("G"):
            del batches["real"]
        together = role == "D" and not self._coupled  # one pass is quicker, where no sample minds the others
        apart = [[name] for name in (reversed(batches) if role == "D" else batches)]  # D sees fakes before reals
        for names in [list(batches)] if together else apart:
            features: list[Tensor] = []
            with self._watching(role, features):
                logits = self._judge([batches[name] for name in names], labels, precise)
            fields |= {f"{name}_logits": one for name, one in zip(names, logits, strict=True)}
            parts = features[0].chunk(len(names)) if features else ()
            fields |= {f"{name}_features": part for name, part in zip(names, parts, strict=False)}
        return Turn(role, role, **fields)

    @contextmanager
    def _watching(self, role: Role, found: list[Tensor]) -> Iterator[None]:
        """While it lasts, put what enters D's layer `output`, `[N, F]`, into the list, if the objective asks for it."""
        if not self.objective.reads_features(role):
            yield
            return
        layer = getattr(self.networks["D"], "output", None)
        if not isinstance(layer, nn.Module):
            raise InputError(
                "a term reads the discriminator's features, which are the input of its layer called `output`, and "
                f"{type(self.networks['D']).__name__} has no such layer; name its last layer so, or drop the term"
            )
        handle = layer.register_forward_pre_hook(lambda module, inputs: found.append(inputs[0].flatten(1)))
        try:
            yield
        finally:
            handle.remove()

    def _judge(self, batches: list[tuple[Tensor, bool]], labels: Tensor | None, precise: bool) -> list[Logits]:
        """What D says of each batch of images, after augmentation, in one pass over all of them."""
        shown = [self._augmented(images, labels, is_real) for images, is_real in reversed(batches)][::-1]
        images = torch.cat([x for x, _ in shown]) if len(shown) > 1 else shown[0][0]
        known = None if labels is None else torch.cat([y for _, y in shown if y is not None])
        with self._autocast(enabled=not precise):
            logits = self._discriminator(images, known)
        heads = [(head.float() if self.mixed else head).chunk(len(batches)) for head in heads_of(logits)]
        several = isinstance(logits, (list, tuple))
        return [[head[one] for head in heads] if several else heads[0][one] for one in range(len(batches))]

    def _discriminator(self, images: Tensor, labels: Tensor | None) -> Logits:
        own = self.networks["D"]
        if self.stand_in is None:
            judged: Logits = own(images, labels)
        else:
            judged = torch.func.functional_call(own, self.stand_in, (images, labels))
        return judged

    def _augmented(self, images: Tensor, labels: Tensor | None, is_real: bool) -> tuple[Tensor, Tensor | None]:
        images = unpacked(images, self.pack)
        for augmentation in self.augmentations.values():
            images, labels = augmentation(images, labels, is_real)
        return images, labels

    def show(self, images: Tensor) -> Tensor:
        """Images as the networks see them: uint8 becomes float in [-1, 1], floats pass."""
        if images.dtype == torch.uint8:
            images = images.to(self.dtype).div_(127.5).sub_(1)
        images = images.detach()
        return (
            images.contiguous(memory_format=torch.channels_last) if self.channels_last and images.dim() == 4 else images
        )

    def _autocast(self, enabled: bool = True) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.mixed and enabled)


def _over_again(labels: Tensor | None, images: Tensor) -> Tensor | None:
    """The batch's labels, repeated where there are several times as many images."""
    return None if labels is None else labels.repeat(len(images) // len(labels))
