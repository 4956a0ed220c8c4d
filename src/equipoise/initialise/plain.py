"""Initialisations that draw every weight from one law."""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvTransposeNd

from equipoise.initialise.weights import NORMS, SLOPE, fans, fill, leaky_gain, scaled_normal
from equipoise.registry import register


@register(
    "initialisation", "dcgan-normal", paper="arXiv:1511.06434", claim="weights N(0, 0.02^2), for nets with batch norm"
)
def dcgan_normal(module: nn.Module, std: float = 0.02) -> None:
    """Weights N(0, std^2), normalisation scales N(1, std^2), biases 0."""
    fill(module, lambda layer, weight: nn.init.normal_(weight, std=std))
    for layer in module.modules():
        if isinstance(layer, NORMS) and layer.weight is not None:
            nn.init.normal_(layer.weight, mean=1.0, std=std)


@register(
    "initialisation", "xavier", claim="keeps the variance both ways through linear layers; the SN-GAN family's own"
)
def xavier(module: nn.Module, gain: float = 1.0) -> None:
    """Uniform with std gain * sqrt(2 / (fan_in + fan_out)) (Glorot & Bengio 2010)."""

    def draw(layer: nn.Module, weight: Tensor) -> None:
        bound = gain * math.sqrt(6 / sum(fans(layer)))
        nn.init.uniform_(weight, -bound, bound)

    fill(module, draw)


@register(
    "initialisation", "kaiming", paper="arXiv:1502.01852", claim="keeps the variance forwards through leaky ReLUs"
)
def kaiming(module: nn.Module, slope: float = SLOPE) -> None:
    """N(0, 2 / ((1 + slope^2) fan_in)) (He et al. 2015)."""
    fill(module, partial(scaled_normal, gain=leaky_gain(slope)))


@register("initialisation", "orthogonal", paper="arXiv:1312.6120", claim="every singular value 1; BigGAN's own")
def orthogonal(module: nn.Module, gain: float = 1.0) -> None:
    """W W^T = gain^2 I for the matrix (out, in * cells), or W^T W where it is tall (Saxe et al. 2014)."""

    def draw(layer: nn.Module, weight: Tensor) -> None:
        matrix = weight.transpose(0, 1) if isinstance(layer, _ConvTransposeNd) and layer.groups == 1 else weight
        weight_as_drawn = nn.init.orthogonal_(torch.empty(matrix.shape, dtype=weight.dtype, device=weight.device), gain)
        matrix.copy_(weight_as_drawn)

    fill(module, draw)
