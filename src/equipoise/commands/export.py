"""`equipoise export`: hand a trained generator over."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from equipoise.commands import Checkpoint, Run


def export(
    run: Run,
    out: Annotated[Path | None, typer.Option(help="A folder, new or empty; default: `export` in the run's")] = None,
    formats: Annotated[
        list[str] | None,
        typer.Option("--format", help="onnx, web or huggingface, besides torch, which is always there; repeatable"),
    ] = None,
    checkpoint: Checkpoint = None,
    ort: Annotated[
        Path | None, typer.Option(help="onnxruntime-web for the format web: its folder, or the file of `npm pack`")
    ] = None,
    push: Annotated[
        str | None, typer.Option(help="Upload the folder to this new, private repository of the Hugging Face Hub")
    ] = None,
) -> None:
    """Hand over a run's generator, to be used without equipoise."""
    from equipoise.apps import export as exporting

    for text in exporting.export(run, out, formats or ("torch",), at=checkpoint, ort=ort, push=push):
        typer.echo(text)
