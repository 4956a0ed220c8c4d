"""The generator as an ONNX model, run in onnxruntime and compared with PyTorch before it counts.

Inputs `latents` [n, latent_dim] float32 and, with classes, `labels` [n] int64; output `samples` [n, ...] float32.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from equipoise import __version__
from equipoise.apps.export.subject import PROBED, Subject
from equipoise.errors import InputError

NEEDED = ("onnx", "onnxscript", "onnxruntime")
TOLERANCE = 1e-4  # of the largest value, at least 1: a hundredth of a grey level of 256


def check_packages(asked: str) -> None:
    """Raise an InputError where what this takes is not installed."""
    for name in NEEDED:
        try:
            importlib.import_module(name)
        except ImportError:
            raise InputError(
                f"--format {asked} needs the package {name}, which is not installed; run pip install 'equipoise[onnx]'"
            ) from None


def convert(
    network: nn.Module,  # of plain layers, as `torch_files.write` gives it
    subject: Subject,
) -> bytes:
    """The model as the bytes of an .onnx file."""
    latents, labels = subject.probe(2)
    given = {"latents": latents} if labels is None else {"latents": latents, "labels": labels}
    try:
        program = _program(network, given)
    except torch.onnx.errors.OnnxExporterError as error:
        reason = str(error.__cause__ or error).strip().splitlines()[0][:200]
        raise InputError(f"PyTorch cannot write this generator as ONNX ({reason}); take --format torch") from None
    model: Any = program.model_proto
    _forget_where(model)
    _describe(model, subject)
    content: bytes = model.SerializeToString()
    _check(content, subject)
    return content


def _program(network: nn.Module, given: dict[str, Tensor]) -> Any:
    with _quiet():
        return torch.onnx.export(
            network,
            tuple(given.values()),
            dynamo=True,
            input_names=list(given),
            output_names=["samples"],
            dynamic_shapes=({0: torch.export.Dim("n")},) * len(given),
            external_data=False,
            verbose=False,
        )


def _forget_where(model: Any) -> None:
    """Drop the notes on every node that say in which file of this machine it was written."""
    graph = model.graph
    graph.ClearField("metadata_props")
    for part in (*graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")


def _describe(model: Any, subject: Subject) -> None:
    model.producer_name, model.producer_version = "equipoise", __version__
    facts = {
        "latent_dim": subject.latent_dim,
        "shape": list(subject.shape),
        "classes": list(subject.classes),
        "range": "samples lie in about [-1, 1]" if len(subject.shape) > 1 else "samples are vectors",
        "recipe": subject.config.recipe.name,
        "kimg": subject.kimg,
    }
    for key, value in facts.items():
        model.metadata_props.add(key=key, value=value if isinstance(value, str) else json.dumps(value))


def _check(content: bytes, subject: Subject) -> None:
    """Compare with the generator, in batches of one and of many."""
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    for count in (1, PROBED):
        latents, labels = subject.probe(count)
        given = {"latents": latents.numpy()} | ({} if labels is None else {"labels": labels.numpy()})
        off = subject.off(torch.from_numpy(session.run(None, given)[0]), latents, labels)
        if not off <= TOLERANCE:
            raise InputError(
                f"onnxruntime gives other samples than PyTorch, off by {off:.2g} where {TOLERANCE:g} is allowed, so no "
                "ONNX model is written; please report it, and take --format torch"
            )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's remarks on packages that are not needed here."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
