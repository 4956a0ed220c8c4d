"""What is looked for in each operation: lost gradients, terms of a loss, NaNs, joined batches, what was drawn.

An observer is a function of the mode and an operation; it returns what the operation's results depend on besides what
went in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from equipoise.wires.events import Call, Cut, Origin
from equipoise.wires.graphs import behind, notes
from equipoise.wires.remarks import Hiding, Muted, Summand, Unsound
from equipoise.wires.tensors import readable
from equipoise.wires.where import caller

if TYPE_CHECKING:
    from equipoise.wires.origins import Origins

NOTHING: Origin = frozenset()
SUMS = frozenset(["add", "add_", "sub", "sub_", "rsub", "__add__", "__radd__", "__rsub__", "__iadd__", "__isub__"])
FLAT = frozenset(["round", "floor", "ceil", "trunc", "sign", "sgn"])  # their gradient is 0
PRODUCTS = frozenset(["mul", "mul_", "__mul__", "__rmul__", "__imul__"])
DRAWS = frozenset(["randn", "rand", "randn_like", "rand_like", "normal", "normal_", "uniform_", "exponential_"])
OVERWRITES = frozenset(
    ["copy_", "zero_", "fill_", "normal_", "uniform_", "empty_like", "empty", "new_empty", "set_", "detach_"]
)


@dataclass
class Operation:
    """One call of a function of PyTorch's."""

    name: str
    args: tuple[Any, ...]
    inputs: list[Tensor]
    outputs: list[Tensor]
    unsound: list[Tensor]  # inputs that had a NaN
    gradient: bool  # whether an input had one
    origin: Origin  # of the inputs

    @property
    def parts(self) -> list[Any]:
        """What a sum adds up."""
        first = self.args[0] if self.args else None
        return list(first) if self.name == "stack" and isinstance(first, (list, tuple)) else list(self.args[:2])


def cuts(mode: Origins, operation: Operation) -> Origin:
    """Something with a gradient goes in, something without comes out, or something whose gradient is 0."""
    inputs, flat = operation.inputs, operation.name.rstrip("_") in FLAT
    numbers = [o for o in operation.outputs if o.is_floating_point()] or operation.outputs  # else indices, as argmax's
    kept = [o.grad_fn is not None or any(o is one for one in inputs) for o in numbers]
    if not operation.gradient or (all(kept) and not flat):
        return NOTHING
    lost = behind(inputs, mode.record.by_id)
    how = operation.name if torch.is_grad_enabled() else "no_grad"
    return frozenset([mode.record.add(Cut(place=caller(), name=how, behind=lost))]) if lost else NOTHING


def terms(mode: Origins, operation: Operation) -> Origin:
    """Numbers that are added up, single ones or one a sample, one with a gradient among them: noted at the sum."""
    if not (operation.name in SUMS or operation.name == "stack") or not operation.outputs:
        return NOTHING
    node = operation.outputs[0].grad_fn
    single = all(_single(part) for part in operation.parts)
    each = not single and not mode.inside and (_per_sample(mode, operation) or _lost(mode, operation))
    if node is None or not (single or each):
        return NOTHING
    for part in operation.parts:
        held = [part] if isinstance(part, Tensor) else []
        value = float(part.detach().double().mean()) if isinstance(part, Tensor) else float(part)
        if value != 0:
            reach = behind(held, mode.record.by_id)
            live = any(tensor.requires_grad for tensor in held)
            term = Summand(place=caller(), value=value, origin=mode.origin(held), reach=reach, live=live, single=single)
            notes(node).append(mode.record.add(term))
    return NOTHING


def soundness(mode: Origins, operation: Operation) -> Origin:
    """Where a NaN comes into being, and where it goes out of sight."""
    outputs, unsound = operation.outputs, operation.unsound
    if operation.name in OVERWRITES or not any(tensor.is_floating_point() for tensor in outputs):
        return NOTHING
    after = any(has_nan(tensor) for tensor in outputs)
    if after and not unsound:
        played = mode.inside or any(isinstance(event, Call) for event in operation.origin)
        born = Unsound(
            place=caller(),
            name=operation.name,
            single=all(tensor.numel() == 1 for tensor in outputs),
            matters=played and outputs[0].requires_grad,
        )
        return frozenset([mode.record.add(born)])
    if unsound and not after:
        _note_hiding(mode, operation)
    return NOTHING


def _note_hiding(mode: Origins, operation: Operation) -> None:
    gradients = {id(weight.tensor.grad) for weight in mode.record.weights}
    gradient = any(id(tensor) in gradients for tensor in operation.unsound)
    sources = [event for event in operation.origin if isinstance(event, Unsound)]
    if gradient or sources:
        single = all(tensor.numel() == 1 for tensor in operation.unsound)
        hiding = Hiding(place=caller(), name=operation.name, single=single, gradient=gradient, sources=sources)
        mode.record.add(hiding)


def mixtures(mode: Origins, operation: Operation) -> Origin:
    """Generated samples that something else goes into: noise, other samples, an interpolation's end."""
    parts = [tensor for tensor in operation.inputs if tensor.is_floating_point() and tensor.numel() > 1]
    made = [any(isinstance(event, Call) and event.of("G") for event in mode.origin([tensor])) for tensor in parts]
    return NOTHING if mode.inside or len(set(made)) < 2 else frozenset([mode.mixture])


def noise(mode: Origins, operation: Operation) -> Origin:
    """What was drawn, or made of nothing else: a generator's latents."""
    parts = [tensor for tensor in operation.inputs if tensor.is_floating_point() and tensor.numel() > 1]
    drawn = operation.name in DRAWS or (bool(parts) and all(tensor in mode.noise for tensor in parts))
    for tensor in operation.outputs if not mode.inside else ():
        if drawn:
            mode.noise[tensor] = True
        else:
            mode.noise.pop(tensor, None)
    return NOTHING


def muted(mode: Origins, operation: Operation) -> Origin:
    """A product with 0, by which a term waits for its time."""
    if operation.name not in PRODUCTS or not operation.gradient or mode.inside or not any(map(_zero, operation.args)):
        return NOTHING
    return frozenset([mode.record.add(Muted(place=caller()))])


def _zero(value: object) -> bool:
    """Whether a factor is 0, and none that is learnt."""
    if isinstance(value, Tensor):
        return value.numel() == 1 and not value.requires_grad and readable(value) and not bool(value)
    return isinstance(value, (int, float)) and value == 0


def strangers(mode: Origins, operation: Operation) -> Origin:
    """Trainable tensors that a network computes with and does not list among its parameters."""
    for tensor in operation.inputs if mode.inside and torch.is_grad_enabled() else ():
        if isinstance(tensor, torch.nn.Parameter) and tensor.requires_grad and id(tensor) not in mode.record.by_id:
            mode.record.strangers.setdefault(mode.root, {})[id(tensor)] = tensor
    return NOTHING


OBSERVERS: tuple[Callable[[Origins, Operation], Origin], ...] = (
    strangers,
    cuts,
    terms,
    soundness,
    mixtures,
    noise,
    muted,
)


def _per_sample(mode: Origins, operation: Operation) -> bool:
    """Whether numbers of every sample that hang on D's answers are added up: [N] and [N], or [N, 1] and [N, 1]."""
    tensors = [part for part in operation.parts if isinstance(part, Tensor) and readable(part)]
    shapes = {part.shape for part in tensors}
    alike = len(tensors) == len(operation.parts) and len(shapes) == 1 and all(s and s.numel() == s[0] for s in shapes)
    return alike and any(isinstance(event, Call) and event.of("D") for event in operation.origin)


def _lost(mode: Origins, operation: Operation) -> bool:
    """Whether something of a player's that has no gradient is added to something that has one, a number a sample."""
    tensors = [part for part in operation.parts if isinstance(part, Tensor) and readable(part)]
    live = [part for part in tensors if part.requires_grad]
    dead = [part for part in tensors if not part.requires_grad and part.dim() and part.numel() == part.shape[0]]
    played = any(isinstance(event, Call) for event in mode.origin(dead))
    return (
        len(live) == len(dead) == 1 and live[0].dim() == dead[0].dim() and live[0].numel() >= dead[0].numel() and played
    )


def _single(value: object) -> bool:
    if isinstance(value, Tensor):
        return value.numel() == 1 and value.dim() <= 1 and readable(value)
    return isinstance(value, (int, float))


def has_nan(tensor: Tensor) -> bool:
    """Whether a tensor, of those that can be looked into, has a NaN."""
    return readable(tensor) and bool(torch.isnan(tensor.detach()).any())
