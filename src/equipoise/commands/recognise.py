"""`equipoise recognise`: what a discriminator's features are worth where only few images have labels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from equipoise.commands import Resolution


def recognise(
    target: Annotated[
        str, typer.Argument(metavar="RUN|SOURCE", help="A run without classes, or labelled data to train one on")
    ],
    labels: Annotated[str, typer.Option(help="Numbers of labelled images, of all classes together")] = "10,100,1000",
    against: Annotated[
        str | None, typer.Option(help="Labelled images never trained on, to test by; default: the run's held-out ones")
    ] = None,
    draws: Annotated[int, typer.Option(help="Draws of the labels, each with a seed of its own")] = 5,
    arms: Annotated[
        str, typer.Option(help="Ways to recognise, with commas between")
    ] = "pixels,untrained,features,scratch,semi",
    updates: Annotated[int, typer.Option(help="Of each network that is trained on the labels")] = 1500,
    out: Annotated[Path | None, typer.Option(help="Folder of the comparison; the same again goes on")] = None,
    kimg: Annotated[float | None, typer.Option(help="Length of the run on a source; default: the recipe's")] = None,
    recipe: Annotated[str | None, typer.Option(help="Of the run on a source")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="path=value for that run; repeatable")] = None,
    resolution: Resolution = None,
) -> None:
    """Recognise classes from few labels by the discriminator, against a network trained from scratch on them."""
    from equipoise.apps.recognise import door
    from equipoise.report.console import ProgressLine

    line = ProgressLine()
    asked = door.Training(kimg, recipe, tuple(settings or ()), resolution)
    try:
        text = door.recognise(target, labels, against, draws, arms, updates, out, asked, line)
    finally:
        line.close()
    typer.echo(text)
