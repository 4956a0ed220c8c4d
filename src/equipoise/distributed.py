"""What several processes must agree on: means over all ranks, and one flat sum of gradients per optimiser step.

Networks stay bare. With a single process every function here is the identity and starts no communication.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor


def world_size() -> int:
    """Number of processes training together; 1 without torch.distributed."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """This process's number, 0 to world_size() - 1."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def average_(flat: Tensor) -> Tensor:
    """Replace `flat` by its mean over all ranks, in place and in one communication."""
    if world_size() > 1:
        dist.all_reduce(flat)
        flat /= world_size()
    return flat


def mean(value: Tensor) -> Tensor:
    """The mean of a small detached statistic over all ranks."""
    return average_(value.clone()) if world_size() > 1 else value


def broadcast_(tensors: list[Tensor]) -> None:
    """Give every rank the values of rank 0: called once, before the first step."""
    if world_size() > 1:
        with torch.no_grad():
            for tensor in tensors:
                dist.broadcast(tensor, src=0)
