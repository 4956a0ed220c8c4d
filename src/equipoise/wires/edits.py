"""Gradients, and weights themselves, that an operation is about to change in place."""

from __future__ import annotations

from typing import Any

from equipoise.wires.events import Edit
from equipoise.wires.record import Record
from equipoise.wires.tensors import address, readable, tensors_in
from equipoise.wires.where import caller, given

INPLACE = {"__iadd__": "+=", "__isub__": "-=", "__imul__": "*=", "__itruediv__": "/=", "__idiv__": "/="}
HARMLESS = frozenset(["requires_grad_", "detach_", "share_memory_"])  # they change no value


def edits_of(record: Record, name: str, args: tuple[Any, ...]) -> list[Edit]:
    """The gradients and the weights that an operation is about to change in place."""
    if not ((name.endswith("_") and not name.endswith("__")) or name in INPLACE) or name in HARMLESS or not args:
        return []
    targets = {address(tensor) for tensor in tensors_in(args[0]) if readable(tensor)}
    own = [weight for weight in record.weights if address(weight.tensor) in targets]
    gradients = [w for w in record.weights if w.tensor.grad is not None and address(w.tensor.grad) in targets]
    place = caller()
    called = place.called or INPLACE.get(name, name)
    turned = name == "neg_" or ("mul" in name and any(isinstance(by, (int, float)) and by < 0 for by in args[1:2]))
    if gradients and given("max_norm") == float("inf"):  # they were only to be measured
        gradients = []
    changed = [(own, False), (gradients, True)]
    return [Edit(place=place, name=called, weights=some, gradients=on, turned=turned) for some, on in changed if some]
