"""The nearest images of a set by their pixels, and how near is usual."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from equipoise.metrics._matrices import distance_blocks, tensor64
from equipoise.metrics.features import extract

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def nearest(
    images: Any,  # uint8 [N, C, H, W]
    pool: Any,  # uint8 [M, C, H, W]: where they are looked for
    count: int = 1,  # neighbours of each
    own: Ints | None = None,  # [N]: the place in the pool of each image itself, which is passed over
) -> tuple[Floats, Ints]:
    """Distances [N, count] and places in the pool [N, count], the nearest first.

    A distance is the root mean square of the pixels' differences, 0 to 1, at 16 by 16 pixels at most; a copy is at 0.
    """
    features = tensor64(extract("pixels", pool))
    count = min(count, len(pool) - (own is not None))
    far, places = [], []
    for rows, block in distance_blocks(tensor64(extract("pixels", images)), features):
        if own is not None:
            block[torch.arange(len(block)), torch.as_tensor(own)[rows]] = torch.inf
        distance, order = block.topk(count, largest=False)
        far.append(distance / math.sqrt(features.shape[1]))
        places.append(order)
    return torch.cat(far).numpy(), torch.cat(places).numpy()
