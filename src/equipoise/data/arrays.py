"""Arrays as data: any layout and range of images, or vectors, made uint8 [N, C, R, R] or float32 [N, d]."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from equipoise.data import cache
from equipoise.data import labels as labelling
from equipoise.data.containers import file_stamp
from equipoise.data.dataset import Dataset, assemble
from equipoise.data.layout import CHUNK, Array, Layout, convert, describe, find_layout, settle
from equipoise.data.report import Report
from equipoise.errors import InputError

Ints = npt.NDArray[np.int64]

IMAGE_KEYS = ("images", "x", "arr_0")
LABEL_KEYS = ("labels", "y")


def from_arrays(
    images: Any,  # [N, C, H, W], [N, H, W, C] or [N, H, W], integers or floats; or vectors [N, d]
    labels: Any = None,  # integers [N]
    *,
    classes: tuple[str, ...] = (),  # names for the labels; default: the labels themselves
    resolution: int | None = None,  # power of two, 8 to 256
    channels: int | None = None,  # 1 or 3
    name: str = "arrays",
) -> Dataset:
    """The Dataset of arrays in memory; nothing of theirs is changed.

    Integers 0 to 255 are taken as they are, 16-bit ones and floats in [0, 1] or [-1, 1] are scaled. Vectors become
    float32 and keep their values. Raises InputError for data that cannot be trained on.
    """
    array = _sound(_array(images, name), name)
    numbers, names, note = _labels(labels, len(array), classes, name)
    notes = (note,) if note else ()
    content = _digest(array)
    if array.ndim == 2:
        if resolution or channels:
            raise InputError(f"{name} holds vectors, which have neither resolution nor channels; leave the option out.")
        report = Report(name, modes={str(array.dtype): len(array)}, notes=notes)
        with np.errstate(over="ignore"):
            vectors = np.ascontiguousarray(array, np.float32)
        _sound(vectors, f"{name}, as float32,")
        return assemble(vectors, report, labels=numbers, classes=names, content=content, name=name)
    layout = find_layout(array, name)
    side, wanted = settle(layout, resolution, channels)
    pixels = np.concatenate(list(convert(array, layout, side, wanted)))
    report = describe(name, layout, side, wanted, notes)
    options = f"{content} {side} {wanted}"
    return assemble(pixels, report, labels=numbers, classes=names, content=options, name=name)


def open_file(
    path: Path,
    labels: Path | None = None,  # a .npy file of integers [N]; default: those in the file, if any
    *,
    resolution: int | None = None,
    channels: int | None = None,
    root: Path | None = None,  # of the cache
) -> Dataset:
    """The Dataset of a `.npy` or `.npz` file: vectors in memory, images in the cache."""
    place, name, stamp = str(path.resolve()), str(path), file_stamp(path)
    known = cache.read_index(place, root)
    if known.get("stamp") != stamp:
        array = read(path, IMAGE_KEYS)
        if array is None or array.ndim == 2 or array.dtype.kind not in "uifb":
            return from_arrays(array, _file_labels(path, labels), resolution=resolution, channels=channels, name=name)
        layout = find_layout(_sound(array, name), name)
        known = {"stamp": stamp, "digest": _digest(array), "layout": asdict(layout)}
        cache.write_index(place, known, root)
    layout = Layout(**known["layout"])
    side, planes = settle(layout, resolution, channels)

    def fill(folder: Path) -> dict[str, Any]:
        array = read(path, IMAGE_KEYS)
        assert array is not None
        with (folder / "images.u8").open("wb") as file:
            for part in convert(array, layout, side, planes):
                file.write(part.tobytes())
        return {"shape": (layout.count, planes, side, side), "source": name}

    key = f"{known['digest']}-{planes}x{side}-v{cache.VERSION}"
    images, analysis, _ = cache.fetch(key, fill, needed=layout.count * planes * side * side, root=root)
    numbers, classes, note = _labels(_file_labels(path, labels), layout.count, (), name)
    report = describe(name, layout, side, planes, (note,) if note else ())
    return assemble(images, report, labels=numbers, classes=classes, content=key, analysis=analysis, name=path.stem)


def read(path: Path, keys: tuple[str, ...], needed: bool = True) -> Array | None:
    """A `.npy` file's array, or that of a `.npz` under the first of `keys` it has; nothing in it is unpickled.

    None where no key fits and none is needed; a needed one may have any name if it is the only array.
    """
    try:
        data = np.load(path, mmap_mode="r" if path.suffix.lower() == ".npy" else None, allow_pickle=False)
        if isinstance(data, np.ndarray):
            return data
        with data:
            found = next(
                (key for key in keys if key in data), data.files[0] if needed and len(data.files) == 1 else None
            )
            if found is not None:
                return np.asarray(data[found])
            names = ", ".join(data.files) or "(none)"
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error, SyntaxError) as error:
        if any(words in str(error) for words in ("Object arrays", "Python objects")):
            raise InputError(
                f"{path} holds an object array, which could run code when read; save plain numbers."
            ) from None
        raise InputError(
            f"{path} cannot be read as {path.suffix} ({_short(error)}); save it again with NumPy."
        ) from None
    if needed:
        raise InputError(
            f"{path} holds the arrays {names}, and none is named {' or '.join(keys)}; name the samples so."
        )
    return None


def _file_labels(path: Path, labels: Path | None) -> Array | None:
    """The labels asked for, or those in the file unless they are of one class, which tells nothing apart."""
    if labels is not None:
        return read(labels, LABEL_KEYS)
    if path.suffix.lower() == ".npy":
        return None
    inside = read(path, LABEL_KEYS, needed=False)
    return inside if inside is not None and (inside.dtype.kind not in "iu" or len(np.unique(inside)) > 1) else None


def _array(values: Any, name: str) -> Array:
    try:
        return np.asarray(values)
    except (ValueError, TypeError) as error:
        raise InputError(f"{name} cannot be made an array ({_short(error)}); give samples of one shape.") from None


def _sound(array: Array, name: str) -> Array:
    """Refuse what is not plain finite numbers in a usable shape."""
    if array.dtype.kind not in "uifb":
        raise InputError(f"{name} holds values of type {array.dtype}, not plain numbers; give uint8 or float32.")
    if array.ndim < 2 or 0 in array.shape:
        raise InputError(
            f"{name} has the shape {list(array.shape)}, and no samples can be read from it; give [N, ...]."
        )
    if array.dtype.kind == "f":
        for start in range(0, len(array), CHUNK):
            finite = np.isfinite(array[start : start + CHUNK]).reshape(min(CHUNK, len(array) - start), -1).all(axis=1)
            if not finite.all():
                first = start + int(np.argmin(finite))
                raise InputError(
                    f"{name} holds NaN or infinity, first in sample {first}; remove or repair such samples."
                )
    return array


def _labels(labels: Any, count: int, classes: tuple[str, ...], name: str) -> tuple[Ints | None, tuple[str, ...], str]:
    if labels is None:
        return None, (), ""
    given = _array(labels, f"the labels of {name}")
    given = given[:, 0] if given.ndim == 2 and given.shape[1] == 1 else given
    if given.shape != (count,):
        raise InputError(
            f"{name} has {count:,} samples but labels of the shape {list(given.shape)}; give one label each."
        )
    if given.dtype.kind not in "iuU":
        raise InputError(f"the labels of {name} are {given.dtype}, not class numbers; give integers.")
    numbers, names = labelling.number(given.tolist(), name)
    if not classes:
        return numbers, names, ""
    if given.dtype.kind == "U" or given.min() < 0 or given.max() >= len(classes):
        raise InputError(
            f"the labels of {name} are not the numbers 0 to {len(classes) - 1} of the {len(classes)} classes named."
        )
    return given.astype(np.int64), tuple(classes), ""


def _digest(array: Array) -> str:
    digest = hashlib.blake2b(f"{array.shape} {array.dtype}".encode(), digest_size=16)
    for start in range(0, len(array), CHUNK):
        digest.update(np.ascontiguousarray(array[start : start + CHUNK]).tobytes())
    return digest.hexdigest()


def _short(error: BaseException) -> str:
    if "pickle" in str(error):  # NumPy takes whatever it does not know for one
        return "neither NumPy's format nor safe to read"
    return str(error).splitlines()[0][:120] if str(error) else type(error).__name__
