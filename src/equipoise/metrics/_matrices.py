"""What the metrics have in common: checked feature matrices in double precision, and their distances in blocks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from equipoise.errors import InputError

BLOCK = 2**21  # entries of a block of distances: 16 MiB in double precision
NOISE = 1e-12  # squared distances below this share of the squared norms are rounding, and are zero


def tensor64(values: Any) -> Tensor:
    """`values` as a float64 tensor without gradient; arrays, read-only ones too, are copied."""
    tensor = values.detach() if isinstance(values, Tensor) else torch.from_numpy(np.array(values, dtype=np.float64))
    return (tensor.cpu() if tensor.device.type == "mps" else tensor).to(torch.float64)


def finite_rows(samples: NDArray[Any]) -> NDArray[np.bool_]:
    """Which samples [N, ...] are finite throughout: [N]."""
    return np.asarray(np.isfinite(samples).reshape(len(samples), -1).all(axis=1))


def matrix(
    values: Any,  # tensor or array [N, d]
    name: str,  # how the error calls it
    least: int = 1,  # samples needed
) -> Tensor:
    """`values` as a float64 tensor [N, d], on its device where that has float64.

    Raises:
        InputError: not two-dimensional, fewer than `least` rows, or not finite.
    """
    tensor = tensor64(values)
    if tensor.ndim != 2 or tensor.shape[1] == 0:
        raise InputError(
            f"the {name} are shaped {list(tensor.shape)}, but a metric compares feature vectors; give them as [N, d]."
        )
    if len(tensor) < least:
        raise InputError(f"the {name} are {len(tensor)}, which is too few here; give at least {least}.")
    bad = int((~torch.isfinite(tensor)).any(dim=1).sum())
    if bad:
        raise InputError(
            f"{bad} of the {len(tensor)} {name} hold NaN or infinity, and no metric is defined for them; "
            "look for what broke the samples, or leave those rows out on purpose."
        )
    return tensor


def pair(real: Any, fake: Any, least: int = 1) -> tuple[Tensor, Tensor]:
    """Both matrices, checked, on one device: float64 [N, d] and [M, d]; their dimensions must agree."""
    real, fake = matrix(real, "real samples", least), matrix(fake, "generated samples", least)
    if real.shape[1] != fake.shape[1]:
        raise InputError(
            f"the real samples have {real.shape[1]} features and the generated ones {fake.shape[1]}, "
            "so they cannot be compared; extract both with the same feature network and image size."
        )
    return real, fake.to(real.device)


def distance_blocks(rows: Tensor, columns: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Euclidean distances in blocks of rows: (which rows, [rows in the block, M]).

    The matrix product is fast and rounds; both sets are moved to the middle of the first, and what is left of two
    equal vectors after rounding is set to zero.
    """
    middle = rows.mean(dim=0)
    rows, columns = rows - middle, columns - middle
    column_norms = columns.square().sum(dim=1)
    step = max(1, BLOCK // len(columns))
    for start in range(0, len(rows), step):
        part = rows[start : start + step]
        norms = part.square().sum(dim=1)[:, None] + column_norms
        squares = torch.addmm(norms, part, columns.T, alpha=-2)
        yield slice(start, start + len(part)), torch.where(squares > NOISE * norms, squares, 0.0).sqrt()
