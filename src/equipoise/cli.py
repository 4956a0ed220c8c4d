"""The command line: every command is one call into the library, in a file of its own under `commands/`."""

from __future__ import annotations

import errno
import io
import os
import re
import sys
import traceback
from collections.abc import Sequence
from itertools import pairwise
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
from equipoise.commands.evaluate import evaluate
from equipoise.commands.export import export
from equipoise.commands.generate import generate
from equipoise.commands.judge import judge
from equipoise.commands.parts import list_parts
from equipoise.commands.recognise import recognise
from equipoise.commands.report import report, watch
from equipoise.commands.train import resume, train
from equipoise.commands.walk import walk
from equipoise.errors import EquipoiseError, InputError

app = typer.Typer(
    name="equipoise",
    help="Train generative adversarial networks and keep generator and discriminator in balance.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
REFUSED = (  # by the system, where a path or a disk is the matter and not the program
    *(errno.ENAMETOOLONG, errno.ELOOP, errno.EACCES, errno.EPERM),
    *(errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO),
)
# In the order of `equipoise --help`.
app.command()(train)
app.command()(resume)
app.command()(generate)
app.command()(judge)
app.command()(recognise)
app.command()(walk)
app.command()(data)
app.command()(report)
app.command()(watch)
app.command()(compare)
app.command()(diagnose)
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
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # file names that are no text, and consoles that know few
    try:
        _check_given(sys.argv[1:])
        app()
    except EquipoiseError as error:
        typer.echo(f"equipoise: {error}", err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        typer.echo("equipoise: stopped at once; `equipoise resume` goes on from a run's last checkpoint", err=True)
        sys.exit(INTERRUPTED)
    except Exception as error:
        if isinstance(error, OSError) and error.errno in REFUSED:
            what = "the output" if error.filename is None else repr(error.filename)
            typer.echo(f"equipoise: the system refuses {what} ({error.strerror}); name another place", err=True)
            sys.exit(InputError.exit_code)
        traceback.print_exc()
        typer.echo("equipoise: a fault of the program, not of your input; please report the lines above", err=True)
        sys.exit(1)


def _check_given(arguments: Sequence[str]) -> None:
    """Refuse what is empty, such as a variable that is not set: as a path it would be the folder one is in."""
    for before, one in pairwise(["", *arguments]):
        if not one or re.fullmatch(r"--[\w-]+=", one):
            option = one.removesuffix("=") or (before if before.startswith("-") else "")
            what = f"the value of {option}" if option else "an argument"
            raise InputError(f"{what} is empty, as a variable that is not set; give one, or leave it out")


if __name__ == "__main__":
    main()
