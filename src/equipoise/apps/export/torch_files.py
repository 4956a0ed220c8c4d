"""The generator as two files: generator.py, plain PyTorch that one can read, and model.safetensors, its weights.

What was written is read back, run, and compared with the generator before it counts.
"""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import nn

from equipoise import __version__
from equipoise.apps.export.plain import plain
from equipoise.apps.export.subject import Subject
from equipoise.apps.export.text import render
from equipoise.errors import InputError

SOURCE, WEIGHTS = "generator.py", "model.safetensors"
TOLERANCE = 1e-6  # of the largest value: the same operations in the same order, so that most networks agree in all bits


def write(folder: Path, subject: Subject) -> nn.Module:
    """Write both files into the folder; returns the generator that they make, of plain layers only."""
    made = plain(subject.generator)
    (folder / WEIGHTS).write_bytes(save(made.weights, metadata={"format": "pt"}))
    source = render(
        f"{SOURCE}.jinja",
        version=__version__,
        subject=subject,
        layers=made.layers,
        lines=made.lines,
        functions=any("F." in line for line in made.lines),
    )
    (folder / SOURCE).write_text(source, encoding="utf-8")
    rebuilt = load(folder)
    _check(rebuilt, subject)
    return rebuilt


def load(folder: Path) -> nn.Module:
    """The generator that these files make, in evaluation mode."""
    module: dict[str, Any] = runpy.run_path(str(folder / SOURCE))  # an import would leave compiled code behind
    network: nn.Module = module["load"]()
    return network


@torch.no_grad()
def _check(rebuilt: nn.Module, subject: Subject) -> None:
    latents, labels = subject.probe()
    off = subject.off(rebuilt(latents, labels), latents, labels)
    if not off <= TOLERANCE:
        raise InputError(
            f"the plain code gives other samples than the generator, off by {off:.2g}; a generator that draws random "
            "numbers in its forward pass, or keeps values between passes, cannot be written out"
        )
