"""The images to be judged: files, folders and archives, converted as the run's own data were."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from equipoise.data.containers import container
from equipoise.data.decode import Unreadable, decode, quietly
from equipoise.errors import InputError


@dataclass(frozen=True)
class Given:
    """Images uint8 [N, C, H, W]."""

    names: tuple[str, ...]
    images: NDArray[np.uint8]
    converted: tuple[tuple[str, ...], ...]  # what was done to each
    refused: dict[str, str]  # files in folders that could not be read, and why


def opened(paths: Sequence[Path], shape: tuple[int, ...]) -> Given:
    """Decode all images at these paths for networks of this shape, (C, H, W).

    A file that is named itself must be an image; in folders and archives, others are passed over and remembered.
    """
    names, pixels, converted, refused = list[str](), list[NDArray[np.uint8]](), list[tuple[str, ...]](), {}
    with quietly():
        for path in paths:
            for name, data in _files(path):
                try:
                    image, done = decode(data, shape[-1], shape[0])
                except Unreadable as error:
                    if name == str(path):
                        raise InputError(f"{path} cannot be judged: {error}; give an image file or a folder") from None
                    refused[name] = str(error)
                else:
                    names.append(name)
                    pixels.append(image)
                    converted.append(done)
    if not pixels:
        why = f": {next(iter(refused.values()))} ({next(iter(refused))})" if refused else ""
        raise InputError(f"there are no images in {', '.join(map(str, paths)) or 'what was given'}{why}; give some")
    return Given(tuple(names), np.stack(pixels), tuple(converted), refused)


def _files(path: Path) -> Iterator[tuple[str, bytes]]:
    """Names and contents."""
    if not path.exists():
        raise InputError(f"there is no {path}; give an image file, or a folder, zip or tar of images")
    if not path.is_dir() and not path.is_file():
        raise InputError(f"{path} is neither a file nor a folder, but a device or a pipe; save it to a file first")
    try:
        box = container(path)
        if box is None:
            yield str(path), path.read_bytes()
        else:
            for item in box.stream(lambda name, stamp: True):
                yield f"{path}/{item.name}", item.read()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error}); check its permissions") from None
