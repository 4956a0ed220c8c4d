"""Worker processes for cells: one thread each, one cell at a time, replaced when they die."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from equipoise.studies.study import Cell

ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "MKL_NUM_THREADS": "1"}


@dataclass
class Worker:
    """A process and the cell it works on."""

    process: BaseProcess
    pipe: Connection
    device: str
    cell: Cell | None = None


def work(cells: list[Cell], out: Path, devices: list[str], stop: Callable[[], bool]) -> Iterator[tuple[Cell, Any]]:
    """Run the cells, one worker per device named, and yield each with its result as it ends.

    A worker that dies fails its cell, with an error for a result, and a new one takes its place. When `stop` says so,
    the workers write their checkpoints, end, and their cells are yielded as interrupted.
    """
    left, stopping = list(cells), False
    workers = [_start(out, device) for device in devices[: len(cells)]]
    try:
        for worker in workers:
            _next(worker, left)
        while any(worker.cell for worker in workers):
            if stop() and not stopping:
                stopping = True
                left.clear()
                for worker in workers:
                    worker.process.terminate()  # SIGTERM: a wish to stop
            ready = wait([worker.pipe for worker in workers if worker.cell], timeout=0.5)
            for worker in [w for w in workers if w.pipe in ready]:
                cell = worker.cell
                assert cell is not None
                try:
                    found = worker.pipe.recv()
                except (EOFError, ConnectionError):
                    worker.process.join()
                    found = {"error": f"its process died with exit code {worker.process.exitcode}"}
                    if not stopping:
                        fresh = _start(out, worker.device)
                        worker.process, worker.pipe = fresh.process, fresh.pipe
                worker.cell = None
                _next(worker, left)
                yield cell, found
    finally:
        for worker in workers:
            with contextlib.suppress(OSError):
                worker.pipe.send(None)
            worker.process.join(timeout=10)
            if worker.process.is_alive():
                worker.process.kill()


def _next(worker: Worker, left: list[Cell]) -> None:
    if left:
        worker.cell = left.pop(0)
        worker.pipe.send(worker.cell)


def _start(out: Path, device: str) -> Worker:
    """A fresh interpreter, so that nothing of one process leaks into another; threads are set before torch loads."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    before = {name: os.environ.get(name) for name in ENVIRONMENT}
    os.environ.update(ENVIRONMENT)
    try:
        process = context.Process(target=serve, args=(theirs, out, device), daemon=False)
        process.start()
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)
    theirs.close()
    return Worker(process, ours, device)


def serve(pipe: Connection, out: Path, device: str) -> None:
    """What a worker does: run cells until it is told to end."""
    import torch

    from equipoise.studies import cells

    torch.set_num_threads(1)
    asked: list[int] = []
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent passes a wish to stop on
    signal.signal(signal.SIGTERM, lambda number, frame: asked.append(number))
    with contextlib.suppress(EOFError, ConnectionError):
        while (cell := pipe.recv()) is not None:
            pipe.send(cells.run(cell, out, device, lambda: bool(asked)))
