"""The command `evaluate`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from equipoise.commands import Checkpoint, Device, Labels


def evaluate(
    subject: Annotated[str, typer.Argument(metavar="RUN|IMAGES", help="A run folder, or a source of generated images")],
    against: Annotated[str | None, typer.Option(help="Real images, any source; default: the run's own data")] = None,
    training: Annotated[
        str | None, typer.Option(help="Where to look for copies; default: the run's data, or --against")
    ] = None,
    features: Annotated[
        str | None, typer.Option(help="See `equipoise list`; default: pixels up to 16 px, else lite0 if installed")
    ] = None,
    options: Annotated[
        list[str] | None, typer.Option("--option", help="name=value of the features: size=64, weights=PATH; repeatable")
    ] = None,
    labels: Labels = None,
    count: Annotated[
        int | None, typer.Option(help="Samples of a side; default: as many as are real, at most 10,000")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the samples, and of every choice among them")] = 0,
    checkpoint: Checkpoint = None,
    device: Device = "auto",
    batch: Annotated[int, typer.Option(min=1, help="Images at a time in the feature network")] = 64,
    out: Annotated[
        Path | None, typer.Option(help="A .json file, with a picture beside it; default: evaluation.json in a run")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
) -> None:
    """Compare generated with real images: distances with intervals, diversity, classes, copies of training images."""
    from equipoise.apps import evaluate as evaluating
    from equipoise.report.console import StageLine

    folder = Path(subject)
    if out is None and (folder / "config.json").is_file():
        out = folder / "evaluation.json"
    with StageLine() as line:
        found = evaluating.evaluate(
            subject, against, training=training, features=features, options=_read(options or []), labels=labels,
            count=count, seed=seed, checkpoint=checkpoint, device=device, batch=batch, out=out, progress=line.stage,
        )  # fmt: skip
    typer.echo(json.dumps(found.as_dict(), indent=1) if as_json else found.text())
    if out is not None and not as_json:
        beside = f", {evaluating.pictured(out)}" if evaluating.pictured(out).exists() else ""
        typer.echo(f"Written: {out}{beside}")


def _read(given: list[str]) -> dict[str, Any]:
    """Options as name=value: numbers and true or false as such, all else as text."""
    found: dict[str, Any] = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not equals or not name:
            from equipoise.errors import InputError

            raise InputError(f"--option {one} cannot be read; write name=value, such as size=64")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found
