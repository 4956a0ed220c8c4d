"""Logs as series of numbers by the names they were logged under: event files, JSON lines, CSV."""

from __future__ import annotations

import csv
import json
import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from equipoise.errors import InputError
from equipoise.logs import events

Series = list[tuple[float, float]]  # step, value
LOOKS = 60  # to which a series is thinned that has more than twice as many entries
DELIMITERS = ",;\t"
MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}  # at the beginning of a text that is no UTF-8
CLOCKS = ("kimg", "step", "steps", "_step", "global_step", "iteration", "iter", "niter", "epoch")  # names of time


@dataclass
class Table:
    """What was logged. `spread` holds standard deviations where a log has them."""

    series: dict[str, Series] = field(default_factory=dict)
    spread: dict[str, Series] = field(default_factory=dict)
    clock: str = "step"  # what time is counted in
    lost: dict[str, list[float]] = field(default_factory=dict)  # when a name had a number that was not finite

    def add(self, name: str, step: float, value: Any, spread: Any = None) -> None:
        """Append a number; one that is not finite is noted as lost, and what is no number left out."""
        for store, number in ((self.series, value), (self.spread, spread)):
            known = isinstance(number, (int, float)) and not isinstance(number, bool)
            if known and math.isfinite(number):
                store.setdefault(name, []).append((float(step), float(number)))
            elif known and store is self.series:
                self.lost.setdefault(name, []).append(float(step))

    def died(self, name: str) -> list[float]:
        """The moments since which a name had no finite number any more.

        Nothing where there are fewer than three, or where such numbers came all along: they stand for missing ones.
        """
        kept, lost = self.series.get(name, []), set(self.lost.get(name, ()))
        after = sorted(step for step in lost if kept and step > max(kept)[0])
        return after if len(after) >= 3 and len(lost) - len(after) < len(kept) / 2 else []

    def sorted(self) -> Table:
        """In order of time; where a moment comes twice, as after a resumption, the later entry counts."""
        for store in (self.series, self.spread):
            for name, points in store.items():
                store[name] = sorted(dict(points).items())
        return self


def thinned(series: Series) -> Series:
    """A long series as 60 looks, each the median of its share: entries are single batches in most programs' logs, and
    the extremes of thousands of them would pass for events."""
    size = len(series)
    if size <= 2 * LOOKS:
        return series
    parts = [series[size * look // LOOKS : size * (look + 1) // LOOKS] for look in range(LOOKS)]
    return [(part[-1][0], statistics.median(value for _, value in part)) for part in parts]


def from_events(folder: Path) -> Table:
    """All event files below a folder, or one file. A sub-folder's tags carry its name: `errD/loss`."""
    files = [folder] if folder.is_file() else sorted(folder.rglob(events.PATTERN))
    top = folder.parent if folder.is_file() else folder
    table = Table()
    for file in files:
        below = "/".join(file.parent.relative_to(top).parts)
        for tag, step, value in events.scalars(file):
            table.add(f"{below}/{tag}" if below else tag, step, value)
    return table.sorted()


def from_stats(path: Path) -> Table:
    """NVIDIA's stats.jsonl: a line per tick, `{"Loss/D/loss": {"num": n, "mean": m, "std": s}, ..., "timestamp": t}`.

    Beside it, metric-*.jsonl have `results` and the name of a snapshot, `network-snapshot-000200.pkl`, with its kimg.
    """
    table = Table(clock="kimg")
    for line in json_lines(path):
        now = line.get("Progress/kimg", {})
        kimg = now.get("mean") if isinstance(now, dict) else None
        if isinstance(kimg, (int, float)):
            for name, value in line.items():
                if isinstance(value, dict):
                    table.add(name, kimg, value.get("mean"), value.get("std"))
    for metric in sorted(path.parent.glob("metric-*.jsonl")):
        for line in json_lines(metric):
            kimg = Path(str(line.get("snapshot_pkl"))).stem.rpartition("-")[2]
            for name, value in line.get("results", {}).items() if kimg.isdigit() else ():
                table.add(f"Metrics/{name}", float(kimg), value)
    return table.sorted()


def from_rows(path: Path, clock: str | None = None) -> Table:
    """CSV with a head, or JSON lines of plain numbers; `clock` names the column that holds the time.

    W&B's exported charts put the run's name before the column's, `run - loss`, and add `__MIN` and `__MAX`.
    """
    lines = map(flat, json_lines(path)) if path.suffix in (".jsonl", ".ndjson", ".json") else csv_rows(path)
    rows = list(lines)
    names = dict.fromkeys(name for row in rows for name in row)
    time = clock if clock is not None else next((n for c in CLOCKS for n in names if n.lower() == c), None)
    if time is not None and time not in names:
        raise InputError(f"{path} has no column {time!r} to tell the time by; it has {', '.join(names) or 'none'}")
    short = {name: name.rpartition(" - ")[2] for name in names if not name.endswith(("__MIN", "__MAX"))}
    if len(set(short.values())) < len(short):
        raise InputError(f"{path} holds several runs side by side; export one of them: {', '.join(names)}")
    table = Table(clock="kimg" if time == "kimg" else "row" if time is None else time.strip("_").lower())
    for number, row in enumerate(rows):
        at = number if time is None else row.get(time)
        if isinstance(at, (int, float)):
            for name, value in row.items():
                if name != time and name in short:
                    table.add(short[name], at, value)
    return table.sorted()


def json_lines(path: Path) -> Iterable[dict[str, Any]]:
    """The objects of a JSON-lines file, or of one list; lines that are none, as one that was cut off, are left out."""
    text = text_of(path)
    for line in [text] if text.startswith("[") else text.splitlines():
        try:
            found = json.loads(line)
        except ValueError:
            continue
        yield from (one for one in (found if isinstance(found, list) else [found]) if isinstance(one, dict))


def csv_rows(path: Path) -> Iterable[Mapping[str, Any]]:
    """The rows of a CSV file, numbers as such; between columns stands what its head has most of: comma, ; or tab."""
    lines = text_of(path).splitlines()
    mark = max(DELIMITERS, key=lines[0].count) if lines else ","
    for row in csv.DictReader(lines, delimiter=mark):
        yield {name.strip(): _number(value, mark == ";") for name, value in row.items() if name and value}


def text_of(path: Path) -> str:
    """A file's text: UTF-8, or UTF-16 where it begins as such; what is neither is replaced."""
    raw = path.read_bytes()
    return raw.decode(MARKS.get(raw[:2], "utf-8-sig"), errors="replace")


def flat(row: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """An object with objects in it as one: `{"loss": {"d": 1}}` has `loss/d`. Numbers in quotes are numbers."""
    found: dict[str, Any] = {}
    for name, value in row.items():
        found |= flat(value, f"{before}{name}/") if isinstance(value, Mapping) else {before + name: _number(value)}
    return found


def _number(text: Any, comma: bool = False) -> Any:
    """A text as a number, where it is one; `comma`: that of decimals."""
    if not isinstance(text, str):
        return text
    try:
        return float(text.replace(",", ".") if comma else text)
    except ValueError:
        return text
