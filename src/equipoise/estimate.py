"""What a run will need: the sizes of its networks and an estimate of its memory, without running it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from equipoise import build
from equipoise.config import Config
from equipoise.networks.layers import count_parameters


def describe(config: Config) -> dict[str, Any]:
    """Parameters of each network and bytes of weights, moments and activations at the batch in use.

    Activations are counted from the outputs of all layers of one pass each, doubled where a penalty differentiates
    twice: an estimate to choose a batch by, within a factor of two.
    """
    recipe = config.recipe
    with FakeTensorMode(allow_non_fake_inputs=True):
        generator, discriminator = build.players(recipe, config.shape, config.classes)
        batch = recipe.batch // recipe.accumulate
        labels = torch.zeros(batch, dtype=torch.long) if config.classes else None
        latents = torch.randn(batch, recipe.network.latent_dim)
        made, images = _activations(generator, latents, labels)
        judged, _ = _activations(discriminator, images, labels)
    parameters = {"G": count_parameters(generator), "D": count_parameters(discriminator)}
    penalised = bool(recipe.terms)
    averages = 1 + len(recipe.ema_widths)
    weights = 4 * (parameters["G"] * (7 + averages) + parameters["D"] * 7)  # weights, gradient twice, moments, update
    activations = (made + 2 * judged) * (2 if penalised else 1)
    return {
        "parameters": parameters,
        "bytes": {"weights and optimisers": weights, "activations": activations, "total": weights + activations},
    }


def _activations(network: nn.Module, *inputs: Tensor | None) -> tuple[int, Tensor]:
    """Bytes of all layers' outputs in one pass, and what came out."""
    sizes: list[int] = []

    def hook(module: nn.Module, given: Any, output: Any) -> None:
        if isinstance(output, Tensor):
            sizes.append(output.numel() * output.element_size())

    hooks = [m.register_forward_hook(hook) for m in network.modules() if not list(m.children())]
    result: Tensor = network(*inputs)
    for handle in hooks:
        handle.remove()
    return sum(sizes), result
