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
from equipoise.apps.augment.verdict import Difference, Verdict, percent, points
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


def markdown(facts: dict[str, Any], verdict: Verdict, tried: Tried, names: tuple[str, ...]) -> str:
    """The page to read: the answer, the arms, the differences, the classes."""
    synthetic, counts = facts["synthetic"], facts["images"]
    return "\n".join(
        [
            f"# Synthetic images for {facts['data']}",
            "",
            *verdict.sentences,
            "",
            *_row("trained on", "synthetic, of the largest class", "learning rate", "validation", "test, real images"),
            *_row(*["---"] * 5),
            *(line for name, r in verdict.results.items() for line in _row(
                name, r.setting.amount or "-", f"{r.setting.rate:g}", percent(r.validation), spanned(r.accuracy),
            )),
            "",
            *(
                f"- {each.more} against {each.than}: {points(each.seeds)} over the seeds, {points(each.images)} over "
                "the test images"
                for each in verdict.differences
            ),
            "",
            *_row("class", *verdict.results),
            *_row(*["---"] * (1 + len(verdict.results))),
            *(line for number, name in enumerate(names) for line in _row(
                name, *(spanned(result.classes[number]) for result in verdict.results.values()),
            )),
            "",
            *_row("validation, at the best learning rate", *(f"{amount} synthetic" for amount in facts["amounts"])),
            *_row(*["---"] * (1 + len(facts["amounts"]))),
            *(line for arm, settings in tried.items() if any(s.amount for s in settings) for line in _row(
                arm, *(percent(max(v for s, v in settings.items() if s.amount == a)) for a in facts["amounts"]),
            )),
            "",
            f"{counts['training']:,} images to train on, {counts['validation']:,} to choose by, {counts['test']:,} to "
            f"test on. GAN: {facts['gan']}. {synthetic['candidates']:,} candidates, of which {synthetic['copies']:,} "
            f"copied a training image and were left out; of the others {synthetic['kept']:,} were kept, those of each "
            "class that the discriminator finds most like real ones; the median of these is as real to it as "
            f"{synthetic['median_percentile']:.0f} % of held-out real images or more. Every arm: the same network, "
            f"{facts['updates']:,} updates, {facts['settings_tried']} settings tried on validation images with "
            f"{facts['tuning_seeds']} seeds each, then {facts['seeds']} seeds on the test images. Intervals are 95 % "
            "by Student's t, over the classifier's seeds unless said otherwise; they do not cover another run of the "
            "GAN or another split.",
        ]
    ) + "\n"  # fmt: skip


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


def spanned(found: Estimate) -> str:
    """A share in percent with its interval."""
    around = "" if math.isnan(found.low) else f" ({100 * found.low:.1f} to {100 * found.high:.1f})"
    return f"{100 * found.mean:.1f}{around}"


def _row(*cells: object) -> list[str]:
    return ["| " + " | ".join(map(str, cells)) + " |"]


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
