"""What every tensor depends on, followed through each operation of the loop.

PyTorch shows a `TorchFunctionMode` every call of its functions, `backward` and assignments to `.grad` among them. The
mode passes each call on unchanged and looks at what went in and came out, so the loop computes the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from equipoise.wires import answers, operations, rows
from equipoise.wires.edits import edits_of, made_of
from equipoise.wires.events import (
    Answer,
    Call,
    Clearing,
    Clipped,
    Cut,
    Differentiation,
    Edit,
    Event,
    Mixture,
    Origin,
    Taken,
)
from equipoise.wires.graphs import Node, before, explore, first, notes, terms_in, weights_in
from equipoise.wires.operations import NOTHING, Operation, has_nan
from equipoise.wires.players import Weight
from equipoise.wires.record import Record
from equipoise.wires.tensors import readable, sources, tensors_in
from equipoise.wires.where import NOWHERE, Place, caller, given

VALUES = frozenset([("__get__", name) for name in ("data", "T", "mT", "H", "mH", "real", "imag")])


class Origins(TorchFunctionMode):
    """Writes into a record what each operation does; `quiet` for what is not the loop's own work."""

    def __init__(self, record: Record) -> None:
        super().__init__()
        self.record = record
        self.known = WeakTensorKeyDictionary()  # tensor -> Origin
        self.rows = WeakTensorKeyDictionary()  # tensor -> ((how many, generated or not), ...) along its first axis
        self.noise = WeakTensorKeyDictionary()  # tensor -> True if it was drawn, and nothing else went into it
        self.differences = WeakTensorKeyDictionary()  # tensor -> the two that were subtracted
        self.given = WeakTensorKeyDictionary()  # tensor -> the Differentiation that gave it
        self.mixture = Mixture(place=NOWHERE)
        self.inside = False  # a player's forward pass
        self.root = ""  # whose, the last time
        self._quiet = False

    def hush(self, on: bool) -> bool:
        """Look away, or look again; returns how it was."""
        before, self._quiet = self._quiet, on
        return before

    @contextmanager
    def quiet(self, on: bool = True) -> Iterator[None]:
        """Look away for a while."""
        before = self.hush(on)
        try:
            yield
        finally:
            self.hush(before)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name, attribute = _names(func)
        if (name, attribute) == ("__get__", "grad") and not self._quiet:
            return self._read_gradient(func, args[0])
        if self._quiet or (attribute and (name, attribute) not in VALUES | {("__set__", "grad")}):
            return func(*args, **kwargs)
        if attribute == "grad":
            return self._assign_gradient(func, *args)
        if name in ("backward", "grad"):
            return self._differentiate(name, func, args, kwargs)
        inputs = sources(name, args, kwargs)
        unsound = [tensor for tensor in inputs if has_nan(tensor)]
        gradient = any(tensor.requires_grad for tensor in inputs)
        edits = edits_of(self.record, name, args)
        result = func(*args, **kwargs)
        written, origin = (args[0] if name == "__setitem__" else result), self.origin(inputs)
        operation = Operation(attribute or name, args, inputs, list(tensors_in(written)), unsound, gradient, origin)
        self._follow(operation)
        for edit in edits:
            self._note_edit(name, edit)
        return result

    # ------------------------------------------------------------------------------------------------ values

    def origin(self, tensors: list[Tensor]) -> Origin:
        """All that some tensors depend on."""
        return NOTHING.union(*(self.known.get(tensor, NOTHING) for tensor in tensors))

    def mark(self, tensors: list[Tensor], event: Event) -> None:
        """Tensors depend on an event, too."""
        for tensor in tensors:
            self.known[tensor] = self.known.get(tensor, NOTHING) | {event}

    def _follow(self, operation: Operation) -> None:
        for observer in (*operations.OBSERVERS, *rows.OBSERVERS, *answers.OBSERVERS):
            operation.origin |= observer(self, operation)
        if operation.origin:
            for tensor in operation.outputs:
                if id(tensor) not in self.record.by_id:  # a weight depends on nothing, whoever changes it
                    self.known[tensor] = operation.origin

    # ------------------------------------------------------------------------------------------------ gradients

    def _differentiate(self, kind: str, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self.record.current is not None:  # a checkpoint's, which is part of the one that runs
            return func(*args, **kwargs)
        first = args[0] if args else kwargs.get("tensors", kwargs.get("outputs"))
        losses = list(tensors_in(first))
        event = self.record.add(self._looked_into(kind, losses))
        for loss in losses if kind == "backward" else ():
            if loss.grad_fn is not None:
                notes(loss.grad_fn).append(event)
        asked = tensors_in(args[1:2] if kind == "grad" else [])
        event.carried = self._handed(args[1:] if kind == "backward" else [], kwargs)
        event.chosen = kind == "backward" and kwargs.get("inputs") is not None
        event.targets = {self.record.by_id[id(tensor)] for tensor in asked if id(tensor) in self.record.by_id}
        self.record.current = event
        try:
            result = func(*args, **kwargs)
        finally:
            self.record.current = None
        self._finish(event)
        outputs = list(tensors_in(result))
        origin = event.origin | {event}
        event.graph = any(tensor.requires_grad for tensor in outputs)
        event.void = kind == "grad" and not outputs and bool(kwargs.get("create_graph"))
        if outputs and not event.graph and event.reachable:
            how = "autograd.grad without create_graph"
            origin |= {self.record.add(Cut(place=event.place, name=how, behind=event.reachable))}
        for tensor in outputs:
            self.known[tensor], self.given[tensor] = origin, event
        return result

    def _handed(self, args: Sequence[Any], kwargs: dict[str, Any]) -> set[Differentiation]:
        """What the gradients came from that a backward pass was given to start with."""
        given = [*tensors_in(list(args[:1])), *tensors_in([kwargs.get("gradient"), kwargs.get("grad_tensors")])]
        return {one for one in self.origin(given) if isinstance(one, Differentiation) and one.kind == "grad"}

    def _looked_into(self, kind: str, losses: list[Tensor]) -> Differentiation:
        """What a loss is made of, before its graph is freed."""
        roots = [loss.grad_fn for loss in losses if loss.grad_fn is not None]
        nodes = explore(roots)
        through: dict[Call, list[Node]] = {}
        parts: set[Differentiation] = set()
        for node in nodes:
            for note in notes(node):
                if isinstance(note, Call):
                    through.setdefault(note, []).append(node)
                elif isinstance(note, Differentiation):
                    parts.add(note)
        return Differentiation(
            place=caller(),
            kind=kind,
            origin=self.origin(losses),
            finite=all(bool(torch.isfinite(loss).all()) for loss in losses if readable(loss)),
            reachable=weights_in(nodes, self.record.by_id),
            through={call: weights_in(explore(those), self.record.by_id) for call, those in through.items()},
            rootless=kind == "backward" and bool(losses) and not roots,
            nil=bool(losses) and not any(readable(loss) and bool(loss.detach().any()) for loss in losses),
            near={
                (note.call, note.number)
                for note in first(losses, lambda note: isinstance(note, Answer))
                if isinstance(note, Answer)
            },
            aside=weights_in(before(losses, lambda note: isinstance(note, Call) and note.of("D")), self.record.by_id),
            parts=parts,
            terms=terms_in(losses),
        )

    def _finish(self, event: Differentiation) -> None:
        """Judge the gradients that a backward pass left, and let go of what was kept for that."""
        gradients = ((weight, weight.gradient) for weight in event.written)
        event.unsound += [w for w, g in gradients if g is not None and not bool(torch.isfinite(g).all())]
        calls = [call for call in self.record.all(Call) if event in call.slopes]
        for judged in calls:
            for made in calls:
                if judged.of("D") and made in judged.inputs and made.slopes[event].shape == judged.slopes[event].shape:
                    product = float((made.slopes[event] * judged.slopes[event]).sum())
                    event.reversed |= product < 0
        for call in calls:
            del call.slopes[event]

    def _assign_gradient(self, func: Callable[..., Any], tensor: Tensor, gradient: Tensor | None) -> Any:
        result = func(tensor, gradient)
        weight = self.record.by_id.get(id(tensor))
        if weight is None:
            return result
        if gradient is None:
            self._clear(weight, caller())
        else:
            weight.ledger = made_of(self, weight, gradient)
            for event in weight.ledger:
                event.written.add(weight)
                event.straight |= self.given.get(gradient) is event
                weight.trained = True
        return result

    def _read_gradient(self, func: Callable[..., Any], tensor: Tensor) -> Tensor | None:
        """What is made of a gradient that is looked at depends on what it was the sum of."""
        gradient: Tensor | None = func(tensor)
        weight = self.record.by_id.get(id(tensor))
        if weight is None:
            return gradient
        place = caller()
        if place.called.startswith("clip") and given("max_norm") != float("inf"):
            self.record.add(Clipped(place=place, weight=weight, empty=not weight.ledger))
        if gradient is not None and not place.called.startswith("zero_grad"):
            others = {event for event in self.known.get(gradient, NOTHING) if not isinstance(event, Taken)}
            self.known[gradient] = frozenset([*others, Taken(place=place, weight=weight, ledger=weight.ledger)])
            for event in weight.ledger:
                event.read = True
        return gradient

    def _note_edit(self, name: str, edit: Edit) -> None:
        if not (edit.gradients and name.endswith("zero_")):
            self.record.add(edit)
            return
        for weight in edit.weights:
            self._clear(weight, edit.place)

    def _clear(self, weight: Weight, place: Place) -> None:
        if weight.ledger:
            self.record.add(Clearing(place=place, weight=weight, lost=weight.ledger))
        weight.cleared, weight.ledger = place, ()


def _names(func: Callable[..., Any]) -> tuple[str, str]:
    """A function's name, and for the reading or writing of an attribute the attribute's."""
    name = str(getattr(func, "__name__", ""))
    owner = getattr(func, "__self__", None) if name in ("__get__", "__set__") else None
    return name, str(getattr(owner, "__name__", "?")) if owner is not None else ""
