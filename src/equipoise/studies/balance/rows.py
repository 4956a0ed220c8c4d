"""The rows of the benchmark of balance: a line of `rows.jsonl` for each cell, and what is in it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from equipoise.errors import InputError
from equipoise.studies.balance.arms import ARMS
from equipoise.studies.balance.scenarios import SCENARIOS
from equipoise.studies.balance.tasks import TASKS

ROWS = "rows.jsonl"
BEGINNING = '{"task": "'  # of a line
TYPES: dict[str, type | tuple[type, ...]] = {
    "seed": int, "score": (int, float), "seconds": (int, float), "moves": int, "turned": (dict, type(None)),
    "error": str, "beside": dict, "form": int,
}  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """One run of the benchmark."""

    task: str
    scenario: str
    arm: str
    seed: int

    @property
    def folder(self) -> str:
        """Of its recording, where one is kept."""
        parts = (self.task, self.scenario, self.arm, str(self.seed))
        return "-".join("".join(c if c.isalnum() else "_" for c in part) for part in parts)


@dataclass(frozen=True)
class Row:
    """What came of a cell; a failure scores 0."""

    task: str
    scenario: str
    arm: str
    seed: int
    score: float  # 0 to 1
    seconds: float  # of training
    moves: int = 0  # things turned
    turned: dict[str, int] | None = None  # of them, by which loop or part; None: not told
    error: str = ""
    beside: dict[str, float] = field(default_factory=dict)  # what else is known of the samples: modes, coverage, ...
    form: int = 0  # of the autopilot's rules, where it steered

    @property
    def cell(self) -> Cell:
        """The cell it is of."""
        return Cell(self.task, self.scenario, self.arm, self.seed)

    @property
    def holds(self) -> bool:
        """Whether the cell would be the same run today, as far as the autopilot's rules go."""
        return self.form == ARMS[self.arm].form


def read(path: Path) -> list[Row]:
    """The rows of a file; a last line that was cut off is left out, and of two of one cell the later counts."""
    if not path.is_file():
        return []
    found: dict[Cell, Row] = {}
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    for number, line in enumerate(lines, 1):
        try:
            row = parsed(line)
        except (ValueError, TypeError) as error:
            cut = isinstance(error, json.JSONDecodeError) and BEGINNING.startswith(line[: len(BEGINNING)])
            if cut and number == len(lines):
                break
            raise InputError(
                f"line {number} of {path} is no row of this benchmark ({error}); remove it, and its cell is run again, "
                "or give another folder"
            ) from None
        found[row.cell] = row
    return list(found.values())


def parsed(line: str) -> Row:
    """The row of a line; a ValueError or TypeError says what is wrong with it."""
    row = Row(**json.loads(line))
    for name, known in ((row.task, TASKS), (row.scenario, SCENARIOS), (row.arm, ARMS)):
        if name not in known:
            raise ValueError(f"{name!r} is not known here")
    for name, kind in TYPES.items():
        value = getattr(row, name)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise TypeError(f"{name}={value!r}")
    if not 0 <= row.score <= 1:
        raise ValueError(f"score={row.score}, which is not from 0 to 1")
    return row
