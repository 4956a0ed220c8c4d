"""Logs that exist, read as histories of signals: our own runs' and those of other programs. Needs no PyTorch.

`open_log` chooses the reader by what lies at a path. Which names mean what is in `families`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from equipoise.diagnosis.history import History
from equipoise.errors import InputError
from equipoise.logs import events, lines, nvidia, run, tables
from equipoise.logs.convert import IDEAL, SIGNLESS, Convert, Logged, mean, over_first, over_ideal, possible, same
from equipoise.logs.families import FAMILIES, Family
from equipoise.logs.swings import add_swings
from equipoise.registry import suggest
from equipoise.signals import SIGNALS

# Names of logs in a folder: the first kind of which there is a file. A .json may be settings beside a log in text.
TABLES = ("*.csv", "*.tsv", "*.jsonl", "*.ndjson")
TEXTS = ("loss_log.txt", "*.log")
OBJECTS = ("*.json",)
ROWS = tuple(pattern[1:] for pattern in (*TABLES, *OBJECTS))
IMPOSSIBLE = (
    "{} of the values of frechet cannot be distances (below 0, or above a million) and are left out: it is the "
    "measurement that is broken; SciPy 1.11.2 to 1.12 did that to FID (https://github.com/mseitzer/pytorch-fid/issues/103)"
)
UNRELATED = (
    "{} tells nothing: the ideal value of {} for {} is 0 or none, so that nothing can be put in relation to it; log "
    "win_rate or gap, of D's logits, or how far samples are from the data (energy, frechet)"
)
BELOW = "{} tells nothing: it begins at 0 or goes below, so that a ratio to its beginning says nothing"
AGAIN = (
    "the log goes back in time, as of a run that was resumed or begun anew: what it had of later moments is left out"
)
UNCOUNTED = ("epoch", "row")  # what time may be counted in, and no batch size turns into samples


@dataclass(frozen=True)
class Told:
    """What the user knows of a log and its numbers do not say; None: not told."""

    loss: str | None = None  # a loss's name in our registry
    batch: int | None = None  # samples per update, over all devices
    kimg: float | None = None  # length of the whole run
    count: int | None = None  # training samples
    anchored: bool | None = None  # G is held by a reconstruction loss as well
    augmented: bool | None = None  # D is shown augmented samples
    columns: Mapping[str, str] = field(default_factory=dict)  # logged name: signal, `A/signal`, or `step`, `kimg` ...

    def __post_init__(self) -> None:
        if self.loss is not None and self.loss not in IDEAL:
            raise InputError(f"there is no known loss called {self.loss!r}{suggest(self.loss, list(IDEAL))}")
        if (self.batch is not None and self.batch < 1) or (self.kimg is not None and not self.kimg > 0):
            raise InputError(f"batch={self.batch} and kimg={self.kimg} cannot be: both must be above 0")
        first: dict[str, str] = {}
        for name, signal in self.columns.items():
            player, _, own = signal.rpartition("/")
            if (own not in SIGNALS and signal not in tables.CLOCKS) or "/" in player:
                raise InputError(f"{name} is mapped to {signal!r}, which is no signal{suggest(own, list(SIGNALS))}")
            if (other := first.setdefault(signal, name)) != name:
                two = f"map those of two discriminators to A/{own} and B/{own}"
                raise InputError(f"{other} and {name} are both mapped to {signal}; {two}")

    def facts(self) -> dict[str, Any]:
        """What is told, as facts of a history."""
        known = {"loss": self.loss, "batch": self.batch, "total_kimg": self.kimg, "count": self.count,
                 "anchored": self.anchored, "augmented": self.augmented}  # fmt: skip
        return {name: value for name, value in known.items() if value is not None}


def open_log(path: str | Path, told: Told | None = None) -> History:
    """The history that a log tells: a run folder, a folder of event files, stats.jsonl, or a table (CSV, JSON lines).

    `facts["source"]` says whose log it is, `facts["remarks"]` what is taken for granted, `facts["unused"]` which logged
    names were left out.

    Raises:
        InputError: nothing there that could be read, or no name that is known.
    """
    path, told = Path(path), told or Told()
    own = path / "run.jsonl" if path.is_dir() else path
    if own.name == "run.jsonl" and own.is_file():
        history = run.from_journal(own)
        history.facts |= told.facts()
    else:
        history = _foreign(_table(path, told), told)
    add_swings(history)
    if history.facts["source"] != "equipoise":
        history.signals = {name: tables.thinned(points) for name, points in history.signals.items()}
    if not any(history.signals.values()):
        raise InputError(f"{path} holds no reading of the balance between generator and discriminator")
    if history.facts.get("loss") in SIGNLESS:
        history.facts["signless"] = True
        history.signals.pop("sign_real", None)  # they say nothing there
    return history


def columns_from(path: Path) -> dict[str, str]:
    """A mapping of columns from a TOML file: lines `"logged name" = "signal"`, in a table [columns] or in none."""
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is no TOML file that could be read ({error})") from None
    columns: dict[str, str] = found.get("columns", found)
    if not columns or not all(isinstance(value, str) for value in columns.values()):
        raise InputError(f'{path} maps no columns; write lines like "d_loss" = "loss_D"')
    return columns


def _table(path: Path, told: Told) -> tables.Table:
    """What lies at a path."""
    if not path.exists():
        raise InputError(f"there is nothing at {path}")
    clock = next((name for name, signal in told.columns.items() if signal in tables.CLOCKS), None)
    if path.is_dir():
        if (path / "stats.jsonl").is_file():
            return nvidia.from_stats(path / "stats.jsonl")
        if any(path.rglob(events.PATTERN)):
            return tables.from_events(path)
        kinds = (_files(path, patterns) for patterns in (TABLES, TEXTS, OBJECTS))
        found = next((files for files in kinds if files), [])
        if len(found) != 1:
            named = ", ".join((*TABLES, *TEXTS, *OBJECTS))
            raise InputError(
                f"{path} holds no run.jsonl, no stats.jsonl and no TensorBoard events, and {len(found)} tables or logs "
                f"({named}); name {'the file' if found else 'the folder of a run, or a file'}"
            )
        path = found[0]
    if path.name == "stats.jsonl":
        return nvidia.from_stats(path)
    if "tfevents" in path.name:
        return tables.from_events(path)
    is_rows = path.suffix in ROWS or tables.are_objects(tables.text_of(path, tables.SNIFFED))
    made = tables.from_rows(path, clock) if is_rows else lines.from_lines(path, clock)
    made.clock = told.columns.get(clock, made.clock) if clock else made.clock
    return made


def _files(folder: Path, patterns: tuple[str, ...]) -> list[Path]:
    """The files in a folder, though not below it, with such names."""
    return [file for pattern in patterns for file in sorted(folder.glob(pattern)) if file.is_file()]


def _foreign(table: tables.Table, told: Told) -> History:
    """The history of somebody else's log."""
    if any(name.startswith("Balance/") for name in table.series):
        history = run.from_board(table)
        history.facts |= told.facts()
        return history
    log = Logged(table, {})
    family = next((one for one in FAMILIES if all(log.name(mark) for mark in one.marks)), None)
    log.facts |= {"source": "a table" if family is None else family.name, "remarks": _remarks(family, table, told)}
    log.facts |= (dict(family.facts) if family else {}) | table.facts
    told_in = _unit(table.clock, family)
    log.facts["unit"] = "kimg" if told.batch is not None and told_in not in UNCOUNTED else told_in.removesuffix("s")
    log.facts |= told.facts()
    conversions = {name: same(name) for name in SIGNALS} | (dict(family.signals) if family else {}) | _mapped(told, log)
    history = History(facts=log.facts)
    for signal, convert in conversions.items():
        points = convert(log)
        if signal == "frechet" and (broken := len(points) - len(points := possible(points))):
            log.facts["remarks"].append(IMPOSSIBLE.format(broken))
        if points:
            history.signals[signal] = [(_kimg(step, table.clock, family, told), value) for step, value in points]
    history.facts["unused"] = sorted(set(table.series) - log.used)
    watched = log.used | {log.name(mark) or mark for mark in (family.marks if family else ())}
    died = sorted({step for name in watched for step in table.died(name)})
    if history.signals and died:
        history.signals["nonfinite"] = [(_kimg(step, table.clock, family, told), 1.0) for step in died]
    if not history.signals:
        raise InputError(_nothing(table, told, log.facts["remarks"]))
    return history


def _nothing(table: tables.Table, told: Told, remarks: list[str]) -> str:
    """Why a log tells no signal, and what to do."""
    if not table.series:
        lost = f"; not one finite value in {', '.join(sorted(table.lost))}" if table.lost else ""
        return (
            f"no number could be read in this log{lost}. A table begins with a line of names; a line of JSON is an "
            "object of numbers"
        )
    if set(told.columns.values()) - set(tables.CLOCKS):
        return f"nothing that was mapped tells a signal. {'. '.join(one for one in remarks if 'tells nothing' in one)}"
    return (
        f"no name in this log is known; it has {', '.join(sorted(table.series)[:20])}. Say what they are: "
        "--map NAME=SIGNAL (docs/parts.md has the signals), with losses as loss_D and loss_G together with --loss"
    )


def _mapped(told: Told, log: Logged) -> dict[str, Convert]:
    """Conversions that the user asked for. A loss is a plain one, put in relation here.

    Of what is mapped for several discriminators, as `A/loss_D`, the mean stands under the plain name.
    """
    made: dict[str, Convert] = {}
    each: dict[str, list[Convert]] = {}  # by signal, of one discriminator after the other
    for name, signal in told.columns.items():
        if signal in tables.CLOCKS:
            continue
        if log.name(name) is None:
            known = sorted(log.table.series)
            raise InputError(f"nothing was logged as {name!r}{suggest(name, known)}")
        player, _, own = signal.rpartition("/")
        if own in ("loss_D", "loss_G") and told.loss is None:
            raise InputError(
                f"{name} is mapped to {signal}, but which loss it is decides what a value means; say --loss, one of "
                f"{', '.join(IDEAL)}"
            )
        made[signal] = same(name)
        if own in ("loss_D", "loss_G") and told.loss is not None:
            made[signal] = over_ideal(own[-1], same(name))
            if not IDEAL[told.loss]["DG".index(own[-1])]:
                log.facts["remarks"].append(UNRELATED.format(name, told.loss, own[-1]))
        if own == "reconstruction":
            made[signal] = over_first(same(name))
            if not made[signal](log):
                log.facts["remarks"].append(BELOW.format(name))
        if player:
            each.setdefault(own, []).append(made[signal])
    return {own: mean(*parts) for own, parts in each.items()} | made


def _remarks(family: Family | None, table: tables.Table, told: Told) -> list[str]:
    """What is taken for granted, and what its numbers leave open."""
    usual = family is not None and "loss" in family.usual and told.loss is None
    said = [text for text in (family.remarks if family else ()) if "taken to be" not in text or usual]
    if family is not None and "loss" not in family.facts and told.loss is None:
        said.append("which loss was trained is not in the log, so the losses cannot be put in relation; say --loss")
    if _unit(table.clock, family) != "kimg" and (told.batch is None or _unit(table.clock, family) in UNCOUNTED):
        unit = _unit(table.clock, family)
        said.append(f"time is counted in {unit}s, not kimg{'' if unit in UNCOUNTED else '; say --batch'}")
    return [*said, AGAIN] if table.again else said


def _unit(clock: str, family: Family | None) -> str:
    return family.clock if family is not None and clock == "step" else clock.rstrip("s")


def _kimg(step: float, clock: str, family: Family | None, told: Told) -> float:
    """The moment in thousands of samples, or as it was counted where that is not known."""
    if _unit(clock, family) in ("kimg", *UNCOUNTED) or told.batch is None:
        return step
    return step * told.batch / 1000
