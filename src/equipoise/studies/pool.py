"""Worker processes for cells: one thread each, one cell at a time, replaced when they die."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from equipoise.errors import TrainingFailed
from equipoise.studies.study import Cell

ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "MKL_NUM_THREADS": "1"}
READY = "ready"  # what a worker says when it can take a cell


@dataclass
class Worker:
    """A process and the cell it works on."""

    process: BaseProcess
    pipe: Connection
    device: str
    cell: Cell | None = None
    ready: bool = False  # it has started and has said so
    over: bool = False  # nothing more for it to do


def work(
    take: Callable[[], Cell | None],  # the next cell, None when there is none left
    out: Path,
    devices: list[str],  # one worker each
    stop: Callable[[], bool],
    beat: Callable[[], None] = lambda: None,  # called twice a second
) -> Iterator[tuple[Cell, dict[str, Any]]]:
    """Run cells in worker processes and yield each with its result as it ends.

    A worker that dies fails its cell, with an error for a result, and a new one takes its place. When `stop` says so,
    the workers write their checkpoints, end, and their cells are yielded as interrupted.
    """
    workers, stopping = [_start(out, device) for device in devices], False
    try:
        while any(not worker.over for worker in workers):
            beat()
            if stop() and not stopping:
                stopping = True
                for worker in workers:
                    worker.over = worker.cell is None
                    worker.process.terminate()  # SIGTERM: a wish to stop
            ready = wait([worker.pipe for worker in workers if not worker.over], timeout=0.5)
            for number, worker in enumerate(workers):
                if worker.pipe not in ready:
                    continue
                cell, found = worker.cell, _heard(worker)
                worker.cell = None
                if not worker.ready and not stopping:
                    workers[number] = worker = _start(out, worker.device)
                elif stopping or not _hand(worker, take()):
                    worker.over = True
                if cell is not None and found is not None:
                    yield cell, found
    finally:
        _end(workers)


def _heard(worker: Worker) -> dict[str, Any] | None:
    """What a worker says: the result of its cell, or None when it is ready; its death is a result too."""
    try:
        said = worker.pipe.recv()
    except (EOFError, OSError):
        worker.process.join()
        code = worker.process.exitcode
        if not worker.ready and worker.cell is None and code != -signal.SIGTERM:
            raise TrainingFailed(
                f"a worker process could not start (exit code {code}); what it printed says why, and a script that "
                'compares must be a file and do it under `if __name__ == "__main__":`'
            ) from None
        worker.ready = False
        reason = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        return {"error": f"its process died ({reason})"}
    worker.ready = True
    return None if said == READY else said


def _hand(worker: Worker, cell: Cell | None) -> bool:
    """Give a worker its next cell; whether there was one. One that has died meanwhile is heard of at the next look."""
    worker.cell = cell
    if cell is not None:
        with contextlib.suppress(OSError):
            worker.pipe.send(cell)
    return cell is not None


def _start(out: Path, device: str) -> Worker:
    """A fresh interpreter, so that nothing of one process leaks into another; threads are set before torch loads."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    with _surroundings():
        process = context.Process(target=serve, args=(theirs, out, device, os.getpid()), daemon=False)
        process.start()
    theirs.close()
    return Worker(process, ours, device)


@contextlib.contextmanager
def _surroundings() -> Iterator[None]:
    """What a new process inherits: the environment, and no ear for Ctrl-C, which goes to the whole terminal."""
    before = {name: os.environ.get(name) for name in ENVIRONMENT}
    hearing = threading.current_thread() is threading.main_thread()
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN) if hearing else None
    os.environ.update(ENVIRONMENT)
    try:
        yield
    finally:
        if hearing:
            signal.signal(signal.SIGINT, handler)
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)


def _end(workers: list[Worker]) -> None:
    """Let all processes end; those that are still at a cell write a checkpoint first, if they can in ten seconds."""
    for worker in workers:
        if worker.cell is not None:
            worker.process.terminate()
        with contextlib.suppress(OSError):
            worker.pipe.send(None)
    for worker in workers:
        worker.process.join(timeout=10)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()
        worker.pipe.close()


def serve(pipe: Connection, out: Path, device: str, parent: int) -> None:
    """What a worker does: run cells until it is told to end, or until whoever started it is gone."""
    asked: list[int] = []
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent passes a wish to stop on
    signal.signal(signal.SIGTERM, lambda number, frame: asked.append(number))
    import torch

    from equipoise.studies import cells

    torch.set_num_threads(1)
    with contextlib.suppress(EOFError, OSError):
        pipe.send(READY)
        while (cell := pipe.recv()) is not None:
            pipe.send(cells.run(cell, out, device, lambda: bool(asked) or os.getppid() != parent))
