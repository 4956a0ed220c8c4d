"""The scale of layers before the first update, and what learning rates are measured by.

A layer whose outputs are far from 1 is rescaled. Where its weights then are unlike the others', because the data come
in other units, its steps are scaled with them: one learning rate cannot suit both.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils import parametrize

from equipoise.balancer import Move
from equipoise.initialise import NORMS, fans
from equipoise.looks import aside, evaluating
from equipoise.optimisers import Adam
from equipoise.plant import Plant
from equipoise.turn import Role

SCALE = 3.0  # a layer whose output is this many times too large or too small is rescaled
LEAST = 1e-6  # outputs smaller than this are meant to be so: layers that start at zero
UNLIKE = 8.0  # weights this far from He's size are so because what they meet comes in other units
PROBE = 256  # samples that go through the layers

WEIGHTED = (nn.Linear, _ConvNd)


def scales(plant: Plant, act: bool) -> list[Move]:
    """Plain layers whose outputs are far from the scale of 1 (the generator's last: from the data's) are rescaled."""
    step = plant.step
    real = step.show(plant.batches.training(PROBE, 0)[0])
    with torch.no_grad(), aside(step.device, plant.config.seed, 0), evaluating(*step.networks.values()):
        latents = torch.randn(PROBE, step.latent_dim, device=step.device)
        labels = plant.batches.training(PROBE, 0)[1]
        made = _rescaled(plant, "D", (real, labels), 1.0, act)
        size = float(real.double().square().mean().sqrt())
        made += _rescaled(plant, "G", (latents, labels), size, act)
        if act and made:
            step.ema.average.load_state_dict(step.networks["G"].state_dict())
    return made


def _rescaled(
    plant: Plant, role: Role, inputs: tuple[Tensor, Tensor | None], size: float, act: bool
) -> list[Move]:  # fmt: skip
    """Rescale the layers in the order in which they are passed, each after those before it."""
    network = plant.step.networks[role]
    chosen = list(_plain(network))
    made: list[Move] = []
    for number, (name, layer) in enumerate(chosen):
        inner, outer = _passed(network, layer, inputs)
        last = number == len(chosen) - 1 and inner == outer  # nothing squashes what it makes
        ratio = inner / (size if last and role == "G" else 1.0)
        small = LEAST < ratio < 1 / SCALE and not (last and role == "D")  # one logit is small by chance, and grows
        if not small and not SCALE < ratio < math.inf:
            continue
        why = f"since what the layer gives is {ratio:.3g} times what it should be"
        made.append(Move(0.0, "autopilot: scales", f"{role}.{name}", inner, inner / ratio, why, act))
        if act:
            for parameter in layer.parameters(recurse=False):
                parameter.div_(ratio)
            made += _paced(plant, role, name, layer, last)
    return made


def _paced(plant: Plant, role: Role, name: str, layer: nn.Module, last: bool) -> list[Move]:
    """Weights that must be large or small for the data's units move in proportion: one rate cannot suit all layers.

    So does the bias of what makes the data; that of what meets them does not.
    """
    weight = layer.get_parameter("weight")
    factor = float(weight.double().square().mean().sqrt()) / math.sqrt(2 / fans(layer)[0])
    adam = isinstance(plant.step.optimisers[role], Adam)
    if not adam or not factor or 1 / UNLIKE <= factor <= UNLIKE:
        return []
    for own, parameter in layer.named_parameters(recurse=False):
        if parameter is weight or last:
            plant.pace(f"{role}.{name}.{own}", factor)
    why = f"since its weights are {factor:.3g} times as large as others"
    return [Move(0.0, "autopilot: scales", f"{role}.{name}'s rate", 1.0, factor, why, True)]


def is_plain(network: nn.Module) -> bool:
    """Whether nothing but the weights sets the scale of what layers give."""
    return not any(
        isinstance(m, NORMS) or parametrize.is_parametrized(m) or getattr(m, "residual_layers", None) is not None
        for m in network.modules()
    )


def has_convolutions(network: nn.Module) -> bool:
    """Whether places of an image share weights."""
    return any(isinstance(m, _ConvNd) for m in network.modules())


def _plain(network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Layers in order, of a network without normalisation and residual branches, which have scales of their own."""
    if is_plain(network):
        yield from ((name, m) for name, m in network.named_modules() if isinstance(m, WEIGHTED))


def _passed(network: nn.Module, layer: nn.Module, inputs: tuple[Tensor, Tensor | None]) -> tuple[float, float]:
    """Root mean squares of what a layer and the whole network give."""
    seen: list[Tensor] = []
    handle = layer.register_forward_hook(lambda module, given, made: seen.append(made))
    try:
        out = network(*inputs)
    finally:
        handle.remove()
    heads = out if isinstance(out, Tensor) else torch.cat([head.flatten() for head in out])
    first = float(seen[0].double().square().mean().sqrt()) if seen else 1.0
    return first, float(heads.double().square().mean().sqrt())


def weights_rms(plant: Plant, role: Role) -> float:
    """Root mean square of all weights that are matrices or filters, each over its pace."""
    weights = [
        p.detach().double() / plant.paces.get(f"{role}.{name}", 1.0)
        for name, p in plant.step.networks[role].named_parameters()
        if p.requires_grad and p.dim() > 1
    ]
    count = sum(p.numel() for p in weights)
    return math.sqrt(float(sum(p.square().sum() for p in weights)) / count) if count else 0.0


def overstated(plant: Plant, role: Role) -> float:
    """By how much paced layers distort the size of a step over that of the weights; 1 where there are none.

    Adam's steps are alike in all values but for their pace; what counts is the same over the weights over their paces.
    """
    if not any(name.startswith(f"{role}.") for name in plant.paces):
        return 1.0
    steps = weights = plain = count = 0.0
    for name, parameter in plant.step.networks[role].named_parameters():
        if parameter.requires_grad:
            pace, size = plant.paces.get(f"{role}.{name}", 1.0), float(parameter.detach().double().square().sum())
            steps, count = steps + parameter.numel() * pace**2, count + parameter.numel()
            weights, plain = weights + size, plain + size / pace**2
    return math.sqrt(steps / weights) / math.sqrt(count / plain) if weights and plain else 1.0
