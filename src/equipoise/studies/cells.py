"""One cell of a study: an ordinary run in a folder of its own, judged when it ends."""

from __future__ import annotations

import json
import math
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from equipoise import checkpoint, plan, runs
from equipoise.data import open_dataset
from equipoise.errors import EquipoiseError, InputError
from equipoise.files import atomic_write
from equipoise.studies import scores
from equipoise.studies.study import Cell
from equipoise.train import Outcome

INTERRUPTED = "interrupted"
APART = 20.0  # kimg between checkpoints at least: the runs of a study are short, and the last one counts


def request(cell: Cell, device: str = "auto", budget: str | None = None) -> plan.Request:
    """What the cell asks for; `balance` and `controller` are compared as settings are, and are no part of a recipe."""
    task, changes = cell.task, cell.changes
    balance, controller = changes.pop("balance", "watch") or "off", changes.pop("controller", None)
    return plan.Request(
        task.source,
        recipe=task.recipe,
        changes=changes,
        balance=balance,
        controller=controller,
        kimg=task.kimg,
        budget=budget,
        seed=cell.seed,
        resolution=task.resolution,
        labels=task.labels,
        device=device,
        snapshot_kimg=max(APART, (task.kimg or 0.0) / 10),
        whence="study",
    )


def run(cell: Cell, out: Path, device: str, stop: Callable[[], bool]) -> dict[str, Any]:
    """Train (or go on with) the cell's run, judge it, and write `result.json`; a failure is a result too."""
    folder, began = out / cell.folder, time.monotonic()
    found = blank(cell)
    try:
        outcome = _train(cell, folder, device, stop)
        if outcome is not None and outcome.interrupted:
            return found | {"error": INTERRUPTED}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            judged = scores.score(folder, cell.seed, against=cell.task.against)
        if not math.isfinite(judged.values[judged.primary]):
            raise InputError(f"its {judged.primary} is not finite")
        found |= {"primary": judged.primary, "higher": judged.higher_is_better, "scores": judged.values}
    except EquipoiseError as error:
        found["error"] = str(error)
    except Exception as error:  # whatever it is, the other cells go on
        found["error"] = f"{type(error).__name__}: {error}"
    return write(cell, out, found | {"seconds": round(_trained(folder) or time.monotonic() - began, 2)})


def blank(cell: Cell) -> dict[str, Any]:
    """A result that says which cell it is of, and nothing else yet."""
    return {"task": cell.task.name, "setting": cell.setting.name, "seed": cell.seed, "error": "", "seconds": 0.0}


def write(cell: Cell, out: Path, found: dict[str, Any]) -> dict[str, Any]:
    """Keep a result beside its run, and return it as it will be read."""
    folder = out / cell.folder
    folder.mkdir(parents=True, exist_ok=True)
    values = {name: value if math.isfinite(value) else None for name, value in found.get("scores", {}).items()}
    kept = found | ({"scores": values} if values else {})  # JSON has no NaN and no infinity
    atomic_write(folder / "result.json", json.dumps(kept, indent=1, allow_nan=False) + "\n")
    return kept


def result(cell: Cell, out: Path) -> dict[str, Any] | None:
    """The result of a finished cell, or None."""
    path = out / cell.folder / "result.json"
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} cannot be read ({error}); remove it, and the same command judges its run anew"
        ) from None
    return found


def forget(cell: Cell, out: Path) -> None:
    """Let a cell that has failed run again: from its last checkpoint, if it has one."""
    (out / cell.folder / "result.json").unlink(missing_ok=True)


def _train(cell: Cell, folder: Path, device: str, stop: Callable[[], bool]) -> Outcome | None:
    """Begin the cell's run or go on with it; None if it was complete and only had not been judged."""
    if _resumable(folder):
        return runs.resume(folder, None, stop, device)
    _sweep(folder)
    dataset = open_dataset(cell.task.source, resolution=cell.task.resolution, labels=cell.task.labels)
    return runs.begin(plan.resolve(request(cell, device), dataset), folder, None, stop)


def _resumable(folder: Path) -> bool:
    if not (folder / "config.json").is_file():
        return False
    try:
        checkpoint.find(folder)
    except InputError:
        return False
    return True


def _sweep(folder: Path) -> None:
    """Put aside what a run that was killed before its first checkpoint left: nothing of it can be gone on with."""
    if folder.is_dir() and any(folder.iterdir()):
        number = next(n for n in range(1000) if not (folder.parent / f"{folder.name}.broken{n}").exists())
        folder.rename(folder.parent / f"{folder.name}.broken{number}")


def _trained(folder: Path) -> float | None:
    """Seconds of training by the run's own record, those before an interruption included."""
    path = folder / "run.jsonl"
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
    for line in reversed(lines):
        try:
            seconds = json.loads(line).get("seconds")
        except ValueError:
            continue
        if seconds is not None:
            return float(seconds)
    return None
