"""One finished run as a few numbers, by what its source makes it possible to know.

Known Gaussians: overlap. Triples of classes: overlap of the histogram over the triples. Other samples: F, the harmonic
mean of precision and coverage against held-out ones. A sample with NaN or infinity is a miss everywhere.
"""

from __future__ import annotations

import functools
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
from equipoise.data.cache import cache_root, usable
from equipoise.data.holdout import Holdout
from equipoise.data.stacked import is_stacked, singles
from equipoise.errors import InputError
from equipoise.metrics import Classifier, extract, fit_classifier, frechet, harmonic_mean, modes, prdc, reverse_kl
from equipoise.samples import generate

Array = NDArray[Any]

POINTS = 5_000  # samples judged by known Gaussians
TRIPLES = 26_000  # samples judged by classes: as many as the literature takes for 1,000 modes
LEAST = 1_000  # samples judged by held-out ones, at least: in several draws of as many as are held out
NEIGHBOURS = 5  # whose distance is the radius of a ball, in precision and coverage


class Scores(NamedTuple):
    """What a run is worth; `values` holds the primary score and others."""

    primary: str  # the name of the score that runs are compared by
    higher_is_better: bool
    values: dict[str, float]


def score(
    run: Path,  # folder of a finished run
    seed: int = 0,  # of the samples
) -> Scores:
    """Judge the averaged generator of a run; the same run and seed give the same scores.

    Known Gaussians: `overlap`, `modes`, `high_quality`, `reverse_kl` (`equipoise.metrics.modes`). Stacked sources:
    `overlap`, `modes`, `reverse_kl` over the triples of classes that a classifier sees, and its `confidence`. Others:
    `F`, `precision`, `coverage`, `recall`, `density` (k = 5) and `frechet`, in pixel features, against the samples
    held out at the end of the run; means over draws of as many samples as are held out.

    Raises:
        InputError: no run, networks of your own, a source that is gone, has changed, or lay in memory.
    """
    generator, settings = runs.load_network(run)
    dataset = _data(settings, run)
    if dataset.modes is not None:
        return _by_modes(dataset, _samples(generator, settings, POINTS, seed))
    if is_stacked(settings.source):
        made = _samples(generator, settings, TRIPLES, seed)
        return _by_classes(singles(settings.source, settings.labels, resolution=settings.resolution), made)
    rows = Holdout(dataset, settings.seed).heldout(settings.total)
    labels = (
        np.tile(dataset.labels[rows], _draws(len(rows))) if settings.classes and dataset.labels is not None else None
    )
    made = _samples(generator, settings, len(rows) * _draws(len(rows)), seed, labels)
    return _by_neighbours(dataset.images[rows], made)


def reference(
    source: str,  # as a run names it
    seed: int = 0,  # of the choice of real samples, and of the held-out split
    resolution: int | None = None,
    labels: str | None = None,
) -> Scores:
    """What as many real samples score: 26,000 triples fall short of an overlap of 1, and so do 54 held-out digits.

    Where there are fewer real samples than `score` generates, they are drawn with repetition.
    """
    generator = np.random.default_rng(seed)
    if is_stacked(source):
        one = singles(source, labels, resolution=resolution)
        return _by_classes(one, np.asarray(one.images)[generator.integers(len(one), size=(TRIPLES, 3)), 0])
    dataset = open_dataset(source, resolution=resolution, labels=labels)
    if dataset.modes is not None:
        return _by_modes(dataset, dataset.images[generator.integers(len(dataset), size=POINTS)])
    holdout = Holdout(dataset, seed)
    rows, others = holdout.heldout(0), holdout.training(0)
    draws = [generator.choice(others, len(rows), replace=len(others) < len(rows)) for _ in range(_draws(len(rows)))]
    return _by_neighbours(dataset.images[rows], np.asarray(dataset.images[np.concatenate(draws)]))


def _by_modes(dataset: Dataset, points: Array) -> Scores:
    assert dataset.mode_std is not None
    found = modes(points, dataset.modes, dataset.mode_std)
    values = {"overlap": found.overlap, "modes": float(found.hit)}
    return Scores("overlap", True, values | {"high_quality": found.high_quality, "reverse_kl": found.reverse_kl})


def _by_classes(one: Dataset, made: Array) -> Scores:
    """Triples of classes of the images `made` [N, 3, H, W] against those that independent channels would show."""
    assert one.labels is not None
    number, sound = len(one.classes), _sound(made)
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


def _by_neighbours(real: Array, made: Array) -> Scores:
    """Means over draws of len(real) samples each; `made` holds one draw after the other."""
    draws = [_draw(real, made[start : start + len(real)]) for start in range(0, len(made), len(real))]
    return Scores("F", True, {name: float(np.mean([draw[name] for draw in draws])) for name in draws[0]})


def _draw(real: Array, made: Array) -> dict[str, float]:
    sound = _sound(made)
    if sound.sum() <= NEIGHBOURS:
        return dict.fromkeys(("F", "precision", "coverage", "recall", "density"), 0.0) | {"frechet": math.inf}
    reals, fakes = extract("pixels", _bytes(real)), extract("pixels", _bytes(made[sound]))
    shares = prdc(reals, fakes, min(NEIGHBOURS, len(reals) - 1))
    precision, density = shares.precision * float(sound.mean()), shares.density * float(sound.mean())
    return {
        "F": harmonic_mean(precision, shares.coverage),
        "precision": precision,
        "coverage": shares.coverage,
        "recall": shares.recall,
        "density": density,
        "frechet": frechet(reals, fakes),  # of the sound samples
    }


def classifier(one: Dataset) -> Classifier:
    """The classifier of a labelled grey source, fitted once (seconds to a minute) and kept in the cache folder.

    Two processes may fit it at the same time: both find the same weights, and the file appears whole.
    """
    return _classifier(cache_root() / "classifiers" / f"{one.fingerprint}-1.safetensors", _Known(one))


class _Known:
    """A dataset that stands for its fingerprint, so that results can be remembered by it."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Known) and self.dataset.fingerprint == other.dataset.fingerprint

    def __hash__(self) -> int:
        return hash(self.dataset.fingerprint)


@functools.lru_cache(maxsize=2)
def _classifier(path: Path, known: _Known) -> Classifier:
    one = known.dataset
    try:
        found = Classifier.load(path)
        if (found.shape, found.num_classes) == (one.shape, len(one.classes)):
            return found
    except InputError:  # not there yet, or damaged
        pass
    found = fit_classifier(one.images, one.labels, num_classes=len(one.classes))
    with usable(cache_root()):
        path.parent.mkdir(parents=True, exist_ok=True)
        found.save(path)
    return found


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


def _sound(made: Array) -> NDArray[np.bool_]:
    """Which samples [N] are finite throughout."""
    return np.asarray(np.isfinite(made).reshape(len(made), -1).all(axis=1))


def _bytes(made: Array) -> Array:
    """Images in [-1, 1] as bytes; bytes and vectors as they are."""
    return made if made.ndim == 2 or made.dtype == np.uint8 else images.to_uint8(made)


def _draws(heldout: int) -> int:
    """How many draws of as many samples as are held out bring the noise of the generated ones down."""
    return max(1, -(-LEAST // heldout))
