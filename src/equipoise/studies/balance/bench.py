"""The benchmark of balance: cells of tasks, scenarios, arms and seeds, each in its own process; what is done stays.

`rows.jsonl` in the folder holds one line a cell. The same command again runs only the cells that have no line yet.
"""

from __future__ import annotations

import functools
import json
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import asdict, replace
from itertools import chain, count
from pathlib import Path

from equipoise.balancer import Move
from equipoise.errors import InputError, TrainingFailed
from equipoise.files import atomic_write
from equipoise.registry import suggest
from equipoise.studies.balance.arms import ARMS
from equipoise.studies.balance.rows import ROWS, Cell, Row, read
from equipoise.studies.balance.scenarios import SCENARIOS
from equipoise.studies.balance.tasks import TASKS
from equipoise.studies.pool import ENVIRONMENT

LEAVING = ("untouched", "autopilot")  # arms whose rows others inherit
IMPORTED = ("equipoise.studies.balance.bench", "equipoise.studies.balance.adapter", "equipoise.diagnosis.recordings")


def cells(
    tasks: Sequence[str], scenarios: Sequence[str], arms: Sequence[str], seeds: Iterable[int]
) -> list[Cell]:  # fmt: skip
    """All cells, seed by seed, so that a benchmark that is stopped early is whole for the seeds it has done."""
    for kind, chosen, known in (("task", tasks, TASKS), ("scenario", scenarios, SCENARIOS), ("arm", arms, ARMS)):
        for name in chosen:
            if name not in known:
                raise InputError(f"there is no {kind} called {name!r}{suggest(name, list(known))}")
    for name in tasks:
        vain = [arm for arm in arms if not ARMS[arm].fits(TASKS[name].cfg)]
        if vain:
            raise InputError(f"{vain[0]!r} augments images, and {name} has vectors; ask for it on a task of images")
    found = [Cell(t, s, a, seed) for seed in seeds for t in tasks for s in scenarios for a in arms]
    return sorted(found, key=lambda cell: (cell.seed, cell.arm not in LEAVING))  # others may inherit: see below


def _free(folder: Path) -> Path:
    """The folder, or the next beside it where a benchmark that was stopped has left a half of a recording."""
    names = (folder.with_name(f"{folder.name}~{number}") for number in count(2))
    return next(path for path in chain([folder], names) if not path.exists())


def run(cell: Cell, record: Path | None = None) -> Row:
    """Train and score one cell, in this process; with `record` its run folder is kept there."""
    import torch

    from equipoise.studies.balance import adapter

    torch.set_num_threads(1)
    task, scenario, arm = TASKS[cell.task], SCENARIOS[cell.scenario], ARMS[cell.arm]
    cfg, material = arm.applied(scenario.applied(task.cfg)), task.material(cell.seed, scenario.data)
    began, judged, error = time.monotonic(), {"": 0.0}, ""
    moves: list[Move] = []
    out = None if record is None else _free(record / cell.folder)
    try:
        made, moves = adapter.steered(
            cfg, material.rows, cell.seed, material.samples, out=out, disturb=scenario.disturb(cfg),
            controller=arm.controller, without=arm.without,
        )  # fmt: skip
        seconds = time.monotonic() - began
        judged = {name: round(value, 4) for name, value in material.judge(made).items()}
    except TrainingFailed as failure:
        seconds, error = time.monotonic() - began, str(failure)
    score, *_ = judged.values()
    beside = dict(list(judged.items())[1:])
    turned = dict(Counter(move.loop.rpartition(": ")[2] for move in moves))
    return Row(
        cell.task, cell.scenario, cell.arm, cell.seed, score, round(seconds, 1), len(moves), turned, error, beside,
        arm.form,
    )  # fmt: skip


@functools.cache
def identity(cell: Cell) -> tuple[object, ...]:
    """What a run is made of: of two cells where all of it is the same, the runs are the same to the bit."""
    arm, scenario = ARMS[cell.arm], SCENARIOS[cell.scenario]
    cfg = arm.applied(scenario.applied(TASKS[cell.task].cfg))
    steering = (arm.controller, arm.without) if arm.steers else None
    return cell.task, cell.seed, scenario.data, scenario.blow, json.dumps(cfg, sort_keys=True), steering


def inherited(cell: Cell, rows: Mapping[Cell, Row]) -> Row | None:
    """The row of a cell that is the same run as another, to the bit.

    Without a part that moves nothing in the twin with all parts; or with the same settings in the end, where an arm
    asks for what the scenario has already, or ignores what the scenario changes.
    """
    whole = _twin(cell, rows)
    return None if whole is None else replace(whole, scenario=cell.scenario, arm=cell.arm)


def _twin(cell: Cell, rows: Mapping[Cell, Row]) -> Row | None:
    """The row of another cell whose run is the same."""
    arm = ARMS[cell.arm]
    if arm.without:
        whole = rows.get(replace(cell, arm=arm.controller))
        idle = whole is not None and whole.turned is not None and not set(arm.without) & set(whole.turned)
        return whole if idle else None
    mine = identity(cell)
    return next((row for known, row in rows.items() if known != cell and identity(known) == mine), None)


def bench(
    wanted: Sequence[Cell],
    out: Path,
    jobs: int = 1,  # processes at a time
    record: bool = False,  # keep the run folder of every cell that is run
    say: Callable[[str], None] = print,
    stop: Callable[[], bool] = lambda: False,
) -> list[Row]:
    """Run the cells that have no row yet, and return the rows of all that are wanted and done."""
    if jobs < 1:
        raise InputError(f"--jobs {jobs} runs nothing; give a whole number from 1")
    rows = read(out / ROWS)
    known = {row.cell: row for row in rows if row.holds}
    missing = [cell for cell in wanted if cell not in known]
    for task in {cell.task for cell in missing}:
        TASKS[task].ready()
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{out} cannot be a folder for rows ({error.strerror}); give --out another") from None
    atomic_write(out / ROWS, "".join(json.dumps(asdict(row)) + "\n" for row in rows))  # without a cut-off line
    outdated = len({row.cell for row in rows if not row.holds} & set(missing))
    again = f" ({outdated} of them again, since the autopilot's rules have changed)" if outdated else ""
    say(f"{len(wanted)} cells, {len(missing)} to run{again}, {jobs} at a time; rows: {out / ROWS}")
    recordings = out / "runs" if record else None
    with (out / ROWS).open("a", encoding="utf-8") as file:
        for number, row in enumerate(_work(missing, known, jobs, recordings, stop), 1):
            file.write(json.dumps(asdict(row)) + "\n")
            file.flush()
            cell = row.cell
            known[cell] = row
            said = row.error or f"{row.score:.3f}"
            say(f"{number}/{len(missing)} {cell.task}, {cell.scenario}, {cell.arm}, seed {cell.seed}: {said}")
    asked = set(wanted)
    return [row for row in read(out / ROWS) if row.cell in asked and row.holds]


def _work(
    missing: Sequence[Cell], known: Mapping[Cell, Row], jobs: int, record: Path | None, stop: Callable[[], bool]
) -> Iterator[Row]:
    """The rows as they come; each cell has a fresh process, and those under way are finished before a stop."""
    os.environ.update(ENVIRONMENT)  # inherited: one thread each
    context, waiting = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn"), iter(missing)
    context.set_forkserver_preload([*IMPORTED])  # once for all cells: 3 of a cell's 14 s
    with ProcessPoolExecutor(min(jobs, len(missing) or 1), mp_context=context, max_tasks_per_child=1) as pool:
        under_way: set[Future[Row]] = set()
        while True:
            while len(under_way) < jobs and not stop() and (cell := next(waiting, None)) is not None:
                if (row := inherited(cell, known)) is not None:
                    yield row
                else:
                    under_way.add(pool.submit(run, cell, record))
            if not under_way:
                return
            done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()
