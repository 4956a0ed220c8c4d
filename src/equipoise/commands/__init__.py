"""Commands, a file each: their options, and one call into the library. `cli.py` puts them together."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Source = Annotated[str, typer.Argument(help="digits, ring, grid; a folder, zip or tar of images; .npy, .npz; hf:NAME")]
Run = Annotated[Path, typer.Argument(help="A run folder, as `train --out` made it")]
Out = Annotated[Path | None, typer.Option(help="Folder of the run; default: runs/NNNNN-source-recipe")]
Resolution = Annotated[
    int | None, typer.Option(help="Side in pixels, a power of two from 8 to 256; default: by the data")
]
Labels = Annotated[str | None, typer.Option(help="'folders' (sub-folders are classes) or a CSV/JSON file")]

INTERRUPTED = 130  # exit code, as shells have it after Ctrl-C
