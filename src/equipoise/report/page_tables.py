"""What a page says in words and tables: where a run stands, what to try next, its last readings, its settings."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from equipoise.diagnosis import Severity
from equipoise.report.page_record import Record
from equipoise.signals import SIGNALS

HIDDEN = ("class_names", "origin", "fingerprint", "threads", "own_networks", "version", "shape")


class Metric(NamedTuple):
    """A signal's last reading in each run, nan where it is not told."""

    name: str
    meaning: str
    balance: str
    first: list[float]
    last: list[float]


class Setting(NamedTuple):
    """A value of a run, and where it came from."""

    path: str
    value: str
    origin: str

    @property
    def chosen(self) -> bool:
        """Whether somebody or something chose it, rather than the recipe or a default."""
        return self.origin != "default" and not self.origin.startswith("recipe ")


def facts(record: Record) -> list[str]:
    """Where a run stands, in a few words each."""
    recipe, data, kimg = record.config.get("recipe", {}), record.data, record.history.kimg
    said = [str(record.config["source"])] if "source" in record.config else []
    said += [f"recipe {recipe['name']}"] if "name" in recipe else []
    said += [f"{data['count']:,} samples"] if isinstance(data.get("count"), int) else []
    total = f" of {record.total_kimg:g}" if record.total_kimg else ""
    said += [f"{kimg:g}{total} kimg"] if kimg else []
    steered = {"act": "steered", "advise": "advised"}.get(str(record.config.get("balance")), "")
    said += [f"{steered} by {record.config['controller']}"] if steered and record.config.get("controller") else []
    return [*said, state(record)]


def state(record: Record) -> str:
    """Whether it is over."""
    if record.failure:
        return "failed"
    return "complete" if record.complete else "not at its end: still running, or stopped"


def headline(record: Record) -> tuple[str, str]:
    """How it is with a run, as a word for its severity and a sentence."""
    if record.failure:
        return "alarm", "The run failed."
    verdict = record.verdict
    if verdict is None:
        return "note", "Nothing can be said yet: the run has no reading."
    matters = [one for one in verdict.findings if one.severity > Severity.GOOD]
    if matters:
        first = matters[0]
        return first.severity.name.lower(), sentence(first.summary)
    if verdict.findings:
        return "good", sentence(verdict.findings[0].summary)
    return "none", "Below is what could not be judged."


def advice(record: Record) -> list[tuple[str, list[str]]]:
    """What to do next by the findings that call for it, the gravest first; nothing twice."""
    said: set[str] = set()
    found = []
    for one in record.verdict.findings if record.verdict else ():
        fresh = [sentence(text) for text in one.advice if text not in said]
        said.update(one.advice)
        found += [(one.name, fresh)] if fresh else []
    return found


def sentence(text: str) -> str:
    """With a capital and a full stop."""
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith(('.', '!', '?')) else '.'}" if text else ""


def metrics(records: Sequence[Record]) -> list[Metric]:
    """The signals that any run tells, in the order of `equipoise.signals`."""
    told = {name for record in records for name, points in record.history.signals.items() if points}
    order = [name for name in SIGNALS if name in told] + sorted(told - set(SIGNALS))
    return [
        Metric(
            name,
            *_meaning(name),
            [record.history.early(name) for record in records],
            [record.history.now(name) for record in records],
        )
        for name in order
    ]


def settings(record: Record) -> list[Setting]:
    """Every resolved value by its path; those that somebody chose come first."""
    origin = record.config.get("origin", {})
    rows = [Setting(path, value, _origin(path, origin)) for path, value in values(record).items()]
    return sorted(rows, key=lambda row: (not row.chosen, row.path))


def differing(records: Sequence[Record]) -> list[tuple[str, list[str]]]:
    """The settings in which runs differ, with the value of each."""
    all_values = [values(record) for record in records]
    paths = sorted({path for found in all_values for path in found})
    rows = [(path, [found.get(path, "none") for found in all_values]) for path in paths]
    return [(path, row) for path, row in rows if len(set(row)) > 1]


def values(record: Record) -> dict[str, str]:
    """The configuration by paths as `--set` takes them, in words."""
    flat: dict[str, str] = {}

    def take(prefix: str, found: Any) -> None:
        if isinstance(found, Mapping) and found:
            for name, inner in found.items():
                take(f"{prefix}.{name}", inner)
        else:
            flat[_short(prefix)] = "as it is by default" if found == {} and "." in _short(prefix) else _text(found)

    for name, found in record.config.items():
        if name not in HIDDEN:
            take(name, found)
    return flat


def _short(path: str) -> str:
    path = "recipe" if path == "recipe.name" else path.removeprefix("recipe.")
    return path.removeprefix("terms.").removeprefix("augmentations.").replace("network.options.", "network.")


def _origin(path: str, origin: Any) -> str:
    known = {_short(str(name)): str(said) for name, said in origin.items()} if isinstance(origin, Mapping) else {}
    return known.get(path, "default")


def _text(value: Any) -> str:
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:g}"
    return value if isinstance(value, str) else "none" if value in (None, [], {}) else json.dumps(value)


def _meaning(name: str) -> tuple[str, str]:
    known = SIGNALS.get(name.rpartition("/")[2])
    return (known.meaning, known.balance) if known else ("", "")
