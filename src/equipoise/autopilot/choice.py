"""What is handed over: of the averages and the last weights, the generator whose samples lie nearest to the data.

Vectors are judged both ways by nearest neighbours (each sample to the data, each datum to the samples): an average that
lags, one that is too short, or a run that got worse late shows. Energy distance chose wrongly there: it does not see
fine noise. Images are judged by energy distance: of them a blurred or grey one lies near everything, and neighbours
chose the blur. The run's own average stays where nothing is better, and of images where nothing is better by more than
energy tells apart: of 8x8 digits it preferred the last weights by .006 of the distance between digits, and they covered
less.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from equipoise.balancer import Move
from equipoise.ema import recalibrate
from equipoise.looks import aside, evaluating
from equipoise.networks.protocols import num_classes
from equipoise.plant import Plant, of_images
from equipoise.sensors.probes import distances, features
from equipoise.sensors.samples import both_ways, mean_distance, spread

BEGIN = 0.7  # of the run, from which weights are remembered at every look
SPANS = (3, 6, 12, 24)  # looks whose weights are averaged
EARLIER = 0.1  # of the run, between copies of the run's own average
FROM = 0.4  # of the run, the first of them
CLEAR = 0.01  # of the mean distance between real images, by which energy must fall
COUNT, POINTS = 256, 1024  # images, or vectors, compared with as many real ones, the held-out ones among them


class Choice:
    """The candidates, remembered as the run goes on."""

    def __init__(self, plant: Plant) -> None:
        self.plant = plant
        self.latest: list[dict[str, Tensor]] = []  # the generator at the last looks
        self.averages: list[tuple[float, dict[str, Tensor]]] = []  # the run's average at shares of the run

    def remember(self) -> None:
        """Take copies, at a look."""
        share, step = self.plant.progress, self.plant.step
        if share >= BEGIN:
            self.latest = [*self.latest[1 - max(SPANS) :], _copy(step.networks["G"])]
        last = self.averages[-1][0] if self.averages else FROM - EARLIER
        if share >= last + EARLIER - 1e-9 and share < 1:
            self.averages.append((share, _copy(step.ema.average)))

    def finish(self, kimg: float, act: bool) -> list[Move]:
        """Put the best candidate in the place of the run's average."""
        average = self.plant.step.ema.average
        before = _copy(average)
        candidates = {"the run's own average": before, "the last weights": _copy(self.plant.step.networks["G"])}
        candidates |= {f"the average at {share:.0%}": state for share, state in self.averages}
        for span in SPANS:
            if len(self.latest) >= span:
                candidates[f"the mean of the last {span} looks"] = _mean(self.latest[-span:])
        found = {name: self._distance(average, state) for name, state in candidates.items()}
        own = found["the run's own average"]
        best = min(found, key=lambda name: found[name])
        better = found[best] < own - (CLEAR if self._images else 0.0)
        average.load_state_dict(candidates[best] if act and better else before)
        if not better:
            return []
        how = "by energy distance" if self._images else "both ways"
        why = f"{best} instead of the run's own average, since its samples lie nearest to the data, {how}"
        return [Move(kimg, "autopilot: choice", "generator", own, found[best], why, act)]

    @property
    def _images(self) -> bool:
        return of_images(self.plant)

    @torch.no_grad()
    def _distance(self, network: nn.Module, state: dict[str, Tensor]) -> float:
        """Of samples to real ones: to the nearest, both ways, or energy, in units of the real ones' mean distance.

        Infinite where a sample is not finite.
        """
        step, batches, seed = self.plant.step, self.plant.batches, self.plant.config.seed
        network.load_state_dict(state)
        count = COUNT if self._images else min(POINTS, len(batches.dataset))
        outside = len(batches.holdout.heldout(batches.samples))
        sets = [batches.heldout(min(count, outside), batches.samples, seed=seed)]
        if outside < count:
            sets.append(batches.training(count - outside, batches.samples, seed=seed))
        labels = None if sets[0][1] is None else torch.cat([own for _, own in sets if own is not None])
        real = features(step.show(torch.cat([images for images, _ in sets])))
        with aside(step.device, seed, 0), evaluating(network):
            recalibrate(network, num_classes(network))
            made = features(network(torch.randn(len(real), step.latent_dim, device=step.device), labels).float())
        if not self._images:
            return both_ways(made, real)
        apart = float(mean_distance(distances(real, real)))
        return (spread(made, real) - apart) / apart if apart > 0 else 0.0

    def state_dict(self) -> dict[str, Any]:
        """The copies."""
        return {"latest": self.latest, "averages": self.averages}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        self.latest = list(state["latest"])
        self.averages = [(float(share), copy) for share, copy in state["averages"]]


def _copy(network: nn.Module) -> dict[str, Tensor]:
    """On the CPU, whose memory is the larger one."""
    return {name: value.detach().to("cpu", copy=True) for name, value in network.state_dict().items()}


def _mean(states: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of weights; what is no floating number is the last one's."""
    last = states[-1]
    return {
        name: torch.stack([state[name] for state in states]).mean(0) if value.is_floating_point() else value
        for name, value in last.items()
    }
