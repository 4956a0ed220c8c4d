"""Tensors in what a function is given, and which of them have numbers that can be looked at."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

READABLE = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def readable(tensor: Tensor) -> bool:
    """Whether a tensor has numbers that can be looked at."""
    plain = tensor.dtype in READABLE and tensor.layout == torch.strided and not tensor.is_nested and not tensor.is_meta
    return plain and not wrapped(tensor)


def wrapped(tensor: Tensor) -> bool:
    """Whether a tensor is one of torch.func's inside a transform, which has no memory yet."""
    if tensor.layout != torch.strided or tensor.is_nested:
        return False
    try:
        tensor.untyped_storage()
    except (NotImplementedError, RuntimeError):  # what such a tensor says
        return True
    return False


def address(tensor: Tensor) -> tuple[int, int]:
    """Where the numbers of a tensor lie, and how many they are: the same for what `.data` gives."""
    place = tensor.data_ptr() if tensor.numel() and readable(tensor) else 0  # 0 too where it has no memory of its own
    return (place, tensor.numel()) if place else (id(tensor), -1)


def tensors_in(value: object) -> Iterator[Tensor]:
    """Every tensor in nested lists, tuples and dictionaries."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from tensors_in(item)
    elif isinstance(value, dict):
        yield from tensors_in(list(value.values()))
