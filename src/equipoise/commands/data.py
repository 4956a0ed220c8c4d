"""`equipoise data` and `equipoise cache`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from equipoise.commands import Labels, Resolution, Source

cache_app = typer.Typer(help="The cache of decoded images.", no_args_is_help=True)


def data(
    source: Source,
    resolution: Resolution = None,
    labels: Labels = None,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Report on a source: what it holds, what would be converted, cropped or skipped."""
    from equipoise.data import open_dataset

    report = open_dataset(source, resolution=resolution, labels=labels).report
    typer.echo(json.dumps(report.as_dict(), indent=1) if as_json else report.text())


@cache_app.command("list")
def cache_list() -> None:
    """List what is cached."""
    from equipoise.data import cache_list as listing
    from equipoise.data.kept import kept_list

    rows = [str(row) for row in listing()]
    if features := kept_list():
        size = sum(file.stat().st_size for file in features)
        rows.append(f"features: {len(features)} sets, {size / 1e6:,.1f} MB, in {features[0].parent}")
    typer.echo("\n".join(rows) if rows else "the cache is empty")


@cache_app.command("clear")
def cache_clear() -> None:
    """Remove everything that is cached and not in use."""
    from equipoise.data import cache_clear as clear
    from equipoise.data.kept import kept_clear

    typer.echo(str(clear()))
    if features := kept_clear():
        typer.echo(f"removed {len(features)} sets of features")
