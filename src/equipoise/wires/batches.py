"""Batches that a discriminator is given and its answers for them: kinds of samples, their ranges, and doubles."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from equipoise.wires.events import Call


def split(call: Call, batch: Tensor) -> dict[bool, Tensor]:
    """A batch's generated samples (True) and its others (False), where rows were joined; else all under one."""
    counts = [count for count, _ in call.rows]
    if not batch.dim() or not counts or sum(counts) != batch.shape[0]:
        return {call.generated: batch}
    parts = list(zip(batch.split(counts), call.rows, strict=True))
    kinds = {made for _, made in call.rows}
    return {kind: torch.cat([part for part, (_, made) in parts if made == kind]) for kind in kinds}


def extent(values: Tensor) -> tuple[float, float]:
    return (float(values.min()), float(values.max())) if values.numel() else (0.0, 0.0)


def repeated(inputs: list[Tensor], rows: tuple[tuple[int, bool], ...]) -> bool:
    """Whether the very same samples are given twice: the first two tensors, or two parts of one batch."""
    counts = [count for count, _ in rows]
    parts = inputs[0].detach().split(counts) if inputs[0].dim() and sum(counts) == inputs[0].shape[0] else ()
    pairs = [*itertools.combinations(parts, 2), *itertools.combinations(inputs[:2], 2)]
    return any(_alike(one, other) for one, other in pairs)


def _alike(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors have the same numbers, and not the same one throughout."""
    return one.shape == other.shape and bool((one == other).all()) and bool((one != one.flatten()[:1]).any())


def margin(output: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
    """Of answers for two classes, which a softmax follows, how much the one is above the other; else all as it is."""
    softmax = (
        output.dim() == 2
        and output.shape[1] == 2
        and bool((gradient.sum(1).abs() <= 1e-4 * gradient.abs().max()).all())
    )
    return (output[:, 1] - output[:, 0], gradient[:, 1]) if softmax else (output, gradient)
