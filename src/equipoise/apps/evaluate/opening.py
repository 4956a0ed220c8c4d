"""Sources opened so that they can be compared: one size, one kind, labels by the same classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from equipoise.data import Dataset, open_dataset
from equipoise.errors import InputError
from equipoise.files import expanded

Array = NDArray[Any]
Rows = NDArray[np.int64]
Source = str | Path | Dataset

POINTS = ("ring", "grid")  # sources that have no resolution


def alike(subject: Source, against: Source, labels: str | None, notes: list[str]) -> tuple[Dataset, Dataset]:
    """Both sets at one size: the smaller one, in colour if either is."""
    pair = [opened(source, None, labels) for source in (subject, against)]
    shapes = [dataset.shape for dataset in pair]
    if shapes[0] == shapes[1]:
        return pair[0], pair[1]
    if len(shapes[0]) != len(shapes[1]) or len(shapes[0]) == 1:
        raise InputError(
            f"{name_of(subject)} holds samples of {shapes[0]} and {name_of(against)} such of {shapes[1]}, which cannot "
            "be compared; give samples of one kind"
        )
    shape = (max(one[0] for one in shapes), *(min(one[1] for one in shapes),) * 2)
    for i, source in enumerate((subject, against)):
        if shapes[i] != shape:
            pair[i] = opened(source, shape, labels)
            if shape[0] != shapes[i][0]:
                notes.append(f"{name_of(source)} is grey, and is compared in colour with the other side.")
    return pair[0], pair[1]


def opened(source: Source, shape: tuple[int, ...] | None, labels: str | None) -> Dataset:
    """A source at a shape; labels are for what lies on the disk."""
    if isinstance(source, Dataset):
        found = source
    elif shape is None or len(shape) == 1 or str(source) in POINTS:
        found = open_dataset(str(source), labels=_labels_for(source, labels))
    else:
        found = open_dataset(str(source), resolution=shape[-1], channels=shape[0], labels=_labels_for(source, labels))
    if shape is not None and found.shape != shape:
        raise InputError(
            f"{name_of(source)} holds samples of {found.shape}, and they are compared with such of {shape}; give those"
        )
    return found


def resized(dataset: Dataset) -> list[str]:
    """A note where the files had other sizes than they are compared at."""
    sizes, shape = dataset.report.sizes, dataset.shape
    if not sizes or (list(sizes["smallest"]), list(sizes["largest"])) == ([shape[-1], shape[-2]],) * 2:
        return []
    smallest, largest = ("x".join(map(str, sizes[name])) for name in ("smallest", "largest"))
    files = f"files of {smallest}" if smallest == largest else f"files of {smallest} to {largest}"
    return [f"{dataset.report.source}: {files} were resized to {shape[-1]}x{shape[-2]}."]


def _labels_for(source: Source, labels: str | None) -> str | None:
    """Files of arrays and what is built in have labels of their own."""
    path = expanded(str(source))
    return labels if path.exists() and path.suffix.lower() not in (".npy", ".npz") else None


def translated(one: Dataset, other: Dataset, rows: Rows, notes: list[str]) -> Rows | None:
    """Labels of the generated images by the real side's classes; None where either has none, or they do not fit."""
    if one.labels is None or other.labels is None:
        if one.labels is not None or other.labels is not None:
            lacking = "generated" if one.labels is None else "real"
            notes.append(f"Nothing is said by class, for the {lacking} images have no labels; --labels names them.")
        return None
    places = {name: number for number, name in enumerate(other.classes)}
    if not set(one.classes) <= set(places):
        if not all(name.isdigit() and int(name) < len(places) for name in one.classes):
            raise InputError(
                f"the classes of {one.name} ({', '.join(one.classes[:5])}, ...) are none of {other.name} "
                f"({', '.join(other.classes[:5])}, ...); name them alike, or leave --labels out"
            )
        places = {name: int(name) for name in one.classes}  # numbers of the classes, as `generate` writes them
    table = np.array([places[name] for name in one.classes], np.int64)
    return np.asarray(table[one.labels[rows]])


def shared(real: Array, known: Array) -> float:
    """Share of the real samples that are among the known ones, bit for bit."""
    mine = {sample.tobytes() for sample in real}
    found = {sample.tobytes() for sample in np.asarray(known) if sample.tobytes() in mine}
    return len(found) / len(mine)


def name_of(source: Source | None) -> str:
    """What a source is called."""
    return source.name if isinstance(source, Dataset) else str(source)
