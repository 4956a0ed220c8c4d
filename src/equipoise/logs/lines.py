"""Text logs whose lines hold `name: value` or `name=value`, as pix2pix, CycleGAN, BasicSR and RVC write them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from equipoise.errors import InputError
from equipoise.logs import texts
from equipoise.logs.tables import Table, clock_of, standing, tabulated

NUMBER = (  # also 107,200, but neither 0,693 nor a part of 0.75s, 1.2.3 or 2024-01-02
    r"[-+]?(?:(?:[1-9]\d{0,2}(?:,\d{3})+|\d+)(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?|[-+]?(?i:nan|inf(?:inity)?)"
)
WORD = r"\b(?!(?:DEBUG|INFO|WARNING|ERROR) )[^\W\d]\w*+ (?=(?i:loss)\b)"  # before it: `Disc Loss`
NAME = rf"(?:\b[DG] |{WORD})?\b(?<!(?i:best ))[^\W\d][\w./()-]*+"  # `D real`; the best epoch is not the one told of
PAIR = re.compile(rf"({NAME})\s*[:=]\s*({NUMBER})(?![\w:]|[.,]\d|-\d+-\d)")  # `D loss: 0.7`, not 4:07:35
COUNT = re.compile(  # `Epoch 3/200`, `[Batch 3/200]`, `step 3:`
    r"\b(?<!best )(epoch|step|iter|iteration|batch)\s+\[?(\d+)(?=\s*(?:[/:,|\]]|$))", re.IGNORECASE
)
PLACE = re.compile(r"^\s*\[(\d+)/\d+\]\s*\[(\d+)/\d+\]")  # pytorch/examples: epoch and batch, without a name
STEP = re.compile(r"\[(\d+), [\d.e-]+\]\s*$")  # RVC's line before the losses: step and learning rate
EPOCH = re.compile(r"[\W\d]*(?:INFO\W+)?epoch\W+(\d+)", re.IGNORECASE)  # `[Epoch 3]`, perhaps behind a time
MODE = re.compile(r"^ *gan_mode: *(\w+)", re.MULTILINE)
MODES = {"lsgan": "least-squares", "vanilla": "non-saturating", "wgangp": "wasserstein"}
OPTION = re.compile(r"^ *(model_type|gan_type|batch_size_per_gpu|num_gpu|total_iter): *([\w.]+) *$", re.MULTILINE)
TYPES = {"vanilla": "non-saturating", "wgan_softplus": "non-saturating", "lsgan": "least-squares", "hinge": "hinge",
         "wgan": "wasserstein"}  # fmt: skip
RELATIVE = {"non-saturating": "relativistic-average"}  # what ESRGANModel makes of it
OPTIONS = 1 << 16  # bytes in which BasicSR's options stand
COUNTS = (("epoch",), ("iters", "iter", "batch"))  # names of an epoch, and of a count within it


def from_lines(path: Path, clock: str | None = None) -> Table:
    """A table with a row for each line that holds two pairs of name and number at least; other lines are left out.

    A count such as `step 3/200` is such a pair.

    A run that is started again in the same folder appends; that is told by the epoch, and by the count within it.

    Raises:
        InputError: no such line.
    """
    rows = _rows(path)
    if not rows:
        raise InputError(
            f"{path} is no log that is read: TensorBoard events, a table (CSV, JSON lines), or text with lines of "
            "`name: value`"
        )
    places = list(_places(rows))
    stand = standing(places)
    table = tabulated(list(_dated([rows[index] for index in stand], clock)), path, clock)
    table.facts |= _options(path) | _basicsr(path)
    back = any(after < before for (before, _), (after, _) in itertools.pairwise(places))
    table.again = table.again or (back and len(stand) < len(rows))
    return table


def _dated(rows: list[dict[str, float]], clock: str | None) -> Iterator[dict[str, float]]:
    """Rows as they are; to those without the time it is added, for names that never stand beside it.

    A name that does stand beside it has other values elsewhere, as those of a validation.
    """
    time = clock if clock is not None else clock_of(rows, dict.fromkeys(name for row in rows for name in row))
    beside = {name for row in rows if time in row for name in row}
    at = next((row[time] for row in rows if time in row), None) if time else None
    for row in rows:
        if time is None or at is None or time in row:
            at = row.get(time, at) if time else None
            yield row
        else:
            yield {time: at} | {name: value for name, value in row.items() if name not in beside}


def _options(log: Path) -> dict[str, Any]:
    """Which loss it is, as the options beside a loss_log.txt of CycleGAN or pix2pix say; nothing where they do not."""
    found = [file for name in ("train_opt.txt", "opt.txt") if (file := log.parent / name).is_file()]
    if log.name != "loss_log.txt" or not found:
        return {}
    mode = MODE.search(texts.text_of(found[0]))
    return {"loss": MODES.get(mode[1])} if mode else {}


def _basicsr(log: Path) -> dict[str, Any]:
    """What the options say that BasicSR writes on top of its log: the loss; batch and length where both are told."""
    told = dict(OPTION.findall(texts.text_of(log, OPTIONS)))
    if "gan_type" not in told or "model_type" not in told:
        return {}
    kind = TYPES.get(told["gan_type"])
    found = {"loss": RELATIVE.get(kind or "") if told["model_type"] == "ESRGANModel" else kind}
    try:
        batch = int(told["batch_size_per_gpu"]) * int(told["num_gpu"])
        return found | {"batch": batch, "total_kimg": float(told["total_iter"]) * batch / 1000}
    except (KeyError, ValueError):
        return found


def _rows(path: Path) -> list[dict[str, float]]:
    """The numbers of each line that has some. An epoch or step in a line of its own holds for the lines after it.

    An epoch that is told at its end only is one too low from then on; so are the rows before it.
    """
    rows: list[dict[str, float]] = []
    step: dict[str, float] = {}
    epoch: dict[str, float] = {}
    first: dict[str, float] = {}
    for line in texts.text_of(path).splitlines():
        if found := STEP.search(line):
            step = {"step": float(found[1])}
        place = PLACE.match(line)
        pairs = [*zip(("epoch", "batch"), place.groups() if place else (), strict=False)]
        pairs += [*COUNT.findall(line), *PAIR.findall(line)]
        row = {_whole(name): float(value.replace(",", "")) for name, value in pairs}
        begun = EPOCH.match(line)
        told = {name: value for name, value in row.items() if name.lower() in COUNTS[0]}
        epoch = told or ({next(iter(epoch), "epoch"): float(begun[1])} if begun else epoch)
        first = first or {name: value - 1 for name, value in epoch.items()}
        if len(row) > 1:
            rows.append(epoch | step | row)
    return [first | row for row in rows]


def _whole(name: str) -> str:
    """A name without a bracket that was opened before it: `data` of `time (data): 0.3`."""
    return name if name.count("(") == name.count(")") else name.strip("()")


def _places(rows: list[dict[str, Any]]) -> Iterator[tuple[tuple[float, ...], int]]:
    """Where each row stands: epoch and count within it, and how many rows ago these were first told.

    The same place again is a new row only where it holds the same numbers anew: losses and scores of a step stand in
    lines of their own. Where there is no count, an epoch has many rows; a row without its counts stands by the last.
    """
    names = dict.fromkeys(name for row in rows for name in row)
    keys = [key for known in COUNTS if (key := next((name for name in names if name.lower() in known), None))]
    place: tuple[float, ...] = ()
    ago, held = 0, set[str]()
    for row in rows:
        if keys and all(key in row for key in keys):
            now = tuple(row[key] for key in keys)
            if now != place or (len(keys) == len(COUNTS) and held & row.keys() - {*keys}):
                place, ago, held = now, -1, set()
        ago, held = ago + 1, held | row.keys()
        yield place, ago
