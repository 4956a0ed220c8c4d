"""One run, resolved: what is trained on what, how long and where; written to `config.json` before the first step."""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import dataclass, field
from pathlib import Path

from equipoise import __version__
from equipoise.errors import InputError
from equipoise.files import atomic_write
from equipoise.recipe import Recipe, from_plain

LONGEST = 1e9  # kimg, and seconds of a budget: beyond any run, and within what counters hold
IN_MEMORY = "arrays in memory"  # the source of what GAN.fit was given


@dataclass(frozen=True)
class Config:
    """Every resolved value of a run, and where it came from."""

    source: str
    recipe: Recipe
    shape: tuple[int, ...]  # (C, H, W) or (d,)
    class_names: tuple[str, ...] = ()  # of a conditional run; empty: unconditional
    fingerprint: str = ""  # of the data as trained on
    seed: int = 0
    kimg: float = 0.0  # length; 0 until a budget has been turned into it
    budget: str | None = None  # what was asked for, if it was time
    device: str = "cpu"
    balance: str = "watch"  # off: no sensors; watch: sensors read; advise: moves are proposed; act: they are made
    controller: str | None = None  # a registered one; None: nothing is turned
    resolution: int | None = None
    labels: str | None = None
    workers: int = 0  # processes that prepare batches; 0: none
    deterministic: bool = False  # on CUDA: the same bits every time, more slowly
    tick_kimg: float = 4.0  # between looks once the run has settled
    snapshot_kimg: float = 0.0  # between samples and checkpoints; 0: a tenth of the run, at most 200
    metric: str | None = None  # feature network by which the best snapshot is chosen; None: a cheap proxy
    metric_kimg: float = 0.0  # between such measurements, which are made at snapshots; 0: at each
    metric_weights: str | None = None  # of that network, where they are not in its package
    threads: int = 0  # of the CPU, for the record: other counts give other bits
    start: str = ""  # the checkpoint of another run whose networks this one began with; empty: it began anew
    own_networks: bool = False  # networks handed in from Python, which no recipe can rebuild
    origin: dict[str, str] = field(default_factory=dict)  # where each value came from, by path
    version: str = __version__

    @property
    def classes(self) -> int:
        """Number of classes the networks are conditioned on, 0 for none."""
        return len(self.class_names)

    @property
    def total(self) -> int:
        """Length in real images: whole batches."""
        batch = self.recipe.batch
        return max(1, round(self.kimg * 1000 / batch)) * batch

    def write(self, run: Path) -> None:
        """Write `config.json` into the run folder."""
        atomic_write(run / "config.json", json.dumps(dataclasses.asdict(self), indent=1) + "\n")


def read(run: Path) -> Config:
    """The configuration of a run folder."""
    path = run / "config.json"
    try:
        settings = from_plain(Config, json.loads(path.read_text(encoding="utf-8")))
        if not 0 <= settings.kimg <= LONGEST:
            raise InputError(f"kimg is {settings.kimg}, which is no length")
        return settings
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(
            f"{run} is no run folder: it has no config.json; give the folder that `equipoise train --out` made"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{path} cannot be read ({error}); it must be as this program wrote it") from None


def parse_budget(text: str) -> float:
    """Seconds of a budget such as 40s, 5min or 2h."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(s|sec|min|m|h)\s*", text)
    seconds = float(match[1]) * {"s": 1, "sec": 1, "min": 60, "m": 60, "h": 3600}[match[2]] if match else 0.0
    if not 0 < seconds <= LONGEST:
        raise InputError(f"a budget of {text!r} cannot be read or kept; write for example 40s, 5min or 2h")
    return seconds


def check_seed(option: str, seed: int) -> None:
    """Refuse what no generator of random numbers takes."""
    if not 0 <= seed < 2**63:
        raise InputError(f"{option} {seed} is no seed; give a whole number from 0, below 2^63")
