"""One finished run as a few numbers, by what its source makes it possible to know.

Known Gaussians: overlap. Triples of classes: overlap of the histogram over the triples. Other samples: F, the harmonic
mean of precision and coverage against held-out ones. A sample with NaN or infinity is a miss everywhere.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from equipoise import images, runs
from equipoise.config import IN_MEMORY, Config
from equipoise.data import Dataset, open_dataset
from equipoise.data.stacked import is_stacked, singles
from equipoise.errors import InputError
from equipoise.metrics import extract, finite_rows, frechet, harmonic_mean, modes, prdc, reverse_kl
from equipoise.samples import generate
from equipoise.studies.classifiers import classifier
from equipoise.studies.real import opposite, some, split

Array = NDArray[Any]

POINTS = 5_000  # samples judged by known Gaussians
TRIPLES = 26_000  # samples judged by classes: as many as the literature takes for 1,000 modes
LEAST = 1_000  # samples judged by their neighbours, at least: in several draws of as many as there are real ones
SMALL = 10_000  # labelled images at most, for a classifier to look for their classes
NEIGHBOURS = 5  # whose distance is the radius of a ball, in precision and coverage


class Scores(NamedTuple):
    """What a run is worth; `values` holds the primary score and others."""

    primary: str  # the name of the score that runs are compared by
    higher_is_better: bool
    values: dict[str, float]


def score(
    run: Path,  # folder of a finished run
    seed: int = 0,  # of the samples
    samples: int | None = None,  # how many to judge, rounded up to whole draws; default: by the kind of source
    features: str = "pixels",  # of the Fréchet distance, by name; the other scores of images are of pixels always
    against: str | None = None,  # a source to judge by that the run was not trained on; None: held-out samples
) -> Scores:
    """Judge the averaged generator of a run; the same run and seed give the same scores.

    Known Gaussians: `overlap`, `modes`, `high_quality`, `reverse_kl` (`equipoise.metrics.modes`). Stacked sources:
    `overlap`, `modes`, `reverse_kl` over the triples of classes that a classifier sees, and its `confidence`. Others:
    `F`, `precision`, `coverage`, `recall`, `density` (k = 5) and `frechet` against the samples held out at the end of
    the run, means over draws of as many. Where these are fewer than 500, a half of all samples takes their place, the
    same one for every run: most of it was trained on, so memorising does not show. With `against`, that source takes
    their place (2,048 of its samples at most), and memorising shows. Labelled sets of at most 10,000 images add
    `classes`: the share of the classes that a classifier finds at least a tenth as often as they are due.

    Raises:
        InputError: no run, networks of your own, a source that is gone, has changed, or lay in memory, no samples;
            `against` another kind of data, or what was trained on.
    """
    if samples is not None and samples < 1:
        raise InputError(f"{samples} samples show nothing; give at least one, or leave the number out.")
    with torch.random.fork_rng(devices=[]):  # building a network draws its weights
        generator, settings = runs.load_network(run)
    dataset = _data(settings, run)
    judges = dataset
    if against is not None:
        judges = opposite(dataset, settings.source, against, settings.resolution, settings.labels)
    if dataset.modes is not None:
        return _by_modes(dataset, _samples(generator, settings, samples or POINTS, seed))
    if is_stacked(settings.source):
        made = _samples(generator, settings, samples or TRIPLES, seed)
        return by_classes(singles(settings.source, settings.labels, resolution=settings.resolution), made)
    real = split(dataset, settings.seed, settings.total)[0] if against is None else some(judges)
    rows = np.tile(real, _draws(len(real), samples or LEAST))
    labels = judges.labels[rows] if settings.classes and judges.labels is not None else None
    return _by_neighbours(judges, real, _samples(generator, settings, len(rows), seed, labels), features)


def reference(
    source: str,  # as a run names it
    seed: int = 0,  # of the choice of real samples, and of the held-out split
    resolution: int | None = None,
    labels: str | None = None,
    features: str = "pixels",
    against: str | None = None,
) -> Scores:
    """What as many real samples score: 26,000 triples fall short of an overlap of 1, as any number does.

    Where there are fewer real samples than `score` generates, they are drawn with repetition.
    """
    generator = np.random.default_rng(seed)
    if is_stacked(source):
        one = singles(source, labels, resolution=resolution)
        return by_classes(one, np.asarray(one.images)[generator.integers(len(one), size=(TRIPLES, 3)), 0])
    dataset = open_dataset(source, resolution=resolution, labels=labels)
    if dataset.modes is not None:
        return _by_modes(dataset, dataset.images[generator.integers(len(dataset), size=POINTS)])
    judges, (real, others) = dataset, split(dataset, seed, 0)
    if against is not None:
        judges = opposite(dataset, source, against, resolution, labels)
        real, others = some(judges), np.arange(len(dataset))
    drawn = [generator.choice(others, len(real), replace=len(others) < len(real)) for _ in range(_draws(len(real)))]
    return _by_neighbours(judges, real, np.asarray(dataset.images[np.concatenate(drawn)]), features)


def _by_modes(dataset: Dataset, points: Array) -> Scores:
    assert dataset.mode_std is not None
    found = modes(points, dataset.modes, dataset.mode_std)
    values = {"overlap": found.overlap, "modes": float(found.hit)}
    return Scores("overlap", True, values | {"high_quality": found.high_quality, "reverse_kl": found.reverse_kl})


def by_classes(
    one: Dataset,  # the single images
    made: Array,  # [N, 3, H, W]
    true: Array | None = None,  # shares [classes^3]; default: those that independent channels would show
) -> Scores:
    """Triples of classes that a classifier sees in images against their true shares."""
    assert one.labels is not None
    number, sound = len(one.classes), finite_rows(made)
    if true is None:
        shares = np.bincount(one.labels, minlength=number) / len(one)
        true = np.einsum("a,b,c->abc", shares, shares, shares).ravel()
    counts, confidence = np.zeros(number**3), 0.0
    if sound.any():
        channels = _bytes(made[sound]).reshape(-1, 1, *made.shape[2:])
        likely = classifier(one).probabilities(channels)
        seen = likely.argmax(axis=1).reshape(-1, 3) @ np.array([number**2, number, 1])
        counts = np.bincount(seen, minlength=number**3).astype(np.float64)
        confidence = float(likely.max(axis=1).mean() * sound.mean())
    values = {
        "overlap": float(np.minimum(counts / len(made), true).sum()),
        "modes": float((counts > 0).sum()),
        "reverse_kl": reverse_kl(counts, true),
        "confidence": confidence,
    }
    return Scores("overlap", True, values)


def _by_neighbours(dataset: Dataset, rows: NDArray[np.int64], made: Array, features: str) -> Scores:
    """Means over draws of len(rows) samples each; `made` holds one draw after the other."""
    real = dataset.images[rows]
    draws = [_draw(real, made[start : start + len(real)], features) for start in range(0, len(made), len(real))]
    values = {name: float(np.mean([draw[name] for draw in draws])) for name in draws[0]}
    if dataset.labels is not None and len(dataset.shape) == 3 and len(dataset) <= SMALL:
        values["classes"] = _classes(dataset, made)
    return Scores("F", True, values)


def _draw(real: Array, made: Array, features: str = "pixels") -> dict[str, float]:
    sound = finite_rows(made)
    if sound.sum() <= NEIGHBOURS:
        return dict.fromkeys(("F", "precision", "coverage", "recall", "density"), 0.0) | {"frechet": math.inf}
    reals, fakes = _bytes(real), _bytes(made[sound])
    pixels = extract("pixels", reals), extract("pixels", fakes)
    named = pixels if features == "pixels" else (extract(features, reals), extract(features, fakes))
    shares = prdc(*pixels, min(NEIGHBOURS, len(reals) - 1))
    precision, density = shares.precision * float(sound.mean()), shares.density * float(sound.mean())
    return {
        "F": harmonic_mean(precision, shares.coverage),
        "precision": precision,
        "coverage": shares.coverage,
        "recall": shares.recall,
        "density": density,
        "frechet": frechet(*named),  # of the sound samples
    }


def _classes(dataset: Dataset, made: Array) -> float:
    """Share of the classes that are at least a tenth as frequent in `made` as in the data."""
    assert dataset.labels is not None
    number, sound = len(dataset.classes), finite_rows(made)
    if not sound.any():
        return 0.0
    due = np.bincount(dataset.labels, minlength=number) / len(dataset)
    seen = np.bincount(classifier(dataset).predict(_bytes(made[sound])), minlength=number) / len(made)
    return float((seen >= due / 10).mean())


def _data(settings: Config, run: Path) -> Dataset:
    if settings.source == IN_MEMORY:
        raise InputError(
            f"{run} was fitted on arrays in memory, which are gone; save them and give the file as source."
        )
    dataset = open_dataset(settings.source, resolution=settings.resolution, labels=settings.labels)
    if dataset.fingerprint != settings.fingerprint:
        raise InputError(
            f"{settings.source} has changed since {run} was trained on it, so the scores would compare with other "
            "data; restore it, or train again."
        )
    return dataset


def _samples(
    generator: nn.Module, settings: Config, count: int, seed: int, labels: NDArray[np.int64] | None = None
) -> Array:
    """Samples float32 [count, ...] as the generator returns them, by random numbers of their own."""
    source = torch.Generator().manual_seed(seed)
    latents = torch.randn(count, settings.recipe.network.latent_dim, generator=source)
    if settings.classes and labels is None:
        labels = torch.randint(settings.classes, (count,), generator=source).numpy()
    return generate(generator, latents, None if labels is None else torch.from_numpy(labels)).numpy()


def _bytes(made: Array) -> Array:
    """Images in [-1, 1] as bytes; bytes and vectors as they are."""
    return made if made.ndim == 2 or made.dtype == np.uint8 else images.to_uint8(made)


def _draws(real: int, least: int = LEAST) -> int:
    """How many draws of as many samples as there are real ones bring the noise of the generated ones down."""
    return max(1, -(-least // real))
