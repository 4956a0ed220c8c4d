"""`equipoise diagnose`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer


def diagnose(
    path: Annotated[
        Path,
        typer.Argument(help="A run folder, TensorBoard events, stats.jsonl, a table (CSV, JSON lines), or a text log"),
    ],
    columns: Annotated[
        list[str] | None,
        typer.Option("--map", help="NAME=SIGNAL: what a logged name means; or a TOML file of such lines; repeatable"),
    ] = None,
    loss: Annotated[str | None, typer.Option(help="The loss that was trained, by the name in `equipoise list`")] = None,
    batch: Annotated[int | None, typer.Option(help="Samples per update, over all devices")] = None,
    kimg: Annotated[float | None, typer.Option(help="Length of the whole run, in thousands of real samples")] = None,
    count: Annotated[int | None, typer.Option(help="Training samples")] = None,
    anchored: Annotated[
        bool | None, typer.Option("--anchored/--free", help="G is held by a reconstruction loss as well, or is not")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON")] = False,
) -> None:
    """Judge a log, ours or another program's; exit code 1 for a warning or an alarm, 2 for what cannot be read."""
    from equipoise.logs import Told, columns_from, judge

    asked: dict[str, str] = {}
    for one in columns or ():
        name, equals, signal = one.rpartition("=")
        asked |= {name: signal} if equals else columns_from(Path(one))
    judged = judge.judge(path, Told(loss, batch, kimg, count, anchored, columns=asked))
    typer.echo(json.dumps(judged.as_dict(), indent=1) if as_json else judged.text())
    sys.exit(judged.exit_code)
