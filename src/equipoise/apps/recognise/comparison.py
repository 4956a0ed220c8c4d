"""The comparison: several draws of the labels, the same test images for every arm, and what is more than chance."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from equipoise import build
from equipoise.apps.judge.witnesses import Witnesses
from equipoise.apps.recognise.arms import ARMS, Task
from equipoise.apps.recognise.features import output_of
from equipoise.errors import InputError
from equipoise.files import atomic_write
from equipoise.studies.statistics import Estimate, estimate

Ints = NDArray[np.int64]

VALIDATION = 1000  # labelled images to choose by, at most a tenth of all
LEAST = 100  # test images
MOST = 1_000_000  # draws, and updates of a network
FEW = 3  # draws that a word on the difference needs
BASE = "scratch"  # what the others are compared with


@dataclass(frozen=True)
class Row:
    """What one arm came to on one draw of the labels."""

    labels: int  # labelled images, of all classes together
    draw: int
    arm: str
    validation: float  # share recognised, 0 to 1
    test: float
    seconds: float  # of the processor


@dataclass(frozen=True)
class Comparison:
    """All rows, and how many images stood behind them."""

    rows: tuple[Row, ...]
    test: int
    validation: int
    unlabelled: int
    origin: str  # of the test images

    def estimate(self, labels: int, arm: str, base: str | None = None) -> Estimate:
        """An arm's mean share with its 95 % interval over the draws; with a base, of the differences draw by draw."""
        found = {(row.draw, row.arm): row.test for row in self.rows if row.labels == labels}
        own = {draw: share for (draw, name), share in found.items() if name == arm}
        if base is None:
            return estimate(list(own.values()))
        return estimate([share - found[draw, base] for draw, share in own.items() if (draw, base) in found])

    def text(self) -> str:
        """The table, and a sentence for each number of labels."""
        arms = [arm for arm in ARMS if any(row.arm == arm for row in self.rows)]
        lines = ["| labels | draws | " + " | ".join(arms) + " |", "| --- " * (len(arms) + 2) + "|"]
        numbers = sorted({row.labels for row in self.rows})
        for number in numbers:
            cells = [_cell(self.estimate(number, arm)) for arm in arms]
            draws = len({row.draw for row in self.rows if row.labels == number})
            lines.append(f"| {number:,} | {draws} | " + " | ".join(cells) + " |")
        verdicts = [self._verdict(number, arms) for number in numbers] if BASE in arms else []
        return "\n".join([*lines, "", *verdicts, *([""] if verdicts else []), self._about()])

    def _verdict(self, labels: int, arms: Sequence[str]) -> str:
        said = [_against(arm, self.estimate(labels, arm, BASE)) for arm in arms if arm in ("features", "semi")]
        return f"With {labels:,} labels, against a network trained from scratch: {'; '.join(said) or 'not compared'}."

    def _about(self) -> str:
        return (
            f"Per cent of {self.test:,} test images recognised ({self.origin}), mean and 95 % interval over draws of "
            f"the labels. {self.validation:,} further labelled images, the same for every arm, chose penalties, "
            f"learning rates and the moment to stop; {self.unlabelled:,} images went without labels."
        )


def compare(
    known: Witnesses,  # a run without classes on labelled data
    numbers: Sequence[int],  # of labelled images
    *,
    draws: int = 5,
    arms: Sequence[str] = tuple(ARMS),
    updates: int = 1500,  # of each network that is trained here
    out: Path | None = None,  # a folder: rows are kept there, and what is there is not done again
    say: Callable[[str], None] = lambda text: None,
) -> Comparison:
    """Compare the arms; an InputError where the run or the numbers cannot serve."""
    check(draws, arms, updates)
    _check_run(known, numbers)
    labels = np.asarray(known.training_labels)
    classes = int(labels.max()) + 1
    pool, chosen = _validation(labels)
    facts = {"classes": classes, "updates": updates, "fingerprint": known.config.fingerprint, "test": len(known.real)}
    kept = _Kept(None if out is None else out / "rows.jsonl", facts)
    for draw in range(draws):
        for number in numbers:
            rows = drawn(labels, pool, number, draw)
            for arm in arms:
                if not kept.has(number, draw, arm):
                    kept.add(_row(_task(known, rows, chosen, classes, updates, draw), number, draw, arm))
                    say(f"{number:,} labels, draw {draw + 1} of {draws}, {arm}: {kept.rows[-1].test:.1%}")
    return Comparison(
        tuple(row for row in kept.rows if row.labels in numbers and row.draw < draws and row.arm in arms),
        len(known.real),
        len(chosen),
        len(labels),
        known.origin,
    )


def drawn(labels: Ints, pool: Ints, number: int, draw: int) -> Ints:
    """Places of `number` images out of the pool, as many of each class as of the others, or one more."""
    order = pool[np.random.default_rng([draw, number]).permutation(len(pool))]
    classes = np.unique(labels)
    shares = [number // len(classes) + (i < number % len(classes)) for i in range(len(classes))]
    found = [order[labels[order] == one][:share] for one, share in zip(classes, shares, strict=True)]
    if sum(map(len, found)) < number:
        raise InputError(f"{number:,} labels cannot be spread evenly, for a class has too few images; ask for fewer")
    return np.concatenate(found)


def _validation(labels: Ints) -> tuple[Ints, Ints]:
    """Places that labels are drawn from, and those of the images to choose by."""
    order = np.random.default_rng(0).permutation(len(labels))
    count = min(VALIDATION, len(labels) // 10)
    return order[count:], order[:count]


def _task(known: Witnesses, rows: Ints, chosen: Ints, classes: int, updates: int, draw: int) -> Task:
    images, labels = torch.from_numpy(known.training), torch.from_numpy(np.asarray(known.training_labels))
    return Task(
        classes,
        (images[rows], labels[rows]),
        (images[chosen], labels[chosen]),
        (torch.from_numpy(known.real), torch.from_numpy(np.asarray(known.real_labels))),
        images,
        known.discriminator,
        lambda: build.players(known.config.recipe, known.config.shape, 0),
        updates,
        draw,
    )


def _row(task: Task, number: int, draw: int, arm: str) -> Row:
    began = process_time()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(draw)
        fitted = ARMS[arm](task)
    return Row(number, draw, arm, fitted.validation, fitted.test, round(process_time() - began, 1))


class _Kept:
    """Rows in a file, a line each below what they hold for; in memory alone without one."""

    def __init__(self, path: Path | None, facts: dict[str, Any]) -> None:
        self.path, self.facts, self.rows = path, facts, list[Row]()
        if path is not None and path.exists():
            try:
                first, *rest = map(json.loads, path.read_text().splitlines())
                self.rows = [Row(**line) for line in rest]
            except (ValueError, TypeError) as error:
                raise InputError(f"{path} cannot be read ({error}); give another --out") from None
            if first != facts:
                raise InputError(f"{path} is of another comparison ({first}, now {facts}); give another --out")

    def has(self, labels: int, draw: int, arm: str) -> bool:
        return any((row.labels, row.draw, row.arm) == (labels, draw, arm) for row in self.rows)

    def add(self, row: Row) -> None:
        self.rows.append(row)
        if self.path is not None:
            lines = [self.facts, *map(asdict, self.rows)]
            atomic_write(self.path, "".join(json.dumps(line) + "\n" for line in lines))


def check(draws: int, arms: Sequence[str], updates: int) -> None:
    """Refuse what no run could be compared by."""
    if not 1 <= draws <= MOST or not 1 <= updates <= MOST:
        raise InputError(f"draws={draws} and updates={updates} compare nothing; give 1 to {MOST:,} of each")
    for arm in arms:
        if arm not in ARMS:
            raise InputError(f"there is no arm {arm!r}; there are {', '.join(ARMS)}")


def _check_run(known: Witnesses, numbers: Sequence[int]) -> None:
    if known.config.classes:
        raise InputError(
            "this run's discriminator was told the labels of all its images, so few labels would be no test of it; "
            "train with --set network.conditional=false, or give the source instead of the run"
        )
    if known.training_labels is None or known.real_labels is None:
        raise InputError("the run's data have no labels to learn or to test by; train with --labels folders or a file")
    classes = int(known.training_labels.max()) + 1
    if not numbers or min(numbers) < classes:
        raise InputError(f"{min(numbers, default=0)} labels cannot show {classes} classes; give {classes} or more")
    if len(known.real) < LEAST:
        raise InputError(
            f"{len(known.real)} held-out images are too few to test by; name at least {LEAST} that were never "
            "trained on with --against"
        )
    output_of(known.discriminator)


def _cell(share: Estimate) -> str:
    return f"{share.mean:.1%}" + (f" ({share.low:.1%} to {share.high:.1%})" if share.n > 1 else "")


def _against(arm: str, gain: Estimate) -> str:
    name = {"features": "the discriminator's features", "semi": "K + 1 classes"}[arm]
    if gain.n < FEW:
        return f"{name} cannot be compared by fewer than {FEW} draws"
    word = "help" if gain.low > 0 else "hurt" if gain.high < 0 else "make no difference that these draws would show"
    return f"{name} {word} ({100 * gain.mean:+.1f} points, {100 * gain.low:+.1f} to {100 * gain.high:+.1f})"
