"""A run folder as its page needs it, read from JSON and PNG files without PyTorch; what is missing is left out."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from equipoise.balancer import Move
from equipoise.diagnosis import History, Verdict
from equipoise.errors import InputError
from equipoise.logs import Told, run
from equipoise.logs.judge import judge
from equipoise.logs.texts import json_lines

Line = Mapping[str, Any]  # of run.jsonl


@dataclass(frozen=True)
class Record:
    """What is known of a run at one moment. The verdict is the one that `equipoise diagnose` gives on it."""

    folder: Path
    config: dict[str, Any]  # as it was written; empty where it cannot be read
    data: dict[str, Any]  # the report on the data, the same
    history: History
    verdict: Verdict | None  # None: there is no reading yet
    moves: tuple[Move, ...]
    lost: tuple[str, ...]  # sentences on updates that were left out
    failure: str  # why the run has ended before its time; empty if it has not
    total_kimg: float | None  # its whole length
    seconds: float  # trained so far
    pictures: tuple[tuple[int, Path], ...]  # kimg and file of each sample grid, in order
    reals: Path | None

    @property
    def name(self) -> str:
        """The folder's."""
        return self.folder.resolve().name

    @property
    def complete(self) -> bool:
        """Whether it has reached its length."""
        return self.total_kimg is not None and self.history.kimg >= self.total_kimg


def read(folder: Path) -> Record:
    """The record of a run folder.

    Raises:
        InputError: the folder is none of a run.
    """
    journal = folder / "run.jsonl"
    if not journal.is_file() and not (folder / "config.json").is_file():
        raise InputError(
            f"{folder} is no run folder: it has neither run.jsonl nor config.json; give the folder that "
            "`equipoise train --out` made"
        )
    lines = list(json_lines(journal)) if journal.is_file() else []
    ticks = [line for line in lines if line.get("event") == "tick"]
    data = _json(folder / "data.json")
    history, verdict = _judged(folder, data.get("count"))
    reals = folder / "reals.png"
    return Record(
        folder,
        _json(folder / "config.json"),
        data,
        history,
        verdict,
        tuple(_moves(lines)),
        tuple(_lost(lines)),
        _failure(lines),
        next((line["total_kimg"] for line in ticks if _is_number(line.get("total_kimg"))), None),
        next((line["seconds"] for line in reversed(ticks) if _is_number(line.get("seconds"))), 0.0),
        tuple(_pictures(folder / "samples")),
        reals if reals.is_file() else None,
    )


def files(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """Names, times and sizes of all that a record is made of: while they stay, it does."""
    found = [folder / "run.jsonl", folder / "config.json", folder / "data.json", folder / "reals.png"]
    found += [path for _, path in _pictures(folder / "samples")]
    stats = []
    for path in found:
        with contextlib.suppress(OSError):
            stat = path.stat()
            stats.append((path.name, stat.st_mtime_ns, stat.st_size))
    return tuple(stats)


def _judged(folder: Path, count: Any) -> tuple[History, Verdict | None]:
    """The history and the verdict on it; None before the first reading."""
    path = folder / "run.jsonl"
    if not path.is_file():
        return History(), None
    try:
        judged = judge(path, Told(count=count if isinstance(count, int) else None))
    except InputError:  # no reading in it
        return run.from_journal(path), None
    return judged.history, judged.verdict


def _moves(lines: Iterable[Line]) -> Iterable[Move]:
    for line in lines:
        if line.get("event") == "move" and all(_is_number(line.get(name)) for name in ("kimg", "before", "after")):
            loop, actuator, why = (str(line.get(name, "")) for name in ("loop", "actuator", "why"))
            yield Move(line["kimg"], loop, actuator, line["before"], line["after"], why, bool(line.get("done")))


def _lost(lines: Iterable[Line]) -> Iterable[str]:
    for line in lines:
        if line.get("event") == "skipped":
            yield (
                f"{line.get('kimg', 0):g} kimg: {line.get('updates')} updates of {line.get('player')} were left out, "
                f"since a value was not finite; the first: {line.get('first')}"
            )


def _failure(lines: Iterable[Line]) -> str:
    """Why it failed, unless it went on since."""
    why = ""
    for line in lines:
        if line.get("event") == "failed":
            why = str(line.get("reason", "no reason was written down"))
        elif line.get("event") == "tick":
            why = ""
    return why


def _pictures(samples: Path) -> Iterable[tuple[int, Path]]:
    found = [(path, re.fullmatch(r"fakes-(\d+)\.png", path.name)) for path in samples.glob("fakes-*.png")]
    return sorted((int(match[1]), path) for path, match in found if match)


def _json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; empty where there is none that can be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
