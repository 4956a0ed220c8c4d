"""What every tensor depends on, followed through each operation of the loop, and where gradients and NaNs are lost.

PyTorch shows a `TorchFunctionMode` every call of its functions, `backward` and assignments to `.grad` among them. The
mode passes each call on unchanged and looks at what went in and came out, so the loop computes the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from equipoise.wires.events import (
    Call,
    Cut,
    Differentiation,
    Edit,
    Event,
    Hiding,
    Origin,
    Record,
    Summand,
    Unsound,
    explore,
    tensors_in,
    weights_in,
)
from equipoise.wires.players import Weight
from equipoise.wires.where import caller

NOTHING: Origin = frozenset()
SUMS = frozenset(["add", "add_", "sub", "sub_", "rsub", "__add__", "__radd__", "__rsub__", "__iadd__", "__isub__"])
OVERWRITES = frozenset(
    ["copy_", "zero_", "fill_", "normal_", "uniform_", "empty_like", "empty", "new_empty", "set_", "detach_"]
)
LINEAR = ("Add", "Sub", "Rsub", "Mul", "Div", "Neg", "Mean", "Sum", "Stack", "Cat", "ToCopy", "Unsqueeze", "Squeeze",
          "View", "Select", "Clone", "Alias")  # fmt: skip


class Origins(TorchFunctionMode):
    """Writes into a record what each operation does; `quiet` for what is not the loop's own work."""

    def __init__(self, record: Record) -> None:
        super().__init__()
        self.record = record
        self.known = WeakTensorKeyDictionary()  # tensor -> Origin
        self.rows = WeakTensorKeyDictionary()  # tensor -> ((how many, generated or not), ...) along its first axis
        self.inside = False  # a player's forward pass
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
        if self._quiet or (attribute and (name, attribute) not in (("__get__", "data"), ("__set__", "grad"))):
            return func(*args, **kwargs)
        if attribute == "grad":
            return self._assign_gradient(func, *args)
        if name in ("backward", "grad"):
            return self._differentiate(name, func, args, kwargs)
        inputs = list(tensors_in([args, kwargs]))
        unsound = [tensor for tensor in inputs if _has_nan(tensor)]
        gradient = any(tensor.requires_grad for tensor in inputs)
        edited = self._edited(name, args)
        result = func(*args, **kwargs)
        self._follow(attribute or name, args, inputs, list(tensors_in(result)), unsound, gradient)
        if edited:
            self._note_edit(name, edited)
        return result

    # ------------------------------------------------------------------------------------------------ values

    def origin(self, tensors: list[Tensor]) -> Origin:
        """All that some tensors depend on."""
        return NOTHING.union(*(self.known.get(tensor, NOTHING) for tensor in tensors))

    def mark(self, tensors: list[Tensor], event: Event) -> None:
        """Tensors depend on an event, too."""
        for tensor in tensors:
            self.known[tensor] = self.known.get(tensor, NOTHING) | {event}

    def _follow(
        self,
        name: str,
        args: tuple[Any, ...],
        inputs: list[Tensor],
        outputs: list[Tensor],
        unsound: list[Tensor],  # inputs with a NaN
        gradient: bool,  # whether an input had one
    ) -> None:
        origin = self.origin(inputs)
        lost = gradient and any(not o.requires_grad and not any(o is i for i in inputs) for o in outputs)
        if lost:
            behind = self.behind(inputs)
            if behind:
                how = name if torch.is_grad_enabled() else "no_grad"
                origin |= {self.record.add(Cut(place=caller(), name=how, behind=behind))}
        if name in SUMS or name == "stack":
            self._note_terms(name, args, outputs)
        origin |= self._sound(name, origin, inputs, outputs, unsound)
        if origin:
            for tensor in outputs:
                self.known[tensor] = origin
        self._keep_rows(name, args, inputs, outputs)

    def behind(self, tensors: list[Tensor]) -> set[Weight]:
        """The weights that a gradient at some tensors would reach."""
        leaves = {self.record.by_id[id(t)] for t in tensors if t.requires_grad and id(t) in self.record.by_id}
        return leaves | weights_in(explore([t.grad_fn for t in tensors if t.grad_fn is not None]), self.record.by_id)

    def _note_terms(self, name: str, args: tuple[Any, ...], outputs: list[Tensor]) -> None:
        """A single number without a gradient that joins one with: written on the node of the sum."""
        parts = list(args[0]) if name == "stack" and isinstance(args[0], (list, tuple)) else list(args[:2])
        result = outputs[0] if outputs else None
        if result is None or result.grad_fn is None or not all(_single(part) for part in parts):
            return
        dead = [part for part in parts if not (isinstance(part, Tensor) and part.requires_grad)]
        if len(dead) == len(parts):
            return
        for part in dead:
            if float(part) != 0:
                origin = self.origin([part]) if isinstance(part, Tensor) else NOTHING
                term = self.record.add(Summand(place=caller(), value=float(part), origin=origin))
                notes(result.grad_fn).append(term)

    def _sound(
        self, name: str, origin: Origin, inputs: list[Tensor], outputs: list[Tensor], unsound: list[Tensor]
    ) -> Origin:
        """Where a NaN comes into being, and where it goes out of sight."""
        if name in OVERWRITES or not outputs:
            return NOTHING
        after = any(_has_nan(tensor) for tensor in outputs)
        if after and not unsound:
            matters = (self.inside or any(isinstance(event, Call) for event in origin)) and outputs[0].requires_grad
            single = all(tensor.numel() == 1 for tensor in outputs)
            return frozenset([self.record.add(Unsound(place=caller(), name=name, single=single, matters=matters))])
        gradients = {id(weight.tensor.grad) for weight in self.record.weights if unsound}
        gradient = any(id(tensor) in gradients for tensor in unsound)
        sources = [event for event in origin if isinstance(event, Unsound)]
        if unsound and not after and (gradient or sources) and any(t.is_floating_point() for t in outputs):
            single = all(tensor.numel() == 1 for tensor in unsound)
            self.record.add(Hiding(place=caller(), name=name, single=single, gradient=gradient, sources=sources))
        return NOTHING

    def _keep_rows(self, name: str, args: tuple[Any, ...], inputs: list[Tensor], outputs: list[Tensor]) -> None:
        """Which rows of a batch were generated, where real and generated ones were joined into one."""
        if name in ("cat", "concat", "concatenate") and isinstance(args[0], (list, tuple)) and len(outputs) == 1:
            joined = [self._rows_of(tensor) for tensor in args[0]]
            if sum(tensor.shape[0] for tensor in args[0] if tensor.dim()) == (outputs[0].shape or (0,))[0]:
                self.rows[outputs[0]] = tuple(row for rows in joined for row in rows)
            return
        kept = [self.rows[tensor] for tensor in inputs if tensor in self.rows]
        for tensor in outputs:
            if len(kept) == 1 and tensor.dim() and tensor.shape[0] == sum(count for count, _ in kept[0]):
                self.rows[tensor] = kept[0]

    def _rows_of(self, tensor: Tensor) -> tuple[tuple[int, bool], ...]:
        generated = any(isinstance(event, Call) and event.of("G") for event in self.known.get(tensor, NOTHING))
        rows: tuple[tuple[int, bool], ...] = self.rows.get(tensor, ((tensor.shape[0], generated),))
        return rows

    # ------------------------------------------------------------------------------------------------ gradients

    def _differentiate(self, kind: str, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        first = args[0] if args else kwargs.get("tensors", kwargs.get("outputs"))
        losses = list(tensors_in(first))
        event = self.record.add(self._looked_into(kind, losses))
        self.record.current = event
        try:
            result = func(*args, **kwargs)
        finally:
            self.record.current = None
        self._finish(event)
        outputs = list(tensors_in(result))
        origin = event.origin | {event}
        if outputs and not any(tensor.requires_grad for tensor in outputs) and event.reachable:
            origin |= {self.record.add(Cut(place=event.place, name="autograd.grad without create_graph",
                                           behind=event.reachable))}  # fmt: skip
        for tensor in outputs:
            self.known[tensor] = origin
        return result

    def _looked_into(self, kind: str, losses: list[Tensor]) -> Differentiation:
        """What a loss is made of, before its graph is freed."""
        roots = [loss.grad_fn for loss in losses if loss.grad_fn is not None]
        nodes = explore(roots)
        through: dict[Call, set[Weight]] = {}
        for node in nodes:
            for call in notes(node):
                if isinstance(call, Call):
                    through.setdefault(call, set()).update(weights_in(explore([node]), self.record.by_id))
        return Differentiation(
            place=caller(),
            kind=kind,
            origin=self.origin(losses),
            finite=all(bool(torch.isfinite(loss).all()) for loss in losses),
            reachable=weights_in(nodes, self.record.by_id),
            through=through,
            terms=[t for n in _linear(roots) for t in notes(n) if isinstance(t, Summand)],
        )

    def _finish(self, event: Differentiation) -> None:
        """Judge the gradients that a backward pass left, and let go of what was kept for that."""
        for weight in event.written:
            if weight.tensor.grad is not None and not bool(torch.isfinite(weight.tensor.grad).all()):
                event.unsound.append(weight)
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
        if weight is not None and gradient is None:
            weight.cleared = caller()
        elif weight is not None:
            made = [e for e in self.known.get(gradient, NOTHING) if isinstance(e, Differentiation) and e.kind == "grad"]
            weight.ledger = tuple(sorted(made, key=lambda event: event.when)[-1:])
            for event in weight.ledger:
                event.written.add(weight)
                weight.trained = True
        return result

    def _edited(self, name: str, args: tuple[Any, ...]) -> list[Weight]:
        """The weights whose gradients an operation is about to change in place."""
        if not name.endswith("_") or name.endswith("__") or not args:
            return []
        targets = {id(tensor) for tensor in tensors_in(args[0])}
        return [weight for weight in self.record.weights if id(weight.tensor.grad) in targets]

    def _note_edit(self, name: str, weights: list[Weight]) -> None:
        place = caller()
        if name.endswith("zero_"):
            for weight in weights:
                weight.cleared = place
        else:
            self.record.add(Edit(place=place, name=place.called or name, weights=weights))


def notes(node: torch.autograd.graph.Node) -> list[Event]:
    """What is written on a node of the graph."""
    metadata: dict[str, list[Event]] = node.metadata  # type: ignore[assignment]  # a property, declared as a method
    return metadata.setdefault("equipoise.wires", [])


def _names(func: Callable[..., Any]) -> tuple[str, str]:
    """A function's name, and for the reading or writing of an attribute the attribute's."""
    name = str(getattr(func, "__name__", ""))
    attribute = str(getattr(func.__self__, "__name__", "?")) if name in ("__get__", "__set__") else ""  # type: ignore[attr-defined]
    return name, attribute


def _single(value: object) -> bool:
    if isinstance(value, Tensor):
        return value.numel() == 1 and value.dim() <= 1 and value.is_floating_point()
    return isinstance(value, (int, float))


def _has_nan(tensor: Tensor) -> bool:
    plain = tensor.layout == torch.strided and tensor.device.type != "meta" and tensor.is_floating_point()
    return plain and bool(torch.isnan(tensor.detach()).any())


def _linear(roots: list[torch.autograd.graph.Node]) -> set[torch.autograd.graph.Node]:
    """The nodes that a loss is a weighted sum of: reached through sums and factors only."""
    seen, waiting = set(roots), list(roots)
    while waiting:
        node = waiting.pop()
        if node.name().startswith(LINEAR):
            for following, _ in node.next_functions:
                if following is not None and following not in seen:
                    seen.add(following)
                    waiting.append(following)
    return seen
