"""What every initialisation needs to know of a layer, and how its weights are filled."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.utils import parametrize

SLOPE = 0.2  # of the leaky ReLU that the gains suppose
NORMS = (_NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)

Draw = Callable[[nn.Module, Tensor], object]  # fills the stored weight of the layer in place


class Sized(nn.Module):
    """A parametrisation that settles how large a weight is used; who draws the weight anew takes it off first."""


def leaky_gain(slope: float) -> float:
    """The factor that keeps the second moment through a leaky ReLU: sqrt(2 / (1 + slope^2)), 1.386750 at 0.2."""
    return math.sqrt(2 / (1 + slope**2))


def fans(layer: nn.Module) -> tuple[float, float]:
    """(fan_in, fan_out): how many inputs an output sums over, and how many outputs an input reaches.

    A transposed convolution of stride s spreads its k cells over s^d outputs, so each sums in * k / s^d of them.
    """
    if isinstance(layer, _ConvNd):
        cells = math.prod(layer.kernel_size)
        return layer.in_channels / layer.groups * cells / strides(layer), layer.out_channels / layer.groups * cells
    assert isinstance(layer, nn.Linear)
    return layer.in_features, layer.out_features


def strides(layer: nn.Module) -> int:
    """s^d of a transposed convolution of stride s, whose outputs sum over so many times fewer inputs; 1 of others."""
    return math.prod(layer.stride) if isinstance(layer, _ConvTransposeNd) else 1


def unsettled(module: nn.Module) -> list[tuple[str, nn.Module]]:
    """The layers with weights, by name, but for those under spectral norm, which divides any factor out again."""
    layers = [(name, layer) for name, layer in module.named_modules() if isinstance(layer, (_ConvNd, nn.Linear))]
    return [(name, layer) for name, layer in layers if not is_spectral(layer)]


def is_spectral(layer: nn.Module) -> bool:
    """Whether the layer's weight is divided by its largest singular value."""
    return any(type(step).__name__ == "_SpectralNorm" for step in parametrisations(layer))


def fill(module: nn.Module, draw: Draw) -> None:
    """Fill the weights of all layers by `draw`, zero their biases, and reset what else can reset itself."""
    for layer in list(module.modules()):
        reset = getattr(layer, "reset_parameters", None)
        if isinstance(layer, (_ConvNd, nn.Linear)):
            _drop_scale(layer)
            assign(layer, draw)
        elif (isinstance(layer, nn.Embedding) or hasattr(layer, "std")) and parametrize.is_parametrized(layer):
            assign(layer, lambda layer, weight: nn.init.normal_(weight, std=getattr(layer, "std", 1.0)))
        elif callable(reset):
            reset()


def assign(layer: nn.Module, draw: Draw) -> None:
    """Fill one layer's stored weight by `draw`, zero its bias, and let spectral norm follow."""
    with torch.no_grad():
        draw(layer, stored(layer))
        bias = getattr(layer, "bias", None)
        if isinstance(bias, Tensor):
            bias.zero_()
    if is_spectral(layer):
        _settle(layer)


def _drop_scale(layer: nn.Module) -> None:
    """Take an earlier settling of the size off again."""
    steps = parametrisations(layer)
    if steps and all(isinstance(step, Sized) for step in steps):
        parametrize.remove_parametrizations(layer, "weight")


def _settle(layer: nn.Module, iterations: int = 15) -> None:
    """Bring the singular vectors of spectral norm to a new weight: in training mode each reading is one iteration."""
    was_training = layer.training
    layer.train()
    with torch.no_grad():
        for _ in range(iterations):
            layer.weight  # noqa: B018
    layer.train(was_training)


def scaled_normal(layer: nn.Module, weight: Tensor, gain: float) -> None:
    """N(0, gain^2 / fan_in)."""
    nn.init.normal_(weight, std=gain / math.sqrt(fans(layer)[0]))


def parametrisations(layer: Any) -> list[nn.Module]:
    """What the layer's weight goes through before it is used, in order."""
    return list(layer.parametrizations["weight"]) if parametrize.is_parametrized(layer, "weight") else []


def stored(layer: Any) -> Tensor:
    """The parameter beneath whatever parametrisation the weight has."""
    parametrised = parametrize.is_parametrized(layer, "weight")
    weight: Tensor = layer.parametrizations["weight"].original if parametrised else layer.weight
    return weight
