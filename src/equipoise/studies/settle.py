"""Before a study runs: every cell checked, budgets turned into lengths, and all of it written down once."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from equipoise import build, config, plan
from equipoise.data import Dataset, open_dataset
from equipoise.errors import EquipoiseError, InputError
from equipoise.files import atomic_write
from equipoise.speed import measure_speed
from equipoise.studies import cells
from equipoise.studies.real import opposite
from equipoise.studies.store import Store
from equipoise.studies.study import Cell, Study, Task, from_json

Say = Callable[[str], None]

SHARED = {  # what is no setting of a study, and what to do instead
    "kimg": "and settings are compared at equal length; set it for the task",
    "seed": "and every setting is run with the same seeds; give their number as --seeds, or in the study file",
}


def settle(asked: Study, out: Path, say: Say, shared: Store | None = None) -> Study:
    """The study with a length for each task, checked cell by cell; kept in `study.json`, so that it is settled once.

    Raises:
        InputError: `out` holds something else, a setting cannot be, the data are others than those of the first call.
    """
    before = _kept(asked, out)
    if before is not None and shared is None and all(cells.result(cell, out) for cell in before.cells()):
        return before
    base = before or (shared.settled() if shared else None) or asked
    device = kind(base.device)
    tasks = tuple(_settled(base, task, device, say) for task in base.tasks)
    settled = dataclasses.replace(base, tasks=tasks, device=device)
    if shared is not None:
        settled = shared.publish(settled)
        if before is not None and [t.kimg for t in before.tasks] != [t.kimg for t in settled.tasks]:
            raise InputError(f"{out} holds this study with other lengths than the store; give another --out")
    if before is None:
        out.mkdir(parents=True, exist_ok=True)
        atomic_write(out / "asked.json", asked.as_json())
        atomic_write(out / "study.json", settled.as_json())
    return settled


def kind(asked: str) -> str:
    """The kind of device all cells run on: with `auto`, CUDA where there is a GPU and otherwise the CPU."""
    usable = torch.cuda.is_available()
    if asked == "cuda" and not usable:
        raise InputError(
            "the study runs on CUDA, and this machine has no usable CUDA device; run it where there is one, or give "
            "--device cpu and another --out"
        )
    return ("cuda" if usable else "cpu") if asked == "auto" else asked


def _kept(asked: Study, out: Path) -> Study | None:
    """The study that the folder holds, settled, if it is the one asked for; None if the folder is free."""
    path, kept = out / "study.json", out / "asked.json"
    if not path.is_file():
        if out.exists() and (not out.is_dir() or {file.name for file in out.iterdir()} - {"asked.json", ".busy"}):
            raise InputError(f"{out} exists already and holds no study; give another --out")
        return None
    before = dataclasses.asdict(from_json(kept.read_bytes())) if kept.is_file() else {}
    other = [name for name, value in dataclasses.asdict(asked).items() if before.get(name) != value]
    if other:
        raise InputError(
            f"{out} holds another study ({', '.join(other)} differ); give another --out, or ask for the same as then"
        )
    return from_json(path.read_bytes())


def _settled(asked: Study, task: Task, device: str, say: Say) -> Task:
    """A task whose settings all resolve; with a budget, of the length that the slowest of them allows."""
    dataset = open_dataset(task.source, resolution=task.resolution, labels=task.labels)
    fingerprint = dataset.fingerprint
    if task.against is not None:
        fingerprint += " " + opposite(dataset, task.source, task.against, task.resolution, task.labels).fingerprint
    if task.fingerprint not in ("", fingerprint):
        raise InputError(
            f"{task.source} holds other data than when the study began; restore them, or give another --out"
        )
    budget = asked.budget if task.kimg is None else None
    plans = _plans(asked, task, dataset, device, budget, say)
    kimg = task.kimg or plans[0].config.recipe.kimg
    if budget is not None:
        speed = _slowest(asked, task, plans, config.parse_budget(budget), say)
        kimg = float(f"{speed * config.parse_budget(budget) * plan.SHARE / 1000:.3g}")
        say(f"{task.name}: {budget} are {kimg:g} kimg for all, by the slowest setting ({speed:.0f} images/s).")
    return dataclasses.replace(task, kimg=kimg, fingerprint=fingerprint)


def _plans(asked: Study, task: Task, dataset: Dataset, device: str, budget: str | None, say: Say) -> list[plan.Plan]:
    """What each setting comes to on a task, its networks built once; and what there is to say about it."""
    found: list[plan.Plan] = []
    built: list[object] = []
    for setting in asked.settings:
        cell = Cell(task, setting, 0)
        for path, advice in SHARED.items():
            if path in setting.set or path in setting.task.get(task.name, {}):
                raise InputError(f"{setting.name} sets {path}, {advice}")
        with _named(cell), torch.random.fork_rng(devices=[]):
            made = plan.resolve(cells.request(cell, device, budget), dataset)
            network = (made.config.recipe.network, made.config.classes)
            if network not in built:  # only building shows whether a network takes its options
                build.players(made.config.recipe, made.config.shape, made.config.classes)
                built.append(network)
        for remark in made.remarks:
            if not any(remark in other.remarks for other in found):
                say(f"{task.name}, {setting.name}: {remark}")
        found.append(made)
    return found


def _slowest(asked: Study, task: Task, plans: list[plan.Plan], seconds: float, say: Say) -> float:
    """Images per second of the slowest setting, with one thread, as a worker has it."""
    say(f"{task.name}: measuring the speed of {len(plans)} settings.")
    threads, speeds = torch.get_num_threads(), []
    torch.set_num_threads(1)
    try:
        for setting, one in zip(asked.settings, plans, strict=True):
            with _named(Cell(task, setting, 0)):
                speeds.append(measure_speed(one.config, one.dataset, seconds=min(5.0, seconds / 10)))
    finally:
        torch.set_num_threads(threads)
    return min(speeds)


@contextlib.contextmanager
def _named(cell: Cell) -> Iterator[None]:
    """Say which setting an error is about."""
    try:
        yield
    except EquipoiseError as error:
        raise type(error)(f"{cell.setting.name} on {cell.task.name}: {error}") from None
