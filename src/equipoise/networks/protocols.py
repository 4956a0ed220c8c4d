"""What equipoise asks of any pair of networks: two numbers beside `forward`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from equipoise.errors import InputError

if TYPE_CHECKING:
    from torch import nn


def latent_dim(generator: nn.Module) -> int:
    """The length of the latents that a generator takes."""
    return _number(generator, "latent_dim")


def num_classes(network: nn.Module) -> int:
    """The number of classes that a network is conditioned on, 0 for none."""
    return _number(network, "num_classes")


def _number(network: nn.Module, name: str) -> int:
    value = getattr(network, name, None)
    if not isinstance(value, int):
        raise InputError(
            f"{type(network).__name__} has no whole number {name}; set it, or wrap the network with "
            "equipoise.GeneratorAdapter or equipoise.DiscriminatorAdapter"
        )
    return value
