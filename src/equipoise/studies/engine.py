"""Running a study: settle it, run what is missing, and sum up."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import torch

from equipoise.errors import InputError, Interrupted
from equipoise.files import atomic_write
from equipoise.studies import cells, chart, pool, study, table
from equipoise.studies.progress import Standing
from equipoise.studies.settle import Say, kind, settle
from equipoise.studies.store import Store
from equipoise.studies.study import Cell, Study

POLL = 1.0  # seconds between looks at what other processes do


class Queue(Protocol):
    """The cells that have no result yet: this call's own list, or a store that several share."""

    def take(self) -> Cell | None:
        """The next one to run here."""

    def keep(self, cell: Cell, found: dict[str, Any]) -> None:
        """Report a result."""

    def back(self, cell: Cell) -> None:
        """Give back what was interrupted."""

    def beat(self) -> None:
        """Say that this process lives."""

    def pending(self) -> int:
        """How many wait or are under way."""

    def ready(self) -> int:
        """How many wait."""


class Local:
    """The cells of this call alone."""

    def __init__(self, missing: list[Cell]) -> None:
        self.left, self.running, self.ended = list(missing), 0, 0

    def take(self) -> Cell | None:
        self.running += bool(self.left)
        return self.left.pop(0) if self.left else None

    def keep(self, cell: Cell, found: dict[str, Any]) -> None:
        self.running -= 1

    def back(self, cell: Cell) -> None:
        self.running -= 1

    def beat(self) -> None:
        pass

    def pending(self) -> int:
        return len(self.left) + self.running

    def ready(self) -> int:
        return len(self.left)


def compare(
    asked: Study,
    out: str | Path,
    *,
    workers: int | None = None,  # processes; None: one per CPU core, or per GPU
    retry: bool = False,  # run what failed in an earlier call again
    store: str
    | None = None,  # URL or file of an Optuna store whose processes share the cells; needs the extra `studies`
    say: Say = lambda text: None,  # hears a line for each cell
    stand: Callable[[Standing], None] = lambda now: None,  # hears how far it is
    stop: Callable[[], bool] = lambda: False,  # asked twice a second
) -> table.Table:
    """Run every cell of a study that has no result yet, and write table.md, results.csv, results.json and chart.svg.

    The same call goes on where it was stopped. Every cell is an ordinary run folder under `out/cells`. Processes are
    started afresh, so a script must be a file and call this under `if __name__ == "__main__":`.

    Raises:
        InputError: a setting that cannot be, a folder that holds another study.
        Interrupted: `stop` said so; unfinished cells have their checkpoints.
    """
    out = Path(out)
    places(workers, 1)
    shared = Store(store, asked) if store is not None else None
    settled = settle(asked, out, say, shared)
    with _alone(out) if shared is None else contextlib.nullcontext():
        if retry:
            _forget(settled, out)
        queue: Queue = shared or Local([cell for cell in settled.cells() if cells.result(cell, out) is None])
        if shared is not None and retry:
            shared.again()
        _run(settled, out, queue, workers, say, stand, stop)
    if shared is not None:
        _fetch(shared, out)
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
    return summary(study.from_json(path.read_bytes()), out)


def places(workers: int | None, most: int, device: str = "auto") -> list[str]:
    """The device of each worker: every GPU in turn, or as many times the CPU as there are cores."""
    if workers is not None and workers < 1:
        raise InputError(f"--workers {workers} runs nothing; give a whole number from 1")
    gpus = [f"cuda:{number}" for number in range(torch.cuda.device_count())] if kind(device) == "cuda" else []
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    count = max(1, min(workers or len(gpus) or cores, most))
    return [(gpus or ["cpu"])[number % len(gpus or ["cpu"])] for number in range(count)]


def _run(
    settled: Study, out: Path, queue: Queue, workers: int | None, say: Say, stand: Callable[[Standing], None],
    stop: Callable[[], bool],
) -> None:  # fmt: skip
    """Run cells until all have ended, here or elsewhere, or until `stop`."""
    total, began, failed, first = len(settled.cells()), time.monotonic(), 0, queue.pending()
    if first:
        counts = {"setting": len(settled.settings), "task": len(settled.tasks), "seed": settled.seeds}
        shape = " x ".join(f"{count} {name}{'s' * (count != 1)}" for name, count in counts.items())
        devices = places(workers, first, settled.device)
        say(f"{total} runs: {shape}; {first} to do, {len(devices)} at a time. Folder: {out}")
    waited = False
    while queue.pending() and not stop():
        if not queue.ready():
            queue.beat()
            if not waited:
                say("The rest is under way elsewhere; waiting for it, and for what may be lost there.")
            waited = True
            time.sleep(POLL)
            continue
        devices = places(workers, queue.ready(), settled.device)
        for cell, found in pool.work(lambda: _take(queue, out), out, devices, stop, queue.beat):
            if found["error"] == cells.INTERRUPTED or (stop() and "seconds" not in found):
                queue.back(cell)
                continue
            if "seconds" not in found:  # its process died
                found = cells.write(cell, out, cells.blank(cell) | found)
            queue.keep(cell, found)
            failed, ended = failed + bool(found["error"]), max(1, first - queue.pending())
            say(f"{cell.name}: {_said(found)}")
            stand(Standing(total - queue.pending(), total, failed,
                           (time.monotonic() - began) / ended * queue.pending()))  # fmt: skip


def _take(queue: Queue, out: Path) -> Cell | None:
    """The next cell; one that has been run into this folder before is only reported."""
    while (cell := queue.take()) is not None:
        known = cells.result(cell, out)
        if known is None:
            break
        if "scores" in known:
            queue.keep(cell, known)
        else:  # it failed, and somebody wants another try
            cells.forget(cell, out)
            break
    return cell


def _forget(settled: Study, out: Path) -> None:
    for cell in settled.cells():
        known = cells.result(cell, out)
        if known is not None and "scores" not in known:
            cells.forget(cell, out)


def _fetch(shared: Store, out: Path) -> None:
    """Bring home what other processes found, for the table."""
    for cell, found in shared.results():
        if cells.result(cell, out) != found:
            cells.write(cell, out, found)


@contextlib.contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Refuse a second process in the same folder: both would run the same cells."""
    if sys.platform == "win32":
        yield
        return
    import fcntl

    with (out / ".busy").open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"another process is at the study in {out}; wait for it, or share with --store") from None
        except OSError:  # a file system without locks
            pass
        yield


def _said(found: dict[str, Any]) -> str:
    if found["error"]:
        return f"failed ({found['error']})."
    return f"{found['primary']} {found['scores'][found['primary']]:.3f} in {found['seconds']:.0f} s."
