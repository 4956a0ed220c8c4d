"""The benchmark's rows as a table: by arm and kind of scenario, in shares of the best static setting."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import nan
from statistics import fmean, median, quantiles

from equipoise.studies import table as tables
from equipoise.studies.balance.arms import ARMS
from equipoise.studies.balance.rows import Row
from equipoise.studies.balance.scenarios import KINDS, SCENARIOS
from equipoise.studies.chart import draw
from equipoise.studies.statistics import estimate

WELL, FAIRLY = 0.95, 0.90  # shares of the reference
FEW = 0.5  # of the cells of the arm that was run most: what has less is not charted
FEWEST = 4  # pairs of runs whose middle half is told
References = Mapping[str, Mapping[str, float]]  # task, data: score of the best static setting
Shares = dict[tuple[str, str, str], dict[int, float]]  # task, scenario, arm: scores over their reference, by seed
NOTE = (
    "Worst: the lowest of all runs, but for scenarios of report only. Harm: on the control that lost most, the mean "
    "loss against untouched over the seeds that both have, in shares of the reference; below 0 no control lost. "
    "Moves: the median. Overhead: seconds of training as a multiple of untouched's in the same cell, the median over "
    "the cells that went through under both, and in brackets the middle half of them; runs that were inherited are not "
    "counted. A clock took the seconds, on machines that did other work too, and often hours lie between the two runs "
    "of a cell, so that factors below 2 say little.\n"
)


def shares(rows: Sequence[Row], against: References) -> Shares:
    """Scores over their references; a cell whose reference nobody measured is left out."""
    found: Shares = {}
    for row in rows:
        if reference := _reference(row, against):
            found.setdefault((row.task, row.scenario, row.arm), {})[row.seed] = row.score / reference
    return found


def table(rows: Sequence[Row], against: References) -> str:
    """Markdown: for each task and arm the share of cells at 95 and at 90 % of the reference, by kind of scenario.

    Twins without a part have a table of their own, `parts`.
    """
    rows = [row for row in rows if not ARMS[row.arm].without]
    found, lines = shares(rows, against), []
    head = ["task", "arm", *(f"{kind} (95 / 90 %)" for kind in KINDS[:-1]), "worst", "harm", "moves", "overhead"]
    lines += ["| " + " | ".join(head) + " |", "| --- " * len(head) + "|"]
    arms = list(dict.fromkeys(row.arm for row in rows))
    for task in dict.fromkeys(row.task for row in rows):
        for arm in arms:
            own = {s: values for (t, s, a), values in found.items() if (t, a) == (task, arm)}
            if not own:
                continue
            cells = [_passed(own, kind) for kind in KINDS[:-1]]
            moves = f"{median(row.moves for row in rows if (row.task, row.arm) == (task, arm)):g}"
            last = [_worst(own), _harm(found, task, arm), moves, _overhead(rows, task, arm)]
            lines.append("| " + " | ".join([task, arm, *cells, *last]) + " |")
    return "\n".join(lines) + "\n\n" + NOTE


def by_scenario(rows: Sequence[Row], against: References, task: str) -> str:
    """Markdown: mean share of the reference for each scenario and arm of a task, and in brackets its gain.

    Twins without a part are left out.
    """
    own = [row for row in rows if row.task == task and not ARMS[row.arm].without]
    found = shares(own, against)
    arms = list(dict.fromkeys(row.arm for row in own))
    lines = ["| scenario | kind | " + " | ".join(arms) + " |", "| --- " * (len(arms) + 2) + "|"]
    for name, scenario in SCENARIOS.items():
        values = [found.get((task, name, arm)) for arm in arms]
        if any(values):
            gains = [_gain(found, task, name, arm) for arm in arms]
            said = [f"{fmean(v.values()):.2f}" + (f" ({gain:+.2f})" if gain is not None else "") if v else ""
                    for v, gain in zip(values, gains, strict=True)]  # fmt: skip
            lines.append(f"| {name} | {scenario.kind} | " + " | ".join(said) + " |")
    return "\n".join(lines) + "\n"


def parts(rows: Sequence[Row], against: References, task: str) -> str:
    """Markdown: what each part of the autopilot is worth on a task, over the cells in which it moved something.

    Scenarios of report only are left out: nothing can be won there.
    """
    own = [row for row in rows if row.task == task and SCENARIOS[row.scenario].kind != "report only"]
    found = {row.cell: row for row in own if row.turned is not None}
    lines = ["| part | moved in | mean with it, without it | at 95 % with it, without it | lowest without it |"]
    lines += ["| --- " * 5 + "|"]
    for name in dict.fromkeys(cell.arm for cell in found if ARMS[cell.arm].without):
        (part,) = ARMS[name].without
        twins = [cell for cell in found if cell.arm == name and replace(cell, arm=ARMS[name].controller) in found]
        pairs = [(found[replace(cell, arm=ARMS[name].controller)], found[cell]) for cell in twins]
        moved = [pair for pair in pairs if part in (pair[0].turned or {}) and _reference(pair[0], against)]
        if not moved:
            continue
        whole, without = ([row.score / _reference(row, against) for row in side] for side in zip(*moved, strict=True))
        well = [sum(value >= WELL for value in side) for side in (whole, without)]
        least = min(zip(without, (row.scenario for _, row in moved), strict=True))
        lines.append(f"| {part} | {len(moved)} of {len(pairs)} | {fmean(whole):.2f}, {fmean(without):.2f} | "
                     f"{well[0]}, {well[1]} | {least[0]:.2f} ({least[1]}) |")  # fmt: skip
    return "\n".join(lines) + "\n" if len(lines) > 2 else ""


def _reference(row: Row, against: References) -> float:
    """What a row is held against; 0 where nobody measured it."""
    return against.get(row.task, {}).get(SCENARIOS[row.scenario].data, 0.0)


def chart(rows: Sequence[Row], against: References) -> str:
    """One dot a cell, its share of the reference, by task, kind and arm: an SVG file.

    Twins and scenarios of report only are left out here too, and arms that were tried on few of a task's cells are in
    the table only.
    """
    rows = [row for row in rows if SCENARIOS[row.scenario].kind != "report only"]
    found: dict[tuple[str, str, str], dict[int, float]] = {}
    many = Counter((row.task, row.arm) for row in rows)
    most = {task: max(number for (of, _), number in many.items() if of == task) for task, _ in many}
    shown = [row for row in rows if not ARMS[row.arm].without and many[row.task, row.arm] >= FEW * most[row.task]]
    for (task, scenario, arm), values in shares(shown, against).items():
        own = found.setdefault((task, SCENARIOS[scenario].kind, arm), {})
        own |= dict(enumerate(values.values(), len(own)))
    lines = [
        tables.Row(task, f"{kind}: {arm}", "share of the best static setting", True, found[task, kind, arm],
                   estimate(list(found[task, kind, arm].values())), None, nan, [], {}, 0.0, "")
        for task, kind, arm in sorted(found, key=lambda key: (key[0], KINDS.index(key[1])))
    ]  # fmt: skip
    return draw(tables.Table("Balance", 1, lines, [], 0))


def _passed(own: Mapping[str, Mapping[int, float]], kind: str) -> str:
    values = [value for name, of in own.items() if SCENARIOS[name].kind == kind for value in of.values()]
    if not values:
        return ""
    well, fairly = (100 * fmean(value >= least for value in values) for least in (WELL, FAIRLY))
    return f"{well:.0f} / {fairly:.0f} % of {len(values)}"


def _worst(own: Mapping[str, Mapping[int, float]]) -> str:
    """The lowest cell of those that count."""
    least = [(min(of.values()), name) for name, of in own.items() if SCENARIOS[name].kind != "report only"]
    return f"{min(least)[0]:.2f} ({min(least)[1]})" if least else ""


def _harm(found: Shares, task: str, arm: str) -> str:
    """The largest mean loss against untouched on a control, in shares of the reference; below 0: gains only."""
    gains = [_gain(found, task, name, arm) for name, scenario in SCENARIOS.items() if scenario.kind == "control"]
    losses = [-gain for gain in gains if gain is not None]
    return f"{max(losses):+.3f}" if losses else ""


def _overhead(rows: Sequence[Row], task: str, arm: str) -> str:
    """Seconds over those of untouched in pairs of runs that went through: their median, and the middle half."""
    own = {row.cell: row.seconds for row in _run(rows) if row.task == task and not row.error}
    pairs = [(seconds, own.get(replace(cell, arm="untouched"))) for cell, seconds in own.items() if cell.arm == arm]
    factors = [seconds / plain for seconds, plain in pairs if plain]
    if arm == "untouched" or not factors:
        return ""
    if len(factors) < FEWEST:
        return f"{median(factors):.1f}"
    low, middle, high = quantiles(factors, n=4, method="inclusive")
    return f"{middle:.1f} ({low:.1f} to {high:.1f})"


def _run(rows: Sequence[Row]) -> list[Row]:
    """The rows that a run of their own made, so that no run is timed twice; those inherited from it are left out.

    Which are those a row does not tell, but of one run all have the same seconds, score and moves.
    """
    found: dict[tuple[object, ...], Row] = {}
    for row in sorted(rows, key=lambda row: row.arm != "untouched"):  # from which others inherit
        found.setdefault((row.task, row.seed, row.seconds, row.score, row.moves), row)
    return list(found.values())


def _gain(found: Shares, task: str, scenario: str, arm: str) -> float | None:
    """The mean difference from untouched over the seeds that both have; None for untouched, and where there is none."""
    plain, own = (found.get((task, scenario, name), {}) for name in ("untouched", arm))
    both = plain.keys() & own.keys()
    return fmean(own[seed] - plain[seed] for seed in both) if both and arm != "untouched" else None
