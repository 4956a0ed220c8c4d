"""Hugging Face data sets, `hf:name` or `hf:path`, through the optional package `datasets`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from equipoise.data.containers import Item
from equipoise.errors import InputError


class Rows:
    """The images of a data set's training split, as files named by their numbers."""

    def __init__(self, source: str) -> None:
        self.rows, self.image, label = _load(source)
        self.stamp = str(getattr(self.rows, "_fingerprint", "")) or "unknown"
        self.total = len(self.rows)
        self.skipped: Counter[str] = Counter()
        self.sidecar: str | None = None
        if label is not None:
            names = self.rows.features[label].names
            table = [[_name(i), names[n] if n >= 0 else "none"] for i, n in enumerate(self.rows[label])]
            self.sidecar = json.dumps({"labels": table})

    def stream(self, wanted: Callable[[str, str], bool]) -> Iterator[Item]:
        for index in range(len(self.rows)):
            yield Item(_name(index), self.stamp, partial(self._read, index))

    def _read(self, index: int) -> bytes:
        return _bytes(self.rows[index][self.image])


def _name(index: int) -> str:
    return f"{index:08d}"


def _bytes(cell: dict[str, Any]) -> bytes:
    return cell["bytes"] if cell["bytes"] is not None else Path(cell["path"]).read_bytes()


def _load(source: str) -> tuple[Any, str, str | None]:
    """The rows with undecoded images, and the names of their image and label columns."""
    name = source.removeprefix("hf:")
    if not name:
        raise InputError("'hf:' names no data set; write hf:name or hf:path.")
    try:
        import datasets
    except ImportError:
        raise InputError(f"{source} needs the package datasets; install it by: pip install equipoise[hf]") from None
    try:
        saved = Path(name, "state.json").exists() or Path(name, "dataset_dict.json").exists()
        found: Any = datasets.load_from_disk(name) if saved else datasets.load_dataset(name)
    except Exception as error:  # whatever the network, the hub or the files may raise: the words are kept
        raise InputError(
            f"{source} cannot be loaded ({str(error).splitlines()[0][:160]}); check its name or path."
        ) from None
    rows = found.get("train", next(iter(found.values()))) if isinstance(found, dict) else found
    images = [column for column, kind in rows.features.items() if isinstance(kind, datasets.Image)]
    if not images:
        raise InputError(
            f"{source} has the columns {', '.join(rows.features)} and none of images; give one with images."
        )
    labels = [column for column, kind in rows.features.items() if isinstance(kind, datasets.ClassLabel)]
    return rows.cast_column(images[0], datasets.Image(decode=False)), images[0], labels[0] if len(labels) == 1 else None
