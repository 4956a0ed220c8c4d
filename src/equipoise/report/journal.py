"""A run's own record: `run.jsonl`, one JSON object a line, and TensorBoard events under the names people know."""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from equipoise.balancer import Move
from equipoise.errors import InputError
from equipoise.files import atomic_write
from equipoise.jsonable import jsonable
from equipoise.report import Tick
from equipoise.report.board import Board

# Names as StyleGAN's tools write them, so that dashboards and eyes find them.
TENSORBOARD = {
    "D.loss": "Loss/D/loss",
    "G.loss": "Loss/G/loss",
    "D.real_score": "Loss/scores/real",
    "D.fake_score": "Loss/scores/fake",
    "D.sign_real": "Loss/signs/real",
    "D.sign_fake": "Loss/signs/fake",
    "D.r1": "Loss/r1_penalty",
    "D.r2": "Loss/r2_penalty",
    "D.gradient": "Gradient/D/norm",
    "G.gradient": "Gradient/G/norm",
}


Past = tuple[float, dict[str, float], dict[str, float]]  # kimg, signals, dials


class Lines:
    """Appends to `run.jsonl`. On resuming at `samples`, lines from beyond that moment go: they come again."""

    def __init__(self, run: Path, samples: int = 0) -> None:
        self.path = run / "run.jsonl"
        if self.path.exists():
            lines = [line for line in _whole_lines(self.path) if self._moment(line) <= samples]
            atomic_write(self.path, "".join(lines))
        self.file = self.path.open("a", encoding="utf-8")

    def _moment(self, line: str) -> int:
        """The samples at which a line was written."""
        try:
            kimg: float = json.loads(line)["kimg"]
            return round(kimg * 1000)
        except (KeyError, TypeError):
            raise InputError(
                f"{self.path} holds lines without kimg, so it is no log of ours to go on with: give another folder"
            ) from None

    def past(self) -> Iterator[Past]:
        """The ticks written so far, read from the file one by one: a long run's are not held twice."""
        with self.path.open(encoding="utf-8") as file:
            for record in map(json.loads, file):
                if record["event"] == "tick":
                    yield record["kimg"], record["balance"], record["dials"]

    def event(self, kind: str, samples: int, **facts: Any) -> None:
        """Record something that happened."""
        self._write({"event": kind, "kimg": samples / 1000, **facts})

    def moves(self, moves: Iterable[Move], samples: int) -> None:
        """Record what was turned, or would have been, with the readings that caused it."""
        for move in moves:
            self.event("move", samples, **{name: value for name, value in asdict(move).items() if name != "kimg"})

    def _write(self, record: dict[str, Any]) -> None:
        self.file.write(json.dumps(jsonable(record)) + "\n")
        self.file.flush()


class Journal(Lines):
    """The record of a run of ours: its lines, and TensorBoard events."""

    def __init__(self, run: Path, samples: int = 0) -> None:
        super().__init__(run, samples)
        self.board = Board(run, samples)

    def tick(self, tick: Tick) -> None:
        """Record a tick."""
        self._write(tick.as_dict())
        step = tick.samples // 1000
        for name, reading in tick.readings.items():
            if math.isfinite(reading.mean):
                self.board.scalar(TENSORBOARD.get(name, f"Sensors/{name.replace('.', '/')}"), reading.mean, step)
        for group, values in (("Balance", tick.balance), ("Dials", tick.dials)):
            for name, value in values.items():
                if math.isfinite(value):
                    self.board.scalar(f"{group}/{name.replace('.', '/')}", value, step)
        self.board.scalar("Progress/kimg", tick.samples / 1000, step)
        self.board.scalar("Progress/tick", tick.number, step)
        self.board.scalar("Timing/total_sec", tick.seconds, step)
        self.board.scalar("Timing/sec_per_kimg", 1000 / max(tick.images_per_second, 1e-9), step)
        self.board.flush()

    def image(self, name: str, picture: Any, samples: int) -> None:
        """Show a picture, uint8 [H, W, C], in TensorBoard."""
        self.board.image(name, picture, samples // 1000)

    def sync(self) -> None:
        """Put everything written so far on the disk: before a checkpoint counts."""
        self.file.flush()
        os.fsync(self.file.fileno())
        self.board.flush()

    def close(self) -> None:
        """Close both files; what a full disk leaves unwritten is lost."""
        for file in (self.file, self.board):
            with contextlib.suppress(OSError):
                file.close()


def _whole_lines(path: Path) -> list[str]:
    """The lines that were written to their end and hold a record: a crash may leave less."""
    found = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True):
        with contextlib.suppress(ValueError):
            if isinstance(json.loads(line), dict) and line.endswith("}\n"):
                found.append(line)
    return found
