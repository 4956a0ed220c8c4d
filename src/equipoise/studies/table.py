"""The table of a study: per task and setting a mean with its interval, the paired difference, and a sentence."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import asdict, dataclass
from typing import Any

from equipoise.studies.statistics import Estimate, estimate, holm, paired_p
from equipoise.studies.study import Study

LEVEL = 0.05


@dataclass(frozen=True)
class Row:
    """One setting on one task."""

    task: str
    setting: str
    primary: str  # the score that counts
    higher: bool  # whether more of it is better
    values: dict[int, float]  # of the primary score, by seed
    mean: Estimate
    difference: Estimate | None  # to the first setting, paired by seed; None for itself
    p: float  # of the paired t-test, Holm-adjusted within the task; nan where there is none
    failures: list[str]  # the reasons
    others: dict[str, float]  # means of the other scores
    seconds: float  # mean time of a run
    sentence: str


@dataclass(frozen=True)
class Table:
    """All rows, and how to write them."""

    title: str
    seeds: int
    rows: list[Row]

    def tasks(self) -> list[str]:
        """The tasks in their order."""
        return list(dict.fromkeys(row.task for row in self.rows))

    def of(self, task: str) -> list[Row]:
        """The rows of one task."""
        return [row for row in self.rows if row.task == task]

    def text(self) -> str:
        """For the terminal and for Markdown: a table and the sentences, task by task."""
        return "\n".join(line for task in self.tasks() for line in _task_lines(self.of(task)))

    def markdown(self) -> str:
        """The page of the study."""
        said = (
            f"Means over {self.seeds} seed{'s' * (self.seeds > 1)} with 95 % intervals (Student's t). Differences "
            "are to the first setting, paired by seed; one counts as more than seed noise where the paired t-test's p, "
            "adjusted by Holm's method for all settings of the task, is below 0.05."
        )
        return f"# {self.title}\n\n{said}\n\n![chart](chart.svg)\n\n{self.text()}"

    def csv(self) -> str:
        """One line per run."""
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["task", "setting", "seed", "score", "value"])
        for row in self.rows:
            writer.writerows(
                [row.task, row.setting, seed, row.primary, repr(v)] for seed, v in sorted(row.values.items())
            )
        return file.getvalue()

    def json(self) -> str:
        """Everything."""
        return json.dumps(_plain({"title": self.title, "rows": [asdict(row) for row in self.rows]}), indent=1) + "\n"


def tabulate(study: Study, results: list[dict[str, Any]]) -> Table:
    """The table of what has been measured so far."""
    rows = [row for task in study.tasks for row in _rows(study, task.name, results)]
    return Table(study.title, study.seeds, rows)


def _rows(study: Study, task: str, results: list[dict[str, Any]]) -> list[Row]:
    found = [result for result in results if result["task"] == task]
    good = [result for result in found if "scores" in result]
    if not good:
        primary, higher = "none finished", True
    else:
        primary, higher = good[0]["primary"], good[0]["higher"]
    values = {s.name: {r["seed"]: r["scores"][primary] for r in good if r["setting"] == s.name} for s in study.settings}
    first = study.settings[0].name
    pairs = {name: [v[seed] - values[first][seed] for seed in sorted(v.keys() & values[first].keys())]
             for name, v in values.items() if name != first}  # fmt: skip
    ps = dict(zip(pairs, holm([paired_p(d) for d in pairs.values()]), strict=True))
    rows = []
    for name, own in values.items():
        mine = [r for r in found if r["setting"] == name]
        done = [r for r in mine if "scores" in r]
        others = {k: _mean([r["scores"].get(k, math.nan) for r in done]) for k in (done[0]["scores"] if done else {})}
        others.pop(primary, None)
        difference = estimate(pairs[name]) if name in pairs else None
        failures = [r["error"] for r in mine if r["error"]]
        row = Row(task, name, primary, higher, own, estimate(list(own.values())), difference, ps.get(name, math.nan),
                  failures, others, _mean([r["seconds"] for r in done]), "")  # fmt: skip
        rows.append(Row(**{**row.__dict__, "sentence": _sentence(row, first)}))
    return rows


def _sentence(row: Row, first: str) -> str:
    """What the numbers say, and what they do not."""
    lost = f" ({len(row.failures)} of {len(row.failures) + len(row.values)} runs failed)" if row.failures else ""
    if not row.values:
        return f"{row.setting}: no run finished{lost}."
    if row.difference is None:
        return f"{row.setting}: {row.primary} {row.mean.mean:.3f}{lost}; the others are compared with it."
    if not row.difference.n:
        return f"{row.setting}: no seed in common with {first}{lost}."
    change = row.difference.mean
    word = "better" if (change > 0) == row.higher else "worse"
    said = f"{row.setting}: {row.primary} {abs(change):.3f} {'above' if change > 0 else 'below'} {first}"
    if row.difference.n < 2:
        return f"{said}{lost}; one seed says nothing of the noise."
    interval = f" [{row.difference.low:+.3f}, {row.difference.high:+.3f}]"
    if row.p < LEVEL:
        return f"{said}{interval}, {word}{lost}: more than seed noise (p {row.p:.2g})."
    return f"{said}{interval}{lost}: no more than seed noise with {row.difference.n} seeds (p {row.p:.2g})."


def _task_lines(rows: list[Row]) -> list[str]:
    names = list(dict.fromkeys(name for row in rows for name in row.others))
    head = ["setting", "n", "failed", rows[0].primary, "95 %", "difference", "95 %", "p", *names, "s/run"]
    lines = [f"## {rows[0].task}", "", _line(head), _line(["---"] * len(head))]
    for row in rows:
        change = row.difference
        between = [f"{change.mean:+.3f}", _interval(change, "+"), f"{row.p:.2g}"] if change else ["", "", ""]
        others = [f"{row.others[name]:.4g}" if name in row.others else "" for name in names]
        lines.append(_line([row.setting, str(len(row.values)), str(len(row.failures)), f"{row.mean.mean:.3f}",
                            _interval(row.mean), *between, *others, f"{row.seconds:.0f}"]))  # fmt: skip
    reasons = sorted({f"{row.setting}: {reason}" for row in rows for reason in row.failures})
    failed = ["", "Failures:", "", *(f"- {reason}" for reason in reasons)] if reasons else []
    return [*lines, "", *(f"- {row.sentence}" for row in rows), *failed, ""]


def _interval(one: Estimate, sign: str = "") -> str:
    return "" if math.isnan(one.low) else f"{one.low:{sign}.3f} to {one.high:{sign}.3f}"


def _line(fields: list[str]) -> str:
    return "| " + " | ".join(fields) + " |"


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def _plain(value: Any) -> Any:
    """JSON has no NaN and no infinity."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
