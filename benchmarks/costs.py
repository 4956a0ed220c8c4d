"""What each part costs on top of the plain step, in percent of its time.

Plain are non-saturating loss, Adam and alternating moves, without terms. Each part runs against it in one process, in
blocks in the order A B B A, so that neither a slow drift nor a busy moment of the machine favours one of them.

    python benchmarks/costs.py --threads 1                    # all parts on both pairs of networks, about 40 minutes
    python benchmarks/costs.py --only r1 --only ada --pairs 50
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from step import Move, interval

from equipoise import build, compatibility
from equipoise.errors import InputError
from equipoise.recipe import Recipe
from equipoise.registry import entries, find

KINDS = ("loss", "term", "augmentation", "weighting", "constraint", "rate", "rule", "optimiser")
SETTINGS: dict[str, dict[str, Any]] = {  # what is no registered part
    "spectral normalisation": {"network.norm_D": "spectral"},
    "spectral normalisation, multiplier": {"network.norm_D": "spectral", "network.sn_multiplier": 1.0},
    "gradient normalisation": {"network.norm_D": "gradient"},
    "batch norm in D": {"network.norm_D": "batch"},
    "layer norm in D": {"network.norm_D": "layer"},
    "packs of 2": {"network.pack": 2},
    "minibatch standard deviation": {"network.minibatch_std": True},
    "minibatch discrimination": {"network.minibatch_discrimination": True},
    "dropout in D": {"network.dropout": 0.3},
    "equalised learning rate": {"network.init": "equalised"},
    "magnitude-preserving weights": {"network.init": "magnitude-preserving"},
    "two power-function averages": {"ema_widths": [0.05, 0.1]},
    "gradient clipping": {"G.clip": 1.0, "D.clip": 1.0},
    "two D steps": {"D.steps": 2.0},
    "r1, every 8": {"r1.every": 8},
}


class Row(NamedTuple):
    """One part."""

    kind: str
    name: str
    changes: dict[str, Any]  # of the plain recipe, by path


def rows() -> list[Row]:
    """The plain step against itself, all parts of the kinds above, and the settings."""
    parts = [Row(kind, e.name, dict(compatibility.switched_on(kind, e.name))) for kind in KINDS for e in entries(kind)]
    return [Row("", "nothing", {}), *parts, *(Row("setting", name, changes) for name, changes in SETTINGS.items())]


def plain(name: str) -> tuple[Recipe, tuple[int, ...]]:
    """The plain recipe and the shape of its images."""
    if name == "digits":
        recipe: Recipe = find("recipe", "digits").part((1, 8, 8), 1797)
        return recipe.with_values({"r1": False, "mixed": False}), (1, 8, 8)
    recipe = find("recipe", "dcgan").part((3, 32, 32), 50_000)
    small = {"network.width": 32, "batch": 32, "network.norm_D": "none", "mixed": False}
    return recipe.with_values(small), (3, 32, 32)


def iteration(recipe: Recipe, shape: tuple[int, ...], classes: int, device: torch.device) -> Move:
    """A round of both players' moves, on the same images again and again."""
    torch.manual_seed(0)
    step = build.assemble(recipe, *build.players(recipe, shape, classes), device)
    images = torch.randint(256, (recipe.batch, *shape), dtype=torch.uint8, device=device)
    labels = torch.randint(classes, (recipe.batch,), device=device) if classes else None
    moves = round(recipe.D.steps)
    return lambda: step.round(moves, lambda: (images, labels))


def ratios(one: Move, other: Move, pairs: int, device: torch.device) -> np.ndarray:
    """Time of the other over time of the first, `[pairs]`, each from blocks in the order A B B A."""

    def seconds(move: Move, times: int) -> float:
        began = time.perf_counter()
        for _ in range(times):
            move()
        if device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - began

    for move in (one, other):
        seconds(move, 3)
    block = max(1, round(0.03 / seconds(one, 1)))
    found = np.zeros(pairs)
    for pair in range(pairs):
        times = [seconds(move, block) for move in (one, other, other, one)]
        found[pair] = (times[1] + times[2]) / (times[0] + times[3])
    return found


def measured(row: Row, pairs: int, device: torch.device) -> Iterator[str]:
    """The cells of a row: for each pair of networks the extra cost and its interval."""
    for name in ("digits", "dcgan"):
        recipe, shape = plain(name)
        try:
            changed = compatibility.completed(recipe.with_values(copy.deepcopy(row.changes)))
            if name == "digits" and changed.network.name != recipe.network.name:
                yield "other networks"  # convolutions in place of the MLP
                continue
            classes = 10 if changed.network.options.get("head") == "classes" else 0
            one, other = (iteration(each, shape, classes, device) for each in (recipe, changed))
        except InputError:
            yield "not with it"
            continue
        middle, low, high = (100 * (ratio - 1) for ratio in interval(ratios(one, other, pairs, device)))
        yield f"{middle:+.0f} % [{low:+.0f}, {high:+.0f}]"


def partners(row: Row) -> str:
    """What came along because the part cannot do without."""
    recipe = plain("digits")[0].with_values(copy.deepcopy(row.changes))
    before, after = recipe.values(), compatibility.completed(recipe).values()
    along = [f"{path}={value}" for path, value in after.items() if before.get(path, ...) != value]
    return f", with {', '.join(along)}" if along else ""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", help="a part's name; default: all")
    parser.add_argument("--pairs", type=int, default=25)
    parser.add_argument("--threads", type=int, default=0, help="0: torch's own choice")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    chosen = parser.parse_args()
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    print("| kind | part | on the digits pair | on the dcgan pair |\n| --- | --- | --- | --- |")
    for row in rows():
        if not chosen.only or row.name in chosen.only:
            cells = " | ".join(measured(row, chosen.pairs, torch.device(chosen.device)))
            print(f"| {row.kind} | {row.name}{partners(row)} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
