"""`equipoise report` and `equipoise watch`."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated

import typer

from equipoise.commands import Run


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
