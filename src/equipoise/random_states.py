"""The states of all random generators, which a checkpoint keeps so that a run goes on in the same bits."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor


def of_device(device: torch.device) -> dict[str, Tensor]:
    """The states of PyTorch's generators, on the host and on the device, as tensors."""
    states = {"random.torch": torch.get_rng_state()}
    if device.type == "cuda":
        states["random.cuda"] = torch.cuda.get_rng_state(device)
    if device.type == "mps":
        states["random.mps"] = torch.mps.get_rng_state()
    return states


def of_host() -> dict[str, Any]:
    """The states of Python's and NumPy's generators, as plain data."""
    kind, keys, position, has_gauss, gauss = np.random.get_state()
    version, internal, gauss_next = random.getstate()
    return {
        "random.python": [version, list(internal), gauss_next],
        "random.numpy": [kind, [int(key) for key in keys], int(position), int(has_gauss), float(gauss)],
    }


def restore(state: Mapping[str, Any], stored: Mapping[str, Tensor], device: torch.device) -> None:
    """Put all of them back."""
    version, internal, gauss_next = state["random.python"]
    random.setstate((version, tuple(internal), gauss_next))
    kind, keys, position, has_gauss, gauss = state["random.numpy"]
    np.random.set_state((kind, np.array(keys, dtype=np.uint32), position, has_gauss, gauss))
    torch.set_rng_state(stored["random.torch"])
    if device.type == "cuda" and "random.cuda" in stored:
        torch.cuda.set_rng_state(stored["random.cuda"], device)
    if device.type == "mps" and "random.mps" in stored:
        torch.mps.set_rng_state(stored["random.mps"])
