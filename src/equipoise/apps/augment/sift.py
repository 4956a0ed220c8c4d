"""What keeps a synthetic image out: it repeats a training image; and what ranks the others: the discriminator.

Both are calibrated on the validation images, which the GAN has not seen; the test images stay out of it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from equipoise import runs
from equipoise.apps.augment.split import Part
from equipoise.apps.augment.synthesis import Finder, Judge
from equipoise.apps.judge import Opinion
from equipoise.metrics import extract
from equipoise.metrics.memorisation import memorised


def finder(training: Part, heldout: Part) -> Finder:
    """The memorisation test by pixels: which images copy a training image; it hits one sound image in a hundred."""
    known, usual = extract("pixels", training.images), extract("pixels", heldout.images)

    def copied(images: NDArray[np.uint8]) -> NDArray[np.bool_]:
        return memorised(extract("pixels", images), known, usual).copies

    return copied


def judge(run: Path, heldout: Part) -> Judge:
    """The discriminator's opinion, as a percentile of held-out real images."""
    network, _ = runs.load_network(run, "D")
    return Opinion(network, heldout.images, heldout.labels).percentiles
