"""Logs that exist, read as histories of signals: our own runs' and those of other programs. Needs no PyTorch.

`open_log` chooses the reader by what lies at a path. Which names mean what is in `families`.
"""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path

from equipoise.diagnosis.history import History
from equipoise.errors import InputError
from equipoise.logs import events, lines, mapping, nvidia, run, tables, texts
from equipoise.logs.convert import SIGNLESS, Logged, possible
from equipoise.logs.families import FAMILIES
from equipoise.logs.family import TAKEN, Family
from equipoise.logs.swings import add_swings
from equipoise.logs.told import Told as Told

# Names of logs in a folder: the first kind of which there is a file. A .json may be settings beside a log in text.
TABLES = ("*.csv", "*.tsv", "*.jsonl", "*.ndjson")
TEXTS = ("loss_log.txt", "log.txt", "*.log")
OBJECTS = ("*.json",)
LOGS = (*TABLES, *TEXTS)  # by which a folder below is told to hold one
PACKED = (".gz", ".zip", ".tgz", ".xz", ".bz2", ".zst", ".7z")
ROWS = tuple(pattern[1:] for pattern in (*TABLES, *OBJECTS))
IMPOSSIBLE = (
    "{} of the values of frechet cannot be distances (below 0, or above a million) and are left out: it is the "
    "measurement that is broken; SciPy 1.11.2 to 1.12 did that to FID (https://github.com/mseitzer/pytorch-fid/issues/103)"
)
AGAIN = (
    "the log goes back in time, as of a run that was resumed or begun anew: what it had of later moments is left out"
)
ADDED = "the losses of several discriminators are added up, and how many is not told, so that their value tells nothing"
QUOTED = 'write lines like "d_loss" = "loss_D"'
FEW = 5  # moments, below which no rule looks at a change
THIN = "it has {} moment{}: too few to tell whether anything changes"
UNCOUNTED = ("epoch", "row")  # what time may be counted in, and no batch size turns into samples


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
        history = _foreign(path, _table(path, told), told)
    add_swings(history)
    if history.facts["source"] != "equipoise":
        history.facts["moves"] = [name for name, points in history.signals.items() if tables.moves(points)]
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
    except (OSError, ValueError, RecursionError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise InputError(
            f"{path} is neither NAME=SIGNAL nor a TOML file that could be read ({why}); {QUOTED}"
        ) from None
    columns: dict[str, str] = found.get("columns", found)
    if not columns or not all(isinstance(value, str) for value in columns.values()):
        raise InputError(f"{path} maps no columns; {QUOTED}")
    return columns


def _table(path: Path, told: Told) -> tables.Table:
    """What lies at a path."""
    if not path.exists():
        raise InputError(f"there is nothing at {path}")
    if not path.is_dir() and not path.is_file():
        raise InputError(f"{path} is neither a file nor a folder, but a device or a pipe; save the log to a file first")
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
                f"({named}); {_instead(path, bool(found))}"
            )
        path = found[0]
    if path.name == "stats.jsonl" or nvidia.is_stats(path):
        return nvidia.from_stats(path)
    if "tfevents" in path.name:
        return tables.from_events(path)
    is_rows = path.suffix in ROWS or texts.are_objects(texts.text_of(path, texts.SNIFFED))
    made = tables.from_rows(path, clock) if is_rows else lines.from_lines(path, clock)
    made.clock = told.columns.get(clock, made.clock) if clock else made.clock
    return made


def _instead(path: Path, several: bool) -> str:
    """What to name in place of a folder that holds no log, or several."""
    if several:
        return "name the file"
    inside = [below.name for below in sorted(path.iterdir()) if below.is_dir() and _files(below, LOGS)]
    if inside:
        return f"name the folder of a run: there are logs in {', '.join(inside[:3])}"
    unread = [file.name for file in sorted(path.iterdir()) if file.suffix in PACKED]
    if any(path.glob("*.wandb")):
        return "of Weights & Biases, export the charts as CSV and name that file"
    return f"unpack {unread[0]} first" if unread else "name the folder of a run, or a file"


def _files(folder: Path, patterns: tuple[str, ...]) -> list[Path]:
    """The files in a folder, though not below it, with such names."""
    return [file for pattern in patterns for file in sorted(folder.glob(pattern)) if file.is_file()]


def _foreign(path: Path, table: tables.Table, told: Told) -> History:
    """The history of somebody else's log."""
    told = replace(told, batch=table.facts.get("batch") if told.batch is None else told.batch)
    if any(name.startswith("Balance/") for name in table.series):
        history = run.from_board(table)
        history.facts |= told.facts()
        return history
    log = Logged(table, {})
    family = next((one for one in FAMILIES if one.wrote(log)), None)
    log.facts |= {"source": "a table" if family is None else family.name, "remarks": _remarks(family, table, told)}
    log.facts |= (dict(family.facts) if family else {}) | table.facts
    told_in = _unit(table.clock, family)
    log.facts["unit"] = "kimg" if told.batch is not None and told_in not in UNCOUNTED else told_in.removesuffix("s")
    log.facts |= told.facts()
    if family is not None:
        family.doubt(log)
    conversions = mapping.named(log) | (dict(family.signals) if family else {}) | mapping.mapped(told, log)
    history = History(facts=log.facts)
    for signal, convert in conversions.items():
        points = convert(log)
        if signal == "frechet" and (broken := len(points) - len(points := possible(points))):
            log.remark(IMPOSSIBLE.format(broken))
        if points:
            history.signals[signal] = [(_kimg(step, table.clock, family, told), value) for step, value in points]
    history.facts["unused"] = sorted(set(table.series) - log.used)
    watched = log.used | {log.name(mark) or mark for mark in (family.marks if family else ())}
    died = sorted({step for name in watched for step in table.died(name)})
    if history.signals and died:
        history.signals["nonfinite"] = [(_kimg(step, table.clock, family, told), 1.0) for step in died]
    if not history.signals:
        raise InputError(_nothing(path, log, told))
    for signal, why in family.missing.items() if family else ():
        if signal not in history.signals:
            log.remark(why)
    if (moments := max(map(len, history.signals.values()))) < FEW:
        log.remark(THIN.format(moments, "s" if moments > 1 else ""))
    return history


def _nothing(path: Path, log: Logged, told: Told) -> str:
    """Why a log tells no signal, and what to do."""
    table, remarks, source = log.table, log.facts["remarks"], log.facts["source"]
    if not table.series:
        lost = f"; not one finite value in {', '.join(sorted(table.lost))}" if table.lost else ""
        return (
            f"no number could be read in {path}{lost}. A table begins with a line of names; a line of JSON is an "
            "object of numbers"
        )
    silent = ". ".join(one for one in remarks if "tells nothing" in one)
    if set(told.columns.values()) - set(tables.CLOCKS):
        return f"nothing that was mapped in {path} tells a signal. {silent}"
    if silent:
        return f"{path}: {silent}" if source == "a table" else f"{path} is a log of {source}: {silent}"
    return (
        f"no name in {path} is known; it has {', '.join(sorted(table.series)[:20])}. Say what they are: "
        "--map NAME=SIGNAL (docs/parts.md has the signals), with losses as loss_D and loss_G together with --loss"
    )


def _remarks(family: Family | None, table: tables.Table, told: Told) -> list[str]:
    """What is taken for granted, and what its numbers leave open."""
    usual = family is not None and "loss" in family.usual and told.loss is None and "loss" not in table.facts
    said = [text for text in (family.remarks if family else ()) if TAKEN not in text or usual]
    known = family is None or {**family.facts, **table.facts}.get("loss") or told.loss
    if table.facts.get("added"):
        said.append(ADDED)
    elif not known:
        said.append("which loss was trained is not in the log, and its value alone tells nothing; say --loss")
    if _unit(table.clock, family) != "kimg" and (told.batch is None or _unit(table.clock, family) in UNCOUNTED):
        unit = _unit(table.clock, family)
        said.append(f"time is counted in {unit}s, not kimg{'' if unit in UNCOUNTED else '; say --batch'}")
    return [*said, AGAIN] if table.again else said


def _unit(clock: str, family: Family | None) -> str:
    """What time is counted in; rows are epochs where a family writes one for each."""
    if family is not None and (clock == "step" or (clock == "row" and family.clock == "epoch")):
        return family.clock
    return clock.rstrip("s")


def _kimg(step: float, clock: str, family: Family | None, told: Told) -> float:
    """The moment in thousands of samples, or as it was counted where that is not known."""
    if _unit(clock, family) in ("kimg", *UNCOUNTED) or told.batch is None:
        return step
    return step * told.batch / 1000
