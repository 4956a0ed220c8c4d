"""Hand a trained generator over: as plain PyTorch, ONNX, a folder for the Hugging Face Hub, a page for the browser."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import nn

from equipoise.apps.export import card, hub, onnx_model, runtime, torch_files, web
from equipoise.apps.export.subject import of_run
from equipoise.errors import InputError
from equipoise.files import atomic_dir
from equipoise.registry import suggest

FORMATS = ("torch", "onnx", "web", "huggingface")


def export(
    run: Path,
    out: Path | None = None,  # a folder, new or empty; default: `export` in the run's
    formats: Sequence[str] = ("torch",),  # see FORMATS; torch is always there
    *,
    at: str | None = None,  # a checkpoint's name; None: the newest
    ort: Path | None = None,  # onnxruntime-web, for the format web: its folder or file; None: node_modules
    push: str | None = None,  # a repository of the Hugging Face Hub that is made for the folder; implies huggingface
    generator: nn.Module | None = None,  # for a run with networks of one's own: GAN.load(run, ...).generator
) -> list[str]:
    """Write a run's averaged generator in these formats; returns a line for each file.

    Raises:
        InputError: there is no such format, the folder holds something, or the generator cannot be written so.
    """
    for name in formats:
        if name not in FORMATS:
            raise InputError(f"there is no format {name!r}{suggest(name, list(FORMATS))}")
    formats = [*formats, "huggingface"] if push else formats
    if push:
        hub.check(push)
    for name in ("onnx", "web"):
        if name in formats:
            onnx_model.check_packages(name)
    folder = run / "export" if out is None else out
    _check_folder(folder)
    subject = of_run(run, at, generator)
    if "web" in formats:
        web.check(subject.shape)
    browser = runtime.find(ort) if "web" in formats else None
    try:
        with atomic_dir(folder) as new:
            network = torch_files.write(new, subject)
            model = onnx_model.convert(network, subject) if {"onnx", "web"} & set(formats) else b""
            if "onnx" in formats:
                (new / "model.onnx").write_bytes(model)
            if "huggingface" in formats:
                card.write(new, subject)
            if browser is not None:
                (new / "index.html").write_text(web.page(model, subject, browser), encoding="utf-8")
    except OSError as error:
        raise InputError(f"{folder} cannot be written ({error.strerror}); give --out another place") from None
    said = [f"{folder / path.name}: {path.stat().st_size / 1000:,.1f} kB" for path in sorted(folder.iterdir())]
    return [*said, f"Uploaded, for you alone to see: {hub.push(folder, push)}"] if push else said


def _check_folder(folder: Path) -> None:
    """Nothing is overwritten."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} exists already, and nothing is overwritten; give --out a new folder")
