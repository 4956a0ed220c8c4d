"""Labelled images from the trained generator: as many of each class as wanted, without copies, the likeliest first."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from equipoise import images, samples
from equipoise.apps.augment.split import Ints, Part
from equipoise.networks.protocols import latent_dim

SPARE = 2  # candidates for each image wanted
STREAM = 0x5A17


class Pool(NamedTuple):
    """Synthetic images, and what was left out."""

    images: NDArray[np.uint8]  # [N, C, H, W]
    labels: Ints  # [N]
    percentile: NDArray[
        np.float64
    ]  # [N], 0 to 100: share of held-out real images that the discriminator finds less real
    candidates: int
    copies: int  # candidates left out as copies of training images

    @property
    def part(self) -> Part:
        """The images with their classes."""
        return Part(self.images, self.labels)


Judge = Callable[[NDArray[np.uint8], Ints], NDArray[np.float64]]  # images, labels -> percentiles [N]
Finder = Callable[[NDArray[np.uint8]], NDArray[np.bool_]]  # images -> which of them are copies [N]


def wanted(labels: Ints, classes: int, amount: int) -> Ints:
    """How many synthetic images of each class [K]: `amount` of the largest, of rarer ones more, until all are even."""
    have = np.bincount(labels, minlength=classes)
    return np.asarray(amount + have.max() - have, dtype=np.int64)


def synthesise(generator: nn.Module, counts: Ints, seed: int, judge: Judge, copied: Finder) -> Pool:
    """Of `SPARE` times as many images as wanted [K], leave out the copies and keep the likeliest of each class."""
    parts = [_of_class(generator, label, int(count), seed, judge, copied) for label, count in enumerate(counts)]
    return Pool(
        np.concatenate([part.images for part in parts]),
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.percentile for part in parts]),
        sum(part.candidates for part in parts),
        sum(part.copies for part in parts),
    )


def _of_class(generator: nn.Module, label: int, count: int, seed: int, judge: Judge, copied: Finder) -> Pool:
    """The images of one class, in the order in which they were drawn: the first few are no better than others."""
    source = torch.Generator().manual_seed(1_000_003 * (seed + 1) + label)
    latents = torch.randn(SPARE * max(count, 1), latent_dim(generator), generator=source)
    labels = torch.full((len(latents),), label)
    made = images.to_uint8(samples.generate(generator, latents, labels))
    same, numbers = copied(made), labels.numpy()
    percentile = np.where(same, -1.0, judge(made, numbers))
    kept = np.sort(np.argsort(-percentile, kind="stable")[: min(count, int((~same).sum()))])
    return Pool(made[kept], numbers[kept], percentile[kept], len(made), int(same.sum()))


def variety(made: Part, real: Part, classes: int) -> float:
    """How much the images of one class differ, by their pixels, beside real ones: 1 as much, 0 all alike."""
    spread = []
    for side in (made, real):
        groups = [side.images[side.labels == label].astype(np.float64) for label in range(classes)]
        spread.append(np.mean([group.var(axis=0, ddof=1).mean() for group in groups if len(group) > 1]))
    return float(np.sqrt(spread[0] / max(spread[1], 1e-9)))


def some(pool: Pool, counts: Ints, seed: int) -> Part:
    """So many images of each class [K] from the pool, drawn by the seed; all of them where there are fewer."""
    random = np.random.default_rng([STREAM, seed])
    rows = [random.permutation(np.flatnonzero(pool.labels == label))[:n] for label, n in enumerate(counts)]
    chosen = np.sort(np.concatenate(rows))
    return Part(pool.images[chosen], pool.labels[chosen])
