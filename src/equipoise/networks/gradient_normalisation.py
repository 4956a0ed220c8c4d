"""Gradient normalisation: D's judgement divided by its own slope (Wu et al. 2021, https://arxiv.org/abs/2109.02235).

The normalised discriminator lies in (-1, 1) and its slope is bounded for every weight, without a constraint on any
layer. It takes the place of spectral norm: both are values of the one setting `norm_D`, so they never meet.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from equipoise.errors import InputError

EPSILON = 1e-12  # keeps the root differentiable, and the quotient finite, where the gradient is zero


class GradientNormalised(nn.Module):
    """D(x) / (|grad D(x)| + |D(x)|) for a discriminator D of one logit per image, differentiated through.

    A positive factor on D changes nothing. Training takes a second derivative in both players' moves, and a third
    under a gradient penalty. Without gradients (`torch.no_grad`) the slope is still taken and no graph is left behind.
    Where D has a layer that couples samples, a sample's slope counts its part in the other judgements too.
    """

    differentiates = True  # D's gradient at its input is part of the judgement, so it is taken in full precision

    def __init__(self, discriminator: nn.Module) -> None:
        super().__init__()
        self.discriminator = discriminator
        self.shape: Any = getattr(discriminator, "shape", None)
        self.num_classes: Any = getattr(discriminator, "num_classes", 0)

    @property
    def output(self) -> Any:
        """The layer whose input are the features."""
        return getattr(self.discriminator, "output", None)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        tracked = torch.is_grad_enabled()
        points = images if tracked and images.requires_grad else images.detach().requires_grad_(True)
        with torch.enable_grad():
            logits = self.discriminator(points, labels)
            _check(logits)
            (slope,) = torch.autograd.grad(logits.sum(), points, create_graph=tracked)
        norm = (slope.square().flatten(1).sum(1) + EPSILON).sqrt()
        normalised: Tensor = logits / (norm + logits.abs())
        return normalised


def _check(logits: Any) -> None:
    if not isinstance(logits, Tensor) or logits.dim() != 1:
        shape = tuple(logits.shape) if isinstance(logits, Tensor) else f"{len(logits)} heads"
        raise InputError(
            f"gradient normalisation divides one logit per image by its slope and the discriminator gives {shape}; take"
            " a discriminator of logits [N], or norm_D='spectral'."
        )
