"""Magnitude-preserving weights: filters of a fixed size, projected back after every update (arXiv:2312.02696)."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvTransposeNd
from torch.nn.utils import parametrize

from equipoise.initialise.weights import SLOPE, Sized, fill, leaky_gain, stored, strides, unsettled
from equipoise.registry import register


class UnitFilters(Sized):
    """Use each output's filter at norm `gain`, whatever the size it is stored at; `unit` stores it at unit RMS.

    A learned `strength`, 1 at first, multiplies all filters of the layer on request.
    """

    def __init__(self, layer: nn.Module, gain: float, learned: bool = False) -> None:
        super().__init__()
        self.axis, self.gain = (1 if isinstance(layer, _ConvTransposeNd) else 0), gain
        self.strength = nn.Parameter(stored(layer).new_ones([])) if learned else None

    def forward(self, weight: Tensor) -> Tensor:
        filters = self.gain * weight / self._norm(weight)
        return filters if self.strength is None else self.strength * filters

    @torch.no_grad()
    def unit(self, stored: Tensor) -> None:
        """Overwrite a stored weight by its filters at unit root mean square."""
        stored.mul_(math.sqrt(stored.numel() / stored.shape[self.axis]) / self._norm(stored))

    def _norm(self, weight: Tensor) -> Tensor:
        axes = [axis for axis in range(weight.dim()) if axis != self.axis]
        norm: Tensor = torch.linalg.vector_norm(weight, dim=axes, keepdim=True)
        return norm + 1e-4

    def extra_repr(self) -> str:
        return f"{self.gain:.6g}"


def projections(network: nn.Module) -> list[Callable[[], None]]:
    """What is to be done to a network's stored weights after every update: nothing, but for unit filters."""
    lists = [m for m in network.modules() if isinstance(m, parametrize.ParametrizationList)]
    return [partial(step.unit, many.original) for many in lists for step in many if isinstance(step, UnitFilters)]


@register(
    "initialisation",
    "magnitude-preserving",
    paper="arXiv:2312.02696",
    claim="weights cannot grow, so a learning rate keeps its meaning through the run",
)
def magnitude_preserving(module: nn.Module, gain: float | None = None) -> None:
    """Store filters at unit root mean square, use them at norm `gain`, and project back after every update.

    EDM2's weights (Karras et al. 2024, arXiv:2312.02696) on these networks, whose activations are plain leaky ReLUs:
    the gain is by default kaiming's, which keeps the second moment (1.386750 at slope 0.2); 1.546460 would keep the
    standard deviation where the mean is taken away after each activation. A transposed convolution of stride s sums
    over s^d times fewer inputs, which its gain makes up for, and the last layers of L residual branches have gain
    1 / sqrt(L), so that a network without normalisation keeps its scale. The layer called `output` has a learned factor
    besides, as in EDM2: weights of a fixed size could not give logits theirs. A learning rate is the relative change of
    a weight per step: of the order of 1e-3 to 1e-2, and falling, since no growing weight slows the learning down.
    Weights under spectral norm are stored at unit size only, since the norm divides any factor out again.
    """
    gain = leaky_gain(SLOPE) if gain is None else gain
    fill(module, lambda layer, weight: nn.init.normal_(weight))
    shown: list[Any] = [
        block.residual_layers for block in module.modules() if getattr(block, "residual_layers", None) is not None
    ]
    last = [branch[-1] for branch in shown]
    for name, layer in unsettled(module):
        own = len(last) ** -0.5 if any(layer is one for one in last) else gain
        unit = UnitFilters(layer, own * math.sqrt(strides(layer)), learned=name.rpartition(".")[2] == "output")
        parametrize.register_parametrization(layer, "weight", unit)
        unit.unit(stored(layer))
