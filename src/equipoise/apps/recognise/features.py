"""A discriminator's features: its layers pooled to 4x4 places (Radford, Metz & Chintala 2016, arXiv:1511.06434)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from equipoise.errors import InputError

SIDE = 4  # places a side to which each layer's features are pooled
CHUNK = 256  # images at once


@torch.no_grad()
def pooled(discriminator: nn.Module, images: Tensor) -> Tensor:
    """Features [N, F] of uint8 images [N, C, H, W]: the largest of each channel in each of 4x4 places, layer by layer.

    Layers are the non-linearities and blocks of the discriminator's first chain of layers.
    """
    discriminator.eval()
    found: list[Tensor] = []
    handles = [
        stage.register_forward_hook(lambda module, inputs, out: found.append(_places(out)))
        for stage in _stages(discriminator)
    ]
    parts = []
    try:
        for some in images.split(CHUNK):
            discriminator(normal(some))
            parts.append(torch.cat(found, dim=1))
            found.clear()
    finally:
        for handle in handles:
            handle.remove()
    return torch.cat(parts)


@contextmanager
def penultimate(discriminator: nn.Module) -> Iterator[list[Tensor]]:
    """While it lasts, every pass adds what enters the layer `output`, [N, F], to the list."""
    found: list[Tensor] = []
    handle = output_of(discriminator).register_forward_pre_hook(lambda m, inputs: found.append(inputs[0].flatten(1)))
    try:
        yield found
    finally:
        handle.remove()


def output_of(discriminator: nn.Module) -> nn.Module:
    """The last layer of a discriminator, a linear one or a convolution over all places."""
    layer: Any = getattr(discriminator, "output", None)
    if not isinstance(layer, (nn.Linear, nn.Conv2d)) or getattr(discriminator, "pack", 1) > 1:
        raise InputError(
            f"{type(discriminator).__name__} has no last layer that could name classes; use the networks mlp, dcgan, "
            "resnet or normfree, without packing"
        )
    return layer


def normal(images: Tensor) -> Tensor:
    """uint8 images in [-1, 1]."""
    return images.float().div(127.5).sub(1)


def _stages(discriminator: nn.Module) -> list[nn.Module]:
    chain = next((child for child in discriminator.children() if isinstance(child, nn.Sequential)), None)
    stages = [one for one in chain or () if isinstance(one, nn.LeakyReLU) or any(True for _ in one.children())]
    if not stages:
        raise InputError(
            f"{type(discriminator).__name__} has no chain of layers to take features from; use the networks mlp, "
            "dcgan, resnet or normfree"
        )
    return stages


def _places(x: Tensor) -> Tensor:
    return F.adaptive_max_pool2d(x, SIDE).flatten(1) if x.dim() == 4 and min(x.shape[2:]) > SIDE else x.flatten(1)
