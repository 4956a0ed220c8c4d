"""`equipoise train` and `equipoise resume`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from equipoise.commands import INTERRUPTED, Device, Labels, Out, Resolution, Run, Source
from equipoise.errors import InputError


def train(
    source: Source,
    out: Out = None,
    recipe: Annotated[str | None, typer.Option(help="A recipe's name or a TOML file; see `equipoise list`")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="path=value, e.g. r1.gamma=0.1; repeatable")
    ] = None,
    budget: Annotated[str | None, typer.Option(help="Time to train: 40s, 5min, 2h")] = None,
    kimg: Annotated[float | None, typer.Option(help="Length in thousands of real images")] = None,
    seed: Annotated[int, typer.Option(help="Seed of everything random")] = 0,
    resolution: Resolution = None,
    batch: Annotated[int | None, typer.Option(help="Images per update")] = None,
    labels: Labels = None,
    device: Device = "auto",
    balance: Annotated[
        str, typer.Option(help="off, watch (read, judge, log), advise (say what to turn), act (turn it)")
    ] = "watch",
    controller: Annotated[
        str | None, typer.Option(help="What turns what: see `equipoise list`; default: the autopilot, to advise or act")
    ] = None,
    workers: Annotated[
        int, typer.Option(help="Processes that prepare batches; 0: none, or two if a GPU cannot hold the data")
    ] = 0,
    deterministic: Annotated[bool, typer.Option(help="The same bits every time on CUDA too, more slowly")] = False,
    snapshot_kimg: Annotated[
        float, typer.Option(help="Between sample grids and checkpoints; 0: a tenth of the run, 1 to 200 kimg")
    ] = 0.0,
    start: Annotated[
        Path | None, typer.Option("--from", help="Begin with the networks of this run, and with its recipe")
    ] = None,
    only: Annotated[str | None, typer.Option(help="G: of --from only the averaged generator; D is new")] = None,
    warm_up: Annotated[
        float | None, typer.Option(help="kimg over which G's rate rises from 0; default: 5 with --only G, or else 0")
    ] = None,
    metric: Annotated[
        str | None, typer.Option(help="Features whose Fréchet distance picks the best snapshot; default: a cheap proxy")
    ] = None,
    metric_kimg: Annotated[float, typer.Option(help="Between such measurements; 0: at every snapshot")] = 0.0,
    metric_weights: Annotated[str | None, typer.Option(help="The feature network's weights, a file or folder")] = None,
    dry_run: Annotated[bool, typer.Option(help="Print every resolved value and stop")] = False,
    quiet: Annotated[bool, typer.Option(help="Print errors only")] = False,
) -> None:
    """Train a GAN on images or vectors."""
    from equipoise import fine_tune, plan, runs
    from equipoise.data import open_dataset
    from equipoise.report.console import ProgressLine

    line = ProgressLine(quiet=quiet)
    if out is not None and not dry_run:
        runs.check_folder(out)
    asked = plan.Request(
        source, recipe, settings or (), {}, kimg, budget, seed, resolution, batch, labels, device, balance,
        controller, workers, deterministic, snapshot_kimg, metric, metric_kimg, metric_weights,
    )  # fmt: skip
    if start is None and (only is not None or warm_up is not None):
        raise InputError("--only and --warm-up belong to a run that begins from another; give --from as well")
    asked = asked if start is None else fine_tune.ask(asked, start)
    dataset = open_dataset(source, resolution=asked.resolution, labels=labels)
    planned, networks = plan.resolve(asked, dataset), None
    if start is not None:
        planned, networks = fine_tune.begin_from(planned, start, only, warm_up)
    if dry_run:
        from equipoise.explain import explain

        typer.echo(explain(planned))
        return
    for text in (*dataset.report.text().splitlines(), *planned.remarks):
        line.say(text)
    name = f"{Path(source.removeprefix('hf:')).stem or 'data'}-{planned.config.recipe.name}"
    folder = out or runs.free_folder(name)
    line.say(f"Run folder: {folder}")
    with runs.stoppable() as stop:
        try:
            outcome = runs.begin(planned, folder, line, stop, networks)
        finally:
            line.close()
    _finish(outcome, folder, line)


def resume(
    run: Run,
    device: Annotated[str | None, typer.Option(help="Another device than the run's")] = None,
    captured: Annotated[
        bool | None, typer.Option(help="Replay moves as CUDA graphs, which changes no bit; default: as it began")
    ] = None,
    quiet: Annotated[bool, typer.Option(help="Print errors only")] = False,
) -> None:
    """Go on with a run that was stopped; it ends in the same bits as if it had not been."""
    from equipoise import runs
    from equipoise.report.console import ProgressLine

    line = ProgressLine(quiet=quiet)
    with runs.stoppable() as stop:
        try:
            outcome = runs.resume(run, line, stop, device, captured)
        finally:
            line.close()
    if outcome is None:
        line.say(f"{run} is complete already; for a longer run, start a new one with a larger --kimg.")
        return
    _finish(outcome, run, line)


def _finish(outcome: Any, folder: Path, line: Any) -> None:
    if outcome.interrupted:
        typer.echo(
            f"equipoise: stopped at {outcome.samples / 1000:g} kimg; go on with `equipoise resume {folder}`", err=True
        )
        sys.exit(INTERRUPTED)
    pictures = sorted((folder / "samples").glob("fakes-*.png"))
    line.say(f"Done: {outcome.samples / 1000:g} kimg. Look at {pictures[-1]} beside {folder / 'reals.png'};")
    line.say(f"more with: equipoise generate {folder} --count 64 --grid more.png")
