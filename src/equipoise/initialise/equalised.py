"""The equalised learning rate: weights of unit size, scaled where they are used (arXiv:1710.10196)."""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn.utils import parametrize

from equipoise.initialise.weights import SLOPE, Sized, fans, fill, leaky_gain, unsettled
from equipoise.registry import register


class Scale(Sized):
    """Multiply a stored weight by a constant whenever it is used."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, weight: Tensor) -> Tensor:
        return weight * self.scale

    def extra_repr(self) -> str:
        return f"{self.scale:.6g}"


@register(
    "initialisation",
    "equalised",
    paper="arXiv:1710.10196",
    claim="one learning rate suits every layer, whatever its fan-in",
)
def equalised(module: nn.Module, gain: float | None = None) -> None:
    """Store N(0, 1) and use it times gain / sqrt(fan_in) (Karras et al. 2018); the gain is by default kaiming's.

    Weights under spectral norm are only stored at unit size: the norm divides any factor out again. The networks want
    learning rates of the order of 1e-3 after this, not 1e-4. The parameters are new ones, so make the optimiser after.
    """
    gain = leaky_gain(SLOPE) if gain is None else gain
    fill(module, lambda layer, weight: nn.init.normal_(weight))
    for _, layer in unsettled(module):
        parametrize.register_parametrization(layer, "weight", Scale(gain / math.sqrt(fans(layer)[0])))
