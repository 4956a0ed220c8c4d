"""Samples from a generator: for given latents, for given seeds, and the grid that follows a run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from equipoise import images
from equipoise.data import Dataset
from equipoise.errors import InputError
from equipoise.networks.protocols import latent_dim, num_classes

COUNT = 64  # images in a run's grid
POINTS = 1024  # vectors in a run's picture
LARGEST = 1000.0  # factor on latents; networks overflow somewhere beyond it
CHUNK = 16  # samples generated at once: a fixed number, since other sizes may round differently


@torch.no_grad()
def generate(generator: nn.Module, latents: Tensor, labels: Tensor | None = None) -> Tensor:
    """Samples `[N, ...]` float32 on the CPU for latents `[N, latent_dim]`, in the generator's evaluation mode.

    Worked off in chunks of one size, the last one filled up, so that a sample does not depend on its neighbours.
    """
    device, mode = next(generator.parameters()).device, generator.training
    generator.eval()
    made = []
    for start in range(0, len(latents), CHUNK):
        rows = torch.arange(start, start + CHUNK) % len(latents)
        chosen = None if labels is None else labels[rows].to(device)
        made.append(generator(latents[rows].to(device), chosen).float().cpu())
    generator.train(mode)
    return torch.cat(made)[: len(latents)]


def from_seeds(
    generator: nn.Module,
    seeds: Sequence[int],  # one per sample: the same seed gives the same sample
    label: int | None = None,  # the class asked for; None draws it with the seed
    truncation: float = 1.0,  # latents are scaled by it towards their mean: below 1 more typical, less diverse
) -> tuple[Tensor, Tensor | None]:
    """Samples `[N, ...]` and their labels `[N]` (None without classes), one for each seed."""
    latents, labels = draw(generator, seeds, label)
    return generate(generator, latents * check_truncation(truncation), labels), labels


def draw(
    generator: nn.Module,
    seeds: Sequence[int],
    label: int | None = None,  # None draws the class with the seed
) -> tuple[Tensor, Tensor | None]:
    """The latents `[N, latent_dim]` and labels `[N]` (None without classes) that belong to seeds."""
    classes, size = num_classes(generator), latent_dim(generator)
    if label is not None and not 0 <= label < classes:
        known = f"the run knows classes 0 to {classes - 1}" if classes else "the run was trained without labels"
        raise InputError(f"class {label} cannot be generated, for {known}; choose another, or train with --labels")
    sources = [torch.Generator().manual_seed(seed) for seed in seeds]
    latents = torch.stack([torch.randn(size, generator=source) for source in sources])
    if not classes:
        return latents, None
    drawn = [int(torch.randint(classes, (1,), generator=source)) if label is None else label for source in sources]
    return latents, torch.tensor(drawn)


def check_truncation(truncation: float) -> float:
    """The truncation, or an InputError where latents cannot be scaled by it."""
    if not 0 <= truncation <= LARGEST:
        raise InputError(
            f"truncation={truncation}: it scales the latents, so it must be from 0 to {LARGEST:g}; 0.5 to 1 is usual"
        )
    return truncation


class Grid:
    """The picture that follows a run: the same latents each time, one column a class where that fits."""

    def __init__(self, shape: tuple[int, ...], classes: int, latent_dim: int) -> None:
        self.vectors = len(shape) == 1
        self.columns = classes if 2 <= classes <= 16 else 8
        self.count = POINTS if self.vectors else self.columns * (COUNT // self.columns)
        self.labels = torch.arange(self.count) % classes if classes else None
        self.latents = torch.randn(self.count, latent_dim, generator=torch.Generator().manual_seed(0))

    def fakes(self, generator: nn.Module, dataset: Dataset) -> NDArray[np.uint8]:
        """The picture of this moment, uint8 [H, W, C]."""
        return self._picture(generate(generator, self.latents, self.labels).numpy(), dataset)

    def reals(self, dataset: Dataset, seed: int) -> NDArray[np.uint8]:
        """Training samples in the same arrangement."""
        order = np.random.default_rng(seed).permutation(len(dataset.images))
        if self.labels is not None and dataset.labels is not None:
            order = np.array(list(_by_label(order, dataset.labels, self.labels.tolist())))
        return self._picture(
            np.asarray(dataset.images[np.sort(order[: self.count]) if self.vectors else order[: self.count]]), dataset
        )

    def _picture(self, samples: NDArray[Any], dataset: Dataset) -> NDArray[np.uint8]:
        if self.vectors:
            return images.picture(samples, reference=dataset.images)
        return images.grid(samples if samples.dtype == np.uint8 else images.to_uint8(samples), columns=self.columns)


def _by_label(order: NDArray[np.int64], labels: NDArray[np.int64], wanted: Iterable[int]) -> Iterable[int]:
    """Indices from `order` whose labels are as wanted, repeating where a class is short."""
    queues = {int(label): order[labels[order] == label] for label in np.unique(labels)}
    taken = dict.fromkeys(queues, 0)
    for label in wanted:
        if label in queues:
            yield int(queues[label][taken[label] % len(queues[label])])
            taken[label] += 1
