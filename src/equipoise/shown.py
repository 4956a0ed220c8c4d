"""What a loop shows the monitor, checked and brought into the shape that sensors read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from equipoise.errors import InputError
from equipoise.turn import heads_of


def detached(value: Any) -> Any:
    """A tensor without its graph, or a list of such; anything else as it is."""
    if isinstance(value, (list, tuple)):
        return [detached(item) for item in value]
    return value.detach() if isinstance(value, Tensor) else value


def _shape(head: Any) -> list[int]:
    """A head's shape but for the batch's size."""
    if not isinstance(head, Tensor) or head.dim() == 0:
        raise InputError(
            "logits must be a tensor [N, ...] or a list with one such tensor per head: hand over what D says of each "
            "sample, before any mean, and without its features"
        )
    return list(head.shape[1:])


def reaching(loss: Tensor, output: Tensor) -> Tensor:
    """The norm of a loss's gradient at the output; 0 for a constant, as an adversarial loss is before its start."""
    if not loss.requires_grad:
        return output.new_zeros([])
    (gradient,) = torch.autograd.grad(loss, output, retain_graph=True, allow_unused=True)
    if gradient is None:
        raise InputError(
            "a loss shown to the monitor does not depend on the output shown with it: hand over the very tensor that "
            "both losses were computed from"
        )
    norm: Tensor = torch.linalg.vector_norm(gradient.detach().float())
    return norm


def paired(real: Any, fake: Any) -> dict[str, Any]:
    """Both logits, cut to the smaller batch where they come from batches of two sizes: some sensors compare pairs."""
    known = {name: value for name, value in (("real_logits", real), ("fake_logits", fake)) if value is not None}
    shapes = [[_shape(head) for head in heads_of(value)] for value in known.values()]
    if any(one != shapes[0] for one in shapes):
        raise InputError(
            f"real and generated samples' logits differ in more than the batch, {shapes[0]} and {shapes[1]}: "
            "show D samples of one size"
        )
    sizes = {len(head) for value in known.values() for head in heads_of(value)}
    if len(sizes) < 2:
        return known
    cut = {name: [head[: min(sizes)] for head in heads_of(value)] for name, value in known.items()}
    return {name: heads if len(heads) > 1 else heads[0] for name, heads in cut.items()}


def norm(tensors: Sequence[Tensor]) -> Tensor:
    total: Tensor = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(t.float()) for t in tensors]))
    return total
