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
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps")]
Network = Annotated[str, typer.Option("--network", help="G_ema (averaged) or G (as trained)")]
Checkpoint = Annotated[str | None, typer.Option(help="Name of the checkpoint: 000200, or best; default: the newest")]
Width = Annotated[
    float | None,
    typer.Option("--ema", help="Relative width of an average made afterwards, of what ema_widths kept: 0.08"),
]

INTERRUPTED = 130  # exit code, as shells have it after Ctrl-C
