"""Where image files lie: a folder, a zip or a tar, read in place and never unpacked onto the disk."""

from __future__ import annotations

import os
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple, Protocol

from equipoise.data.decode import extensions
from equipoise.errors import InputError

LARGEST = 1 << 30  # bytes of one file, unpacked; beyond it a member is a bomb rather than a picture
SIDECAR = "dataset.json"  # StyleGAN's labels


class Item(NamedTuple):
    """One image file of a container."""

    name: str  # relative, with forward slashes
    stamp: str  # changes when the file does
    read: Callable[[], bytes]


class Container(Protocol):
    """A source of image files; `skipped` and `sidecar` are known once `stream` has been run through."""

    stamp: str  # of the container as a whole; "" where each file has its own
    total: int  # files to come, known once `stream` has begun; 0 where only the end tells
    skipped: Counter[str]  # why files are no images: how many
    sidecar: str | None  # the text of a `dataset.json`

    def stream(self, wanted: Callable[[str, str], bool]) -> Iterator[Item]:
        """The image files; only those for which wanted(name, stamp) holds need be readable."""
        ...


class Folder:
    """Image files in a folder and its sub-folders; links are followed, but none upwards, and each folder once."""

    def __init__(self, path: Path) -> None:
        self.path, self.stamp, self.total = path, "", 0
        self.skipped: Counter[str] = Counter()
        self.sidecar: str | None = None

    def stream(self, wanted: Callable[[str, str], bool]) -> Iterator[Item]:
        self.skipped.clear()
        try:
            found = sorted(self._walk(self.path, "", {*self.path.resolve().parents}))
        except OSError as error:
            raise InputError(
                f"the folder {self.path} cannot be read ({error.strerror}); check its permissions."
            ) from None
        self.total = len(found)
        for name, status in found:
            if _is_image(name, self.skipped):
                yield Item(
                    name, f"{status.st_size}:{status.st_mtime_ns}", partial(_read, os.path.join(self.path, name))
                )
            elif name == SIDECAR:
                self.sidecar = _decoded((self.path / name).read_bytes(), name)

    def _walk(self, folder: Path, prefix: str, entered: set[Path]) -> Iterator[tuple[str, os.stat_result]]:
        real = folder.resolve()
        if real in entered:
            return
        entered.add(real)
        with os.scandir(folder) as entries:
            found = [entry for entry in entries if not _hidden(entry.name)]
        for entry in found:
            try:
                if entry.is_dir():
                    yield from self._walk(folder / entry.name, f"{prefix}{entry.name}/", entered)
                elif entry.is_file():
                    yield prefix + entry.name, entry.stat()
                else:
                    self.skipped["broken links and no files"] += 1
            except OSError:
                self.skipped["folders that cannot be read"] += 1


class Zip:
    """Image files in a zip."""

    def __init__(self, path: Path) -> None:
        self.path, self.stamp, self.total = path, file_stamp(path), 0
        self.skipped: Counter[str] = Counter()
        self.sidecar: str | None = None

    def stream(self, wanted: Callable[[str, str], bool]) -> Iterator[Item]:
        self.skipped.clear()
        try:
            archive = zipfile.ZipFile(self.path)  # closed with its last reader: threads read after the loop has ended
            for info in archive.infolist():
                check_name(info.filename, self.path)
            members = [info for info in archive.infolist() if not info.is_dir() and not _hidden(info.filename)]
            self.total = len(members)
            for info in sorted(members, key=lambda info: info.filename):
                if info.flag_bits & 1:
                    raise InputError(f"{self.path} is encrypted ({info.filename}); unpack it with its password first.")
                if _is_image(info.filename, self.skipped):
                    yield Item(info.filename, self.stamp, partial(_unzip, archive, info))
                elif info.filename == SIDECAR:
                    self.sidecar = _decoded(_unzip(archive, info), SIDECAR)
        except (zipfile.BadZipFile, OSError, EOFError) as error:
            raise InputError(f"{self.path} cannot be read as a zip ({error}); pack it or download it again.") from None


class Tar:
    """Image files in a tar, compressed or not, read in one pass."""

    def __init__(self, path: Path) -> None:
        self.path, self.stamp, self.total = path, file_stamp(path), 0
        self.skipped: Counter[str] = Counter()
        self.sidecar: str | None = None

    def stream(self, wanted: Callable[[str, str], bool]) -> Iterator[Item]:
        self.skipped.clear()
        try:
            with tarfile.open(self.path, "r|*") as archive:
                for info in archive:
                    name = info.name.removeprefix("./")
                    check_name(info.name, self.path)
                    if info.isdir() or _hidden(name):
                        continue
                    if not info.isreg():
                        self.skipped["links and devices in the tar"] += 1
                    elif name == SIDECAR:
                        self.sidecar = _decoded(_untar(archive, info)(), name)
                    elif _is_image(name, self.skipped):
                        yield Item(name, self.stamp, _untar(archive, info) if wanted(name, self.stamp) else bytes)
        except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
            raise InputError(f"{self.path} cannot be read as a tar ({error}); pack it or download it again.") from None


def container(path: Path) -> Container | None:
    """The container at `path`, or None where it is neither folder nor archive."""
    if path.is_dir():
        return Folder(path)
    if zipfile.is_zipfile(path) and path.suffix.lower() != ".npz":
        return Zip(path)
    if path.suffix.lower() == ".zip":
        raise InputError(f"{path} ends in .zip but is no zip, or only part of one; pack it or download it again.")
    if {".tar", ".tgz", ".tbz2", ".txz"} & {one.lower() for one in path.suffixes[-2:]}:
        return Tar(path)
    return None


def file_stamp(path: Path) -> str:
    """Size and time of a file, which change when it does."""
    status = path.stat()
    return f"{status.st_size}:{status.st_mtime_ns}"


def check_name(name: str, archive: Path) -> None:
    """Refuse names that would lead out of the archive; nothing is unpacked, but it is not to be trusted."""
    path = name.replace("\\", "/")
    if path.startswith("/") or path[1:2] == ":" or ".." in PurePosixPath(path).parts or "\0" in name:
        raise InputError(f"{archive} holds the member {name!r}, which points outside the archive; do not trust it.")


def _hidden(name: str) -> bool:
    return any((part.startswith(".") and part not in (".", "..")) or part == "__MACOSX" for part in name.split("/"))


def _is_image(name: str, skipped: Counter[str]) -> bool:
    extension = os.path.splitext(name)[1].lower()
    if extension in extensions():
        return True
    if name != SIDECAR:
        skipped[f"{extension or 'no extension'}"] += 1
    return False


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _unzip(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    if info.file_size > LARGEST:
        return _too_large(info.file_size)
    try:
        return archive.read(info)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise OSError(str(error)) from None


def _untar(archive: tarfile.TarFile, info: tarfile.TarInfo) -> Callable[[], bytes]:
    """Read a member now, for a stream does not turn back; what is returned hands the content over later."""
    if info.size > LARGEST:
        return partial(_too_large, info.size)
    file = archive.extractfile(info)
    data = file.read() if file is not None else b""
    return lambda: data


def _too_large(size: int) -> bytes:
    raise OSError(f"{size:,} bytes unpacked, more than {LARGEST:,}")


def _decoded(data: bytes, name: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{name} is no UTF-8 text; repair it or leave it out.") from None
