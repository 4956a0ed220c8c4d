"""How fast a configuration trains on this machine, measured on a copy that is thrown away."""

from __future__ import annotations

import copy
import time

from torch import nn

from equipoise.config import Config
from equipoise.data import Batches, Dataset
from equipoise.replays import USUAL
from equipoise.step import Step
from equipoise.tempo import Tempo
from equipoise.train import both_move, explained, start


def measure_speed(
    config: Config,
    dataset: Dataset,
    networks: tuple[nn.Module, nn.Module] | None = None,
    seconds: float = 2.0,
) -> float:
    """Real images per second of this configuration, measured on a copy that is thrown away."""
    with explained(config):
        step, _, batches = start(config, dataset, copy.deepcopy(networks) if networks else None)
        return _speed(step, batches, config, seconds)


def _speed(step: Step, batches: Batches, config: Config, seconds: float) -> float:
    tempo = Tempo(config.recipe.D.steps)
    counts: list[tuple[float, int]] = []
    seen, slow = 0, USUAL + 1 if step.replays else 0  # rounds until moves are replayed
    try:
        while len(counts) < slow + 4 or (counts[-1][0] - counts[slow + 1][0] < seconds and len(counts) < 10_000):
            seen += config.recipe.batch * both_move(step, tempo, batches)
            if len(counts) % 16 == 0:
                float(step.optimisers["G"].norm)  # wait for the device
            counts.append((time.monotonic(), seen))
        float(step.optimisers["G"].norm)
    finally:
        batches.close()
    (first, before), (_, after) = counts[slow], counts[-1]
    return (after - before) / max(time.monotonic() - first, 1e-9)
