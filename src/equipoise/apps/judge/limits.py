"""What a discriminator can tell at all: how well it separates held-out real images from several other things.

At the end of training it knows what sets its generator's last samples apart from real images, and has never been shown
noise, blur or other pictures: what it says of those has to be measured.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from equipoise import images
from equipoise.apps.judge.opinion import Opinion
from equipoise.apps.judge.witnesses import Witnesses, spread
from equipoise.augmentations.blur import Blur
from equipoise.data import open_dataset

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]

MOST = 500  # images of each kind
BLUR = 1 / 12  # width of the Gaussian, of a side
OTHER = "digits"  # another data set, unless the run is on it


class Separation(NamedTuple):
    """How well held-out real images are told from these: area under the ROC curve, 0.5 for not at all."""

    name: str
    auc: float
    n: int

    def text(self) -> str:
        """A line with a plain word. The bounds are ours: where about one pair in ten, or four in ten, are mistaken."""
        words = ((0.9, "told apart"), (0.6, "told apart now and then"), (0.4, "not told apart"))
        word = next((word for least, word in words if self.auc >= least), "taken for more real than real images")
        return f"{self.name:34} {self.auc:.2f}   {word}"


def separations(opinion: Opinion, known: Witnesses, other: str | None = None) -> list[Separation]:
    """Held-out real images against fresh fakes, noise, damaged real images, another data set, and training images."""
    rng = np.random.default_rng(0)
    rows, trained = spread(len(known.real), MOST), spread(len(known.training), MOST)
    real, labels = known.real[rows], _classes(known, known.real_labels, rows)
    fakes, asked = known.fakes(MOST)
    kinds: list[tuple[str, Bytes, Ints | None]] = [
        ("fresh fakes", fakes, asked),
        ("noise", rng.integers(0, 256, real.shape, dtype=np.uint8), labels),
        ("held-out images, blurred", _blurred(real), labels),
        ("halves of two, joined", _joined(real), labels),
        *_others(known, other),
        ("training images", known.training[trained], _classes(known, known.training_labels, trained)),
    ]
    return [Separation(name, opinion.separates(shown, asked), len(shown)) for name, shown, asked in kinds]


def _classes(known: Witnesses, labels: Ints | None, rows: Ints) -> Ints | None:
    return labels[rows] if known.config.classes and labels is not None else None


def _blurred(real: Bytes) -> Bytes:
    shown = torch.from_numpy(real.copy()).float() / 127.5 - 1
    return images.to_uint8(Blur(BLUR)(shown, None, True)[0])


def _joined(real: Bytes) -> Bytes:
    """The left half of each beside the right half of one half the set away."""
    middle, far = real.shape[3] // 2, len(real) // 2
    return np.concatenate([real[..., :middle], np.roll(real, far, axis=0)[..., middle:]], axis=3)


def _others(known: Witnesses, other: str | None) -> list[tuple[str, Bytes, Ints | None]]:
    source = other or (None if known.config.source.startswith(OTHER) else OTHER)
    if source is None:
        return []
    channels, side, _ = known.config.shape
    found = open_dataset(source, resolution=side, channels=channels)
    return [(f"images of {found.name}", np.asarray(found.images[spread(len(found), MOST)]), None)]
