"""The autograd graph: what lies behind a node, what a loss is a weighted sum of, and notes written on nodes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from equipoise.wires.events import Answer
from equipoise.wires.remarks import Summand

if TYPE_CHECKING:
    from equipoise.wires.events import Event
    from equipoise.wires.players import Weight

Node = torch.autograd.graph.Node

LINEAR = ("Add", "Sub", "Rsub", "Mul", "Div", "Neg", "Mean", "Sum", "Stack", "Cat", "ToCopy", "Unsqueeze", "Squeeze",
          "View", "Select", "Clone", "Alias")  # fmt: skip


def explore(roots: list[Node], only: tuple[str, ...] = ("",)) -> set[Node]:
    """The nodes behind some, these included; behind nodes of other names than `only` is not looked."""
    seen, waiting = set(roots), list(roots)
    while waiting:
        node = waiting.pop()
        for following, _ in node.next_functions if node.name().startswith(only) else ():
            if following is not None and following not in seen:
                seen.add(following)
                waiting.append(following)
    return seen


def before(tensors: list[Tensor], end: Callable[[Event], bool]) -> set[Node]:
    """The nodes behind some tensors, up to those on which a note is written that is an end."""
    seen: set[Node] = set()
    waiting = [tensor.grad_fn for tensor in tensors if tensor.grad_fn is not None]
    while waiting:
        node = waiting.pop()
        if node not in seen and not any(map(end, notes(node))):
            seen.add(node)
            waiting += [following for following, _ in node.next_functions if following is not None]
    return seen


def first(tensors: list[Tensor], end: Callable[[Event], bool]) -> list[Event]:
    """The notes at which a way back from some tensors first meets one that is an end."""
    roots = [tensor.grad_fn for tensor in tensors if tensor.grad_fn is not None]
    following = [node for one in before(tensors, end) for node, _ in one.next_functions if node is not None]
    return [note for node in {*roots, *following} for note in notes(node) if end(note)]


def linear(roots: list[Node]) -> set[Node]:
    """The nodes that a loss is a weighted sum of: reached through sums and factors only."""
    return explore(roots, LINEAR)


def terms_in(losses: list[Tensor]) -> list[Summand]:
    """What some losses are weighted sums of; of what was added up for each sample only what follows the answers."""
    late = before(losses, lambda note: isinstance(note, Answer))
    summed = linear([loss.grad_fn for loss in losses if loss.grad_fn is not None])
    found = [(node, term) for node in summed for term in notes(node) if isinstance(term, Summand)]
    return [term for node, term in found if term.single or node in late]


def weights_in(nodes: set[Node], by_id: dict[int, Weight]) -> set[Weight]:
    """The weights whose gradients a graph accumulates."""
    held = [tensor for node in nodes for tensor in _hidden_in(node)]
    found = (by_id.get(id(tensor)) for tensor in [*held, *(getattr(node, "variable", None) for node in nodes)])
    return {weight for weight in found if weight is not None}


def _hidden_in(node: Node) -> list[Tensor]:
    """The weights of a part that a reentrant checkpoint computes anew, which is no part of the graph until then."""
    run = getattr(node, "run_function", None)
    cells = [cell.cell_contents for cell in getattr(run, "__closure__", None) or ()]
    parts = [part for part in [run, getattr(run, "__self__", None), *cells] if isinstance(part, torch.nn.Module)]
    return [tensor for part in parts for tensor in part.parameters() if tensor.requires_grad]


def behind(tensors: list[Tensor], by_id: dict[int, Weight]) -> set[Weight]:
    """The weights that a gradient at some tensors would reach."""
    leaves = {by_id[id(t)] for t in tensors if t.requires_grad and id(t) in by_id}
    return leaves | weights_in(explore([t.grad_fn for t in tensors if t.grad_fn is not None]), by_id)


def notes(node: Node) -> list[Event]:
    """What is written on a node; it lives as long as the graph does."""
    metadata: dict[str, list[Event]] = node.metadata  # type: ignore[assignment]  # a property, declared as a method
    return metadata.setdefault("equipoise.wires", [])
