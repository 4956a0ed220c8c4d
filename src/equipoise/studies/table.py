"""The table of a study: per task and setting a mean with its interval, the paired difference, and a sentence."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from equipoise.jsonable import jsonable
from equipoise.studies.statistics import Estimate, estimate, holm, paired_p
from equipoise.studies.study import Study

LEVEL = 0.05
FIRST, LAST = ("task", "setting", "seed", "primary", "higher"), ("seconds", "error")  # columns beside the scores
NOTE = (
    "Intervals are 95 % by Student's t over the seeds. Differences are to the first setting, paired by seed. One "
    "counts as more than seed noise where the paired t-test's p, adjusted by Holm's method for all settings of a "
    "task, is below 0.05; the intervals are not adjusted."
)
ALONE = "Each setting was run with one seed: there are no intervals, and no difference can be told from seed noise."


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
    results: list[dict[str, Any]]  # of every cell that has ended, as read
    planned: int  # cells in all

    def tasks(self) -> list[str]:
        """The tasks in their order."""
        return list(dict.fromkeys(row.task for row in self.rows))

    def of(self, task: str) -> list[Row]:
        """The rows of one task."""
        return [row for row in self.rows if row.task == task]

    def notes(self) -> list[str]:
        """How to read it, and what is missing."""
        left = self.planned - len(self.results)
        unfinished = [f"{left} of {self.planned} runs have not ended yet."] if left else []
        return [NOTE if self.seeds > 1 else ALONE, *unfinished]

    def text(self) -> str:
        """For the terminal: the scores that count and the sentences, task by task, and how to read them."""
        lines = [line for task in self.tasks() for line in _task_lines(self.of(task), _aligned)]
        return "\n".join([*lines, *self.notes()])

    def markdown(self) -> str:
        """The page of the study."""
        lines = [line for task in self.tasks() for line in _task_lines(self.of(task), _marked, others=True)]
        head = [f"# {self.title}", "", " ".join(self.notes()), "", "![chart](chart.svg)", ""]
        return "\n".join([*head, *lines]).rstrip() + "\n"

    def csv(self) -> str:
        """One line per run: its scores, its time and, if it failed, why."""
        names = list(dict.fromkeys(name for one in self.results for name in one.get("scores", {})))
        file = io.StringIO()
        writer = csv.DictWriter(file, [*FIRST, *names, *LAST], restval="", lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        writer.writerows({**one, **one.get("scores", {})} for one in self.results)
        return file.getvalue()

    def json(self) -> str:
        """Everything."""
        data = {
            "title": self.title,
            "seeds": self.seeds,
            "planned": self.planned,
            "rows": [asdict(r) for r in self.rows],
        }
        return json.dumps(jsonable(data | {"results": self.results}), indent=1) + "\n"


def from_csv(study: Study, text: str) -> Table:
    """The table of a study whose results were kept as CSV, so that figures can be computed again."""
    results = [_result(line) for line in csv.DictReader(io.StringIO(text))]
    return tabulate(study, results)


def _result(line: dict[str, str]) -> dict[str, Any]:
    scores = {name: float(value) for name, value in line.items() if name not in (*FIRST, *LAST) and value}
    plain = {"task": line["task"], "setting": line["setting"], "seed": int(line["seed"]), "error": line["error"],
             "seconds": float(line["seconds"])}  # fmt: skip
    judged = {"primary": line["primary"], "higher": line["higher"] == "True", "scores": scores}
    return plain | (judged if line["primary"] else {})


def tabulate(study: Study, results: list[dict[str, Any]]) -> Table:
    """The table of what has been measured so far."""
    rows = [row for task in study.tasks for row in _rows(study, task.name, results)]
    return Table(study.title, study.seeds, rows, results, len(study.cells()))


def _rows(study: Study, task: str, results: list[dict[str, Any]]) -> list[Row]:
    """The rows of one task: means of what finished, differences to the first setting, and what both say together."""
    found = [result for result in results if result["task"] == task]
    done = [result for result in found if "scores" in result]
    primary, higher = (done[0]["primary"], done[0]["higher"]) if done else ("none finished", True)
    values = {s.name: {r["seed"]: r["scores"][primary] for r in done if r["setting"] == s.name} for s in study.settings}
    first = study.settings[0].name
    pairs = {name: [own[seed] - values[first][seed] for seed in sorted(own.keys() & values[first].keys())]
             for name, own in values.items() if name != first}  # fmt: skip
    ps = dict(zip(pairs, holm([paired_p(d) for d in pairs.values()]), strict=True))
    rows = []
    for name, own in values.items():
        finished = [r for r in done if r["setting"] == name]
        names = dict.fromkeys(key for r in finished for key in r["scores"] if key != primary)
        row = Row(
            task=task,
            setting=name,
            primary=primary,
            higher=higher,
            values=own,
            mean=estimate(list(own.values())),
            difference=estimate(pairs[name]) if name in pairs else None,
            p=ps.get(name, math.nan),
            failures=[r["error"] for r in found if r["setting"] == name and r["error"]],
            others={key: _mean([_number(r["scores"].get(key)) for r in finished]) for key in names},
            seconds=_mean([r["seconds"] for r in finished]),
            sentence="",
        )
        rows.append(replace(row, sentence=_sentence(row, first)))
    return rows


def _sentence(row: Row, first: str) -> str:
    """What the numbers say, and what they do not."""
    failed, ended = len(row.failures), len(row.failures) + len(row.values)
    lost = f" ({failed} of {ended} runs failed, and the mean is over the others)" if failed else ""
    if not row.values:
        return f"{row.setting}: no run finished" + (f", {failed} failed." if failed else " yet.")
    if row.difference is None:
        return f"{row.setting}: {row.primary} {row.mean.mean:.3f}{lost}; the others are compared with it."
    if not row.difference.n:
        return f"{row.setting}: no seed finished both here and with {first}{lost}."
    change = row.difference.mean
    if row.difference.n > 1 and change == row.difference.low == row.difference.high == 0:
        return f"{row.setting}: {row.primary} the same as {first} in all {row.difference.n} seeds{lost}."
    word = "better" if (change > 0) == row.higher else "worse"
    said = f"{row.setting}: {row.primary} {abs(change):.3f} {'above' if change > 0 else 'below'} {first}"
    if row.difference.n < 2:
        return f"{said}{lost}; one seed says nothing of the noise."
    interval = f" [{row.difference.low:+.3f}, {row.difference.high:+.3f}]"
    if row.p < LEVEL:
        return f"{said}{interval}, {word}{lost}: more than seed noise (p {row.p:.2g})."
    return f"{said}{interval}{lost}: no more than seed noise with {row.difference.n} seeds (p {row.p:.2g})."


def _task_lines(rows: list[Row], laid: Callable[[list[list[str]]], list[str]], others: bool = False) -> list[str]:
    names = list(dict.fromkeys(name for row in rows for name in row.others)) if others else []
    fields = [["setting", "n", "failed", rows[0].primary, "95 %", "difference", "95 %", "p", *names, "s/run"]]
    for row in rows:
        change = row.difference
        between = [_said(change.mean, "+.3f"), _interval(change, "+"), _said(row.p, ".2g")] if change else ["", "", ""]
        beside = [_said(row.others.get(name, math.nan), ".4g") for name in names]
        fields.append([row.setting, str(len(row.values)), str(len(row.failures)), _said(row.mean.mean, ".3f"),
                       _interval(row.mean), *between, *beside, _said(row.seconds, ".3g")])  # fmt: skip
    reasons = sorted({f"{row.setting}: {reason}" for row in rows for reason in row.failures})
    failed = ["", "Failures (--retry runs them again):", "", *(f"- {reason}" for reason in reasons)] if reasons else []
    return [f"## {rows[0].task}", "", *laid(fields), "", *(f"- {row.sentence}" for row in rows), *failed, ""]


def _marked(rows: list[list[str]]) -> list[str]:
    """A table in Markdown, the first row its head."""
    return [_line(rows[0]), _line(["---"] * len(rows[0])), *map(_line, rows[1:])]


def _aligned(rows: list[list[str]]) -> list[str]:
    """A table in columns, the first of which begins at the left."""
    first, *others = [max(map(len, column)) for column in zip(*rows, strict=True)]
    form = "  ".join([f"{{:{first}}}", *(f"{{:>{width}}}" for width in others)])
    return [form.format(*row) for row in rows]


def _said(value: float, form: str) -> str:
    return "" if math.isnan(value) else format(value, form)


def _number(value: float | None) -> float:
    return math.nan if value is None else value  # what was not finite


def _interval(one: Estimate, sign: str = "") -> str:
    return "" if math.isnan(one.low) else f"{one.low:{sign}.3f} to {one.high:{sign}.3f}"


def _line(fields: list[str]) -> str:
    return "| " + " | ".join(field.replace("|", "\\|") for field in fields) + " |"


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else math.nan
