"""`equipoise judge`: is this picture like the real ones?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from equipoise.commands import Checkpoint, Run


def judge(
    run: Run,
    images: Annotated[list[Path], typer.Argument(help="Image files, or folders, zips, tars of them")],
    against: Annotated[
        str | None, typer.Option(help="Real images never trained on, to judge by; default: the run's held-out ones")
    ] = None,
    label: Annotated[
        str | None, typer.Option("--class", help="Class to judge under; default: the nearest training image's")
    ] = None,
    other: Annotated[
        str | None, typer.Option(help="Another source to try the discriminator on; default: digits")
    ] = None,
    checkpoint: Checkpoint = None,
    grid: Annotated[Path | None, typer.Option(help="A PNG file: each image beside its neighbours")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON")] = False,
) -> None:
    """Say whether pictures are like the real ones: the discriminator's opinion, calibrated, and their neighbours."""
    from equipoise.apps.judge import door

    typer.echo(door.judge(run, images, against, label, other, checkpoint, grid, as_json))
