"""`equipoise augment`: synthetic images for a small labelled set, and whether they helped."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from equipoise.commands import Device, Labels, Resolution, Source
from equipoise.errors import InputError


def augment(
    source: Source,
    out: Annotated[
        Path, typer.Option(help="New folder for the synthetic images and the report; the same again goes on")
    ],
    test: Annotated[
        str | None, typer.Option(help="Real labelled images to test on; default: a fifth of each class is kept")
    ] = None,
    amounts: Annotated[
        str | None,
        typer.Option(help="Synthetic images per class to choose among, e.g. 20,60,200; rarer classes get more"),
    ] = None,
    recipe: Annotated[str | None, typer.Option(help="The GAN's recipe or a TOML file; default: by the data")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="path=value for the GAN; repeatable")] = None,
    budget: Annotated[str | None, typer.Option(help="Time to train the GAN: 40s, 5min, 2h")] = None,
    kimg: Annotated[float | None, typer.Option(help="Its length in thousands of real images")] = None,
    seeds: Annotated[int, typer.Option(help="Classifiers of each kind on the test images")] = 5,
    updates: Annotated[int, typer.Option(help="Of each classifier, the same for all")] = 600,
    seed: Annotated[int, typer.Option(help="Seed of everything random")] = 0,
    resolution: Resolution = None,
    labels: Labels = None,
    device: Device = "auto",
    quiet: Annotated[bool, typer.Option(help="Print the verdict and errors only")] = False,
) -> None:
    """Make synthetic images for a small labelled set, and test whether a classifier gains by them."""
    from equipoise import runs
    from equipoise.apps import augment as augmenting
    from equipoise.report.console import ProgressLine

    asked = augmenting.Asked(
        source, test, labels, resolution, _numbers(amounts), recipe, tuple(settings or ()), kimg, budget, seed, seeds,
        updates, device,
    )  # fmt: skip
    line = ProgressLine(quiet=quiet)
    with runs.stoppable() as stop:
        try:
            verdict = augmenting.augment(asked, out, line, stop)
        finally:
            line.close()
    typer.echo("\n".join(verdict.sentences))
    typer.echo(f"Written: {out / 'table.md'}, {out / 'report.json'}, {out / 'grid.png'}, {out / 'images'}")


def _numbers(text: str | None) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(",")) if text else ()
    except ValueError:
        raise InputError(f"--amounts {text} cannot be read; write for example 20,60,200") from None
