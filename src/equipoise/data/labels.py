"""Class labels of files: from their folders, from a table, or from a StyleGAN `dataset.json`."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from equipoise.errors import InputError

Ints = npt.NDArray[np.int64]
Labelled = tuple[Ints, tuple[str, ...]]  # numbers 0 to K-1 [N], and the K names


def number(labels: Iterable[Any], source: str) -> Labelled:
    """Number labels by their sorted names, whole numbers by value; InputError for a single class."""
    given = [str(label) for label in labels]
    names = sorted(set(given), key=_sort_key)
    if len(names) < 2:
        raise InputError(
            f"the labels of {source} name only one class, {names[0]!r}, which tells nothing apart; give more, or none."
            if names
            else f"{source} names no labels; leave the labels out."
        )
    index = {name: i for i, name in enumerate(names)}
    return np.array([index[label] for label in given], np.int64), tuple(names)


def from_folders(names: Sequence[str], source: str) -> Labelled:
    """The first-level folder of each file, below the folders that all files share."""
    parts = [name.split("/") for name in names]
    while all(len(part) > 2 for part in parts) and len({part[0] for part in parts}) == 1:
        parts = [part[1:] for part in parts]
    loose = next((name for name, part in zip(names, parts, strict=True) if len(part) < 2), None)
    if loose is not None:
        raise InputError(
            f"{loose} in {source} lies in no sub-folder, so it has no class; put each image into its class's folder."
        )
    return number((part[0] for part in parts), source)


def from_file(names: Sequence[str], path: Path) -> Labelled:
    """A table of labels: `.json`, or lines of `filename,label` (commas, semicolons, tabs or spaces)."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"the labels file {path} cannot be read ({_reason(error)}); give a csv, txt or json file."
        ) from None
    table = from_json(text, str(path)) if path.suffix.lower() == ".json" else _from_lines(text, path)
    if table is None:
        raise InputError(f"{path} holds no labels; give a dictionary of file names or a list under 'labels'.")
    return match(names, table, str(path))


def from_json(text: str, source: str) -> dict[str, str] | None:
    """The labels in JSON: {name: label}, or StyleGAN's {"labels": [[name, label], ...]}; None where they are null."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{source} is no valid JSON ({_reason(error)}); repair it or leave it out.") from None
    if isinstance(data, dict) and "labels" in data and not isinstance(data["labels"], (str, int)):
        data = data["labels"]
    if data is None:
        return None
    try:
        table = dict(data.items() if isinstance(data, dict) else data)
    except (TypeError, ValueError):
        raise InputError(
            f"the labels in {source} are not pairs of a file name and a class; write [[name, 3], ...]."
        ) from None
    odd = next(
        (label for label in table.values() if isinstance(label, bool) or not isinstance(label, (str, int))), None
    )
    if odd is not None:
        raise InputError(
            f"{source} has the label {str(odd)[:40]}, which is no class; give one whole number or name each."
        )
    return {str(name): str(label) for name, label in table.items()}


def match(names: Sequence[str], table: Mapping[str, str], source: str) -> Labelled:
    """Find each file in a table by its path, else by its file name where that is unique; InputError where one lacks."""
    table = {name.replace("\\", "/").removeprefix("./"): label for name, label in table.items()}
    short: dict[str, set[str]] = {}
    for name, label in table.items():
        short.setdefault(name.rsplit("/", 1)[-1], set()).add(label)
    found = [table.get(name) or _only(short.get(name.rsplit("/", 1)[-1])) for name in names]
    missing = [name for name, label in zip(names, found, strict=True) if label is None]
    if missing:
        raise InputError(
            f"{source} has no label for {len(missing):,} of {len(names):,} images, such as {missing[0]};"
            " label each image or leave the labels out."
        )
    return number(found, source)


def _only(labels: set[str] | None) -> str | None:
    return next(iter(labels)) if labels is not None and len(labels) == 1 else None


def _from_lines(text: str, path: Path) -> dict[str, str]:
    lines = [line for line in text.splitlines() if line.strip()]
    delimiter = next((mark for mark in ",;\t" if lines and mark in lines[0]), " ")
    rows = [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=delimiter, skipinitialspace=True)]
    bad = next((i for i, row in enumerate(rows) if len(row) < 2), None)
    if bad is not None:
        raise InputError(f"line {bad + 1} of {path} is not 'filename,label' ({lines[bad][:60]!r}); write two columns.")
    header = bool(rows) and rows[0][0].lower() in ("filename", "file_name", "file", "name", "path", "image")
    return {row[0]: row[1] for row in rows[header:]}


def _sort_key(name: str) -> tuple[int, int, str]:
    return (0, int(name), "") if name.lstrip("-").isdecimal() else (1, 0, name)


def _reason(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error).splitlines()[0]
