"""Which rows of a batch were generated, where real and generated samples are joined into one. An observer, too."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from equipoise.wires.events import Call, Origin
from equipoise.wires.operations import NOTHING, Operation

if TYPE_CHECKING:
    from equipoise.wires.origins import Origins

MOVES = frozenset(["__getitem__", "flip", "flipud", "roll", "index_select", "take_along_dim", "gather", "sort", "tile",
                   "repeat", "repeat_interleave", "transpose", "permute", "movedim"])  # fmt: skip


def rows(mode: Origins, operation: Operation) -> Origin:
    """Which rows of a batch were generated, where real and generated ones are joined into one."""
    first = operation.args[0] if operation.args else None
    outputs = operation.outputs
    if operation.name in ("cat", "concat", "concatenate") and isinstance(first, (list, tuple)) and len(outputs) == 1:
        if sum(tensor.shape[0] for tensor in first) == outputs[0].shape[0]:
            mode.rows[outputs[0]] = tuple(row for tensor in first for row in _rows_of(mode, tensor))
        return NOTHING
    kept = [mode.rows[tensor] for tensor in operation.inputs if tensor in mode.rows]
    if kept and operation.name in MOVES:
        kept = [_moved(mode, operation)] if isinstance(first, Tensor) and first in mode.rows else []
    for tensor in outputs:
        if len(kept) == 1 and tensor.dim() and tensor.shape[0] == sum(count for count, _ in kept[0]):
            mode.rows[tensor] = kept[0]
    return NOTHING


def _moved(mode: Origins, operation: Operation) -> tuple[tuple[int, bool], ...]:
    """Where the rows of a batch are when they changed places, by the same operation on marks; nothing if it fails."""
    first = operation.args[0]
    marks = torch.cat([torch.full((count,), float(made), device=first.device) for count, made in mode.rows[first]])
    try:
        marks = marks.view(-1, *[1] * (first.dim() - 1)).expand(first.shape)
        moved = getattr(Tensor, operation.name)(marks, *operation.args[1:])
    except (TypeError, RuntimeError, IndexError):
        return ()
    if (
        not isinstance(moved, Tensor)
        or not moved.numel()
        or moved.dim() < 2
        or bool((moved.flatten(1) != moved.flatten(1)[:, :1]).any())
    ):
        return ()
    flags = moved.flatten(1)[:, 0].bool().tolist()
    return tuple((len(list(run)), made) for made, run in itertools.groupby(flags))


def _rows_of(mode: Origins, tensor: Tensor) -> tuple[tuple[int, bool], ...]:
    generated = any(isinstance(event, Call) and event.of("G") for event in mode.known.get(tensor, NOTHING))
    found: tuple[tuple[int, bool], ...] = mode.rows.get(tensor, ((tensor.shape[0], generated),))
    return found


OBSERVERS = (rows,)
