"""Tensors in what a function is given, and which of them have numbers that can be looked at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

READABLE = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
LENT = frozenset(["expand_as", "view_as", "reshape_as", "type_as", "to"])  # the second tensor lends its shape or type


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


def sources(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Tensor]:
    """The tensors in what a function is given whose values its results depend on: not those that lend their shape."""
    if name.endswith("_like") or name.startswith("new_"):
        return list(tensors_in([*args[1:], {key: one for key, one in kwargs.items() if key != "input"}]))
    return list(tensors_in(args[:1] if name in LENT else [*args, kwargs]))


def print_of(tensor: Tensor) -> object:
    """The same for tensors with the same numbers in the same order, and for hardly any others."""
    if (tensor.is_floating_point() and not readable(tensor)) or tensor.layout != torch.strided or tensor.is_complex():
        return id(tensor)
    flat = tensor.detach().double().flatten()
    return tuple(tensor.shape), float(flat @ torch.linspace(1, 2, flat.numel(), dtype=flat.dtype, device=flat.device))


def plain_in(value: object) -> tuple[object, ...]:
    """Every number, word and switch in nested lists, tuples and dictionaries."""
    if isinstance(value, (list, tuple, dict)):
        items = value.values() if isinstance(value, dict) else value
        return tuple(plain for item in items for plain in plain_in(item))
    return (value,) if isinstance(value, (bool, int, float, str)) else ()


def tensors_in(value: object) -> Iterator[Tensor]:
    """Every tensor in nested lists, tuples and dictionaries."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from tensors_in(item)
    elif isinstance(value, dict):
        yield from tensors_in(list(value.values()))
