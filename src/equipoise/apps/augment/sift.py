"""What keeps a synthetic image out: it repeats a training image; and what ranks the others: the discriminator."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from equipoise import runs
from equipoise.apps.augment.split import Ints, Part
from equipoise.apps.augment.synthesis import Finder, Judge
from equipoise.turn import score


def finder(training: Part, heldout: Part) -> Finder:
    """A test for copies: nearer to a training image than half the distance at which held-out images lie."""
    usual = nearest(heldout.images, training.images)
    limit = 0.5 * float(np.quantile(usual, 0.05))

    def copied(images: NDArray[np.uint8]) -> NDArray[np.bool_]:
        return nearest(images, training.images) <= limit

    return copied


def nearest(images: NDArray[np.uint8], others: NDArray[np.uint8], chunk: int = 256) -> NDArray[np.float64]:
    """The root of the mean squared difference to the nearest of the others, in [0, 255], [N]."""
    theirs = torch.from_numpy(others.reshape(len(others), -1)).float()
    found = []
    for start in range(0, len(images), chunk):
        ours = torch.from_numpy(images[start : start + chunk].reshape(-1, theirs.shape[1])).float()
        found.append(torch.cdist(ours, theirs).min(dim=1).values / theirs.shape[1] ** 0.5)
    return np.asarray(torch.cat(found).double().numpy())


def judge(run: Path, heldout: Part) -> Judge:
    """The discriminator's opinion: the share of held-out real images, in percent, that it finds less real."""
    network, _ = runs.load_network(run, "D")

    @torch.no_grad()
    def scores(images: NDArray[np.uint8], labels: Ints) -> NDArray[np.float64]:
        parts = []
        for start in range(0, len(images), 64):
            shown = torch.from_numpy(images[start : start + 64]).float() / 127.5 - 1
            parts.append(score(network(shown, torch.from_numpy(labels[start : start + 64]))))
        return np.asarray(torch.cat(parts).double().numpy())

    known = np.sort(scores(heldout.images, heldout.labels))

    def percentiles(images: NDArray[np.uint8], labels: Ints) -> NDArray[np.float64]:
        return np.asarray(100 * np.searchsorted(known, scores(images, labels)) / len(known))

    return percentiles
