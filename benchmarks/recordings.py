"""Reference recordings: small runs, healthy and unbalanced on purpose, and how well the rules do on them.

python benchmarks/recordings.py make FOLDER --minutes 50   train cells and keep what was read; the same again goes on
python benchmarks/recordings.py make FOLDER --blind        the same for the blind groups; conv16 needs CIFAR-10
python benchmarks/recordings.py pack FOLDER                label them and write src/equipoise/diagnosis/recorded/*.jsonl
python benchmarks/recordings.py judge                      the rules on what is packed: confusion, false alarms

A group is a task with a loss and its penalties. A run is healthy where its score reached 90 % of the median of its
group's untouched runs. Thresholds were set on the groups of CALIBRATED; the groups of BLIND, with their seeds and
faults, were written down before any rule had seen a run of theirs.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from equipoise.diagnosis import History, Severity, diagnose
from equipoise.diagnosis.recordings import Recording, majority, nearest, shipped
from equipoise.files import atomic_write

HOME = Path(__file__).resolve().parents[1] / "src" / "equipoise" / "diagnosis" / "recorded"
LOOKS = 20  # moments that a packed recording has
TICKS = 30  # looks at a run: a watched one has a hundred by itself, which is half of its time here
SEEDS = 8  # of the untouched runs of a group
STRONG = {"loss": "rpgan", "beta1": 0.0}
GROUPS: dict[str, tuple[str, dict[str, Any]]] = {  # name: task, and settings laid over the task's
    "ring5, non-saturating": ("ring5", {"r1": 0.1}),
    "ring5, hinge": ("ring5", {"loss": "hinge", "r1": 0.1}),
    "ring5, rpgan": ("ring5", STRONG | {"r1": 0.1, "r2": 0.1}),
    "digits, non-saturating": ("digits", {}),
    "digits, hinge": ("digits", {"loss": "hinge", "r1": 0.02}),
    "digits, rpgan": ("digits", STRONG | {"r1": 0.02, "r2": 0.02}),
    "ring8, non-saturating": ("ring8", {"r1": 0.1}),
    "ring8, hinge": ("ring8", {"loss": "hinge", "r1": 0.1}),
    "spiral, non-saturating": ("spiral", {}),
    "spiral, hinge": ("spiral", {"loss": "hinge"}),
    "spiral, rpgan": ("spiral", STRONG | {"r2": 0.3}),
    "clouds, non-saturating": ("clouds", {}),
    "clouds, hinge": ("clouds", {"loss": "hinge"}),
    "conv16, non-saturating": ("conv16", {}),
}
CALIBRATED = ("ring5, non-saturating", "ring5, hinge", "ring5, rpgan")
BLIND = tuple(group for group, (task, _) in GROUPS.items() if task in ("spiral", "clouds", "conv16"))
SHORT = {"ring5": 700, "digits": 700, "ring8": 900, "spiral": 1300, "clouds": 1400, "conv16": 800}  # updates
EMA = 0.985  # of the average that is scored: the tasks' own .998 would still hold the first weights of so short a run
FAULTS = (
    "D's rate /10", "G's rate x10", "tiny data", "ten D steps", "D far too small", "G's rate /10", "beta1 0.9",
    "D's rate x10", "initialisation x4", "copies", "both rates x10", "long tail", "D four times as wide", "batch 8",
)  # fmt: skip
FURTHER = ("both rates /10", "initialisation /5", "R1 of 10", "R1 of 0")  # of the blind groups only
TURNS = 4  # faults of a blind group, taken in turn, so that groups differ
FEWER = {"conv16, non-saturating": (5, 2)}  # untouched runs and faults, where each takes a minute and more
UNTOUCHED = "healthy"
UNREAD = (
    "agreement",
    "logit_scale",
    "gap",
    "lag",
    "churn",
    "nonfinite",
    "auc",
    "gradient_D",
    "spectrum_D",
    "spectrum_G",
)
# by no rule, or told by others too: not packed, and neither is what was 0 throughout


@dataclasses.dataclass(frozen=True)
class Cell:
    """One run."""

    group: str
    scenario: str
    seed: int

    @property
    def file(self) -> str:
        """Where it is kept."""
        return "".join(c if c.isalnum() else "-" for c in f"{self.group} {self.scenario} {self.seed}") + ".json"


def cells() -> list[Cell]:
    """All runs but the blind ones, in an order in which what was done is of every kind whenever it is stopped.

    In each round every group has an untouched run and one fault, another for each group.
    """
    found, groups = [], [group for group in GROUPS if group not in BLIND]
    for number in range(len(FAULTS)):
        if number < SEEDS:
            found += [Cell(group, UNTOUCHED, number) for group in groups]
        found += [Cell(group, FAULTS[(number + 2 * k) % len(FAULTS)], 0) for k, group in enumerate(groups)]
    return found


def blind_cells() -> list[Cell]:
    """The runs of the blind groups, in rounds as well."""
    found, faults = [], FAULTS + FURTHER
    amounts = {group: FEWER.get(group, (SEEDS, TURNS)) for group in BLIND}
    for number in range(SEEDS):
        found += [Cell(group, UNTOUCHED, number) for group in BLIND if number < amounts[group][0]]
        for k, group in enumerate(BLIND):
            if number < amounts[group][1]:
                found.append(Cell(group, faults[(TURNS * k + number) % len(faults)], number))
    return found


# ------------------------------------------------------------------------------------------------ making them


class Keeper:
    """Follows a run and keeps its signals."""

    def __init__(self) -> None:
        self.history = History()

    def tick(self, tick: Any) -> None:
        """Keep a tick."""
        self.history.add(tick.samples / 1000, tick.balance)

    def say(self, text: str) -> None:
        """What is said does not matter here."""


def make(folder: Path, minutes: float, only: str | None = None, blind: bool = False) -> None:
    """Run the cells that are not there yet, or those of one scenario, until the time is over."""
    until = time.monotonic() + 60 * minutes
    folder.mkdir(parents=True, exist_ok=True)
    for number, cell in enumerate(blind_cells() if blind else cells(), 1):
        if (folder / cell.file).exists() or only not in (None, cell.scenario):
            continue
        if time.monotonic() > until:
            break
        began = time.monotonic()
        row = run(cell)
        atomic_write(folder / cell.file, json.dumps(row) + "\n")
        said = f"{row['score']:.3f} in {time.monotonic() - began:.0f} s"
        print(f"{number} {cell.group}, {cell.scenario}, seed {cell.seed}: {said}", flush=True)


def run(cell: Cell) -> dict[str, Any]:
    """Train and score a cell; a run that failed scores 0."""
    import torch

    from equipoise import build, ticks
    from equipoise.errors import EquipoiseError
    from equipoise.samples import generate
    from equipoise.studies.balance import adapter, networks, settings
    from equipoise.studies.balance.scenarios import SCENARIOS
    from equipoise.train import train

    torch.set_num_threads(1)
    task, changes = task_of(cell.group)
    scenario = SCENARIOS[cell.scenario]
    cfg = scenario.applied(task.cfg | {"updates": SHORT[task.name], "ema": EMA} | changes)
    material = task.material(cell.seed, scenario.data)
    full = settings.check(cfg)
    dataset, keeper, score = adapter.as_dataset(material.rows, material.rows.shape[1:]), Keeper(), 0.0
    config = adapter.configured(full, dataset, cell.seed)
    config = dataclasses.replace(config, balance="watch", tick_kimg=config.kimg / TICKS)
    ticks.tick_length = lambda samples, config: int(1000 * config.tick_kimg)
    build.seed_everything(cell.seed)
    stds = full["init_std_g"], full["init_std_d"]
    pair = networks.pair(dataset.shape, full["zdim"], full["g_widths"], full["d_widths"], full["out"] == "tanh", *stds)
    try:
        made = train(config, dataset, None, networks=pair, watcher=keeper).step
        latents = torch.randn(material.samples, made.latent_dim, generator=torch.Generator().manual_seed(cell.seed))
        score = material.score(generate(made.ema.average, latents).numpy())
    except EquipoiseError as error:
        print(f"{cell}: {error}", file=sys.stderr)
    facts = {"count": len(material.rows), "batch": full["batch"], "signless": full["loss"] == "rpgan",
             "total_kimg": config.kimg}  # fmt: skip
    return {"cell": dataclasses.asdict(cell), "cfg": cfg, "facts": facts, "score": score,
            "signals": keeper.history.signals}  # fmt: skip


def task_of(group: str) -> tuple[Any, dict[str, Any]]:
    """The task of a group, and what is laid over its settings."""
    from equipoise.studies.balance import tasks

    name, changes = GROUPS[group]
    easy = dataclasses.replace(tasks.RING8, name="ring5", material=tasks.mixture(tasks.ring(5), 0.1, 4096, 50))
    return {"ring5": easy, **tasks.TASKS}[name], changes


# ------------------------------------------------------------------------------------------------ packing them


def pack(folder: Path) -> None:
    """Label all runs and write them, a line each, a file for each task."""
    rows = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    untouched = [row for row in rows if row["cell"]["scenario"] == UNTOUCHED]
    reference = {
        group: statistics.median(row["score"] for row in untouched if row["cell"]["group"] == group)
        for group in {row["cell"]["group"] for row in untouched}
    }
    files: dict[str, list[str]] = {}
    for row in (row for row in rows if row["cell"]["group"] in reference):
        group = row["cell"]["group"]
        made = packed(row, row["score"] / reference[group])
        files.setdefault(GROUPS[group][0], []).append(json.dumps(dataclasses.asdict(made), separators=(",", ":")))
    HOME.mkdir(exist_ok=True)
    for task, lines in files.items():
        atomic_write(HOME / f"{task}.jsonl", "\n".join(lines) + "\n")
    size = sum(path.stat().st_size for path in HOME.glob("*.jsonl"))
    print(f"{len(rows)} recordings, {size / 1000:.0f} kB; references: {reference}")


def packed(row: Mapping[str, Any], share: float) -> Recording:
    """A run at a few moments: the median of the looks around each."""
    moments = sorted({kimg for points in row["signals"].values() for kimg, _ in points})
    bins = [moments[len(moments) * k // LOOKS : len(moments) * (k + 1) // LOOKS] for k in range(LOOKS)]
    bins = [part for part in bins if part]
    signals = {}
    read = {n: points for n, points in row["signals"].items() if n not in UNREAD and any(v for _, v in points)}
    for name, points in sorted(read.items()):
        known = dict(map(tuple, points))
        values = [[known[kimg] for kimg in part if kimg in known] for part in bins]
        signals[name] = tuple(float(f"{statistics.median(v):.3g}") if v else None for v in values)
    cell, (task, _) = row["cell"], GROUPS[row["cell"]["group"]]
    made = {name: row["cfg"][name] for name in ("lr_g", "lr_d", "beta1", "n_dis", "batch", "r1", "r2", "updates")}
    kimg = tuple(float(f"{part[-1]:.4g}") for part in bins)
    return Recording(task, cell["scenario"], row["cfg"]["loss"], cell["seed"], round(share, 3), made, row["facts"],
                     kimg, signals, cell["group"])  # fmt: skip


# ------------------------------------------------------------------------------------------------ judging the rules


def judge(recordings: Sequence[Recording]) -> str:
    """Tables of what the rules say of the groups that they were set on, of the other earlier and of the blind ones."""
    others = [r for r in recordings if r.group not in CALIBRATED]
    blind = [r for r in others if r.group in BLIND]
    parts = ["### All groups that no threshold was set on", "", rates(others), ""]
    for name, chosen in (
        ("Blind groups", blind),
        ("Groups that thresholds were set on", [r for r in recordings if r.group in CALIBRATED]),
        ("Other earlier groups", [r for r in others if r.group not in BLIND]),
    ):
        parts += [f"### {name}", "", f"At half of the run: {counts(chosen, 0.5)}", "", rates(chosen), ""]
        parts += [*([by_group(chosen), ""] if chosen is blind else []), confusion(chosen), ""]
    return "\n".join([*parts, under_way(recordings), likeness(recordings)])


def under_way(recordings: Sequence[Recording]) -> str:
    """Of all looks at healthy and sick runs, how many are warned of, their lengths known or not."""
    return "\n".join(
        f"While they go on, length {'' if known else 'not '}known, {name}: {_looks(chosen, known)}"
        for name, earlier in (("earlier groups", True), ("blind groups", False))
        for chosen in [[one for one in recordings if (one.group not in BLIND) == earlier]]
        for known in (True, False)
    )


def _looks(recordings: Iterable[Recording], known: bool) -> str:
    said: dict[bool, list[bool]] = {True: [], False: []}
    for one in recordings:
        for kimg in one.kimg:
            history = one.history(1.000001 * kimg / one.kimg[-1])  # rounding leaves none out
            history.facts["total_kimg"] = one.kimg[-1] if known else None
            said[one.healthy].append(diagnose(history).severity >= Severity.WARNING)
    well, ill = said[True], said[False]
    return f"{sum(well)} of {len(well)} looks at healthy and {sum(ill)} of {len(ill)} at sick runs are warned of."


def likeness(recordings: Sequence[Recording]) -> str:
    """How often the recordings of other groups, and of other tasks, that a run is most like came out as it did."""
    return "\n".join(_likeness(recordings, other) for other in ("group", "task"))


def _likeness(recordings: Sequence[Recording], other: str) -> str:
    told = [
        (one, majority(found) == one.healthy)
        for one in recordings
        if (found := nearest(one.history(), [r for r in recordings if getattr(r, other) != getattr(one, other)]))
    ]
    well, ill = ([right for one, right in told if one.healthy == state] for state in (True, False))
    return (
        f"Likened to runs of another {other}: {len(told)} of {len(recordings)}; of these most came out alike in "
        f"{sum(well)} of {len(well)} healthy and {sum(ill)} of {len(ill)} sick ones."
    )


def alarms(recordings: Iterable[Recording], share: float = 1.0) -> dict[bool, tuple[int, int]]:
    """Of healthy (True) and sick runs (False): how many are warned of when a share of each is over, of how many."""
    said: dict[bool, list[bool]] = {True: [], False: []}
    for one in recordings:
        said[one.healthy].append(diagnose(one.history(share)).severity >= Severity.WARNING)
    return {state: (sum(found), len(found)) for state, found in said.items()}


def counts(recordings: Iterable[Recording], share: float) -> str:
    """How many healthy and sick runs are warned of when a share of them is over."""
    (false, well), (true, ill) = alarms(recordings, share).values()
    return f"{false} of {well} healthy and {true} of {ill} sick runs warned of."


def rates(recordings: Sequence[Recording]) -> str:
    """How many healthy, untouched healthy and sick runs are warned of, and the bounds of these shares."""
    (false, well), (true, ill) = alarms(recordings).values()
    bare, untouched = alarms([one for one in recordings if one.scenario == UNTOUCHED])[True]
    return (
        f"Healthy: {false} of {well} warned of; upper 95 % bound {upper(false, well):.3f} (Clopper and Pearson); "
        f"of the untouched ones {bare} of {untouched}, bound {upper(bare, untouched):.3f}.\n"
        f"Sick: {true} of {ill} warned of; lower 95 % bound {1 - upper(ill - true, ill):.3f}."
    )


def by_group(recordings: Sequence[Recording]) -> str:
    """How many healthy and sick runs of each group are warned of."""
    lines = ["| group | healthy: warned of / all | sick: warned of / all |", "| --- | --- | --- |"]
    for group in dict.fromkeys(one.group for one in recordings):
        (false, well), (true, ill) = alarms([one for one in recordings if one.group == group]).values()
        lines.append(f"| {group} | {false} / {well} | {true} / {ill} |")
    return "\n".join(lines)


def confusion(recordings: Iterable[Recording]) -> str:
    """What is found, by scenario and outcome."""
    rows: dict[str, dict[str, int]] = {}
    for one in recordings:
        verdict = diagnose(one.history())
        worst = [found.name for found in verdict.findings if found.severity >= Severity.WARNING]
        said = rows.setdefault(f"{one.scenario}, {'healthy' if one.healthy else 'sick'}", {})
        for finding in worst or [f.name for f in verdict.findings if f.severity == Severity.GOOD] or ["nothing"]:
            said[finding] = said.get(finding, 0) + 1
        said["runs"] = said.get("runs", 0) + 1
    lines = ["| scenario, outcome | runs | findings (runs) |", "| --- | --- | --- |"]
    for name, said in sorted(rows.items()):
        told = sorted(((n, f) for f, n in said.items() if f != "runs"), reverse=True)
        lines.append(f"| {name} | {said['runs']} | {', '.join(f'{f} ({n})' for n, f in told)} |")
    return "\n".join(lines)


def upper(hits: int, trials: int, level: float = 0.95) -> float:
    """The upper bound of a share, one-sided, of Clopper and Pearson (1934, doi:10.1093/biomet/26.4.404)."""
    if hits >= trials:
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _at_most(hits, trials, middle) > 1 - level else (low, middle)
    return high


def _at_most(hits: int, trials: int, share: float) -> float:
    """The chance of so many hits or fewer."""
    term, total = (1 - share) ** trials, 0.0
    for k in range(hits + 1):
        total += term
        term *= (trials - k) / (k + 1) * share / (1 - share) if share < 1 else 0.0
    return total


def main() -> None:
    """Run one command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("make", "pack"):
        commands.add_parser(name).add_argument("folder", type=Path)
    commands.choices["make"].add_argument("--minutes", type=float, default=50.0)
    commands.choices["make"].add_argument("--blind", action="store_true", help="the blind groups")
    commands.choices["make"].add_argument("--only", help="one scenario, such as healthy")
    commands.add_parser("judge")
    given = parser.parse_args()
    if given.command == "make":
        make(given.folder, given.minutes, given.only, given.blind)
    elif given.command == "pack":
        pack(given.folder)
    else:
        print(judge(shipped()))


if __name__ == "__main__":
    main()
