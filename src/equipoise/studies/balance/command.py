"""What `equipoise bench balance` does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from equipoise.config import check_seed
from equipoise.errors import InputError
from equipoise.files import atomic_write
from equipoise.studies.balance import bench
from equipoise.studies.balance.references import measure, references
from equipoise.studies.balance.rows import ROWS, Row, read
from equipoise.studies.balance.scenarios import named
from equipoise.studies.balance.table import by_scenario, chart, parts, table
from equipoise.studies.study import MOST


def run(
    tasks: str, scenarios: str, arms: str, seeds: Iterable[int], jobs: int, out: Path, record: bool,
    say: Callable[[str], None], stop: Callable[[], bool],
) -> str:  # fmt: skip
    """Run what is missing, write `table.md` and `chart.svg` beside the rows, and return the table."""
    chosen = named(_names("--scenarios", scenarios))
    wanted = bench.cells(_names("--tasks", tasks), chosen, _names("--arms", arms), seeds)
    bench.bench(wanted, out, jobs, record, say, stop)
    rows = [row for row in read(out / ROWS) if row.holds]
    text = report(rows)
    atomic_write(out / "table.md", text)
    atomic_write(out / "chart.svg", chart(rows, references()))
    return text


def run_references(
    tasks: str, seeds: Sequence[int], jobs: int, out: Path, say: Callable[[str], None], stop: Callable[[], bool]
) -> str:
    """Measure the references of tasks from runs of static settings."""
    return measure(_names("--tasks", tasks), seeds, out, jobs, say, stop)


def report(rows: list[Row]) -> str:
    """All tables of rows."""
    against = references()
    found = [table(rows, against)]
    for task in dict.fromkeys(row.task for row in rows):
        means = f"{task}, mean share of the reference, and its difference from untouched over the seeds that both have:"
        found.append(f"{means}\n\n{by_scenario(rows, against, task)}")
        if worth := parts(rows, against, task):
            found.append(f"{task}, what the autopilot's parts are worth where they moved something:\n\n{worth}")
    return "\n".join(found)


def span(first: int, number: int) -> range:
    """The seeds asked for."""
    check_seed("--first-seed", first)
    if number < 1:
        raise InputError(f"--seeds {number} runs nothing; give a whole number from 1")
    if number > MOST:
        raise InputError(f"--seeds {number} would never end; give at most {MOST:,}")
    return range(first, first + number)


def _names(option: str, text: str) -> list[str]:
    found = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not found:
        raise InputError(f"{option} {text!r} names nothing, so that nothing would run; give names with commas between")
    return found
