"""The tables of studies/balance.md, from the rows of the benchmark: docs/generate.py writes them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import sqrt
from pathlib import Path
from statistics import fmean, stdev

from equipoise.studies.balance.arms import ARMS
from equipoise.studies.balance.references import references
from equipoise.studies.balance.rows import Row, read
from equipoise.studies.balance.scenarios import SCENARIOS
from equipoise.studies.balance.table import FAIRLY, WELL, parts, shares

ROWS = Path(__file__).parent / "studies" / "balance" / "rows.jsonl"
SHORT = ("ring8", "digits")  # the tasks of the aim
LONG = ("grid25", "conv16", "stacked")
UNSEEN = ("spiral", "clouds")
RECIPES = ("autopilot", "untouched", "static", "favourites")
SINGLE = (
    "untouched", "autopilot", "static", "favourites", "r1", "r1 0.5", "r1 2", "no momentum", "two rates", "one D step",
    "decay", "augmentation", "preset apa", "preset gamma-by-slope", "preset gamma-by-swing", "preset gap-aware-loop",
    "preset lecam-by-memory", "preset rates-by-wins", "preset steps-by-gap",
)  # fmt: skip
REMEDIED = (
    "D's rate x10", "D's rate /10", "G's rate x10", "G's rate /10", "both rates x10", "both rates /10", "ten D steps",
    "initialisation x4", "tiny data", "healthy",
)  # fmt: skip
SEEDS = range(110, 115)  # of the main table
FEW_SEEDS = range(110, 113)  # of twins and remedies
KINDS = {"repairable": "repairable", "disturbed": "disturbed", "control": "controls"}  # and how they are called
Key = tuple[str, str, str, int]  # task, scenario, arm, seed


@functools.cache
def rows() -> list[Row]:
    """The rows that hold for the rules of today."""
    return [row for row in read(ROWS) if row.holds]


@functools.cache
def found() -> dict[Key, float]:
    """Shares of the reference."""
    return {(*names, seed): value for names, of in shares(rows(), references()).items() for seed, value in of.items()}


def of_kind(kind: str) -> list[str]:
    """The names of scenarios."""
    return [name for name, scenario in SCENARIOS.items() if scenario.kind == kind]


def own(arm: str, tasks: Iterable[str], scenarios: Iterable[str], seeds: Iterable[int]) -> dict[Key, float]:
    """The shares of an arm's cells, under the keys of untouched."""
    keys = [(t, s, "untouched", seed) for seed in seeds for t in tasks for s in scenarios]
    return {key: found()[key[0], key[1], arm, key[3]] for key in keys if (key[0], key[1], arm, key[3]) in found()}


def passed(values: Iterable[float], least: float = WELL) -> int:
    """How many cells come to a share of the reference."""
    return sum(value >= least for value in values)


def near(value: float) -> str:
    """A share as it is written."""
    return f"{value:.2f}".removeprefix("0")


# ------------------------------------------------------------------------------------------------ the tables


def in_short() -> str:
    """The share of cells at 95 and at 90 % of the reference, by kind and arm."""
    lines = [["share of cells at 95 % (at 90 %) of the reference", *RECIPES]]
    for kind, name in KINDS.items():
        cells = [list(own(arm, SHORT, of_kind(kind), SEEDS).values()) for arm in RECIPES]
        said = [f"{percent(of)} ({percent(of, FAIRLY)})" for of in cells]
        lines.append([name, *(f"{one} of {len(of)}" for one, of in zip(said, cells, strict=True))])
    return written(lines)


def percent(values: Sequence[float], least: float = WELL) -> str:
    """The share of those that pass."""
    return f"{100 * passed(values, least) / len(values):.0f} %"


def gains() -> str:
    """What the autopilot adds to untouched."""
    lines = [["difference from untouched, shares of the reference", "cells", "mean ± standard error", "lowest"]]
    told = {name: of_kind(kind) for kind, name in KINDS.items()}
    for name, scenarios in (told | {"of these, healthy and minimax": ["healthy", "minimax"]}).items():
        with_it, without = (own(arm, SHORT, scenarios, SEEDS) for arm in ("autopilot", "untouched"))
        each = [value - without[key] for key, value in with_it.items() if key in without]
        error = stdev(each) / sqrt(len(each))
        lines.append(
            [name, f"{len(each)}", f"{signed(fmean(each))} ± {error:.3f}".replace("± 0", "± "), signed(min(each))]
        )
    return written(lines)


def signed(value: float) -> str:
    """A difference as it is written."""
    return f"{value:+.3f}".replace("0.", ".", 1)


def unseen() -> str:
    """Both arms by kind on tasks that no rule was made on."""
    arms = [(arm, task) for task in UNSEEN for arm in ("autopilot", "untouched")]
    lines = [["share of cells at 95 % (at 90 %)", *(f"{arm}, {task}" for arm, task in arms)]]
    for kind, name in (KINDS | {"repairable": "repairable but for data", "further": "further"}).items():
        cells = [list(own(arm, [task], of_kind(kind), [110]).values()) for arm, task in arms]
        many = "{} cells each".format(*{len(of) for of in cells})
        lines.append([f"{name}, {many}", *(f"{percent(of)} ({percent(of, FAIRLY)})" for of in cells)])
    return written(lines)


def further() -> str:
    """Autopilot and untouched on the further kinds: a column each."""
    return written(
        [["", *of_kind("further")], *([task, *(both(task, s, [110]) for s in of_kind("further"))] for task in SHORT)]
    )


def mixed() -> str:
    """The same on the mixed ones: a line each."""
    return written([["", *SHORT], *([s, *(both(task, s, [110]) for task in SHORT)] for s in of_kind("mixed"))])


def longer() -> str:
    """The same on the long tasks and on convolutions, over the seeds that both have."""
    names = [name for kind in KINDS for name in of_kind(kind)]
    lines = [["scenario", *LONG], *([name, *(both(task, name, SEEDS, many=True) for task in LONG)] for name in names)]
    return written([line for line in lines if any(line[1:])])


def both(task: str, scenario: str, seeds: Iterable[int], many: bool = False) -> str:
    """The mean shares of autopilot and untouched over the seeds that both have; with `many`, of how many seeds."""
    with_it, without = (own(arm, [task], [scenario], seeds) for arm in ("autopilot", "untouched"))
    keys = with_it.keys() & without.keys()
    if not keys:
        return ""
    said = ", ".join(near(fmean(of[key] for key in keys)) for of in (with_it, without))
    return f"{said} ({len(keys)})" if many else said


def recipes() -> str:
    """Autopilot and fixed recipes on the long tasks: cells that all four arms were run on."""
    lines = [["mean share, cells at 95 % (at 90 %)", *RECIPES]]
    whole = [name for name in of_kind("repairable") if SCENARIOS[name].data == "whole"]
    other = [name for name in of_kind("repairable") if name not in whole]
    for name, scenarios in {"repairable but for data": whole, "data": other, "healthy": ["healthy"]}.items():
        for task in LONG:
            cells = [own(arm, [task], scenarios, SEEDS) for arm in RECIPES]
            keys = set.intersection(*map(set, cells))
            if keys:
                values = [[of[key] for key in keys] for of in cells]
                said = [f"{near(fmean(of))}, {passed(of)} ({passed(of, FAIRLY)})" for of in values]
                lines.append([f"{task}, {name}: {counted(keys)}", *said])
    return written(lines)


def counted(keys: Iterable[Key]) -> str:
    """How many cells, of how many seeds."""
    keys, seeds = list(keys), len({key[3] for key in keys})
    return f"{len(keys)} cell{'s' * (len(keys) > 1)} of {seeds} seed{'s' * (seeds > 1)}"


def remedies(task: str) -> str:
    """Single remedies and closed loops: means, in bold where all seeds pass, and how many cells pass."""
    lines = [["arm", *REMEDIED, "at 95 %"]]
    for arm in SINGLE:
        cells = [list(own(arm, [task], [scenario], FEW_SEEDS).values()) for scenario in REMEDIED]
        said = [bold(near(fmean(of)), passed(of) == len(of)) for of in cells]
        lines.append([arm, *said, f"{sum(map(passed, cells))} of {sum(map(len, cells))}"])
    return written(lines)


def bold(text: str, really: bool) -> str:
    """With the marks, or without."""
    return f"**{text}**" if really else text


def twins(task: str) -> str:
    """What the autopilot's parts are worth."""
    some = [row for row in rows() if row.seed in FEW_SEEDS and SCENARIOS[row.scenario].kind in (*KINDS, "report only")]
    return parts([row for row in some if ARMS[row.arm].without or row.arm == "autopilot"], references(), task).strip()


def written(lines: Sequence[Sequence[str]]) -> str:
    """Markdown."""
    head, *others = lines
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, ["---"] * len(head), *others))


TABLES: Mapping[str, Callable[[], str]] = {
    "balance-in-short": in_short, "balance-gains": gains, "balance-unseen": unseen, "balance-further": further,
    "balance-mixed": mixed, "balance-longer": longer, "balance-recipes": recipes,
    **{f"balance-twins-{task}": functools.partial(twins, task) for task in SHORT},
    **{f"balance-remedies-{task}": functools.partial(remedies, task) for task in SHORT},
}  # fmt: skip
