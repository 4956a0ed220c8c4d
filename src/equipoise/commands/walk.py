"""The command `walk`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from equipoise.commands import Checkpoint, Network, Run, Width


def walk(
    run: Run,
    out: Annotated[
        Path | None,
        typer.Option(help="A .gif, .webp, .apng or .mp4 file, or a .png picture; default: walk-N.gif in the run"),
    ] = None,
    seeds: Annotated[
        str | None, typer.Option(help="Stops, 0-3 or 1,5,9, dealt to the walks in turn; default: four for each")
    ] = None,
    label: Annotated[str | None, typer.Option("--class", help="Name or number of the class to stay in")] = None,
    classes: Annotated[
        str | None, typer.Option(help="Classes to morph between: names or numbers with commas, or all")
    ] = None,
    truncation: Annotated[
        str, typer.Option(help="Scales latents: below 1 more typical; several with commas are passed: 0,0.5,1")
    ] = "1",
    frames: Annotated[int | None, typer.Option(help="Of the whole, or rows of a picture")] = None,
    seconds: Annotated[float | None, typer.Option(help="Of the whole; default: one from stop to stop")] = None,
    fps: Annotated[float, typer.Option(help="Frames a second, 1 to 50")] = 25.0,
    rows: Annotated[int | None, typer.Option(min=1, help="Walks one below the other")] = None,
    columns: Annotated[int | None, typer.Option(min=1, help="Walks side by side")] = None,
    which: Network = "G_ema",
    checkpoint: Checkpoint = None,
    ema: Width = None,
) -> None:
    """Walk through a run's latent space: between seeds, classes or truncations, as an animation or a picture."""
    from equipoise.apps import walk as walking

    asked = walking.Asked(seeds, label, classes, truncation, frames, seconds, fps, rows, columns)
    path, made = walking.write(run, out, asked, which, checkpoint, ema)
    typer.echo(f"{made} {'rows' if path.suffix.lower() == '.png' else 'frames'} in {path}")
