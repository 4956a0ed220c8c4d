"""What reaches the generator: the gradient of its loss at its output, read while it passes."""

from __future__ import annotations

import torch
from torch import Tensor

from equipoise.sensors import sensor

FLOOR = 1e-18  # norms whose squares are lost in single precision, 1e-38 at the least


@sensor("G", claim="falls towards 0 where the discriminator has nothing left to say")
def pull(pull: Tensor) -> Tensor:
    """Norm, per sample, of the gradient of the generator's loss at its output."""
    norms: Tensor = torch.linalg.vector_norm(pull.flatten(1), dim=1)
    return norms


@sensor("G", claim="near 1 where all samples are pushed the same way, as before a collapse or in pursuit of a mode")
def agreement(pull: Tensor) -> Tensor:
    """Mean cosine, over pairs of samples, between the directions of the pull.

    With unit vectors u of n samples, the sum over pairs is |sum of u|^2 - n. What has no direction counts as 0.
    """
    flat = pull.flatten(1)
    norms = torch.linalg.vector_norm(flat, dim=1, keepdim=True)
    units = torch.where(norms <= FLOOR, 0.0, flat / norms.clamp(min=torch.finfo(flat.dtype).tiny))
    pairs = max(len(units) * (len(units) - 1), 1)
    cosine: Tensor = (units.sum(0).square().sum() - units.square().sum()) / pairs
    return cosine
