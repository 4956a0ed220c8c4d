"""The sides of a comparison: generated samples, real ones, more real ones for the floor, and the training data."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from equipoise import checkpoint, config, images, runs, samples
from equipoise.apps.evaluate.opening import Array, Rows, Source, alike, name_of, opened, resized, shared, translated
from equipoise.config import Config
from equipoise.data import Dataset, Holdout
from equipoise.errors import InputError
from equipoise.networks.protocols import latent_dim

MOST = 10_000  # samples of a side, unless more are asked for
ENOUGH = 1_000  # held-out images of a run that are compared with; where they are fewer, all of its data are
LEAST = 20  # samples of a side
ALL = 1_000_000  # samples of a side at most: they are held in memory
SEARCHED = 100_000  # training images that copies are looked for among
SHARED = 0.1  # share of the real samples that may be among the training data, since some sources repeat themselves


@dataclass(frozen=True)
class Asked:
    """What is to be compared."""

    subject: Source  # a run folder, or generated images
    against: Source | None = None  # real images; None: a run's own data
    training: Source | None = None  # what the generator was trained on; None: a run's own data, or `against`
    labels: str | None = None  # of folders: "folders", or a file
    count: int | None = None  # samples of a side at most
    seed: int = 0
    at: str | None = None  # a checkpoint's name
    device: str = "cpu"  # to generate on


@dataclass(frozen=True)
class Side:
    """Samples with their labels, and where they are from."""

    name: str  # in words
    samples: Array  # uint8 [N, C, H, W] or float32 [N, d]
    labels: Rows | None = None  # [N], by the classes of the real side
    key: tuple[Any, ...] | None = None  # tells these samples from all others, for the cache
    groups: Rows | None = None  # [N]: near-duplicates share a number

    def __len__(self) -> int:
        return len(self.samples)


@dataclass(frozen=True)
class Sides:
    """What is compared."""

    made: Side
    real: Side
    twin: Side | None  # real as well, as many, and others; None: halves of `real` have to do
    training: Side | None
    unseen: bool  # whether the real samples are none of the training data
    classes: tuple[str, ...]  # of the real side
    mirror: bool  # whether mirrored copies are to be looked for
    fitted: Dataset | None  # what a classifier for features may be fitted to
    notes: list[str] = field(default_factory=list)


def gather(asked: Asked) -> Sides:
    """Open everything; an InputError says what does not fit."""
    config.check_seed("--seed", asked.seed)
    if asked.count is not None and asked.count < LEAST:
        raise InputError(f"--count {asked.count} shows nothing; give at least {LEAST}, better thousands")
    if asked.count is not None and asked.count > ALL:
        raise InputError(f"--count {asked.count} samples cannot be held at once; give at most {ALL:,}")
    if not isinstance(asked.subject, Dataset) and (Path(asked.subject) / "config.json").is_file():
        return _of_run(Path(asked.subject), asked)
    return _of_images(asked)


def _of_images(asked: Asked) -> Sides:
    subject, against, training, labels = asked.subject, asked.against, asked.training, asked.labels
    count, seed = asked.count, asked.seed
    if against is None:
        raise InputError(
            f"{name_of(subject)} is no run folder, so it is not known what is real; give --against as well"
        )
    notes: list[str] = []
    one, other = alike(subject, against, labels, notes)
    notes += [*resized(one), *resized(other)]
    known = None if training is None else opened(training, other.shape, labels)
    chosen = np.random.default_rng(seed).permutation(len(one))[: count or MOST]
    made = Side(name_of(subject), one.images[np.sort(chosen)], translated(one, other, np.sort(chosen), notes))
    real, twin, unseen = _real(other, name_of(against), known, count or min(len(one), MOST), seed)
    pool = other if known is None else known
    search = _side(pool, name_of(training or against), _some(len(pool), SEARCHED, seed))
    return _checked(made, real, twin, search, unseen, other, pool, notes)


def _of_run(run: Path, asked: Asked) -> Sides:
    against, training, labels, count, seed = asked.against, asked.training, asked.labels, asked.count, asked.seed
    settings, notes = config.read(run), list[str]()
    folder = checkpoint.find(run) if asked.at is None else run / "checkpoints" / asked.at
    with torch.random.fork_rng(devices=[]):  # building a network draws its weights
        generator, _ = runs.load_network(run, "G_ema", folder.name)
    seen = int(checkpoint.verify(folder)["samples"])
    known = _trained_on(settings, training, labels, against is None, notes)
    labels = labels or settings.labels
    if against is not None:
        other = opened(against, settings.shape, labels)
        notes += resized(other)
        real, twin, unseen = _real(other, name_of(against), known, count or MOST, seed)
        trained = None if known is None else np.arange(len(known))
    else:
        assert known is not None
        holdout, other = Holdout(known, settings.seed), known
        held, trained = holdout.heldout(seen), holdout.training(seen)
        unseen = not holdout.rotates and len(held) >= ENOUGH
        if unseen:
            real = _side(known, f"{settings.source}, held out of training", held[_some(len(held), count or MOST, seed)])
            twin = _side(known, settings.source, trained[_some(len(trained), len(real), seed)])
        else:
            trained = np.arange(len(known))
            real, twin, _ = _real(known, settings.source, None, count or MOST, seed)
            notes.append("The real samples were trained on, so these numbers do not punish copying; --against can.")
    wanted = _wanted(real, settings, count or len(real), seed)
    latents = torch.randn(len(wanted), latent_dim(generator), generator=torch.Generator().manual_seed(seed))
    drawn = samples.generate(
        generator.to(asked.device), latents, torch.from_numpy(wanted) if settings.classes else None
    )
    made = Side(
        f"{run} at {seen / 1000:g} kimg",
        drawn.numpy() if drawn.ndim == 2 else images.to_uint8(drawn),
        wanted if settings.classes and other.classes == settings.class_names else None,
    )
    search = None
    if known is not None and trained is not None:
        search = _side(known, settings.source, trained[_some(len(trained), SEARCHED, seed)])
    return _checked(made, real, twin, search, unseen, other, known, notes)


def _trained_on(
    settings: Config, training: Source | None, labels: str | None, needed: bool, notes: list[str]
) -> Dataset | None:
    """What a run was trained on; without it there is no look for copies, and a word of why."""
    if training is not None:
        return opened(training, settings.shape, labels or settings.labels)
    try:
        return runs.load_data(settings)
    except InputError as error:
        if needed:
            raise InputError(f"{str(error).rstrip('.')}; give real images with --against") from None
        notes.append(f"No look for copies of training data: {str(error).rstrip('.')}.")
        return None


def _real(other: Dataset, name: str, known: Dataset | None, count: int, seed: int) -> tuple[Side, Side | None, bool]:
    """Real samples to compare with, others of the same number, and whether the first were not trained on."""
    order = np.random.default_rng([seed, 1]).permutation(len(other))
    real = _side(other, name, np.sort(order[:count]))
    unseen = known is not None and shared(real.samples, known.images) <= SHARED
    if known is not None and unseen and len(known) >= len(real):
        return real, _side(known, "training data", _some(len(known), len(real), seed)), True
    if len(other) >= 2 * len(real):
        return real, _side(other, name, np.sort(order[len(real) : 2 * len(real)])), unseen
    return real, None, unseen


def _side(dataset: Dataset, name: str, rows: Rows) -> Side:
    labels = None if dataset.labels is None else dataset.labels[rows]
    key = (dataset.fingerprint, rows.tobytes())
    return Side(name, np.asarray(dataset.images[rows]), labels, key, dataset.groups[rows])


def _some(n: int, count: int, seed: int) -> Rows:
    """At most `count` of n rows, sorted."""
    return np.sort(np.random.default_rng([seed, 2]).permutation(n)[:count])


def _wanted(real: Side, settings: Config, count: int, seed: int) -> Rows:
    """Labels [count] in the shares of the real ones; zeros where there are none."""
    if not settings.classes:
        return np.zeros(count, np.int64)
    if real.labels is None or real.labels.max() >= settings.classes:
        return np.arange(count) % settings.classes
    return np.resize(np.random.default_rng([seed, 3]).permutation(real.labels), count)


def _checked(
    made: Side, real: Side, twin: Side | None, search: Side | None, unseen: bool, other: Dataset,
    fitted: Dataset | None, notes: list[str],
) -> Sides:  # fmt: skip
    for kind, side in (("generated", made), ("real", real)):
        if len(side) < LEAST:
            raise InputError(
                f"{side.name} gives {len(side)} {kind} samples, from which nothing can be said; give at least {LEAST}, "
                "better thousands"
            )
    mirror = search is not None and search.samples.ndim == 4 and other.mirror_safe
    return Sides(made, real, twin, search, unseen, other.classes, mirror, fitted, notes)
