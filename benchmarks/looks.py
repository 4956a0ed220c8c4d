"""What a look at a run costs, probe by probe, beside the updates between two looks.

The last tick length of a run of the recipe's own length is taken: at first ticks are denser, and cost more of the time.

    python benchmarks/looks.py                     # ring, digits and baseline at 32x32
    OMP_NUM_THREADS=1 python benchmarks/looks.py --cpu-time    # on a machine with other work
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

from equipoise import looks, plan, ticks, train
from equipoise.config import Config
from equipoise.data import Batches, Dataset, from_arrays, open_dataset
from equipoise.sensors.probes import all_probes
from equipoise.step import Step


def started(name: str) -> tuple[Config, Step, Batches]:
    """A run of the recipe before its first step; `baseline` on noise of CIFAR-10's shape."""
    noise = np.random.default_rng(0).integers(0, 256, (5000, 3, 32, 32), dtype=np.uint8)
    dataset: Dataset = from_arrays(noise) if name == "baseline" else open_dataset(name)
    config = plan.resolve(plan.Request(name, name, device="cpu"), dataset).config
    step, _, batches = train.start(config, dataset, None)
    return config, step, batches


def measure(name: str, repeats: int, clock: Callable[[], float]) -> None:
    """Print milliseconds of each part of a look, medians, and the share of the time between two."""
    config, step, batches = started(name)
    times: dict[str, list[float]] = {}

    def timed(what: str, do: Callable[[], Any]) -> Any:
        began = clock()
        made = do()
        times.setdefault(what, []).append(1e3 * (clock() - began))
        return made

    probes, part = all_probes(), config.recipe.batch // config.recipe.accumulate
    for one in range(repeats + 1):
        for _ in range(3):
            timed("an update", lambda: step.round(1, batches.next))
        timed("scores of held-out", lambda: ticks.judged(step, batches, part))
        with looks.aside(step.device, 0, one), looks.evaluating(*step.networks.values()), torch.no_grad():
            view = timed("data", partial(looks.view, step, config, batches, one))
            timed("samples", partial(view.__getitem__, "samples"))
            for probe in probes:
                timed(probe.name, partial(probe, view))
        if one == 0:
            times.clear()  # caches were filled
    found = {what: statistics.median(values) for what, values in times.items()}
    update, every = found.pop("an update"), {probe.name: probe.every for probe in probes}
    look = sum(cost / every.get(what, 1) for what, cost in found.items())
    updates = ticks.tick_length(config.total, config) / config.recipe.batch
    print(f"{name}: {update:.2f} ms an update, {updates:.0f} updates between looks, {torch.get_num_threads()} threads")
    for what, cost in found.items():
        print(f"  {what:20} {cost:8.2f} ms{f', at every {every[what]} ticks' if every.get(what, 1) > 1 else ''}")
    print(f"  {'a look':20} {look:8.2f} ms, {100 * look / (update * updates):.2f} % of the updates between two")


def main() -> None:
    """Measure the recipes asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", action="append", help="default: ring, digits and baseline")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--cpu-time", action="store_true", help="of this process alone: for a machine that is busy")
    chosen = parser.parse_args()
    for name in chosen.recipe or ["ring", "digits", "baseline"]:
        measure(name, chosen.repeats, time.process_time if chosen.cpu_time else time.perf_counter)


if __name__ == "__main__":
    main()
