"""`equipoise compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from equipoise.commands import Labels, Resolution


def compare(
    source: Annotated[str | None, typer.Argument(help="As for `train`; left out with --study and --show")] = None,
    vary: Annotated[
        list[str] | None, typer.Option(help="path=value,value,...: what to compare; repeated, every combination")
    ] = None,
    study: Annotated[str | None, typer.Option(help="A study file (TOML), or the name of one that is included")] = None,
    show: Annotated[Path | None, typer.Option(help="Print the table of a folder that compare wrote, and stop")] = None,
    seeds: Annotated[int | None, typer.Option(help="Runs of each setting, seeded 0, 1, 2, ...; default: 5")] = None,
    kimg: Annotated[float | None, typer.Option(help="Length of each run in thousands of real images")] = None,
    budget: Annotated[str | None, typer.Option(help="Time of each run, turned once into equal kimg for all")] = None,
    recipe: Annotated[str | None, typer.Option(help="A recipe's name or a TOML file")] = None,
    against: Annotated[str | None, typer.Option(help="Data never trained on to judge by, such as digits:test")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="path=value for all settings; repeatable")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the study; the same again goes on")] = None,
    workers: Annotated[int | None, typer.Option(help="Runs at a time; default: one per core, or per GPU")] = None,
    device: Annotated[str, typer.Option(help="auto (every GPU, or else the CPU), cpu or cuda")] = "auto",
    retry: Annotated[bool, typer.Option(help="Run again what has failed")] = False,
    store: Annotated[
        str | None,
        typer.Option(help="Share the runs with other processes: a file on a common disk, or a database's URL"),
    ] = None,
    resolution: Resolution = None,
    labels: Labels = None,
) -> None:
    """Compare settings over seeds: runs side by side, one table, one chart, and what is more than seed noise."""
    from equipoise import runs
    from equipoise.studies import engine
    from equipoise.studies.options import from_options
    from equipoise.studies.progress import ProgressLine
    from equipoise.studies.study import slug

    if show is not None:
        typer.echo(engine.show(show).text())
        return
    asked = from_options(
        source, study, vary or (), settings or (), seeds, kimg, budget, recipe, resolution, labels, device, against
    )
    folder, line = out or Path("studies") / slug(asked.title), ProgressLine()
    with runs.stoppable() as stop:
        try:
            made = engine.compare(
                asked, folder, workers=workers, retry=retry, store=store, say=line.say, stand=line.stand, stop=stop
            )
        finally:
            line.close()
    typer.echo(made.text())
    typer.echo(f"Written: {folder / 'table.md'}, {folder / 'chart.svg'}, {folder / 'results.csv'}")
