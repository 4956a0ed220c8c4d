"""A fitted pair: it draws samples, judges images, and is measured against real ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from equipoise import samples
from equipoise.config import Config
from equipoise.errors import InputError
from equipoise.given import array_of, as_fitted, class_numbers
from equipoise.images import to_uint8
from equipoise.step import Step
from equipoise.turn import ROLES, Turn, heads_of


@dataclass(frozen=True)
class Fitted:
    """What training leaves: the networks, the settings that they came by, and how many real images they were shown."""

    step: Step
    settings: Config
    shown: int

    def draw(self, n: int, labels: Any, seed: int, truncation: float = 1.0) -> tuple[Tensor, Tensor | None]:
        """`n` samples as the averaged generator makes them, on the CPU, and their classes."""
        classes, source = self.settings.classes, torch.Generator().manual_seed(seed)
        latents = torch.randn(n, self.step.latent_dim, generator=source) * samples.check_truncation(truncation)
        if labels is not None and not classes:
            raise InputError("labels were asked for, but the GAN was fitted without labels; fit it with labels")
        chosen = None
        if classes:
            chosen = torch.randint(classes, (n,), generator=source)
            if labels is not None:
                chosen = class_numbers(labels, n, classes)
        return samples.generate(self.step.ema.average, latents, chosen), chosen

    def numbers(self, labels: Any, count: int) -> Tensor | None:
        """The class numbers of images to be judged: int64 `[count]`, or None for a pair without classes."""
        if not self.settings.classes:
            return None
        if labels is None:
            raise InputError("the GAN was fitted with labels, so it needs the labels of the images that it judges")
        return class_numbers(labels, count, self.settings.classes)

    @torch.no_grad()
    def logits(self, images: Tensor, classes: Tensor | None, size: int = 64) -> list[Tensor]:
        """The discriminator's logits of images, head by head, on the CPU."""
        step = self.step
        discriminator = step.networks["D"].eval()
        known = [None] * len(images) if classes is None else list(classes.split(size))
        parts = []
        for x, y in zip(images.split(size), known, strict=False):
            judged = discriminator(step.show(x.to(step.device)), None if y is None else y.to(step.device))
            parts.append([head.float().cpu() for head in heads_of(judged)])
        discriminator.train()
        return [torch.cat(heads) for heads in zip(*parts, strict=True)]

    @torch.no_grad()
    def measure(self, images: Any, labels: Any, features: str, seed: int) -> dict[str, float]:
        """Distances of as many samples to real images, and both players' losses on them; see `GAN.evaluate`."""
        from equipoise import metrics

        real = as_fitted(images, self.settings)
        classes = self.numbers(labels, len(real))
        fake = _as_bytes(self.draw(len(real), classes, seed)[0])
        device = str(self.step.device)
        ours, theirs = (metrics.extract(features, array_of(x), device=device) for x in (fake, real))
        measured = metrics.measure(theirs, ours, groups=0)
        found = {name: one.value for name, one in measured.items() if name != "frechet_unbiased"}
        logits = {"real_logits": self.logits(real, classes), "fake_logits": self.logits(fake, classes)}
        for role, side in zip(ROLES, self.step.objective.loss[:2], strict=True):
            found[f"loss_{role}"] = float(Turn(role, role, **logits).call(side).mean())
        return {**found, "n": float(len(real))}


def _as_bytes(made: Tensor) -> Tensor:
    """Images as uint8; vectors as they are."""
    return made if made.dim() == 2 or made.dtype == torch.uint8 else torch.from_numpy(to_uint8(made))
