"""The command line: every command is one call into the library, in a file of its own under `commands/`."""

from __future__ import annotations

import os
import sys
import traceback
from typing import Annotated

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: spinning threads stall small steps on busy cores

import typer

from equipoise import __version__
from equipoise.commands import INTERRUPTED
from equipoise.commands.augment import augment
from equipoise.commands.bench import bench_app
from equipoise.commands.compare import compare
from equipoise.commands.data import cache_app, data
from equipoise.commands.diagnose import diagnose
from equipoise.commands import Labels, Out, Resolution, Run, Source
from equipoise.commands.evaluate import evaluate
from equipoise.commands.export import export
from equipoise.commands.generate import generate
from equipoise.commands.parts import list_parts
from equipoise.commands.report import report, watch
from equipoise.commands.train import resume, train
from equipoise.commands.walk import walk
from equipoise.errors import EquipoiseError

app = typer.Typer(
    name="equipoise",
    help="Train generative adversarial networks and keep generator and discriminator in balance.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
# In the order of `equipoise --help`.
app.command()(train)
app.command()(resume)
app.command()(generate)
app.command()(walk)
app.command()(data)
app.command()(report)
app.command()(watch)
app.command()(compare)
app.command()(diagnose)
cache_app = typer.Typer(help="The cache of decoded images.", no_args_is_help=True)
app.add_typer(cache_app, name="cache")
bench_app = typer.Typer(help="Benchmarks.", no_args_is_help=True)
app.add_typer(bench_app, name="bench")

INTERRUPTED = 130
PLURALS = {"loss": "losses", "features": "features"}


@app.command()
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
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps")] = "auto",
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
    dry_run: Annotated[bool, typer.Option(help="Print every resolved value and stop")] = False,
    quiet: Annotated[bool, typer.Option(help="Print errors only")] = False,
) -> None:
    """Train a GAN on images or vectors."""
    from equipoise import fine_tune, plan, runs
    from equipoise.report.console import ProgressLine

    line = ProgressLine(quiet=quiet)
    if out is not None and not dry_run:
        runs.make_folder(out)
    asked = plan.Request(
        source, recipe, settings or (), {}, kimg, budget, seed, resolution, batch, labels, device, balance,
        controller, workers, deterministic, snapshot_kimg,
    )  # fmt: skip
    if start is None and (only is not None or warm_up is not None):
        raise InputError("--only and --warm-up belong to a run that begins from another; give --from as well")
    asked = asked if start is None else fine_tune.ask(asked, start)
    dataset = _open(source, asked.resolution, labels, line)
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


@app.command()
def resume(
    run: Run,
    device: Annotated[str | None, typer.Option(help="Another device than the run's")] = None,
    quiet: Annotated[bool, typer.Option(help="Print errors only")] = False,
) -> None:
    """Go on with a run that was stopped; it ends in the same bits as if it had not been."""
    from equipoise import runs
    from equipoise.report.console import ProgressLine

    line = ProgressLine(quiet=quiet)
    with runs.stoppable() as stop:
        try:
            outcome = runs.resume(run, line, stop, device)
        finally:
            line.close()
    if outcome is None:
        line.say(f"{run} is complete already; for a longer run, start a new one with a larger --kimg.")
        return
    _finish(outcome, run, line)


@app.command()
def generate(
    run: Run,
    count: Annotated[int | None, typer.Option(help="How many; default: one per seed, or 64")] = None,
    seeds: Annotated[str | None, typer.Option(help="0-63 or 1,5,9; default: 0 to count-1")] = None,
    label: Annotated[str | None, typer.Option("--class", help="Name or number of the class asked for")] = None,
    truncation: Annotated[float, typer.Option(help="Scales latents: below 1 more typical, less diverse")] = 1.0,
    grid: Annotated[Path | None, typer.Option(help="One picture of all samples, a PNG file")] = None,
    out: Annotated[Path | None, typer.Option(help="A folder for PNG files, or a file ending in .npz")] = None,
    which: Annotated[str, typer.Option("--network", help="G_ema (averaged) or G (as trained)")] = "G_ema",
    checkpoint: Annotated[
        str | None, typer.Option(help="Name of the checkpoint, e.g. 000200; default: the newest")
    ] = None,
    ema: Annotated[
        float | None, typer.Option(help="Relative width of an average made afterwards, of what ema_widths kept: 0.08")
    ] = None,
) -> None:
    """Generate samples from a run: the same seed gives the same sample."""
    from equipoise import generate as generating

    for text in generating.generate_files(run, count, seeds, label, truncation, grid, out, which, checkpoint, ema):
        typer.echo(text)


@app.command()
def data(
    source: Source,
    resolution: Resolution = None,
    labels: Labels = None,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Report on a source: what it holds, what would be converted, cropped or skipped."""
    from equipoise.report.console import ProgressLine

    report = _open(source, resolution, labels, ProgressLine()).report
    typer.echo(json.dumps(report.as_dict(), indent=1) if as_json else report.text())


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(help="A run folder, or several to set side by side")],
    out: Annotated[
        Path | None, typer.Option(help="The file; default: report.html in the run, or here for several")
    ] = None,
    quick: Annotated[bool, typer.Option(help="Leave out what needs PyTorch: classes and nearest images")] = False,
) -> None:
    """Write the page of a run: one HTML file with its verdict, balance, samples and settings, to open in a browser."""
    from equipoise.report import page

    typer.echo(f"Written: {page.write(runs, out, closer=not quick)}")


@app.command()
def watch(
    run: Run,
    port: Annotated[int, typer.Option(help="Of 127.0.0.1; 0: any that is free")] = 0,
    show: Annotated[bool, typer.Option("--open", help="Open the page in the browser")] = False,
) -> None:
    """Serve the page of a run while it goes on, on this machine only; Ctrl-C ends the page, not the run."""
    import webbrowser

    from equipoise.report.page_serve import Server

    with Server(run, port) as server:
        typer.echo(f"{server.url} follows {run}; Ctrl-C ends the page, not the run")
        if show:
            webbrowser.open(server.url)
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()


@app.command()
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
    from equipoise.studies import study as studying
    from equipoise.studies.progress import ProgressLine

    if show is not None:
        typer.echo(engine.show(show).text())
        return
    asked = studying.from_options(
        source, study, vary or (), settings or (), seeds, kimg, budget, recipe, resolution, labels, device, against
    )
    folder, line = out or Path("studies") / studying.slug(asked.title), ProgressLine()
    with runs.stoppable() as stop:
        try:
            made = engine.compare(
                asked, folder, workers=workers, retry=retry, store=store, say=line.say, stand=line.stand, stop=stop
            )
        finally:
            line.close()
    typer.echo(made.text())
    typer.echo(f"Written: {folder / 'table.md'}, {folder / 'chart.svg'}, {folder / 'results.csv'}")


@bench_app.command("balance")
def bench_balance(
    tasks: Annotated[str, typer.Option(help="Names with commas between")] = "ring8,digits",
    arms: Annotated[str, typer.Option(help="Names with commas between; the first is best left as it is")] = (
        "untouched,static,favourites,autopilot"
    ),
    scenarios: Annotated[str | None, typer.Option(help="Names with commas between; default: all")] = None,
    seeds: Annotated[int, typer.Option(help="Runs of each, seeded one after the other")] = 5,
    first_seed: Annotated[int, typer.Option(help="The first of them")] = 0,
    jobs: Annotated[int, typer.Option(help="Processes at a time")] = 1,
    out: Annotated[Path, typer.Option(help="Folder for the rows; the same again goes on")] = Path("studies/balance"),
    record: Annotated[bool, typer.Option(help="Keep each cell's run folder, to look into its moves")] = False,
) -> None:
    """Unbalance small runs in many ways, and measure what brings them back; docs/studies/balance.md explains."""
    from equipoise import runs
    from equipoise.studies.balance import command

    with runs.stoppable() as stop:
        span = range(first_seed, first_seed + seeds)
        typer.echo(command.run(tasks, scenarios, arms, span, jobs, out, record, typer.echo, stop))


@app.command()
def diagnose(
    path: Annotated[
        Path,
        typer.Argument(help="A run folder, a folder of TensorBoard events, stats.jsonl, or a CSV or JSON-lines file"),
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


@app.command("list")
def list_parts(as_json: Annotated[bool, typer.Option("--json", help="As JSON, with all facts")] = False) -> None:
    """List recipes and parts with their papers."""
    from equipoise import registry

    entries = registry.entries()
    if as_json:
        rows = [{"kind": e.kind, "name": e.name, "paper": e.paper, "claim": e.claim, **e.facts} for e in entries]
        typer.echo(json.dumps(rows, indent=1))
        return
    for kind in ("recipe", *(kind for kind in registry.HOMES if kind != "recipe")):
        chosen = [entry for entry in entries if entry.kind == kind]
        if chosen:
            typer.echo(f"{PLURALS.get(kind, kind + 's')}:")
        width = max((len(entry.name) for entry in chosen), default=0)
        for entry in chosen:
            typer.echo(f"  {entry.name:{max(width, 15)}} {entry.paper:17} {' '.join(entry.claim.split())}")


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


# Commands that have files of their own: a line `app.command()(name)` each.
app.command()(walk)
app.command()(evaluate)
app.command()(export)
app.command()(augment)
app.command("list")(list_parts)
app.add_typer(cache_app, name="cache")
app.add_typer(bench_app, name="bench")


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version and stop")] = False) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


def main() -> None:
    """Run a command and turn errors into one sentence and an exit code."""
    try:
        app()
    except EquipoiseError as error:
        typer.echo(f"equipoise: {error}", err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        typer.echo("equipoise: stopped at once; `equipoise resume` goes on from a run's last checkpoint", err=True)
        sys.exit(INTERRUPTED)
    except Exception:
        traceback.print_exc()
        typer.echo("equipoise: a fault of the program, not of your input; please report the lines above", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
