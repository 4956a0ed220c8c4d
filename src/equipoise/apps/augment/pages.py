"""What is left behind: report.json with everything, table.md to read, the synthetic images, and a picture of them."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from equipoise import images
from equipoise.apps.augment.arms import Setting
from equipoise.apps.augment.split import Part
from equipoise.apps.augment.table import markdown
from equipoise.apps.augment.verdict import Difference, Verdict
from equipoise.files import atomic_dir, atomic_write
from equipoise.studies.statistics import Estimate

REALS, FAKES = 4, 8  # images of each class in the picture
LINES = 10  # classes in it

Tried = dict[str, dict[Setting, float]]  # by arm and setting: mean accuracy on validation images


def write(
    out: Path,
    facts: dict[str, Any],  # of data, training and choice, as they go into report.json
    verdict: Verdict,
    tried: Tried,
    names: tuple[str, ...],  # of the classes
) -> str:
    """Write report.json and table.md; returns the table."""
    results = {
        name: {
            "amount": result.setting.amount,
            "rate": result.setting.rate,
            "validation": result.validation,
            "test": _interval(result.accuracy),
            "classes": dict(zip(names, map(_interval, result.classes), strict=True)),
        }
        for name, result in verdict.results.items()
    }
    record = {
        "verdict": {
            "use": verdict.use, "effect": verdict.effect, "amount": verdict.amount, "sentences": verdict.sentences,
        },
        **facts,
        "arms": results,
        "differences": [_difference(each) for each in verdict.differences],
        "classes_differ": dict(zip(names, map(_interval, verdict.classes), strict=True)),
        "tried": [
            {"arm": arm, "amount": setting.amount, "rate": setting.rate, "validation": accuracy}
            for arm, settings in tried.items()
            for setting, accuracy in settings.items()
        ],
    }  # fmt: skip
    atomic_write(out / "report.json", json.dumps(record, indent=1) + "\n")
    table = markdown(facts, verdict, tried, names)
    atomic_write(out / "table.md", table)
    return table


def save_images(out: Path, chosen: Part, names: tuple[str, ...]) -> None:
    """Write images/CLASS/NUMBER.png, all at once."""
    with atomic_dir(out / "images") as folder:
        for label, name in enumerate(folders(names)):
            (folder / name).mkdir()
            for number, image in enumerate(chosen.images[chosen.labels == label]):
                images.save_png(folder / name / f"synthetic{number:05d}.png", image.transpose(1, 2, 0))


def folders(names: tuple[str, ...]) -> list[str]:
    """A folder's name for each class: the class's own, or its number where any of them cannot be a folder's."""
    plain = all(re.fullmatch(r"[^/\\:*?\"<>|\x00-\x1f]+", name) and name.strip(". ") == name for name in names)
    return list(names) if plain else [f"{number:04d}" for number in range(len(names))]


def save_picture(out: Path, training: Part, made: Part, classes: int) -> None:
    """Write grid.png: a row for each of the first classes, real images on the left, synthetic ones on the right."""
    rows = []
    for label in range(min(classes, LINES)):
        for side, count in ((training, REALS), (made, FAKES)):
            mine = side.images[side.labels == label][:count]
            blank = np.full((count - len(mine), *training.images.shape[1:]), 255, np.uint8)
            rows += [mine, blank]
    images.save_png(out / "grid.png", images.grid(np.concatenate(rows), columns=REALS + FAKES))


def _interval(found: Estimate) -> dict[str, float | None]:
    return {"mean": found.mean, "low": _number(found.low), "high": _number(found.high)}


def _difference(each: Difference) -> dict[str, Any]:
    return {
        "more": each.more,
        "than": each.than,
        "over_seeds": _interval(each.seeds),
        "over_test_images": _interval(each.images),
        "sign": each.sign,
    }


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
