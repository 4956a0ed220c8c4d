"""The files of a source before any is decoded: each one's hash and header, remembered by its size and time."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from equipoise.data import cache
from equipoise.data.containers import Container, Item
from equipoise.data.decode import Header, Unreadable, look, quietly
from equipoise.data.parallel import ordered
from equipoise.errors import InputError

Progress = Callable[[int, int], None]


class Seen(NamedTuple):
    """One image file."""

    stamp: str
    digest: str
    width: int
    height: int
    mode: str
    grey: bool
    error: str  # "" for a readable header


class Survey(NamedTuple):
    """All image files of a source, by name, and what is no image."""

    files: dict[str, Seen]
    skipped: dict[str, int]
    sidecar: str | None  # the text of a StyleGAN `dataset.json`

    @property
    def readable(self) -> list[str]:
        return [name for name, seen in self.files.items() if not seen.error]

    @property
    def unreadable(self) -> dict[str, str]:
        return {name: seen.error for name, seen in self.files.items() if seen.error}

    def digest(self) -> str:
        """A hash of the names and contents of the readable files."""
        lines = (f"{name}\0{self.files[name].digest}\n" for name in self.readable)
        return hashlib.blake2b("".join(lines).encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()

    def shorter_median(self) -> float:
        return float(np.median([min(self.files[name][2:4]) for name in self.readable]))

    def sizes(self) -> dict[str, Any]:
        """Smallest, largest, median of the shorter sides, and the number of kinds, for the report."""
        kinds = sorted({self.files[name][2:4] for name in self.readable}, key=lambda size: (size[0] * size[1], size))
        median = self.shorter_median()
        return {"smallest": [*kinds[0]], "largest": [*kinds[-1]], "shorter_median": median, "kinds": len(kinds)}

    def modes(self) -> dict[str, int]:
        return dict(Counter(self.files[name].mode for name in self.readable).most_common())

    def threads(self) -> int | None:
        """For decoding: of small images the interpreter does most of the work, and a second thread would but wait."""
        return 1 if self.shorter_median() < 128 else None

    def grey(self) -> bool:
        return all(self.files[name].grey for name in self.readable)


def survey(box: Container, source: str, root: Path | None, progress: Progress | None = None) -> Survey:
    """Look at every file that has changed since the last time; InputError where none is an image."""
    known = cache.read_index(source, root)
    before = {name: Seen(*row) for name, row in known.get("files", {}).items()}
    if box.stamp and box.stamp == known.get("stamp"):
        result = Survey(before, known["skipped"], known["sidecar"])
    else:
        files = _look_at_all(box, before, progress)
        result = Survey(files, dict(box.skipped), box.sidecar)
        if files != before or box.stamp:
            cache.write_index(source, {"stamp": box.stamp, **result._asdict()}, root)
    _require_images(result, source)
    return result


def _look_at_all(box: Container, known: dict[str, Seen], progress: Progress | None) -> dict[str, Seen]:
    def changed(name: str, stamp: str) -> bool:
        return name not in known or known[name].stamp != stamp

    files: dict[str, Seen] = {}

    def new_ones() -> Iterator[Item]:
        for item in box.stream(changed):
            if changed(item.name, item.stamp):
                yield item
            else:
                files[item.name] = known[item.name]

    with quietly():
        for name, file in ordered(lambda item: (item.name, _look_at(item)), new_ones(), threads=1):
            files[name] = file
            if progress is not None and box.total:
                progress(len(files), box.total)
    return dict(sorted(files.items()))


def _look_at(item: Item) -> Seen:
    try:
        data = item.read()
        header = look(data)
        return Seen(item.stamp, hashlib.blake2b(data, digest_size=16).hexdigest(), *header, "")
    except Unreadable as error:
        return Seen(item.stamp, "", *Header(0, 0, "", False), str(error))
    except OSError as error:
        return Seen(item.stamp, "", *Header(0, 0, "", False), error.strerror or str(error) or "cannot be read")


def _require_images(found: Survey, source: str) -> None:
    if not found.files:
        others = ", ".join(f"{count} {kind}" for kind, count in list(found.skipped.items())[:5])
        raise InputError(
            f"{source} holds no images{f' (only other files: {others})' if others else ': it is empty'}; give one with"
            " files such as .png or .jpg."
        )
    if not found.readable:
        name, why = next(iter(found.unreadable.items()))
        raise InputError(
            f"none of the {len(found.files):,} image files in {source} can be read ({name}: {why}); give intact ones."
        )
