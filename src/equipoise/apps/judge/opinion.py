"""A discriminator's logits as percentiles: where an image would stand among real images that it was not trained on.

A logit has no scale of its own. The rank of an image among held-out real ones has: for a real image drawn as they were
it is uniform, whatever the discriminator is like, since all orders of exchangeable numbers are equally likely. This is
split conformal prediction's p-value (Vovk, Gammerman & Shafer 2005; Lei et al. 2018, arXiv:1604.04173).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from equipoise.apps.judge.witnesses import Witnesses, gather, spread
from equipoise.errors import InputError
from equipoise.metrics.neighbours import nearest
from equipoise.networks.packing import pack_of
from equipoise.networks.protocols import num_classes
from equipoise.sensors.logits import auc
from equipoise.turn import score

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

CHUNK = 64  # images judged at once
GROUP = 4  # images that a discriminator which compares its batch sees together


class Opinion:
    """A discriminator calibrated on held-out real images.

    >>> opinion = Opinion.of(Path("runs/mine"))
    >>> keep = opinion.percentiles(images, labels) > 10

    Images are uint8 `[N, C, H, W]` as the discriminator was trained on. One that looks at its whole batch, or at packs
    of images, sees each beside the same few real ones, so that an opinion never depends on what else was asked.
    """

    def __init__(
        self,
        discriminator: nn.Module,
        real: Any,  # uint8 [M, C, H, W]: real images that it was not trained on
        labels: Any = None,  # [M]: theirs, for a discriminator with classes
        training: Any = None,  # uint8 [K, C, H, W]: images that it was trained on; default: `real`
        training_labels: Any = None,  # [K]
    ) -> None:
        self.discriminator = discriminator.eval()
        self.classes = num_classes(discriminator)
        if self.classes and labels is None:
            raise InputError(f"the discriminator knows {self.classes} classes: give the labels of the real images too")
        self.count, self._heldout = len(real), real
        self._training = (real, labels) if training is None else (training, training_labels)
        self._company = self._chosen_company(np.asarray(self._training[0]))
        self._sorted = {True: self._calibrated(labels)}

    @classmethod
    def of(
        cls,
        run: Path | Witnesses,
        against: str | None = None,  # a source of real images never trained on, to be calibrated by
        at: str | None = None,  # a checkpoint's name
    ) -> Opinion:
        """The opinion of a run's discriminator, by its held-out images or those of a source."""
        known = run if isinstance(run, Witnesses) else gather(run, against, at)
        return cls(known.discriminator, known.real, known.real_labels, known.training, known.training_labels)

    @torch.no_grad()
    def scores(self, images: Any, labels: Any = None) -> Floats:
        """The discriminator's mean logits [N], higher for what looks more real; `labels` are one number or [N]."""
        shown = torch.from_numpy(np.array(images))
        known = None if not self.classes else torch.as_tensor(np.array(labels, dtype=np.int64)).expand(len(shown))
        size = 1 if len(self._company) else CHUNK
        parts = [
            self._judge(shown[at : at + size], None if known is None else known[at : at + size])
            for at in range(0, len(shown), size)
        ]
        return torch.cat(parts).double().numpy()

    def guess(self, images: Any) -> Ints:
        """A class [N] for each image: that of the nearest training image by its pixels."""
        training, labels = self._training
        if labels is None:
            raise InputError("classes cannot be guessed without labelled training images; give the images' labels")
        return np.asarray(labels)[nearest(images, training)[1][:, 0]]

    def percentiles(self, images: Any, labels: Any = None) -> Floats:
        """Where images stand among the held-out real ones, [N], above 0 and below 100: low is unlike real.

        Uniform for real images, in steps of 100 / (M + 1) for M held-out ones. Without labels, a discriminator with
        classes judges each image under the class that `guess` gives it, and then the held-out ones too.
        """
        return percentiles(self._real(labels), self._scored(images, labels))

    def separates(self, images: Any, labels: Any = None) -> float:
        """How well it tells these images from held-out real ones: the area under the ROC curve, 0.5 for not at all.

        That is the chance that a real one has the higher logit; below 0.5 these images look more real than real ones.
        """
        real, others = (torch.from_numpy(x) for x in (self._real(labels), self._scored(images, labels)))
        return float(auc.function(real, others).mean())

    def _scored(self, images: Any, labels: Any) -> Floats:
        return self.scores(images, self.guess(images) if self.classes and labels is None else labels)

    def _real(self, labels: Any) -> Floats:
        """The held-out images' scores, sorted, under their own classes or, where images come without, guessed ones."""
        own = not self.classes or labels is not None
        if own not in self._sorted:
            self._sorted[own] = self._calibrated(self.guess(self._heldout))
        return self._sorted[own]

    def _calibrated(self, labels: Any) -> Floats:
        scores = np.sort(self.scores(self._heldout, labels))
        if not np.isfinite(scores).all():
            raise InputError("the discriminator gives no finite logits for real images; use another checkpoint")
        return scores

    def _judge(self, images: Tensor, labels: Tensor | None) -> Tensor:
        if not len(self._company):
            return score(self.discriminator(_normal(images), labels)).float()
        known = None if labels is None else labels.expand(len(self._company) + 1)
        return score(self.discriminator(_normal(torch.cat([images, self._company])), known))[:1].float()

    def _chosen_company(self, real: NDArray[np.uint8]) -> Tensor:
        """Real images that an image is judged beside, none for most discriminators."""
        coupled = any(getattr(module, "couples_samples", False) is True for module in self.discriminator.modules())
        needed = (GROUP if coupled else 1) * pack_of(self.discriminator) - 1
        return torch.from_numpy(np.resize(real[spread(len(real), needed)], (needed, *real.shape[1:])))


def percentiles(real: Floats, scores: Floats) -> Floats:
    """Places of scores [N] among sorted ones [M], above 0 and below 100; a tie is put in its middle."""
    below, upto = (np.searchsorted(real, scores, side) for side in ("left", "right"))
    return np.asarray(100 * (below + upto + 1) / (2 * (len(real) + 1)), dtype=np.float64)


def _normal(images: Tensor) -> Tensor:
    return images.float().div(127.5).sub(1)
