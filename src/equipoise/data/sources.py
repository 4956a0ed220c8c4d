"""From the word a user writes, `digits`, a path or `hf:name`, to a Dataset."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from equipoise.data import arrays, huggingface
from equipoise.data import cache as caching
from equipoise.data import labels as labelling
from equipoise.data.builtin import BUILTIN
from equipoise.data.containers import Container, container
from equipoise.data.dataset import Dataset, assemble
from equipoise.data.decode import Unreadable, decode, extensions, quietly
from equipoise.data.parallel import ordered
from equipoise.data.report import Report
from equipoise.data.sizes import check_channels, check_resolution, default_resolution
from equipoise.data.stacked import is_stacked, stacked
from equipoise.data.survey import Progress, Survey, survey
from equipoise.errors import InputError
from equipoise.files import expanded
from equipoise.registry import suggest

Array = npt.NDArray[Any]


def open_dataset(
    source: str,  # digits, digits:train, digits:test, ring, grid, a path, hf:name, or stacked: before any of these
    *,
    resolution: int | None = None,  # power of two, 8 to 256; default: the largest that fits the median shorter side
    channels: int | None = None,  # 1 or 3; default: 1 where all images are grey
    labels: str | None = None,  # None, "folders", or a csv, txt or json file of labels
    cache: Path | None = None,  # folder for decoded images; default: EQUIPOISE_CACHE or the system's
    progress: Progress | None = None,  # called with files done and in all, looking at them first, then decoding
) -> Dataset:
    """Open a source; images are decoded once, into a cache, and mapped from there afterwards.

    Nothing of the user's is written to. A few damaged files are left out and named in the report; InputError where
    nothing usable is left, or the labels do not fit.
    """
    check_resolution(resolution)
    check_channels(channels)
    if is_stacked(source):
        return stacked(source, resolution=resolution, channels=channels, labels=labels, cache=cache, progress=progress)
    if source in BUILTIN:
        return _builtin(source, resolution, channels, labels)
    if source.startswith("hf:"):
        box = huggingface.Rows(source)
        return _files(box, source, source, resolution, channels, labels, cache, progress)
    path = expanded(source)
    if not path.exists():
        raise InputError(f"there is no source {source!r}, neither built in nor a path{suggest(source, [*BUILTIN])}")
    if not path.is_dir() and not path.is_file():
        raise InputError(f"{source} is neither a file nor a folder, but a device or a pipe; save it to a file first.")
    if path.suffix.lower() in (".npy", ".npz") and path.is_file():
        return _array_file(path, resolution, channels, labels, cache)
    try:
        files = container(path)
    except OSError as error:
        raise InputError(f"{source} cannot be read ({error.strerror}); check its permissions.") from None
    if files is None:
        kind = "a single image" if path.suffix.lower() in extensions() else "no folder, zip, tar, .npy or .npz"
        raise InputError(
            f"{source} is {kind}, and a GAN learns from many samples; give a folder or an archive of images."
        )
    return _files(files, source, str(path.resolve()), resolution, channels, labels, cache, progress)


def _builtin(source: str, resolution: int | None, channels: int | None, labels: str | None) -> Dataset:
    if labels is not None:
        raise InputError(f"{source} is built in and takes no labels from elsewhere; leave the labels out.")
    plain = BUILTIN[source]()
    if plain.modes is None and (resolution or channels):
        return arrays.from_arrays(
            plain.images, plain.labels, classes=plain.classes, resolution=resolution, channels=channels, name=source
        )
    if resolution or channels:
        raise InputError(f"{source} holds points, which have neither resolution nor channels; leave the option out.")
    return plain


def _array_file(
    path: Path, resolution: int | None, channels: int | None, labels: str | None, root: Path | None
) -> Dataset:
    if labels is not None and (labels == "folders" or Path(labels).suffix.lower() != ".npy"):
        raise InputError(
            f"the samples of {path} have no file names to match labels with; give the labels as a .npy file."
        )
    if labels is not None and not Path(labels).is_file():
        raise InputError(f"there is no labels file {labels}; give a .npy file with one class number per sample.")
    return arrays.open_file(path, Path(labels) if labels else None, resolution=resolution, channels=channels, root=root)


def _files(
    box: Container,
    source: str,  # as the user wrote it
    place: str,  # as the index knows it
    resolution: int | None,
    channels: int | None,
    labels: str | None,
    root: Path | None,
    progress: Progress | None,
) -> Dataset:
    found = survey(box, place, root, progress)
    side = resolution or default_resolution(found.shorter_median())
    planes = channels or (1 if found.grey() else 3)
    names, size = found.readable, len(found.readable) * planes * side * side

    def fill(folder: Path) -> dict[str, Any]:
        kept, converted, failed = _decode_all(box, found, side, planes, folder / "images.u8", progress)
        if not kept:
            name, why = next(iter(failed.items()))
            raise InputError(
                f"none of the {len(names):,} images in {source} can be read ({name}: {why}); give intact ones."
            )
        shape = (len(kept), planes, side, side)
        return {"shape": shape, "source": source, "names": kept, "converted": converted, "unreadable": failed}

    key = f"{found.digest()}-{planes}x{side}-v{caching.VERSION}"
    images, analysis, meta = caching.fetch(key, fill, needed=size + 64 * len(names), root=root)
    numbers, classes, note = _labels(meta["names"], found, labels, source)
    size_note = f"training resolution {side}" + (
        ""
        if resolution
        else ", the largest power of two that the median shorter side fills to 7/8; --resolution sets another"
    )
    report = Report(
        source,
        sizes=found.sizes(),
        modes=found.modes(),
        unreadable={**found.unreadable, **meta["unreadable"]},
        converted=meta["converted"],
        skipped=found.skipped,
        notes=(size_note, *note),
    )
    return assemble(
        images,
        report,
        labels=numbers,
        classes=classes,
        content=key,
        analysis=analysis,
        name=Path(source).stem if not source.startswith("hf:") else source,
        names=meta["names"],
    )


def _decode_all(
    box: Container, found: Survey, side: int, channels: int, target: Path, progress: Progress | None
) -> tuple[list[str], dict[str, int], dict[str, str]]:
    """Write the pixels in the order of the names; return the names kept, what was converted, and what failed."""
    names = found.readable
    rows, size = {name: row for row, name in enumerate(names)}, channels * side * side
    converted, failed, written = Counter[str](), dict[str, str](), set[str]()

    def one(item: Any) -> tuple[str, Array | str, tuple[str, ...]]:
        try:
            return item.name, *decode(item.read(), side, channels)
        except (Unreadable, OSError) as error:
            return item.name, str(error) or "cannot be read", ()

    wanted = (item for item in box.stream(lambda name, stamp: name in rows) if item.name in rows)
    with quietly(), target.open("w+b") as file:
        for count, (name, pixels, done) in enumerate(ordered(one, wanted, found.threads()), 1):
            if isinstance(pixels, str):
                failed[name] = pixels
            else:
                file.seek(rows[name] * size)
                file.write(pixels.tobytes())
                converted.update(done)
            if progress is not None:
                progress(count, len(names))
            written.add(name)
        failed.update({name: "vanished while being read" for name in names if name not in written})
        kept = [name for name in names if name not in failed]
        for row, name in enumerate(kept):
            if rows[name] != row:  # close the gaps that failures left
                file.seek(rows[name] * size)
                pixels_row = file.read(size)
                file.seek(row * size)
                file.write(pixels_row)
        file.truncate(len(kept) * size)
    return kept, dict(converted.most_common()), dict(sorted(failed.items()))


def _labels(
    names: list[str], found: Survey, labels: str | None, source: str
) -> tuple[npt.NDArray[np.int64] | None, tuple[str, ...], tuple[str, ...]]:
    """Numbers, class names and notes."""
    if labels == "folders":
        return *labelling.from_folders(names, source), ()
    if labels is not None:
        return *labelling.from_file(names, expanded(labels)), ()
    table = labelling.from_json(found.sidecar, "dataset.json") if found.sidecar else None
    if table is None:
        return None, (), ()
    if len(set(table.values())) < 2:
        return None, (), ("the labels in the source name only one class and are not used",)
    return *labelling.match(names, table, "dataset.json"), ("labels taken from the source",)
