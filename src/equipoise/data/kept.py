"""Arrays that were costly to compute, kept in the cache folder by a key that names all they depend on."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from equipoise.data.cache import cache_root, usable
from equipoise.files import atomic_write

Array = npt.NDArray[Any]

VERSION = 1  # of how they are computed; another number is another key
LIMIT = 2_000_000_000  # bytes: what was used longest ago goes first


def kept(
    facts: tuple[Any, ...],  # what the array depends on: its repr is the key
    make: Callable[[], Array],
    root: Path | None = None,
) -> Array:
    """The array of these facts, from the disk or made now."""
    key = hashlib.blake2b(repr((VERSION, facts)).encode(), digest_size=16).hexdigest()
    path = _folder(root) / f"{key}.npy"
    with contextlib.suppress(OSError, ValueError, EOFError):  # not there, or damaged
        found: Array = np.load(path, allow_pickle=False)
        os.utime(path)
        return found
    array = make()
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    with usable(cache_root(root)):
        path.parent.mkdir(parents=True, exist_ok=True)
        _make_room(path.parent, buffer.tell())
        atomic_write(path, buffer.getvalue())
    return array


def kept_list(root: Path | None = None) -> list[Path]:
    """The files, last used first."""
    return sorted(_folder(root).glob("*.npy"), key=_used, reverse=True)


def kept_clear(root: Path | None = None) -> list[Path]:
    """Remove them all, and what broken-off writes have left; those removed. Nobody holds them open."""
    files = kept_list(root)
    for file in (*files, *_folder(root).glob(".*.tmp")):
        file.unlink(missing_ok=True)
    return files


def _folder(root: Path | None) -> Path:
    return cache_root(root) / "features"


def _make_room(folder: Path, needed: int) -> None:
    files = sorted(folder.glob("*.npy"), key=_used)
    total = sum(_size(file) for file in files)
    while files and total + needed > LIMIT:
        total -= _size(files[0])
        files.pop(0).unlink(missing_ok=True)


def _used(file: Path) -> float:
    with contextlib.suppress(FileNotFoundError):
        return file.stat().st_mtime
    return 0.0


def _size(file: Path) -> int:
    with contextlib.suppress(FileNotFoundError):
        return file.stat().st_size
    return 0
