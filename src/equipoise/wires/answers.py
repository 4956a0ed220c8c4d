"""What becomes of a discriminator's answers: losses they do not fit, other answers, and rewards.

Observers, like those of `operations`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from torch import Tensor

from equipoise.wires.events import Answer, Call, Origin
from equipoise.wires.graphs import explore, notes
from equipoise.wires.operations import NOTHING, PRODUCTS, SUMS, Operation
from equipoise.wires.players import Side
from equipoise.wires.remarks import Broadcast, Itself, Squashed, Weighed
from equipoise.wires.tensors import readable
from equipoise.wires.where import caller

if TYPE_CHECKING:
    from equipoise.wires.origins import Origins

DISTANCES = frozenset(["mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"])
PAIRS = SUMS | DISTANCES | {"mul"}
NORMS = frozenset(["abs", "square", "pow", "__pow__", "norm", "vector_norm"])
LOGITS = {
    "binary_cross_entropy_with_logits": "sigmoid",
    "softplus": "sigmoid",
    "logsigmoid": "sigmoid",
    "cross_entropy": "softmax",
    "log_softmax": "softmax",
}  # what a loss applies to its input
CERTAIN = frozenset(["binary_cross_entropy_with_logits", "cross_entropy"])  # losses in whatever they are given
VIEWS = ("View", "UnsafeView", "Reshape", "Squeeze", "Unsqueeze", "Select", "Slice", "Split", "TBackward", "Transpose",
         "Permute", "Expand", "Alias", "ToCopy")  # fmt: skip


def weighed(mode: Origins, operation: Operation) -> Origin:
    """Something of a generator's times what discriminators think of its samples, for each of them and cut off."""
    parts = [tensor for tensor in operation.inputs if tensor.numel() > 1]
    if operation.name not in PRODUCTS or mode.inside or len(parts) != 2 or len({p.requires_grad for p in parts}) < 2:
        return NOTHING
    thought, moved = sorted(parts, key=lambda tensor: tensor.requires_grad)
    sides = [side for event in mode.origin([thought]) if isinstance(event, Call) and event.generated
             for side in event.sides if side.role == "D"]  # fmt: skip
    if not sides or not any(isinstance(event, Call) and event.of("G") for event in mode.origin([moved])):
        return NOTHING
    return frozenset([mode.record.add(Weighed(place=caller(), sides=sides))])


def likened(mode: Origins, operation: Operation) -> Origin:
    """Answers of a discriminator that are brought near to other answers of its, as features are that are matched."""
    if mode.inside:
        return NOTHING
    pair, name = operation.inputs[:2], operation.name
    if name in ("sub", "rsub") and len(pair) == 2 and pair[0].shape == pair[1].shape:
        for tensor in operation.outputs:
            mode.differences[tensor] = pair
    pair = mode.differences.get(pair[0], []) if name in NORMS and pair else pair if name in DISTANCES else []
    makers = frozenset(event.root for event in operation.origin if isinstance(event, Call))
    if len(pair) == 2 and (makers or not any(tensor.requires_grad for tensor in pair)):
        same = _same(*pair) if makers else _equal(*pair)
        found = mode.record.add(Itself(place=caller(), name=name, same=same, makers=makers))
        if found.same:
            return frozenset([found])
    if len(pair) == 2 and all(_judges(mode, tensor) for tensor in pair):
        for answer in _answers(pair[0]) + _answers(pair[1]):
            answer.call.likened.add(answer.number)
    return NOTHING


def squashed(mode: Origins, operation: Operation) -> Origin:
    """A loss that applies a sigmoid or a softmax to what comes out of one."""
    if operation.name not in LOGITS or mode.inside or not operation.inputs:
        return NOTHING
    first = operation.inputs[0]
    nodes = explore([first.grad_fn], VIEWS) if first.grad_fn is not None else set()
    calls = [event for event in operation.origin if isinstance(event, Call)]
    sides, by = _judges(mode, first), LOGITS[operation.name]
    if not sides and operation.name in CERTAIN:
        sides = [side for call in calls for side in call.sides]
    if sides and any(node.name().startswith(f"{by.title()}Backward") for node in nodes):
        return frozenset([mode.record.add(Squashed(place=caller(), name=operation.name, by=by, sides=sides))])
    return NOTHING


def shapes(mode: Origins, operation: Operation) -> Origin:
    """Judgements [N, 1] that meet targets [N], or the other way round: broadcasting makes [N, N] of them."""
    pair = operation.inputs[:2]
    if operation.name not in PAIRS or mode.inside or len(pair) < 2:
        return NOTHING
    flat, column = sorted(pair, key=lambda tensor: tensor.dim())
    size = flat.shape[0] if flat.dim() == 1 else 0
    if size < 2 or column.shape != (size, 1):
        return NOTHING
    judged, target = (column, flat) if _judges(mode, column) else (flat, column)
    sides = _judges(mode, judged)
    if sides and (not target.requires_grad or _answers(target)):
        others = "others" if _answers(target) else "targets"
        both = [f"[{size}, 1]", f"[{size}]"] if judged is column else [f"[{size}]", f"[{size}, 1]"]
        fitted = Broadcast(place=caller(), name=operation.name, size=size, shapes=both, others=others, sides=sides)
        return frozenset([mode.record.add(fitted)])
    return NOTHING


OBSERVERS: tuple[Callable[[Origins, Operation], Origin], ...] = (weighed, likened, squashed, shapes)


def _same(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are one, or views of the same numbers, detached or not."""
    alike = one.shape == other.shape and one.stride() == other.stride() and readable(one) and readable(other)
    return alike and one.numel() > 1 and one.data_ptr() == other.data_ptr()


def _equal(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors have the same numbers, and not one throughout: what was made of real samples, twice."""
    alike = one.shape == other.shape and readable(one) and readable(other) and one.numel() > 1
    return alike and bool((one == other).all()) and bool((one != one.flatten()[0]).any())


def _answers(tensor: Tensor) -> list[Answer]:
    """The outputs of a discriminator that a tensor is a view of, or a mean of, if it has a gradient."""
    nodes = explore([tensor.grad_fn], (*VIEWS, "Mean")) if tensor.grad_fn is not None else set()
    return [note for node in nodes for note in notes(node) if isinstance(note, Answer)]


def _judges(mode: Origins, tensor: Tensor) -> list[Side]:
    """The discriminators that a tensor depends on."""
    calls = [event for event in mode.origin([tensor]) if isinstance(event, Call) and event.of("D")]
    return [side for call in calls for side in call.sides if side.role == "D"]
