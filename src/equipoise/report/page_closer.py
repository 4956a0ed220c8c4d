"""A closer look at a finished generator: its samples class by class, and beside the training images nearest to them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from equipoise import images, runs, samples
from equipoise.config import Config
from equipoise.data import Dataset
from equipoise.errors import EquipoiseError
from equipoise.metrics.neighbours import nearest
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
    if config.source.startswith("hf:"):
        return f"Nearest training images are not shown, for the data ({config.source}) are not on this disk."
    try:
        dataset = runs.load_data(config)
    except EquipoiseError as error:
        return f"Nearest training images are not shown: {error}."
    if len(dataset) > MOST:
        return f"Nearest training images are not shown: {len(dataset):,} are more than the {MOST:,} that are searched."
    return dataset


def _neighbours(made: NDArray[np.uint8], pool: NDArray[np.uint8]) -> tuple[tuple[Row, ...], float]:
    """Samples with their neighbours."""
    distance, order = nearest(made, pool, NEIGHBOURS)
    some = np.array(thinned(range(len(pool)), COMPARED))
    usual, _ = nearest(pool[some], pool, own=some)
    rows = tuple(
        Row(f"{near[0]:.3f}", _strip(np.concatenate([made[number : number + 1], pool[which]]), gap=True))
        for number, (near, which) in enumerate(zip(distance, order, strict=True))
    )
    return rows, float(np.median(usual))


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
