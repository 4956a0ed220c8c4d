"""From what a user names, a run and some images, to the answer in words, as JSON, and as a picture."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from equipoise import images
from equipoise.apps.judge.answer import COMPARED, RARE, Answer, answers
from equipoise.apps.judge.given import Given, opened
from equipoise.apps.judge.limits import Separation, separations
from equipoise.apps.judge.opinion import Opinion
from equipoise.apps.judge.sheet import sheet
from equipoise.apps.judge.witnesses import Witnesses, gather
from equipoise.errors import InputError
from equipoise.generate import parse_class


def judge(
    run: Path,
    paths: Sequence[Path],
    against: str | None = None,
    label: str | None = None,  # name or number of the class to judge under
    other: str | None = None,  # another source that the discriminator is tried on
    at: str | None = None,
    grid: Path | None = None,  # a PNG file to be written
    as_json: bool = False,
) -> str:
    """All that is said of the images."""
    if grid is not None and (grid.suffix.lower() != ".png" or grid.exists()):
        raise InputError(f"--grid {grid} must end in .png and be new, for nothing is overwritten; give another name")
    known = gather(run, against, at)
    number = parse_class(label, known.config.class_names)
    given = opened(paths, known.config.shape)
    opinion = Opinion.of(known)
    found, near = answers(opinion, known, given, number)
    told = separations(opinion, known, other)
    if grid is not None:
        _write(grid, sheet(given.images, known.training, known.fakes()[0], found, near))
    if as_json:
        return _json(opinion, known, given, found, told)
    lines = [*_standing(opinion, known, label), "", *_limits(told), "", *_each(found, known, given)]
    return "\n".join([*lines, *([] if grid is None else ["", f"Written: {grid}"])])


def _write(grid: Path, picture: NDArray[np.uint8]) -> None:
    try:
        grid.parent.mkdir(parents=True, exist_ok=True)
        images.save_png(grid, picture)
    except OSError as error:
        raise InputError(f"{grid} could not be written ({error}); name a place where you may write") from None


def _standing(opinion: Opinion, known: Witnesses, label: str | None) -> list[str]:
    """What percentiles are relative to."""
    step = 100 / (opinion.count + 1)
    lines = [
        f"Judged by {opinion.count:,} real images, {known.origin}. A percentile of 10: of ten real images, one looks "
        f"less real to the discriminator. Steps are {step:.2g} wide."
    ]
    if step > RARE:
        lines.append(
            f"So few images cannot show what fewer than {step:.2g} % of real images are like; --against names more."
        )
    if known.config.classes and label is None:
        right = (opinion.guess(known.real) == known.real_labels).mean()
        lines.append(
            "Each image is judged under the class of the training image nearest to it, which is the right one for "
            f"{right:.0%} of the held-out images; --class names another."
        )
    if known.trained > len(known.training):
        lines.append(f"Neighbours are looked for among {len(known.training):,} of {known.trained:,} training images.")
    return lines


def _limits(told: Sequence[Separation]) -> list[str]:
    lines = ["How well the discriminator tells held-out real images from (AUC, 0.5 is not at all):"]
    lines += [f"  {one.text()}" for one in told]
    blind = [one.name for one in told[:-1] if one.auc < 0.6]
    if blind:
        lines.append(f"So a high percentile does not rule out: {', '.join(blind)}.")
    if told[-1].auc < 0.4:
        lines.append("It knows its training images again, which is why held-out ones are the measure.")
    return lines


def _each(found: Sequence[Answer], known: Witnesses, given: Given) -> list[str]:
    lines = []
    for number, one in enumerate(found, 1):
        under = "" if one.label is None else f", as {known.config.class_names[one.label]}"
        usual = f"usual {one.usual:.3f}, percentile {one.real_percentile:.1f}"
        lines += [
            f"{number}. {one.name}{under}: {one.verdict}",
            f"   percentile {one.percentile:.1f} among real images, {one.fakes:.1f} among fakes",
            f"   nearest training image at {one.real:.3f} ({usual}), nearest fake at {one.generated:.3f}",
        ]
    done = Counter(what for one in given.converted for what in one)
    if done:
        lines.append(
            "Converted as the run's data were: " + ", ".join(f"{what} ({n})" for what, n in done.items()) + "."
        )
    if given.refused:
        name, why = next(iter(given.refused.items()))
        lines.append(f"Left out: {len(given.refused)} files that cannot be read, such as {name} ({why}).")
    return lines


def _json(opinion: Opinion, known: Witnesses, given: Given, found: Sequence[Answer], told: Sequence[Separation]) -> str:
    names = known.config.class_names
    return json.dumps(
        {
            "real": {"count": opinion.count, "origin": known.origin, "distances": min(COMPARED, opinion.count)},
            "separates": {one.name: round(one.auc, 4) for one in told},
            "images": [{**asdict(one), "label": None if one.label is None else names[one.label]} for one in found],
            "left_out": given.refused,
        },
        indent=1,
    )
