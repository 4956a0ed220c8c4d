"""`equipoise generate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from equipoise.commands import Checkpoint, Network, Run, Width


def generate(
    run: Run,
    count: Annotated[int | None, typer.Option(help="How many; default: one per seed, or 64")] = None,
    seeds: Annotated[str | None, typer.Option(help="0-63 or 1,5,9; default: 0 to count-1")] = None,
    label: Annotated[str | None, typer.Option("--class", help="Name or number of the class asked for")] = None,
    truncation: Annotated[float, typer.Option(help="Scales latents: below 1 more typical, less diverse")] = 1.0,
    grid: Annotated[Path | None, typer.Option(help="One picture of all samples, a PNG file")] = None,
    out: Annotated[Path | None, typer.Option(help="A folder for PNG files, or a file ending in .npz")] = None,
    which: Network = "G_ema",
    checkpoint: Checkpoint = None,
    ema: Width = None,
) -> None:
    """Generate samples from a run: the same seed gives the same sample."""
    from equipoise import generate as generating

    for text in generating.generate_files(run, count, seeds, label, truncation, grid, out, which, checkpoint, ema):
        typer.echo(text)
