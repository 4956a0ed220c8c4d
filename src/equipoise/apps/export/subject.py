"""What is handed over: a trained generator, and what is known about it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from equipoise import checkpoint, config, runs
from equipoise.config import Config
from equipoise.networks.protocols import latent_dim

PROBED = 16  # latents on which what was exported is compared with the generator


@dataclass(frozen=True)
class Subject:
    """A generator on the CPU in evaluation mode, and the run that it comes from."""

    generator: nn.Module
    config: Config
    run: Path
    kimg: float  # thousands of real images that it has been trained on
    newest: bool = True  # whether it is of the run's newest checkpoint

    @property
    def latent_dim(self) -> int:
        """The length of its latents."""
        return latent_dim(self.generator)

    @property
    def classes(self) -> tuple[str, ...]:
        """Their names; empty where it is unconditional."""
        return self.config.class_names

    @property
    def shape(self) -> tuple[int, ...]:
        """Of a sample: (C, H, W) or (d,)."""
        return self.config.shape

    @property
    def dataset(self) -> str:
        """The data's name as the user gave it, without the folders above."""
        source = self.config.source
        hub = source.startswith("hf:") and source.count("/") < 2 and not source.startswith(("hf:/", "hf:."))
        return source if hub else Path(source).name

    def probe(self, count: int = PROBED) -> tuple[Tensor, Tensor | None]:
        """Latents [count, latent_dim] and, with classes, labels [count] to compare on."""
        latents = torch.randn(count, self.latent_dim, generator=torch.Generator().manual_seed(0))
        return latents, torch.arange(count) % len(self.classes) if self.classes else None

    @torch.no_grad()
    def off(self, samples: Tensor, latents: Tensor, labels: Tensor | None) -> float:
        """How far samples of these latents are from its own, over the largest value, which counts as 1 at least."""
        expected = self.generator(latents, labels)
        return float((expected - samples).abs().max() / expected.abs().max().clamp(min=1.0))


def of_run(
    run: Path,
    at: str | None = None,  # a checkpoint's name; None: the newest
    generator: nn.Module | None = None,  # for a run with networks of one's own: GAN.load(run, ...).generator
) -> Subject:
    """The averaged generator of a run."""
    if generator is None:
        generator, settings = runs.load_network(run, at=at)
    else:
        settings = config.read(run)
    folder = checkpoint.find(run) if at is None else run / "checkpoints" / at
    return Subject(
        generator.cpu().eval(), settings, run, checkpoint.verify(folder)["samples"] / 1000, newest=at is None
    )
