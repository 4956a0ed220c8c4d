"""Files that are either the old ones or the new ones, never half of each."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path


def atomic_write(path: str | Path, content: bytes | str) -> None:
    """Write `content` to `path` so that a reader, a crash or a full disk never leaves half a file.

    Text becomes UTF-8; what is in it of file names that are none is written by its number.
    """
    path = Path(path)
    data = content.encode(errors="backslashreplace") if isinstance(content, str) else content
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        raise
    sync_directory(path.parent)


def expanded(path: str | Path) -> Path:
    """A path with its `~` resolved; one of a user whom nobody knows stays as it is."""
    return Path(os.path.expanduser(path))


def missing_folders(path: str | Path) -> list[Path]:
    """Of a folder and those that it lies in, the ones that are not there, the innermost first."""
    return [one for one in (Path(path), *Path(path).parents) if not os.path.exists(one)]


def remove_empty(folders: Iterable[Path]) -> None:
    """Remove folders one after the other, up to the first that is not empty."""
    with contextlib.suppress(OSError):
        for one in folders:
            one.rmdir()


def clear(folder: Path) -> None:
    """Remove what lies in a folder, though not the folder."""
    for one in folder.iterdir():
        if one.is_dir() and not one.is_symlink():
            shutil.rmtree(one)
        else:
            one.unlink()


@contextlib.contextmanager
def no_empty_folders(path: str | Path) -> Iterator[None]:
    """Where the block fails, a folder and those that it lies in go again, if it made them and left them empty."""
    missing = missing_folders(path)
    try:
        yield
    except BaseException:
        remove_empty(missing)
        raise


@contextlib.contextmanager
def atomic_dir(path: str | Path) -> Iterator[Path]:
    """Yield a fresh folder beside `path` that takes its place when the block ends without an error.

    A folder that is already at `path` is moved aside first and removed last: a crash in between leaves the old one
    under the name `.<name>.old`, which whoever reads the folder may fall back on.
    """
    path = Path(path)
    with no_empty_folders(path.parent):
        yield from _new_dir(path)


def _new_dir(path: Path) -> Iterator[Path]:
    path.parent.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent))
    old = path.parent / f".{path.name}.old"
    try:
        yield new
        os.chmod(new, 0o777 & ~_umask())
        for file in new.rglob("*"):
            if file.is_file():
                sync_file(file)
        sync_directory(new)
        if path.exists():
            shutil.rmtree(old, ignore_errors=True)
            os.replace(path, old)
        os.replace(new, path)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise
    sync_directory(path.parent)
    shutil.rmtree(old, ignore_errors=True)


def sync_file(path: Path) -> None:
    """Ask the system to put a file's content on the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def sync_directory(path: Path) -> None:
    """Ask the system to put a folder's entries on the disk, where it offers that."""
    if os.name != "posix":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
