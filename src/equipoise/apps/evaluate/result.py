"""What was found, as plain data and as a page of text."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from equipoise import __version__
from equipoise.apps.evaluate.classes import Accuracy, Class
from equipoise.jsonable import jsonable
from equipoise.metrics import Memorisation
from equipoise.metrics.intervals import Measure

MADE_BY = "equipoise evaluate"  # what a file of ours says of itself
FEW = 5_000  # samples of a side; below, a word is said on what so few allow
LINES = {
    "frechet_unbiased": "{}, bias removed",
    "frechet": "{}, as usually computed",
    "kernel": "kernel distance x 1000",
    "energy": "energy distance",
    "precision": "precision",
    "recall": "recall",
    "density": "density",
    "coverage": "coverage",
    "vendi": "Vendi score",
    "diversity": "mean distance, to real",
}
BY_CLASS = ("frechet_unbiased", "kernel", "precision", "recall", "density", "coverage", "diversity")


@dataclass(frozen=True)
class Evaluation:
    """Generated against real samples. Every number is a `Measure`: value, low, high of a 95 % interval."""

    called: str  # the Fréchet distance in these features: "FD-pixels", or "FID" for one network alone
    features: str
    options: dict[str, Any]
    resizing: str  # how the features resize images
    dimensions: int  # of a sample's features
    made: tuple[str, int]  # whose, and how many samples
    real: tuple[str, int]
    shape: tuple[int, ...]  # of a sample
    numbers: dict[str, Measure]  # generated against real
    floor: dict[str, Measure]  # real against real
    floor_counts: tuple[int, int]
    memorisation: Memorisation | None
    classes: tuple[Class, ...]
    accuracy: Accuracy | None
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """As JSON data; what is not known is null."""
        found = self.memorisation
        copies = None
        if found is not None:
            copies = {
                name: getattr(found, name) for name in ("share", "low", "high", "p", "limit", "chance", "reference")
            }
            copies |= {"found": found.found, "samples": len(found.copies), "copies": found.copies.nonzero()[0].tolist()}
        data = {
            "made_by": f"{MADE_BY} {__version__}",
            "generated": {"name": self.made[0], "count": self.made[1]},
            "real": {"name": self.real[0], "count": self.real[1]},
            "shape": list(self.shape),
            "features": {"name": self.features, "options": {k: str(v) for k, v in self.options.items()},
                         "resizing": self.resizing, "dimensions": self.dimensions, "called": self.called},
            "numbers": _plain(self.numbers),
            "floor": {"counts": list(self.floor_counts), "numbers": _plain(self.floor)},
            "memorisation": copies,
            "classes": [dataclasses.asdict(one) | {"numbers": _plain(one.numbers)} for one in self.classes],
            "accuracy": None if self.accuracy is None else _accuracy(self.accuracy),
            "notes": list(self.notes),
        }  # fmt: skip
        whole: dict[str, Any] = jsonable(data)
        return whole

    def text(self) -> str:
        """All of it, to read."""
        how = "not resized" if self.resizing == "none" else self.resizing
        resized = f", {how}" if how and len(self.shape) == 3 else ""
        lines = [
            f"generated: {self.made[0]}, {self.made[1]:,} samples of {'x'.join(map(str, self.shape))}",
            f"real:      {self.real[0]}, {self.real[1]:,}",
            f"features:  {self.features}{resized}, {self.dimensions:,} numbers a sample",
            "",
            f"{'':42}{'generated':28}real against real ({self.floor_counts[0]:,} and {self.floor_counts[1]:,})",
        ]
        for name, line in LINES.items():
            label = line.format(self.called)
            lines.append(f"{label:42}{_shown(name, self.numbers[name]):28}{_shown(name, self.floor[name])}".rstrip())
        lines += ["", self.allows()]
        if self.memorisation is not None:
            lines.append(self.memorisation.text())
        if self.accuracy is not None:
            lines.append(_sentence(self.accuracy))
        if self.classes:
            lines += ["", *_table(self.classes, self.accuracy)]
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])

    def allows(self) -> str:
        """What so many samples allow to tell, in a sentence or two."""
        few, found = min(self.made[1], self.real[1]), self.numbers["kernel"]
        told = [
            f"Brackets are 95 % intervals: with {few:,} samples a side, differences smaller than these cannot be told."
        ]
        if few <= self.dimensions:
            told.append(
                f"{few:,} samples do not fill a covariance of {self.dimensions:,} features: go by the kernel distance "
                f"rather than by {self.called}."
            )
        elif few < FEW:
            told.append(
                f"{few:,} are few: {self.called} as usually computed is too high, and compares with others of as many "
                "samples only."
            )
        if found.low <= 0:
            told.append("The kernel distance cannot be told from 0: more samples, or other features, might.")
        return " ".join(told)


def _shown(name: str, one: Measure) -> str:
    scale = 1000 if name == "kernel" else 1
    if math.isnan(one.value):
        return "-"
    value, low, high = (
        f"{scale * number:.3g}" if abs(scale * number) < 1000 else f"{scale * number:,.0f}" for number in one
    )
    return value if math.isnan(one.low) else f"{value} [{low}, {high}]"


def _sentence(found: Accuracy) -> str:
    ours, theirs = (f"{one.value:.1%} [{one.low:.1%}, {one.high:.1%}]" for one in (found.generated, found.real))
    return (
        f"Classification accuracy: a classifier fitted to {found.fitted:,} generated images recognises {ours} of "
        f"{found.tested:,} real ones; fitted to as many real images, {theirs}."
    )


def _table(classes: tuple[Class, ...], accuracy: Accuracy | None) -> list[str]:
    """A line for each class: numbers without their intervals, which the JSON has."""
    names = [name for name in BY_CLASS if any(name in one.numbers for one in classes)]
    width = max(5, *(len(one.name) for one in classes))
    head = f"{'class':{width}}  {'made':>6} {'real':>6}" + "".join(f"{_short(name):>12}" for name in names)
    lines = [head + (f"{'recognised':>14}" if accuracy else "")]
    for one in classes:
        cells = "".join(f"{_value(name, one.numbers.get(name)):>12}" for name in names)
        share = ""
        if accuracy is not None:
            ours, theirs = accuracy.by_class[one.name]
            share = f"{ours:>7.0%} {theirs:>6.0%}"
        lines.append(f"{one.name:{width}}  {one.made:>6} {one.real:>6}{cells}{share}".rstrip())
    tail = "recognised: real images, by classifiers fitted to generated and to real ones" if accuracy else ""
    return [*lines, tail] if tail else lines


def _short(name: str) -> str:
    return {"frechet_unbiased": "Fréchet", "kernel": "kernelx1000"}.get(name, name)


def _value(name: str, one: Measure | None) -> str:
    return "-" if one is None else _shown(name, Measure(one.value))


def _plain(numbers: dict[str, Measure]) -> dict[str, Any]:
    return {name: list(one) for name, one in numbers.items()}


def _accuracy(found: Accuracy) -> dict[str, Any]:
    return dataclasses.asdict(found) | {"generated": list(found.generated), "real": list(found.real)}
