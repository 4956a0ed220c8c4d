"""Logs as series of numbers by the names they were logged under: event files, JSON lines, CSV, lines of text."""

from __future__ import annotations

import csv
import itertools
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

from equipoise.errors import InputError
from equipoise.logs import events, texts

Series = list[tuple[float, float]]  # step, value
LOOKS = 60  # to which a series is thinned that has more than twice as many entries
CLOCKS = ("kimg", "step", "steps", "_step", "global_step", "iteration", "iter", "niter", "epoch")  # names of time


@dataclass
class Table:
    """What was logged. `spread` holds standard deviations where a log has them. Numbers are read after `sorted`."""

    series: dict[str, Series] = field(default_factory=dict)
    spread: dict[str, Series] = field(default_factory=dict)
    clock: str = "step"  # what time is counted in
    lost: dict[str, list[float]] = field(default_factory=dict)  # when a name had a number that was not finite
    facts: dict[str, Any] = field(default_factory=dict)  # what stands beside the numbers, by the names of a history's
    again: bool = False  # the log goes back in time: it was resumed, or begun anew

    def add(self, name: str, step: float, value: Any, spread: Any = None) -> None:
        """Append a number; what is no number is left out."""
        for store, number in ((self.series, value), (self.spread, spread)):
            if isinstance(number, (int, float)) and not isinstance(number, bool):
                store.setdefault(name, []).append((float(step), float(number)))

    def died(self, name: str) -> list[float]:
        """The moments since which a name had no finite number any more.

        Nothing where there are fewer than three, or where such numbers came all along: they stand for missing ones.
        """
        kept, lost = self.series.get(name, []), set(self.lost.get(name, ()))
        after = sorted(step for step in lost if kept and step > max(kept)[0])
        return after if len(after) >= 3 and len(lost) - len(after) < len(kept) / 2 else []

    def sorted(self) -> Table:
        """In order of time, as the log stands since it was last resumed; numbers that are not finite go to `lost`."""
        for store in (self.series, self.spread):
            for name, points in list(store.items()):
                steps = [step for step, _ in points]
                kept = dict(points[index] for index in standing(steps))
                self.again = self.again or (steps != sorted(steps) and in_order(steps))
                lost = [step for step, value in kept.items() if not math.isfinite(value)]
                if lost and store is self.series:
                    self.lost[name] = lost
                store[name] = sorted((step, value) for step, value in kept.items() if math.isfinite(value))
                if not store[name]:
                    del store[name]
        return self


def in_order(moments: Sequence[Any]) -> bool:
    """Whether time runs on, a few resumptions apart; not so where it was written the other way round, or in none."""
    backwards = sum(bool(after < before) for before, after in itertools.pairwise(moments))
    return 2 * backwards <= max(0, len(moments) - 1)


def standing(moments: Sequence[Any]) -> list[int]:
    """Which entries stand: where time goes back, what had been logged from there on is superseded.

    Resumed runs append to their log, and so do new ones in the same folder: the older branch is nobody's history.
    """
    if not in_order(moments):
        return list(range(len(moments)))
    kept: list[int] = []
    for index, moment in enumerate(moments):
        while kept and moments[kept[-1]] >= moment:
            kept.pop()
        kept.append(index)
    return kept


def thinned(series: Series) -> Series:
    """A long series as 60 looks, each the median of its share: entries are single batches in most programs' logs, and
    the extremes of thousands of them would pass for events."""
    size = len(series)
    if size <= 2 * LOOKS:
        return series
    parts = [series[size * look // LOOKS : size * (look + 1) // LOOKS] for look in range(LOOKS)]
    return [(part[-1][0], statistics.median(value for _, value in part)) for part in parts]


def moves(series: Series) -> bool:
    """Whether a long series has changed from entry to entry lately: medians of many rounded ones may all be alike."""
    last = {value for _, value in series[len(series) * 7 // 10 :]}
    return len(series) > 2 * LOOKS and len(last) > 2


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


def from_rows(path: Path, clock: str | None = None) -> Table:
    """CSV with a head, or JSON lines of plain numbers; `clock` names the column that holds the time."""
    text = texts.text_of(path)
    try:
        rows = list(texts.object_rows(text) if texts.are_objects(text[: texts.SNIFFED]) else texts.csv_rows(text))
    except csv.Error as error:
        raise InputError(f"{path} is no table that can be read ({error}); a quotation mark may be left open") from None
    return tabulated(rows, path, clock)


def tabulated(rows: list[Mapping[str, Any]], path: Path, clock: str | None = None) -> Table:
    """Rows as series; `clock` names the column that holds the time.

    W&B's exported charts put the run's name before the column's, `run - loss`, and add `__MIN` and `__MAX`.
    """
    names = dict.fromkeys(name for row in rows for name in row)
    time = clock if clock is not None else clock_of(rows, names)
    if names and all(texts.number(name) is not name for name in names):
        raise InputError(f"{path} begins with numbers; write a line of names on top, such as step,d_loss,g_loss")
    if time is not None and time not in names:
        raise InputError(f"{path} has no column {time!r} to tell the time by; it has {', '.join(names) or 'none'}")
    if clock is not None and _restarts(rows, clock, names):
        raise InputError(f"{clock} begins anew in each epoch, so that it tells no time; map the epoch as the time")
    short = {name: name.rpartition(" - ")[2] for name in names if not name.endswith(("__MIN", "__MAX"))}
    if len(set(short.values())) < len(short):
        raise InputError(f"{path} holds several runs side by side; export one of them: {', '.join(names)}")
    table = Table(clock="kimg" if time == "kimg" else "row" if time is None else time.strip("_").lower())
    timed = [row for row in rows if time is None or is_moment(row.get(time))]
    moments = list(map(float, range(len(timed)))) if time is None else [row[time] for row in timed]
    for row, at in zip(timed, spread_out(moments) if table.clock == "epoch" else moments, strict=True):
        for name, value in row.items():
            if name != time and name in short:
                table.add(short[name], at, value)
    return table.sorted()


def clock_of(rows: Sequence[Mapping[str, Any]], names: Iterable[str]) -> str | None:
    """The column that tells the time: the first known one, but none that begins anew in each epoch."""
    known = (name for clock in CLOCKS for name in names if name.lower() == clock)
    return next((name for name in known if not _restarts(rows, name, names)), None)


def _restarts(rows: Sequence[Mapping[str, Any]], name: str, names: Iterable[str]) -> bool:
    """Whether a count falls where the epoch rises."""
    epoch = next((one for one in names if one.lower() == "epoch"), name)
    pairs = [(row[epoch], row[name]) for row in rows if is_moment(row.get(epoch)) and is_moment(row.get(name))]
    return any(after[0] > before[0] and after[1] < before[1] for before, after in itertools.pairwise(pairs))


def is_moment(value: Any) -> TypeGuard[float]:
    """Whether a value can tell the time."""
    return isinstance(value, (int, float)) and math.isfinite(value)


def spread_out(moments: Sequence[float]) -> list[float]:
    """Moments of which several in a row are the same, as of an epoch's batches, spread evenly up to the next."""
    groups = [(moment, len(list(group))) for moment, group in itertools.groupby(moments)]
    return [moment + index / size for moment, size in groups for index in range(size)]
