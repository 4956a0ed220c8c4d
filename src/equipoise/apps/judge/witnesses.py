"""What a finished run's discriminator is judged with: its networks, the images it saw and did not see, fresh fakes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from equipoise import checkpoint, images, runs, samples
from equipoise.config import Config
from equipoise.data import Holdout
from equipoise.errors import InputError
from equipoise.networks.protocols import latent_dim
from equipoise.studies import real as reals

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]

SEARCHED = 20_000  # training images at most that neighbours are looked for among
FAKES = 500  # fresh ones
SEED = 7_777  # of their latents: any number but the small ones that people ask for


@dataclass(frozen=True)
class Witnesses:
    """Images are uint8 [N, C, H, W]; labels [N] are there where the data have them, even if the run left them aside."""

    config: Config
    generator: nn.Module  # the averaged one
    discriminator: nn.Module
    training: Bytes
    training_labels: Ints | None
    real: Bytes  # held out
    real_labels: Ints | None
    origin: str  # where the held-out ones are from, in words
    trained: int  # images trained on in all, of which `training` are some

    def fakes(self, count: int = FAKES) -> tuple[Bytes, Ints | None]:
        """Fresh samples of the averaged generator, of the classes that the held-out images have."""
        source = torch.Generator().manual_seed(SEED)
        latents = torch.randn(count, latent_dim(self.generator), generator=source)
        labels = None
        if self.config.classes and self.real_labels is not None:
            labels = np.resize(self.real_labels[spread(len(self.real), count)], count)
        made = samples.generate(self.generator, latents, None if labels is None else torch.from_numpy(labels))
        return images.to_uint8(made), labels


def gather(
    run: Path,
    against: str | None = None,  # a source of real images never trained on; None: the run's held-out ones
    at: str | None = None,  # a checkpoint's name; None: the newest
    whole: bool = False,  # take all images, instead of 20,000 to search and 2,048 of a source
) -> Witnesses:
    """Open a run on images and its data; an InputError says which part is missing."""
    folder = checkpoint.find(run) if at is None else run / "checkpoints" / at
    discriminator, config = runs.load_network(run, "D", folder.name)
    if len(config.shape) != 3:
        raise InputError(f"{run} was trained on vectors, and images are judged; give a run on images")
    generator, _ = runs.load_network(run, "G_ema", folder.name)
    dataset, seen = runs.load_data(config), int(checkpoint.verify(folder)["samples"])
    holdout = Holdout(dataset, config.seed)
    trained = holdout.training(seen)
    if against is None:
        held, rows, origin = dataset, holdout.heldout(seen), _origin(holdout, seen)
    else:
        held = reals.opposite(dataset, config.source, against, config.shape[-1], _labels(against, config))
        rows = np.arange(len(held)) if whole else reals.some(held)
        origin = f"{against}, which was never trained on"
        trained = np.arange(len(dataset))
    some = trained if whole else trained[spread(len(trained), SEARCHED)]
    if config.classes and held.labels is None:
        raise InputError(
            f"the run has classes and {held.name} has no labels; give real images laid out like those trained on"
        )
    return Witnesses(
        config,
        generator,
        discriminator,
        np.asarray(dataset.images[some]),
        None if dataset.labels is None else dataset.labels[some],
        np.asarray(held.images[rows]),
        None if held.labels is None else held.labels[rows],
        origin,
        len(trained),
    )


def spread(count: int, most: int) -> Ints:
    """At most so many places of `count`, evenly spaced: data are often in the order of their classes."""
    return np.linspace(0, count - 1, min(most, count), dtype=np.int64)


def _labels(against: str, config: Config) -> str | None:
    """Sub-folders are classes there if they were in the run's own data."""
    return config.labels if config.labels == "folders" and Path(against).exists() else None


def _origin(holdout: Holdout, seen: int) -> str:
    """Whether the held-out images were really never trained on: where data are scarce, folds take turns."""
    turn = holdout.turn(seen)
    if turn == 0:
        return "held out of training from the start"
    kimg = (seen - turn * holdout.period) / 1000
    return (
        f"held out for the last {kimg:g} kimg and trained on before, for the data are few and take turns; "
        "--against names others"
    )
