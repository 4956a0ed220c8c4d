"""Gradients that are written by hand, and what an operation is about to change in place, weights among it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor

from equipoise.wires.events import Differentiation, Edit, Step, Taken
from equipoise.wires.operations import NOTHING
from equipoise.wires.players import Weight
from equipoise.wires.record import Record
from equipoise.wires.tensors import address, readable, tensors_in
from equipoise.wires.where import caller, given

if TYPE_CHECKING:
    from equipoise.wires.origins import Origins

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


def made_of(mode: Origins, weight: Weight, gradient: Tensor) -> tuple[Differentiation, ...]:
    """What a gradient that is written by hand was put together from; not what only went into that.

    Gradients that are joined into one vector and split again, as to repair or to share them, stay whose they were;
    of those that were kept from earlier steps, as for momentum, only this time's count.
    """
    taken = [one for one in mode.known.get(gradient, NOTHING) if isinstance(one, Taken) and one.weight is weight]
    if taken:
        used = {event for step in mode.record.all(Step) for event in step.ledgers.get(weight, ())}
        now = [one for one in taken if set(one.ledger) - used] or taken
        return tuple(sorted({event for one in now for event in one.ledger}, key=lambda event: event.when))
    made = [e for e in mode.known.get(gradient, NOTHING) if isinstance(e, Differentiation) and e.kind == "grad"]
    made.sort(key=lambda event: event.when)
    asked = [one for one in made if weight in one.targets and not any(one in other.origin for other in made)]
    return tuple(asked or made[-1:])
