"""References: what the best static setting scores on each task's data, which cells are held against."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path
from statistics import fmean

from equipoise.files import atomic_write
from equipoise.studies.balance import bench
from equipoise.studies.balance.arms import ARMS
from equipoise.studies.balance.rows import ROWS, Cell, Row, read
from equipoise.studies.balance.scenarios import SCENARIOS
from equipoise.studies.balance.tasks import TASKS

DATA = ("healthy", "tiny data", "long tail", "copies")  # scenarios that differ from healthy by nothing but their data
STATICS = ("untouched", "static", "r1", "r1 0.5", "r1 2", "augmentation")  # tried on each
LAST = 2  # of them that are run with all seeds: those that are best with the first


def references() -> dict[str, dict[str, float]]:
    """Scores of the best static setting by task and data; the file says which setting and how many seeds."""
    text = resources.files(__package__).joinpath("references.json").read_text(encoding="utf-8")
    return {task: {data: one["score"] for data, one in of.items()} for task, of in json.loads(text).items()}


def measure(
    tasks: Sequence[str], seeds: Sequence[int], out: Path, jobs: int, say: Callable[[str], None],
    stop: Callable[[], bool],
) -> str:  # fmt: skip
    """Run every static arm with the first seed and the best two with all; write and return `references.json`."""
    rows = bench.bench(distinct(bench.cells(tasks, DATA, STATICS, seeds[:1])), out, jobs, say=say, stop=stop)
    last = {(task, scenario): finalists(rows, task, scenario) for task in tasks for scenario in DATA}
    more = [cell for cell in bench.cells(tasks, DATA, STATICS, seeds[1:]) if cell.arm in last[cell.task, cell.scenario]]
    if more:
        bench.bench(more, out, jobs, say=say, stop=stop)
    text = json.dumps(best_static(read(out / ROWS), len(seeds)), indent=1) + "\n"
    atomic_write(out / "references.json", text)
    return text


def distinct(cells: Sequence[Cell]) -> list[Cell]:
    """The cells without those of arms that change nothing of a task's settings, but for `untouched`."""

    def same(cell: Cell) -> bool:
        cfg = TASKS[cell.task].cfg
        return cell.arm != "untouched" and ARMS[cell.arm].applied(cfg) == cfg

    return [cell for cell in cells if not same(cell)]


def finalists(rows: Sequence[Row], task: str, scenario: str) -> list[str]:
    """The arms with the highest scores in rows of one seed."""
    own = sorted((row for row in rows if (row.task, row.scenario) == (task, scenario)), key=lambda row: -row.score)
    return [row.arm for row in own[:LAST]]


def best_static(rows: Sequence[Row], seeds: int = 5) -> dict[str, dict[str, dict[str, object]]]:
    """The references that rows tell: of the arms that do not steer, the best mean over at least so many seeds."""
    found: dict[str, dict[str, dict[str, object]]] = {}
    for scenario in DATA:
        for task in sorted({row.task for row in rows}):
            scores: dict[str, list[float]] = {}
            for row in rows:
                if (row.task, row.scenario) == (task, scenario) and not ARMS[row.arm].steers:
                    scores.setdefault(row.arm, []).append(row.score)
            means = {arm: fmean(values) for arm, values in scores.items() if len(values) >= seeds}
            if means:
                best = max(means, key=lambda arm: means[arm])
                one = {"score": round(means[best], 4), "setting": best, "seeds": len(scores[best])}
                found.setdefault(task, {})[SCENARIOS[scenario].data] = one
    return found
