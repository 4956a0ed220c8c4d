"""From a labelled folder to a verdict: divide, train a GAN, generate, compare classifiers, write it all down."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from equipoise import checkpoint, config, plan, runs
from equipoise.apps.augment import pages, sift, synthesis
from equipoise.apps.augment.arms import REAL, settings
from equipoise.apps.augment.contest import TUNING, Contest
from equipoise.apps.augment.material import Material, largest, prepare
from equipoise.apps.augment.rows import Rows
from equipoise.apps.augment.split import Part
from equipoise.apps.augment.synthesis import Pool
from equipoise.apps.augment.verdict import Verdict, decide
from equipoise.data import open_dataset
from equipoise.data.holdout import SCARCE
from equipoise.errors import InputError, Interrupted
from equipoise.files import atomic_write, expanded, no_empty_folders
from equipoise.ticks import Watcher

FACTORS, MOST = (1, 3, 10), 2_000  # amounts tried: the largest class's images so many times; never more of a class
LARGEST = 1_000_000  # number that an option may be
NOTE, TRAINING, GAN, ROWS = "augment.json", "training.npz", "gan", "rows.jsonl"  # in the folder


@dataclass(frozen=True)
class Asked:
    """What a user asked for; kept in augment.json, so that the same again goes on."""

    source: str
    test: str | None = None  # a source of real images to test on; None: a part of the labelled ones
    labels: str | None = None  # None: the source's own, or its folders
    resolution: int | None = None
    amounts: tuple[int, ...] = ()  # synthetic images of the largest class, to choose among; (): by the data
    recipe: str | None = None  # of the GAN
    changes: tuple[str, ...] = ()  # to it, path=value
    kimg: float | None = None
    budget: str | None = None
    seed: int = 0
    seeds: int = 5  # classifiers of each arm on the test images
    updates: int = 600  # of each classifier
    device: str = "auto"


def augment(
    asked: Asked,
    out: Path,
    watcher: Watcher,
    stop: Callable[[], bool] = lambda: False,  # asked between classifiers, and between the GAN's updates
) -> Verdict:
    """Do all that is not done yet, and return the verdict.

    Raises:
        InputError: data or options that cannot work, or a folder that holds something else.
        Interrupted: stopped; the same again goes on.
    """
    _check(asked, out)
    material = prepare(asked.source, asked.test, asked.resolution, asked.labels, asked.seed)
    amounts = tuple(sorted(set(asked.amounts))) or default_amounts(material.training)
    if material.repeated:
        watcher.say(f"{material.repeated:,} test images repeat labelled ones and are left out.")
    with no_empty_folders(out):
        _claim(asked, out, material)
        _train(asked, out, material.training, watcher, stop)
    pool = generated(out / GAN, material, max(amounts), asked.seed)
    watcher.say(f"{pool.candidates:,} candidates; {pool.copies:,} copy a training image and are left out.")
    pages.save_picture(out, material.training, pool.part, len(material.classes))
    device = plan.choose_device(asked.device)
    contest = Contest(material, pool, amounts, asked.updates, asked.seeds, asked.seed, device)
    outcome = contest.run(Rows(out / ROWS), watcher.say, stop)
    counts = synthesis.wanted(material.training.labels, len(material.classes), 0)  # what makes the classes even
    found = decide(outcome.chosen, outcome.tests, material.test.labels, material.classes, int(counts.max()))
    kept = synthesis.some(pool, counts + found.amount, asked.seed)
    pages.save_images(out, kept, material.classes)
    pages.write(out, _facts(asked, out, contest, kept), found, outcome.tried, material.classes)
    return found


def default_amounts(training: Part) -> tuple[int, ...]:
    """One, three and ten times the images of the largest class, up to 2,000 of a class."""
    return tuple(sorted({min(factor * largest(training), MOST) for factor in FACTORS}))


def generated(run: Path, material: Material, amount: int, seed: int) -> Pool:
    """The synthetic images of the largest amount; smaller ones are parts of it."""
    generator, _ = runs.load_network(run)
    counts = synthesis.wanted(material.training.labels, len(material.classes), amount)
    judge = sift.judge(run, material.validation)
    pool = synthesis.synthesise(generator, counts, seed, judge, sift.finder(material.training, material.validation))
    missing = [name for label, name in enumerate(material.classes) if (pool.labels == label).sum() < 2]
    if missing:
        raise InputError(
            f"nearly all images that {run} generates of {', '.join(missing[:5])} copy training images, so there is "
            "nothing to add; train for less long (--kimg), or on more images."
        )
    return pool


# ------------------------------------------------------------------------------------------------ the GAN


def _train(asked: Asked, out: Path, training: Part, watcher: Watcher, stop: Callable[[], bool]) -> None:
    """Train on the training images and nothing else: a run folder like any other, or the rest of one."""
    if (out / GAN / "config.json").is_file():
        outcome = runs.resume(out / GAN, watcher, stop)
    else:
        buffer = io.BytesIO()
        np.savez(buffer, images=training.images, labels=training.labels)
        atomic_write(out / TRAINING, buffer.getvalue())
        try:
            made = planned(asked, out / TRAINING)
        except InputError:  # so that the folder does not wait for the same command again
            for name in (TRAINING, NOTE):
                (out / name).unlink()
            raise
        outcome = runs.begin(made, out / GAN, watcher, stop)
    if outcome is not None and outcome.interrupted:
        raise Interrupted(f"stopped while the GAN trained ({outcome.samples / 1000:g} kimg); the same command goes on")


def planned(asked: Asked, source: Path) -> plan.Plan:
    """The run that was asked for; by default, few images are shown to the discriminator through DiffAugment."""
    dataset = open_dataset(str(source))
    changes = asked.changes
    if asked.recipe is None and len(dataset) < SCARCE:
        policy = "color,translation,cutout" if dataset.shape[0] == 3 else "translation,cutout"
        changes = (f"diffaugment.policy={policy}", *changes)
    request = plan.Request(
        str(source), asked.recipe, changes, kimg=asked.kimg, budget=asked.budget, seed=asked.seed, device=asked.device
    )
    made = plan.resolve(request, dataset)
    if not made.config.classes:
        raise InputError(
            f"the recipe {made.config.recipe.name} trains without labels, and augment needs images of given classes; "
            "leave network.conditional and network.pack as they are, or give another --recipe."
        )
    return made


# ------------------------------------------------------------------------------------------------ the folder


def _check(asked: Asked, out: Path) -> None:
    """Refuse what cannot work before anything is read."""
    folder = expanded(asked.source).resolve()
    if folder.is_dir() and out.resolve().is_relative_to(folder):
        raise InputError(
            f"--out {out} lies inside {asked.source}, and your images stay as they are; give a place beside it."
        )
    config.check_seed("--seed", asked.seed)
    for name, values in (("--amounts", asked.amounts), ("--seeds", (asked.seeds,)), ("--updates", (asked.updates,))):
        if not all(1 <= value <= LARGEST for value in values):
            raise InputError(
                f"{name} {','.join(map(str, values))} cannot be; give whole numbers from 1 to {LARGEST:,}."
            )


def _claim(asked: Asked, out: Path, material: Material) -> None:
    """Make the folder, or find it as the same command left it."""
    said = json.dumps({**asdict(asked), "fingerprint": material.fingerprint}, indent=1) + "\n"
    note = out / NOTE
    if not note.is_file():
        runs.make_folder(out)
        atomic_write(note, said)
    elif note.read_text(encoding="utf-8") != said:
        raise InputError(
            f"{out} was made with other options or other data; give the same again to go on, or another --out."
        )


def _facts(asked: Asked, out: Path, contest: Contest, kept: Part) -> dict[str, Any]:
    """What the report says beside the results."""
    material, pool, settled = contest.material, contest.pool, config.read(out / GAN)
    sides = {"training": material.training, "validation": material.validation, "test": material.test}
    return {
        "data": asked.source,
        "test_data": asked.test,
        "images": {name: len(side.labels) for name, side in sides.items()},
        "classes": {
            name: {side: int((its.labels == label).sum()) for side, its in {**sides, "synthetic": kept}.items()}
            for label, name in enumerate(material.classes)
        },
        "test_images_left_out": material.repeated,
        "gan": f"recipe {settled.recipe.name}, {settled.kimg:g} kimg",
        "gan_samples": checkpoint.verify(checkpoint.find(out / GAN))["samples"],
        "synthetic": {
            "candidates": pool.candidates,
            "copies": pool.copies,
            "kept": len(pool.labels),
            "median_percentile": float(np.median(pool.percentile)) if len(pool.labels) else 0.0,
            "variety": synthesis.variety(pool.part, material.training, len(material.classes)),
            "written": len(kept.labels),
        },
        "amounts": list(contest.amounts),
        "updates": contest.updates,
        "settings_tried": len(settings(REAL, contest.amounts)),
        "tuning_seeds": TUNING,
        "seeds": contest.seeds,
        "classical": "shifts, small turns, flips" if material.flips else "shifts, small turns",
    }
