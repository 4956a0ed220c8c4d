"""One cell of a study: an ordinary run in a folder of its own, judged when it ends."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from equipoise import plan, runs
from equipoise.data import open_dataset
from equipoise.errors import EquipoiseError
from equipoise.files import atomic_write
from equipoise.studies import scores
from equipoise.studies.study import Cell

INTERRUPTED = "interrupted"


def request(cell: Cell, device: str = "auto", budget: str | None = None) -> plan.Request:
    """What the cell asks for."""
    task = cell.task
    return plan.Request(
        task.source,
        recipe=task.recipe,
        changes=cell.changes,
        kimg=task.kimg,
        budget=budget,
        seed=cell.seed,
        resolution=task.resolution,
        labels=task.labels,
        device=device,
        snapshot_kimg=1e9,  # the last picture and checkpoint are enough
        whence="study",
    )


def run(cell: Cell, out: Path, device: str, stop: Callable[[], bool]) -> dict[str, Any]:
    """Train (or go on with) the cell's run, judge it, and write `result.json`; a failure is a result too."""
    folder, began = out / cell.folder, time.monotonic()
    found: dict[str, Any] = {"task": cell.task.name, "setting": cell.setting.name, "seed": cell.seed, "error": ""}
    try:
        if (folder / "checkpoints").is_dir():
            outcome = runs.resume(folder, None, stop)
        else:
            _sweep(folder)
            dataset = open_dataset(cell.task.source, resolution=cell.task.resolution, labels=cell.task.labels)
            outcome = runs.begin(plan.resolve(request(cell, device), dataset), folder, None, stop)
        if outcome is not None and outcome.interrupted:
            return found | {"error": INTERRUPTED}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            judged = scores.score(folder, cell.seed)
        found |= {"primary": judged.primary, "higher": judged.higher_is_better, "scores": judged.values}
    except EquipoiseError as error:
        found["error"] = str(error)
    except Exception as error:  # whatever it is, the other cells go on
        found["error"] = f"{type(error).__name__}: {error}"
    return write(cell, out, found | {"seconds": round(time.monotonic() - began, 2)})


def write(cell: Cell, out: Path, found: dict[str, Any]) -> dict[str, Any]:
    """Keep a result beside its run."""
    folder = out / cell.folder
    folder.mkdir(parents=True, exist_ok=True)
    atomic_write(folder / "result.json", json.dumps(found, indent=1) + "\n")
    return found


def result(cell: Cell, out: Path) -> dict[str, Any] | None:
    """The result of a finished cell, or None."""
    path = out / cell.folder / "result.json"
    return json.loads(path.read_text()) if path.is_file() else None


def _sweep(folder: Path) -> None:
    """Put aside what a run that was killed before its first checkpoint left: nothing of it can be gone on with."""
    if folder.is_dir() and any(folder.iterdir()):
        number = next(n for n in range(1000) if not (folder.parent / f"{folder.name}.broken{n}").exists())
        folder.rename(folder.parent / f"{folder.name}.broken{number}")
