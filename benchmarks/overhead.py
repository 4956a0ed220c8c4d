"""What an arm of the proving ground costs in time beside the untouched run, whole runs in one process.

Runs in the order A B B A, so that whatever else the machine does hits both alike, each of the task's full length: a run
has its hundred looks, however short it is, so that shorter ones would tell something else.

    python benchmarks/overhead.py                                   # autopilot on ring8 and digits, some two minutes
    python benchmarks/overhead.py --arm "preset gap-aware-loop" --task grid25 --cpu-time
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from equipoise.studies.balance import adapter
from equipoise.studies.balance.arms import ARMS
from equipoise.studies.balance.tasks import TASKS


def seconds(task: str, arm: str, clock: Callable[[], float]) -> float:
    """Of one healthy run."""
    chosen, material = ARMS[arm], TASKS[task].material(0, "whole")
    began = clock()
    adapter.steered(
        chosen.applied(TASKS[task].cfg), material.rows, 0, 1, controller=chosen.controller, without=chosen.without
    )
    return clock() - began


def measure(task: str, arm: str, blocks: int, clock: Callable[[], float]) -> None:
    """Print seconds of both and their ratio, block by block."""
    times: dict[str, list[float]] = {"untouched": [], arm: []}
    ratios = []
    for _ in range(blocks):
        for name in ("untouched", arm, arm, "untouched"):
            times[name].append(seconds(task, name, clock))
        plain, own = (sum(of[-2:]) for of in times.values())
        ratios.append(own / plain)
    plain, own = (statistics.median(of) for of in times.values())
    said = ", ".join(f"{ratio:.2f}" for ratio in ratios)
    print(f"{task}: untouched {plain:.1f} s, {arm} {own:.1f} s; ratio by block {said}", flush=True)


def main() -> None:
    """Measure the arms and tasks asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", action="append", help="default: ring8 and digits")
    parser.add_argument("--arm", action="append", help="default: autopilot")
    parser.add_argument("--blocks", type=int, default=1)
    parser.add_argument("--cpu-time", action="store_true", help="of this process alone: for a machine that is busy")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    for task in chosen.task or ["ring8", "digits"]:
        for arm in chosen.arm or ["autopilot"]:
            measure(task, arm, chosen.blocks, time.process_time if chosen.cpu_time else time.perf_counter)


if __name__ == "__main__":
    main()
