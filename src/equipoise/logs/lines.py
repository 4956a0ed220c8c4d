"""Text logs whose lines hold `name: value` or `name=value`, as pix2pix, CycleGAN, BasicSR and RVC write them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from equipoise.errors import InputError
from equipoise.logs.tables import Table, standing, tabulated, text_of

NUMBER = r"[-+]?(?:(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?|[-+]?(?:nan|inf)"  # also 107,200
PAIR = re.compile(rf"((?:\b[DG] )?[^\W\d][\w./()-]*)\s*[:=]\s*({NUMBER})(?![\w:])")  # `D loss: 0.7`, not 4:07:35
STEP = re.compile(r"\[(\d+), [\d.e-]+\]\s*$")  # RVC's line before the losses: step and learning rate
COUNTS = (("epoch",), ("iters", "iter", "batch"))  # names of an epoch, and of a count within it


def from_lines(path: Path, clock: str | None = None) -> Table:
    """A table with a row for each line that holds two pairs of name and number at least; other lines are left out.

    A run that is started again in the same folder appends; that is told by the epoch, and by the count within it.

    Raises:
        InputError: no such line.
    """
    rows = list(_rows(path))
    if not rows:
        raise InputError(
            f"{path} is no log that is read: TensorBoard events, a table (CSV, JSON lines), or text with lines of "
            "`name: value`"
        )
    stand = standing(list(_places(rows)))
    table = tabulated([rows[index] for index in stand], path, clock)
    table.again = table.again or len(stand) < len(rows)
    return table


def _rows(path: Path) -> Iterator[dict[str, float]]:
    """The numbers of each line that has some."""
    step: dict[str, float] = {}
    for line in text_of(path).splitlines():
        if found := STEP.search(line):
            step = {"step": float(found[1])}
        row = {_whole(name): float(value.replace(",", "")) for name, value in PAIR.findall(line)}
        if len(row) > 1:
            yield step | row


def _whole(name: str) -> str:
    """A name without a bracket that was opened before it: `data` of `time (data): 0.3`."""
    return name if name.count("(") == name.count(")") else name.strip("()")


def _places(rows: list[dict[str, Any]]) -> Iterator[tuple[tuple[float, ...], int]]:
    """Where each row stands: epoch and count within it, and how many rows ago these were first told.

    The same place again is a new row only where it holds the same numbers anew: losses and scores of a step stand in
    lines of their own. Where there is no count, an epoch has many rows.
    """
    names = dict.fromkeys(name for row in rows for name in row)
    keys = [key for known in COUNTS if (key := next((name for name in names if name.lower() in known), None))]
    place: tuple[float, ...] = ()
    ago, held = 0, set[str]()
    for row in rows:
        now = tuple(row[key] for key in keys) if all(key in row for key in keys) else place
        if now != place or (len(keys) == len(COUNTS) and held & row.keys() - {*keys}):
            place, ago, held = now, -1, set()
        ago, held = ago + 1, held | row.keys()
        yield place, ago
