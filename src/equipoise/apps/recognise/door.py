"""From what a user names, a run or labelled data, to the table."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from equipoise import plan, runs
from equipoise.apps.judge.witnesses import gather
from equipoise.apps.recognise.comparison import check, compare
from equipoise.data import open_dataset
from equipoise.errors import InputError
from equipoise.files import atomic_write, no_empty_folders
from equipoise.report.console import ProgressLine


@dataclass(frozen=True)
class Training:
    """How a run is trained where a source is named."""

    kimg: float | None = None
    recipe: str | None = None
    settings: tuple[str, ...] = ()
    resolution: int | None = None


def recognise(
    target: str,
    labels: str,
    against: str | None,
    draws: int,
    arms: str,
    updates: int,
    out: Path | None,
    training: Training,
    line: ProgressLine,
) -> str:
    """The table of a comparison, which is also written to the folder as `table.md` beside `rows.jsonl`."""
    numbers, chosen = _numbers(labels), [arm.strip() for arm in arms.split(",")]
    check(draws, chosen, updates)
    is_run = (Path(target) / "config.json").is_file()
    if is_run and training != Training():
        raise InputError(
            f"{target} is a run, which is trained already; leave --kimg, --recipe, --set, --resolution out"
        )
    name = "-".join(Path(target).parts[-2:]).replace(":", "-")
    folder = out or runs.free_folder(f"{name}-recognise")
    with no_empty_folders(folder):
        if not (folder / "rows.jsonl").is_file() and not (folder / "run" / "config.json").is_file():
            runs.make_folder(folder)
        line.say(f"Folder: {folder}")
        run = Path(target) if is_run else _trained(target, folder / "run", training, line)
        known = gather(run, against, whole=True)
        made = compare(known, numbers, draws=draws, arms=chosen, updates=updates, out=folder, say=line.say)
        atomic_write(folder / "table.md", made.text() + "\n")
    return f"{made.text()}\n\nWritten: {folder / 'table.md'}, {folder / 'rows.jsonl'}"


def _trained(source: str, run: Path, training: Training, line: ProgressLine) -> Path:
    """A run on the source that leaves its labels aside, trained here unless it is there."""
    if (run / "checkpoints" / "latest").is_file():
        runs.resume(run, line)
        return run
    labels = "folders" if Path(source).exists() and Path(source).suffix.lower() not in (".npy", ".npz") else None
    dataset = open_dataset(source, resolution=training.resolution, labels=labels)
    if dataset.labels is None:
        raise InputError(f"{source} has no labels to learn or to test by; lay it out with a sub-folder for each class")
    asked = plan.Request(
        source,
        training.recipe,
        (*training.settings, "network.conditional=false"),
        kimg=training.kimg,
        resolution=training.resolution,
        labels=labels,
    )
    with runs.stoppable() as stop:
        outcome = runs.begin(plan.resolve(asked, dataset), run, line, stop)
    if outcome.interrupted:
        raise InputError("stopped before the run was trained; the same command with the same --out goes on")
    return run


def _numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"--labels {text} cannot be read; write for example 10,100,1000") from None
