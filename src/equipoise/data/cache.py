"""Decoded images kept on the disk: built once, recognised by content, locked, and evicted oldest first.

    index/<source>.json       the survey of a source: each file's stamp (size and time), hash and header
    entries/<key>/            images.u8 (uint8 [N, C, R, R]), groups.npy, meta.json
    locks/<key>.lock, .use    held while an entry is built; shared by the processes that read it

An entry appears whole or not at all, by a rename.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from equipoise.data import locks
from equipoise.data.dataset import Analysis, analyse
from equipoise.errors import InputError
from equipoise.files import atomic_dir, atomic_write, expanded

Array = npt.NDArray[Any]

VERSION = 1  # of what an entry holds; another number is another key
LIMIT = 20.0  # GB, unless EQUIPOISE_CACHE_LIMIT says otherwise


@dataclass(frozen=True)
class CacheEntry:
    """One set of decoded images on the disk."""

    key: str
    source: str  # where it was first read from
    count: int
    shape: tuple[int, ...]
    bytes: int
    used: float  # when it was last opened, seconds since 1970
    path: Path

    def __str__(self) -> str:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(self.used))
        shape = "x".join(map(str, self.shape))
        return (
            f"{self.source}: {self.count:,} images of {shape}, {self.bytes / 1e6:,.1f} MB, used {when}, in {self.path}"
        )


class Cleared(list[CacheEntry]):
    """The entries removed."""

    def __str__(self) -> str:
        return f"removed {len(self)} sets of images, {sum(entry.bytes for entry in self) / 1e6:,.1f} MB"


def cache_root(root: Path | None = None) -> Path:
    """The cache folder: the argument, the environment's EQUIPOISE_CACHE, or the system's place for caches."""
    if root is not None:
        return Path(root)
    if os.environ.get("EQUIPOISE_CACHE"):
        return expanded(os.environ["EQUIPOISE_CACHE"])
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "equipoise" / "cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "equipoise"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "equipoise"


def cache_limit() -> int:
    """Bytes the cache may take: the environment's EQUIPOISE_CACHE_LIMIT in GB, or 20 GB."""
    text = os.environ.get("EQUIPOISE_CACHE_LIMIT") or str(LIMIT)
    try:
        return int(float(text) * 1e9)
    except (ValueError, OverflowError):
        raise InputError(
            f"EQUIPOISE_CACHE_LIMIT is {text!r}, which is no number; give the limit in GB, such as 20."
        ) from None


def cache_list(root: Path | None = None) -> list[CacheEntry]:
    """All entries, last used first."""
    folder = cache_root(root) / "entries"
    paths = [path for path in folder.iterdir() if not path.name.startswith(".")] if folder.is_dir() else []
    entries = [entry for path in paths if (entry := _describe(path)) is not None]
    return sorted(entries, key=lambda entry: entry.used, reverse=True)


def cache_clear(root: Path | None = None) -> Cleared:
    """Remove all entries that no process reads, and what broken-off builds have left; return those removed."""
    place = cache_root(root)
    removed = Cleared(entry for entry in cache_list(place) if _remove(place, entry.key))
    for left in (place / "entries").glob(".*.tmp"):
        with locks.try_lock(place / "locks" / f"{left.name.split('.')[1]}.lock") as mine:
            if mine:
                shutil.rmtree(left, ignore_errors=True)
    shutil.rmtree(place / "index", ignore_errors=True)
    return removed


def fetch(
    key: str,
    fill: Callable[
        [Path], dict[str, Any]
    ],  # writes images.u8 into a folder and returns its shape and more for meta.json
    *,
    needed: int,  # bytes, about
    root: Path | None = None,
) -> tuple[Array, Analysis, dict[str, Any]]:
    """Images uint8 [N, C, R, R] as a read-only map, their analysis and the meta data, built where they lack."""
    place = cache_root(root)
    with usable(place):
        for name in ("entries", "locks"):
            (place / name).mkdir(parents=True, exist_ok=True)
        with locks.lock(place / "locks" / f"{key}.lock"):
            locks.hold(place / "locks" / f"{key}.use")
            path = place / "entries" / key
            found = _load(path)
            if found is None:
                for left in path.parent.glob(f".{key}.*"):
                    shutil.rmtree(left, ignore_errors=True)  # of a build that was broken off
                _make_room(place, needed, keep=key)
                with atomic_dir(path) as new:
                    meta = fill(new)
                    facts = analyse(np.memmap(new / "images.u8", np.uint8, "r", shape=tuple(meta["shape"])))
                    np.save(new / "groups.npy", facts.groups)
                    meta["analysis"] = {name: value for name, value in asdict(facts).items() if name != "groups"}
                    atomic_write(new / "meta.json", json.dumps(meta))
                found = _load(path)
                if found is None:
                    raise InputError(
                        f"the cache entry {path} cannot be read back; choose another folder by EQUIPOISE_CACHE."
                    )
            os.utime(path / "meta.json")
            return found


def read_index(source: str, root: Path | None = None) -> dict[str, Any]:
    """What is remembered of a source, {} for nothing."""
    try:
        data = json.loads(_index_path(source, root).read_bytes())
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) and data.get("version") == VERSION else {}


def write_index(source: str, data: dict[str, Any], root: Path | None = None) -> None:
    """Remember `data` of a source."""
    path = _index_path(source, root)
    with usable(cache_root(root)):
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(path, json.dumps({**data, "version": VERSION, "source": source}, separators=(",", ":")))


@contextlib.contextmanager
def usable(place: Path) -> Iterator[None]:
    """Turn what the disk refuses into a sentence."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise InputError(
                f"the disk of the cache folder {place} is full; free some, or name another folder by EQUIPOISE_CACHE."
            ) from None
        raise InputError(
            f"the cache folder {place} cannot be used ({error.strerror or error}); name one that can be written to by"
            " EQUIPOISE_CACHE."
        ) from None


def _index_path(source: str, root: Path | None) -> Path:
    return cache_root(root) / "index" / f"{hashlib.blake2b(os.fsencode(source), digest_size=16).hexdigest()}.json"


def _load(path: Path) -> tuple[Array, Analysis, dict[str, Any]] | None:
    """An entry, or None where it is missing or damaged."""
    try:
        meta = json.loads((path / "meta.json").read_bytes())
        groups = np.load(path / "groups.npy", allow_pickle=False)
        shape = tuple(meta["shape"])
        if (path / "images.u8").stat().st_size != int(np.prod(shape)) or len(groups) != shape[0]:
            return None
        return np.memmap(path / "images.u8", np.uint8, "r", shape=shape), Analysis(groups, **meta["analysis"]), meta
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _describe(path: Path) -> CacheEntry | None:
    try:
        meta = json.loads((path / "meta.json").read_bytes())
        size = sum(file.stat().st_size for file in path.iterdir())
        used = (path / "meta.json").stat().st_mtime
        count, *shape = meta["shape"]
        return CacheEntry(path.name, str(meta.get("source", "?")), count, tuple(shape), size, used, path)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _make_room(place: Path, needed: int, keep: str) -> None:
    """Evict what was used longest ago until `needed` bytes fit within the limit and the disk."""
    limit, entries = cache_limit(), [entry for entry in cache_list(place) if entry.key != keep]
    if needed > limit:
        raise InputError(
            f"the decoded images need {needed / 1e9:.2g} GB of cache, and its limit is {limit / 1e9:.2g} GB; raise"
            " EQUIPOISE_CACHE_LIMIT or lower the resolution."
        )
    total = sum(entry.bytes for entry in entries)
    while entries and (total + needed > limit or shutil.disk_usage(place).free < needed):
        oldest = entries.pop()
        total -= oldest.bytes if _remove(place, oldest.key) else 0
    if shutil.disk_usage(place).free < needed:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _remove(place: Path, key: str) -> bool:
    """Remove an entry, unless a process reads it."""
    path = place / "entries" / key
    aside = path.parent / f".{key}.{os.getpid()}.tmp"
    with locks.try_lock(place / "locks" / f"{key}.use") as mine:
        if not mine:
            return False
        try:
            os.replace(path, aside)  # fails on systems that guard open files
        except OSError:
            return False
        shutil.rmtree(aside, ignore_errors=True)
        return True
