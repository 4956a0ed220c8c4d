"""One matrix for each image, by which transforms are composed before they are applied once."""

from __future__ import annotations

import torch
from torch import Tensor


def matrix(*rows: tuple[Tensor | float, ...]) -> Tensor:
    """Square matrices `[N, k, k]` of entries that are tensors `[N]` or numbers; at least one is a tensor."""
    entries = [entry for row in rows for entry in row]
    like = next(entry for entry in entries if isinstance(entry, Tensor))
    full = [entry if isinstance(entry, Tensor) else torch.full_like(like, entry) for entry in entries]
    return torch.stack(full, -1).reshape(-1, len(rows), len(rows))


def product(first: Tensor, *others: Tensor) -> Tensor:
    """The matrix product from left to right: summed by hand, since fast modes of `@` round positions too coarsely."""
    for other in others:
        first = (first[..., :, :, None] * other[..., None, :, :]).sum(-2)
    return first


def identity(
    like: Tensor,  # [N]
    size: int,
) -> Tensor:
    """N identity matrices `[N, size, size]`."""
    return torch.eye(size, dtype=like.dtype, device=like.device).expand(len(like), -1, -1)


def is_identity(matrices: Tensor) -> Tensor:
    """Which of `[N, k, k]` are the identity, to the bit: bool `[N]`."""
    return (matrices == torch.eye(matrices.shape[-1], dtype=matrices.dtype, device=matrices.device)).flatten(1).all(1)
