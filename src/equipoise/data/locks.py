"""Locks between processes: a lock belongs to its process and is gone with it, however that ends."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

if sys.platform != "win32":
    import fcntl

_held: dict[Path, IO[bytes]] = {}  # what this process shares


@contextlib.contextmanager
def lock(path: Path) -> Iterator[None]:
    """Wait for, and hold, the lock of this name."""
    with path.open("ab") as file:
        if sys.platform != "win32":
            with contextlib.suppress(OSError):  # a file system without locks: the rename still keeps entries whole
                fcntl.flock(file, fcntl.LOCK_EX)
        else:
            _lock_windows(file)
        yield


@contextlib.contextmanager
def try_lock(path: Path) -> Iterator[bool]:
    """Hold the lock of this name if nobody else does; whether it was got."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        mine = True
        if sys.platform != "win32":
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                mine = False
        yield mine


def hold(path: Path) -> None:
    """Share the lock of this name until this process ends. Windows needs none: there an open file cannot be moved."""
    if path in _held or sys.platform == "win32":
        return
    file = path.open("ab")
    with contextlib.suppress(OSError):
        fcntl.flock(file, fcntl.LOCK_SH)
    _held[path] = file


def _lock_windows(file: IO[bytes]) -> None:
    if sys.platform == "win32":
        import msvcrt

        while True:
            try:
                file.seek(0)
                msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
                return
            except OSError:
                time.sleep(0.1)
