"""From a recipe to ready parts: networks, objective, optimisers, average, and the dials that turn them."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from equipoise import networks
from equipoise.ema import EMA
from equipoise.errors import InputError
from equipoise.networks.layers import couples_samples
from equipoise.optimisers import Adam
from equipoise.recipe import Recipe
from equipoise.registry import entries, find
from equipoise.schedules import Dial, attach
from equipoise.sensors import Sensor
from equipoise.step import ROLES, Step
from equipoise.terms import Loss, Objective, fact


def seed_everything(seed: int) -> None:
    """Seed every random state that a run draws from."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def players(
    recipe: Recipe,
    shape: tuple[int, ...],  # (C, H, W) or (d,)
    classes: int,  # 0: unconditional
) -> tuple[nn.Module, nn.Module]:
    """The recipe's generator and discriminator for data of this shape, on the CPU, freshly initialised."""
    net = recipe.network
    return networks.build(
        net.name,
        shape,
        latent_dim=net.latent_dim,
        num_classes=classes,
        width=net.width,
        init=net.init,
        options=net.options,
    )


def objective(recipe: Recipe) -> Objective:
    """The recipe's loss and terms; an InputError if they cannot stand together."""
    _refuse_pairs(recipe)
    loss: Loss = find("loss", recipe.loss).part
    return Objective(loss, {name: _part("term", name, settings) for name, settings in recipe.terms.items()})


def augmentations(recipe: Recipe) -> dict[str, nn.Module]:
    """The recipe's augmentations by name, in the order they are applied."""
    return {name: _part("augmentation", name, own) for name, own in recipe.augmentations.items()}


def _part(kind: str, name: str, settings: Mapping[str, Any]) -> nn.Module:
    try:
        part: nn.Module = find(kind, name).part(**settings)
    except TypeError as error:
        raise InputError(f"{name} cannot be made with {settings}: {error}") from None
    return part


def assemble(
    recipe: Recipe,
    generator: nn.Module,
    discriminator: nn.Module,
    device: torch.device,
    sensing: bool = True,
) -> Step:
    """Put two networks and a recipe together into a step, on the device."""
    parts = objective(recipe)
    parts.refuse(couples_samples(discriminator))
    _refuse_accumulation(recipe, parts, {"G": generator, "D": discriminator})
    for network in (generator, discriminator):
        network.to(device).train()
        if recipe.channels_last:
            for parameter in network.parameters():
                if parameter.dim() == 4:
                    parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    optimisers = {}
    for role, network in (("G", generator), ("D", discriminator)):
        own = recipe.G if role == "G" else recipe.D
        optimisers[role] = Adam(network.parameters(), own.lr, own.beta1, own.beta2, own.eps, own.clip)
    return Step(
        generator,
        discriminator,
        parts.to(device),
        optimisers,  # type: ignore[arg-type]  # mypy widens the keys to str
        EMA(generator, recipe.ema_kimg, recipe.ema_ramp),
        sensors=all_sensors() if sensing else (),
        augmentations={name: part.to(device) for name, part in augmentations(recipe).items()},
        mixed=bool(recipe.mixed),
        accumulate=recipe.accumulate,
        channels_last=recipe.channels_last,
    )


def all_sensors() -> list[Sensor]:
    """Every registered sensor that reads only what each turn has."""
    return [entry.part for entry in entries("sensor")]


def dials(step: Step, recipe: Recipe) -> dict[str, Dial]:
    """Everything that may be turned while the run goes on, by name, with the recipe's schedules attached."""
    found: dict[str, Dial] = {}
    for role in ROLES:
        for name in Adam.DIALS:
            found[f"{role}.{name}"] = Dial(getattr(step.optimisers[role], name))
    for part_name, part in step.parts().items():
        for name in fact(part, "dials"):
            found[f"{part_name}.{name}"] = Dial(getattr(part, name))
    found["ema.halflife_kimg"] = Dial(step.ema.halflife)
    attach(found, recipe.schedules)
    return found


def _refuse_pairs(recipe: Recipe) -> None:
    """Parts name the parts, or the kinds of them, that they are `incompatible` with, each with the reason."""
    chosen = {recipe.loss: "loss"} | dict.fromkeys(recipe.terms, "term")
    chosen |= dict.fromkeys(recipe.augmentations, "augmentation")
    for name, kind in chosen.items():
        reasons: Mapping[str, str] = find(kind, name).facts.get("incompatible", {})
        for other, its_kind in chosen.items():
            reason = reasons.get(other) or reasons.get(its_kind)
            if reason:
                raise InputError(f"{name} cannot stand beside {other}: {reason}")


def _refuse_accumulation(recipe: Recipe, parts: Objective, pair: Mapping[str, nn.Module]) -> None:
    """Working off a batch in parts is only the same for parts that treat each sample by itself."""
    if recipe.accumulate == 1:
        return
    coupled = [f"{role}'s {layer}" for role, network in pair.items() for layer in couples_samples(network)]
    coupled += [f"the loss {recipe.loss}"] if parts.loss.couples_samples else []
    coupled += [name for name, term in parts.terms.items() if fact(term, "couples_samples")]
    if coupled:
        raise InputError(
            f"accumulate={recipe.accumulate} would change what {coupled[0]} computes, since it looks at the whole "
            "batch at once; set accumulate=1, or choose parts that treat each sample by itself"
        )
