"""How fast a configuration trains on this machine, measured on a copy that is thrown away."""

from __future__ import annotations

import copy
import time

from torch import nn

from equipoise import ticks
from equipoise.config import Config
from equipoise.data import Batches, Dataset
from equipoise.schedules import Dial
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
        step, dials, batches = start(config, dataset, copy.deepcopy(networks) if networks else None)
        try:
            speed = _speed(step, batches, config, seconds)
            if step.replays is not None:  # beside moves that are replayed looks take time
                speed = 1 / (1 / speed + _look(step, dials, batches, config) / (1000 * config.tick_kimg))
            return speed
        finally:
            step.replays = None
            batches.close()


def _speed(step: Step, batches: Batches, config: Config, seconds: float) -> float:
    """Images per second of the updates, from where no further kind of move was recorded."""
    tempo = Tempo(config.recipe.D.steps)
    counts: list[tuple[float, int]] = []
    seen, slow, recorded = 0, 0, 0
    while len(counts) < slow + 4 or (counts[-1][0] - counts[slow + 1][0] < seconds and len(counts) < 10_000):
        seen += config.recipe.batch * both_move(step, tempo, batches)
        if len(counts) % 16 == 0:
            float(step.optimisers["G"].norm)  # wait for the device
        counts.append((time.monotonic(), seen))
        if step.replays is not None and step.replays.recorded > recorded:
            recorded, slow = step.replays.recorded, len(counts)
    float(step.optimisers["G"].norm)
    (first, before), (_, after) = counts[slow], counts[-1]
    return (after - before) / max(time.monotonic() - first, 1e-9)


def _look(step: Step, dials: dict[str, Dial], batches: Batches, config: Config) -> float:
    """Seconds that a look takes, once it has been taken."""
    times = []
    for number in range(3):
        began = time.monotonic()
        ticks.look(step, config, dials, batches, number, 0, 0.0, 0.0)
        times.append(time.monotonic() - began)
    return min(times[1:])
