"""The best snapshot so far: every snapshot is measured on the averaged generator, and the best stays in the run folder.

A cheap proxy measures them all: how far samples and real images lie from each other's nearest, in pixels. Where a run
names a feature network, the Fréchet distance in its features is measured every so many kimg and decides instead, as the
FID does for the snapshots of StyleGAN2-ADA (Karras et al. 2020, arXiv:2006.06676). Nothing of the run is disturbed.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import torch
from torch import Tensor

from equipoise import images, looks
from equipoise.config import Config
from equipoise.data import Batches
from equipoise.report.journal import Journal
from equipoise.sensors import samples
from equipoise.sensors.probes import features
from equipoise.step import Step
from equipoise.ticks import Watcher

MORE = 4  # times as many samples as a tick's look: snapshots are fewer
REAL = 1024  # images that the proxy compares with, at most
FULL = 2000  # images of each kind in the full metric, which takes a network's pass over each
SEED = 0  # of what is compared: the same latents and images at every snapshot, so that differences are the generator's


class Best:
    """Measures the snapshots of a run, and remembers the best."""

    def __init__(self, config: Config, batches: Batches) -> None:
        self.config, self.batches = config, batches
        self.found: dict[str, Any] | None = None  # samples, value and by what, of the best so far
        self.last = 0  # samples at the latest measurement
        if config.metric:  # what is missing is said before the first step
            self._features(self._real(1))

    def memory(self) -> dict[str, Any]:
        """What a checkpoint keeps of it."""
        return {"found": self.found, "last": self.last}

    def remember(self, memory: dict[str, Any]) -> None:
        """Go on from what `memory` gave."""
        self.found, self.last = memory.get("found"), memory.get("last", 0)

    @property
    def samples(self) -> int:
        """The moment of the best snapshot; -1 before there is one."""
        return -1 if self.found is None else int(self.found["samples"])

    @property
    def by(self) -> str:
        """What decides, in words."""
        if not self.config.metric:
            return "distance to the nearest, both ways, in pixels"
        from equipoise.metrics.features import label

        return label(self.config.metric, **self._options())

    def see(self, step: Step, seen: int, journal: Journal, watcher: Watcher | None = None) -> None:
        """Measure this moment's snapshot, if it is due, and write down what came of it; say so at the run's end."""
        if not self.due(seen):
            return
        value, self.last = self.measure(step), seen
        if math.isfinite(value):
            if self.found is None or value < self.found["value"]:
                self.found = {"samples": seen, "value": value, "by": self.by}
            journal.event("snapshot", seen, by=self.by, value=value, best=self.samples / 1000)
        if self.found is not None and self.samples < seen >= self.config.total and watcher is not None:
            watcher.say(
                f"The best snapshot, by the {self.by}, is that of {self.samples / 1000:g} kimg: checkpoints/best"
            )

    def due(self, seen: int) -> bool:
        """Whether this snapshot is measured: by the proxy each one is, by the full metric one every `metric_kimg`."""
        if not self.config.metric:
            return self.config.balance != "off"
        return seen - self.last >= 1000 * self.config.metric_kimg or seen >= self.config.total

    @torch.no_grad()
    def measure(self, step: Step) -> float:
        """The distance of the averaged generator's samples from real ones; infinite where a sample is not finite."""
        with looks.aside(step.device, self.config.seed, SEED), looks.evaluating(step.ema.average):
            return self._full(step) if self.config.metric else self._proxy(step)

    def _proxy(self, step: Step) -> float:
        count = MORE * looks.size_of(self.config.shape, step.device)
        made = self._generated(step, count, self.batches.training(count, 0, SEED)[1])
        real = step.show(self._real(REAL))
        return samples.both_ways(features(made), features(real))

    def _full(self, step: Step) -> float:
        from equipoise import metrics

        count = len(self._truth)
        made = self._generated(step, count, self.batches.training(count, 0, SEED)[1])
        if not bool(torch.isfinite(made).all()):
            return math.inf
        return metrics.frechet(self._truth, self._features(made if made.dim() == 2 else images.to_uint8(made)))

    @functools.cached_property
    def _truth(self) -> Any:
        return self._features(self._real(FULL, filled=True))

    def _features(self, shown: Any) -> Any:
        from equipoise import metrics

        return metrics.extract(str(self.config.metric), shown, device=self.batches.device, **self._options())

    def _real(self, most: int, filled: bool = False) -> Tensor:
        """Held-out images; filled up with training images where asked, or where those held out take turns anyway."""
        holdout = self.batches.holdout
        out = min(most, len(holdout.heldout(0)))
        found = [self.batches.heldout(out, 0, SEED)[0]]
        more = min(most - out, len(holdout.training(0)))
        if more and (filled or holdout.rotates):
            found.append(self.batches.training(more, 0, SEED)[0])
        return torch.cat(found)

    def _generated(self, step: Step, count: int, labels: Tensor | None) -> Tensor:
        part = self.config.recipe.batch // self.config.recipe.accumulate
        return looks.generated(step.ema.average, count, SEED, labels, part)

    def _options(self) -> dict[str, Any]:
        return {"weights": self.config.metric_weights} if self.config.metric_weights else {}
