"""Running a study: check every cell, settle the lengths, run what is missing, and sum up."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from equipoise import config, plan, train
from equipoise.data import open_dataset
from equipoise.errors import InputError, Interrupted
from equipoise.files import atomic_write
from equipoise.studies import cells, chart, pool, study, table
from equipoise.studies.study import Cell, Study

Say = Callable[[str], None]


def compare(
    asked: Study,
    out: Path,
    *,
    workers: int | None = None,  # processes; None: one per CPU core, or per GPU
    say: Say = lambda text: None,  # hears a line for each cell
    stop: Callable[[], bool] = lambda: False,  # asked twice a second
) -> table.Table:
    """Run every cell of a study that has no result yet, and write table.md, results.csv, results.json and chart.svg.

    The same call goes on where it was stopped. Every cell is an ordinary run folder under `out/cells`.

    Raises:
        InputError: a setting that cannot be, a folder that holds another study.
        Interrupted: `stop` said so; unfinished cells have their checkpoints.
    """
    settled = settle(asked, out, say)
    missing = [cell for cell in settled.cells() if cells.result(cell, out) is None]
    devices = places(workers, len(missing))
    total, began, done, failed = len(settled.cells()), time.monotonic(), 0, 0
    if missing:
        say(f"{total} runs: {len(settled.settings)} settings x {len(settled.tasks)} tasks x {settled.seeds} seeds; "
            f"{len(missing)} to do, {len(devices)} at a time.")  # fmt: skip
    for cell, found in pool.work(missing, out, devices, stop):
        if found.get("error") == cells.INTERRUPTED or (stop() and "scores" not in found):
            continue
        if "seconds" not in found:  # its process died
            found = cells.write(cell, out, {**_blank(cell), **found})
        done, failed = done + 1, failed + bool(found["error"])
        left = (time.monotonic() - began) / done * (len(missing) - done)
        say(f"{total - len(missing) + done}/{total}  {_said(cell, found)}  {failed} failed, {_clock(left)} left")
    if stop():
        raise Interrupted(f"stopped; the same command with --out {out} goes on")
    return summary(settled, out)


def summary(settled: Study, out: Path) -> table.Table:
    """Everything the finished cells say, written beside them."""
    rows = [found for cell in settled.cells() if (found := cells.result(cell, out)) is not None]
    made = table.tabulate(settled, rows)
    for name, text in (("table.md", made.markdown()), ("results.csv", made.csv()), ("results.json", made.json()),
                       ("chart.svg", chart.draw(made))):  # fmt: skip
        atomic_write(out / name, text)
    return made


def show(out: Path) -> table.Table:
    """The table of a folder that `compare` wrote, finished or not."""
    path = out / "study.json"
    if not path.is_file():
        raise InputError(f"{out} holds no study; give the folder that `equipoise compare --out` made")
    return summary(study.from_json(path.read_text()), out)


def settle(asked: Study, out: Path, say: Say) -> Study:
    """The study with a length for each task, checked cell by cell; kept in `study.json`, so that it is settled once."""
    path, kept = out / "study.json", out / "asked.json"
    if path.is_file():
        if not kept.is_file() or kept.read_text() != asked.as_json():
            raise InputError(f"{out} holds another study; give another --out, or ask for the same as then")
        return study.from_json(path.read_text())
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} exists already and holds no study; give another --out")
    settled = dataclasses.replace(asked, tasks=tuple(_settled(asked, task, say) for task in asked.tasks))
    out.mkdir(parents=True, exist_ok=True)
    atomic_write(kept, asked.as_json())
    atomic_write(path, settled.as_json())
    return settled


def _settled(asked: Study, task: study.Task, say: Say) -> study.Task:
    """A task whose settings all resolve; with a budget, of the length that the slowest of them allows."""
    dataset = open_dataset(task.source, resolution=task.resolution, labels=task.labels)
    budget = asked.budget if task.kimg is None else None
    plans = [plan.resolve(cells.request(Cell(task, one, 0), budget=budget), dataset) for one in asked.settings]
    if budget is None:
        return dataclasses.replace(task, kimg=task.kimg or plans[0].config.recipe.kimg)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as a worker has it
    try:
        speeds = [
            train.measure_speed(p.config, dataset, seconds=min(5.0, config.parse_budget(budget) / 10)) for p in plans
        ]
    finally:
        torch.set_num_threads(threads)
    kimg = float(f"{min(speeds) * config.parse_budget(budget) * plan.SHARE / 1000:.3g}")
    say(f"{task.name}: {budget} are {kimg:g} kimg for all, by the slowest setting ({min(speeds):.0f} images/s).")
    return dataclasses.replace(task, kimg=kimg)


def places(workers: int | None, most: int) -> list[str]:
    """The device of each worker: every GPU in turn, or as many times the CPU as there are cores."""
    if workers is not None and workers < 1:
        raise InputError(f"--workers {workers} runs nothing; give a whole number from 1")
    gpus = [f"cuda:{number}" for number in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    count = max(1, min(workers or len(gpus) or cores, most))
    return [(gpus or ["cpu"])[number % len(gpus or ["cpu"])] for number in range(count)]


def _blank(cell: Cell) -> dict[str, Any]:
    return {"task": cell.task.name, "setting": cell.setting.name, "seed": cell.seed, "seconds": 0.0}


def _said(cell: Cell, found: dict[str, Any]) -> str:
    name = f"{cell.task.name}, {cell.setting.name}, seed {cell.seed}"
    if found["error"]:
        return f"{name}: failed ({found['error']})."
    return f"{name}: {found['primary']} {found['scores'][found['primary']]:.3f} in {found['seconds']:.0f} s."


def _clock(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
