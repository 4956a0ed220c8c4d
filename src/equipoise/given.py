"""What is given to a GAN in memory, as its networks take it: arrays or tensors of images, vectors and class numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from equipoise.config import Config
from equipoise.data.layout import convert, find_layout
from equipoise.errors import InputError


def array_of(values: Any) -> Any:
    """Values as a NumPy array, on the CPU."""
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)


def as_fitted(given: Any, settings: Config) -> Tensor:
    """Images as the networks were fitted on them: one is enough, and all may be alike."""
    array = array_of(given)
    if array.ndim < 2 or 0 in array.shape or array.dtype.kind not in "uifb" or not np.isfinite(array).all():
        raise InputError(f"{array.dtype} values shaped {list(array.shape)} are no samples; give finite ones [N, ...]")
    vectors = len(settings.shape) == 1
    if (array.ndim == 2) != vectors or (vectors and array.shape[1:] != settings.shape):
        raise InputError(f"the GAN was fitted on {settings.shape}, not on {array.shape[1:]}; give the same kind")
    if vectors:
        return torch.from_numpy(array.astype(np.float32))
    layout = find_layout(array, "the array")
    return torch.from_numpy(np.concatenate([*convert(array, layout, settings.shape[-1], settings.shape[0])]))


def class_numbers(given: Any, count: int, classes: int) -> Tensor:
    """Class numbers int64 `[count]`; a single one stands for all."""
    numbers = array_of(given)
    if numbers.dtype.kind not in "uib":
        raise InputError(f"labels of {numbers.dtype} are no class numbers; give whole numbers from 0 to {classes - 1}")
    labels = torch.as_tensor(numbers.astype(np.int64))
    if labels.dim() > 1 or (labels.dim() == 1 and len(labels) != count):
        raise InputError(f"labels shaped {list(labels.shape)} do not fit {count} samples; give one number for each")
    if labels.numel() and (int(labels.min()) < 0 or int(labels.max()) >= classes):
        raise InputError(f"labels must lie from 0 to {classes - 1}, the classes the GAN was fitted on")
    return labels.expand(count)
