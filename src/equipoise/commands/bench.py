"""`equipoise bench`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

bench_app = typer.Typer(help="Benchmarks.", no_args_is_help=True)


@bench_app.command("balance")
def bench_balance(
    tasks: Annotated[str, typer.Option(help="Names with commas between")] = "ring8,digits",
    arms: Annotated[str, typer.Option(help="Names with commas between; the first is best left as it is")] = (
        "untouched,static,favourites,autopilot"
    ),
    scenarios: Annotated[
        str, typer.Option(help="Names or whole kinds with commas between; other kinds: further, mixed")
    ] = ("repairable,disturbed,control,report only"),
    seeds: Annotated[int, typer.Option(help="Runs of each, seeded one after the other")] = 5,
    first_seed: Annotated[int, typer.Option(help="The first of them")] = 0,
    jobs: Annotated[int, typer.Option(help="Processes at a time")] = 1,
    out: Annotated[Path, typer.Option(help="Folder for the rows; the same again goes on")] = Path("studies/balance"),
    record: Annotated[
        bool, typer.Option(help="Keep the run folder of each cell; one that has a row already is not run again")
    ] = False,
    references: Annotated[
        bool, typer.Option("--references", help="Measure what cells are held against: static settings on each data")
    ] = False,
) -> None:
    """Unbalance small runs in many ways, and measure what brings them back; docs/studies/balance.md explains."""
    from equipoise import runs
    from equipoise.studies.balance import command

    with runs.stoppable() as stop:
        span = command.span(first_seed, seeds)
        if references:
            typer.echo(command.run_references(tasks, span, jobs, out, typer.echo, stop))
        else:
            typer.echo(command.run(tasks, scenarios, arms, span, jobs, out, record, typer.echo, stop))
