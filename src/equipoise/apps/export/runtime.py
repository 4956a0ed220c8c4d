"""onnxruntime-web, which runs a model in a browser: three files of its npm package, for a page to carry.

They are not part of this package, for they weigh 14 MB: `npm install onnxruntime-web` puts them into `node_modules`,
and `npm pack onnxruntime-web` into a single file.
"""

from __future__ import annotations

import json
import tarfile
from dataclasses import dataclass
from pathlib import Path

from equipoise.errors import InputError

PACKAGE = "onnxruntime-web"
SCRIPT, GLUE, BINARY = (
    f"dist/{name}" for name in ("ort.wasm.min.js", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
)


@dataclass(frozen=True)
class Runtime:
    """What a page needs in order to run a model."""

    version: str
    script: str  # defines `ort`
    glue: str  # a module that the script imports
    binary: bytes  # WebAssembly


def find(place: Path | None = None) -> Runtime:
    """The runtime from a folder or a file of `npm pack`; by default from `node_modules` here or in a folder above.

    Raises:
        InputError: it is not there, or is of another layout.
    """
    if place is None:
        here = Path.cwd()
        places = [folder / "node_modules" / PACKAGE for folder in (here, *here.parents)]
        place = next((folder for folder in places if folder.is_dir()), None)
        if place is None:
            raise InputError(
                f"the page needs {PACKAGE}, and there is no node_modules/{PACKAGE} here; run `npm install {PACKAGE}`, "
                f"or give --ort the file that `npm pack {PACKAGE}` makes"
            )
    try:
        files = _packed(place) if place.is_file() else _unpacked(place)
        version = str(json.loads(files["package.json"])["version"])
        return Runtime(version, files[SCRIPT].decode(), files[GLUE].decode(), files[BINARY])
    except (OSError, KeyError, ValueError, TypeError, tarfile.TarError) as error:
        raise InputError(
            f"{place} is no {PACKAGE} of a version known here ({error}); give --ort its folder, or the file that "
            f"`npm pack {PACKAGE}` makes, of version 1.20 or newer"
        ) from None


def _unpacked(place: Path) -> dict[str, bytes]:
    nested = place / "node_modules" / PACKAGE
    folder = nested if nested.is_dir() else place
    return {name: (folder / name).read_bytes() for name in ("package.json", SCRIPT, GLUE, BINARY)}


def _packed(place: Path) -> dict[str, bytes]:
    with tarfile.open(place) as archive:
        members = {name: archive.extractfile(f"package/{name}") for name in ("package.json", SCRIPT, GLUE, BINARY)}
        return {name: file.read() for name, file in members.items() if file is not None}
