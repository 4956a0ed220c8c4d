"""A closer look at a finished generator: its samples class by class, and beside the training images nearest to them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from equipoise import images, runs, samples
from equipoise.config import IN_MEMORY, Config
from equipoise.data import Dataset, open_dataset
from equipoise.errors import EquipoiseError
from equipoise.metrics.features import extract
from equipoise.report.page_pictures import Picture, from_png, thinned

MOST = 5000  # training images that are searched
SHOWN = 8  # samples that are looked at
NEIGHBOURS = 5  # of each
COMPARED = 256  # images of the data whose own nearest neighbour says what is usual
ACROSS, CLASSES = 10, 20  # samples of a class, and classes, that are shown


@dataclass(frozen=True)
class Row:
    """A strip of images, and what is said beside it."""

    label: str
    picture: Picture


@dataclass(frozen=True)
class Closer:
    """What was found; where a part could not be made, `without` says why."""

    classes: tuple[Row, ...] = ()
    neighbours: tuple[Row, ...] = ()  # a sample, then the training images nearest to it
    usual: float | None = None  # median distance of an image of the data to the nearest other one
    without: tuple[str, ...] = ()


def look(run: Path) -> Closer:
    """Load the averaged generator and, if it still opens, the data set; on the CPU, in seconds."""
    try:
        network, config = runs.load_network(run)
    except EquipoiseError as error:
        return Closer(without=(f"The generator could not be loaded: {error}.",))
    if len(config.shape) != 3:
        return Closer(without=("The samples are vectors, so there are no images to set side by side.",))
    classes = [
        Row(name, _strip(images.to_uint8(samples.from_seeds(network, range(ACROSS), number)[0])))
        for number, name in thinned(list(enumerate(config.class_names)), CLASSES)
    ]
    made = images.to_uint8(samples.from_seeds(network, range(SHOWN))[0])
    dataset = _dataset(config)
    if isinstance(dataset, str):
        return Closer(tuple(classes), without=(dataset,))
    rows, usual = _neighbours(made, np.asarray(dataset.images))
    return Closer(tuple(classes), rows, usual)


def _dataset(config: Config) -> Dataset | str:
    """What the run was trained on, or a sentence that says why it is not searched."""
    if config.source == IN_MEMORY or config.source.startswith("hf:"):
        return f"Nearest training images are not shown, for the data ({config.source}) are not on this disk."
    try:
        dataset = open_dataset(config.source, resolution=config.resolution, labels=config.labels)
    except (EquipoiseError, OSError) as error:
        return f"Nearest training images are not shown, for the data did not open: {error}."
    if dataset.fingerprint != config.fingerprint:
        return f"Nearest training images are not shown, for {config.source} has changed since the run began."
    if len(dataset) > MOST:
        return f"Nearest training images are not shown: {len(dataset):,} are more than the {MOST:,} that are searched."
    return dataset


def _neighbours(made: NDArray[np.uint8], pool: NDArray[np.uint8]) -> tuple[tuple[Row, ...], float]:
    """Samples with their neighbours, by root mean square of the pixels' differences at 16 by 16 at most, 0 to 1."""
    features = torch.from_numpy(extract("pixels", pool))
    distance, order = _distances(extract("pixels", made), features).topk(min(NEIGHBOURS, len(pool)), largest=False)
    some = torch.tensor(thinned(range(len(pool)), COMPARED))
    others = _distances(features[some], features)
    others[torch.arange(len(some)), some] = torch.inf  # not itself
    rows = tuple(
        Row(f"{float(near[0]):.3f}", _strip(np.concatenate([made[number : number + 1], pool[which.numpy()]]), gap=True))
        for number, (near, which) in enumerate(zip(distance, order, strict=True))
    )
    return rows, float(others.min(dim=1).values.median())


def _distances(one: Any, other: Any) -> torch.Tensor:
    """Of each to each, exact where two are the same."""
    far: torch.Tensor = torch.cdist(torch.as_tensor(one), other, compute_mode="donot_use_mm_for_euclid_dist")
    return far.div(math.sqrt(other.shape[1]))


def _strip(row: Any, gap: bool = False) -> Picture:
    """Images side by side; with a gap, the first set apart from the others."""
    row = np.asarray(row)
    scale = max(1, -(-48 // max(row.shape[2:])))
    picture = images.grid(row, columns=len(row), scale=scale)
    if gap:
        first = picture.shape[1] // len(row)
        white = np.full((len(picture), first // 3, picture.shape[2]), 255, np.uint8)
        picture = np.concatenate([picture[:, :first], white, picture[:, first:]], axis=1)
    return from_png(images.encode_png(picture))
