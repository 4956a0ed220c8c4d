"""From a recipe to ready parts: networks, objective, optimisers, average, and the dials that turn them."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from equipoise import compatibility, distributed, networks
from equipoise.ema import EMA
from equipoise.errors import InputError
from equipoise.networks.layers import couples_samples
from equipoise.networks.protocols import latent_dim, num_classes
from equipoise.optimiser import Optimiser
from equipoise.optimisers import make
from equipoise.power_ema import PowerEMA
from equipoise.recipe import Recipe
from equipoise.registry import entries, find
from equipoise.rules import Alternating, Rule
from equipoise.schedules import Dial, attach
from equipoise.sensors import Sensor
from equipoise.step import Step
from equipoise.terms import Loss, Objective, fact
from equipoise.turn import ROLES


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
    if net.pack > 1 and classes:
        raise InputError(
            f"network.pack={net.pack} shows the discriminator several images as one, and their classes differ; set "
            "network.conditional=false, or pack=1"
        )

    return networks.build(
        net.name,
        shape,
        latent_dim=net.latent_dim,
        num_classes=classes,
        width=net.width,
        init=net.init,
        options=net.options,
        pack=net.pack,
    )


def objective(recipe: Recipe) -> Objective:
    """The recipe's loss, terms and weightings; an InputError if the recipe's parts cannot stand together."""
    compatibility.refuse(recipe)
    loss: Loss = find("loss", recipe.loss).part
    return Objective(loss, parts("term", recipe.terms), parts("weighting", recipe.weightings))


def parts(kind: str, chosen: Mapping[str, Mapping[str, Any]]) -> dict[str, nn.Module]:
    """The chosen parts of a kind by name, made with their settings, in their order."""
    return {name: _part(kind, name, settings) for name, settings in chosen.items()}


def augmentations(recipe: Recipe) -> dict[str, nn.Module]:
    """The recipe's augmentations by name, in the order they are applied."""
    return parts("augmentation", recipe.augmentations)


def refuse_shape(recipe: Recipe, shape: tuple[int, ...]) -> None:
    """Raise the InputError of an augmentation that cannot change samples of this shape."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        for part in augmentations(recipe).values():
            part(torch.zeros(2, *shape), None, True)


def rule(recipe: Recipe) -> Rule:
    """The recipe's way to play a round; one that works on top of another, lookahead, takes that in."""
    chosen = parts("rule", recipe.rules)
    plain = [part for part in chosen.values() if not part.wraps]
    if len(plain) > 1:
        raise InputError(f"{' and '.join(chosen)} each say how both players move; keep one (lookahead may stay)")
    found: Any = plain[0] if plain else Alternating()
    for part in chosen.values():
        if part.wraps:
            part.inner, found = found, part
    return cast(Rule, found)


def rates(recipe: Recipe, objective: Objective) -> dict[str, nn.Module]:
    """The recipe's rates, held against the ideal value of its loss; terms that belong to the game move it."""
    found: dict[str, Any] = parts("rate", recipe.rates)
    ideal = find("loss", recipe.loss).facts["ideal"][0]
    for term in objective.terms.values():
        shift: Any = getattr(term, "ideal", None)
        ideal = shift(ideal) if shift is not None else ideal
    for part in found.values():
        part.aim(recipe.loss, ideal)
    return found


def _part(kind: str, name: str, settings: Mapping[str, Any]) -> Any:
    try:
        return find(kind, name).part(**settings)
    except TypeError as error:
        raise InputError(f"{name} cannot be made with {settings}: {error}") from None


def assemble(
    recipe: Recipe,
    generator: nn.Module,
    discriminator: nn.Module,
    device: torch.device,
    sensing: bool = True,
) -> Step:
    """Put two networks and a recipe together into a step, on the device."""
    goal = objective(recipe)
    goal.refuse(couples_samples(discriminator))
    _refuse_compiled(discriminator, goal)
    _refuse_accumulation(recipe, goal, {"G": generator, "D": discriminator})
    shown = augmentations(recipe)
    _prepare([*goal.parts().values(), *shown.values()], recipe, generator)
    for network in (generator, discriminator):
        network.to(device).train()
        if recipe.channels_last:
            for parameter in network.parameters():
                if parameter.dim() == 4:
                    parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    optimisers: dict[Any, Optimiser] = {}
    for role, network in (("G", generator), ("D", discriminator)):
        own = recipe.G if role == "G" else recipe.D
        settings = {"lr": own.lr, "beta1": own.beta1, "beta2": own.beta2, "eps": own.eps, "clip": own.clip}
        optimisers[role] = make(own.optimiser, network.parameters(), **settings)
    return Step(
        generator,
        discriminator,
        goal.to(device),
        optimisers,
        EMA(generator, recipe.ema_kimg, recipe.ema_ramp),
        sensors=all_sensors() if sensing else (),
        augmentations=_on(device, shown),
        powers=PowerEMA(generator, recipe.ema_widths) if recipe.ema_widths else None,
        rule=rule(recipe).to(device),
        rates=_on(device, rates(recipe, goal)),
        constraints=_on(device, parts("constraint", recipe.constraints)),
        mixed=bool(recipe.mixed),
        accumulate=recipe.accumulate,
        channels_last=recipe.channels_last,
        captured=bool(recipe.captured) and device.type == "cuda" and distributed.world_size() == 1,
    )


def all_sensors() -> list[Sensor]:
    """Every registered sensor that reads only what each turn has."""
    return [entry.part for entry in entries("sensor")]


def dials(step: Step, recipe: Recipe) -> dict[str, Dial]:
    """Everything that may be turned while the run goes on, by name, with the recipe's schedules attached."""
    found: dict[str, Dial] = {}
    for role in ROLES:
        for name in step.optimisers[role].DIALS:
            found[f"{role}.{name}"] = Dial(getattr(step.optimisers[role], name))
        for module in step.networks[role].modules():
            for name in getattr(module, "dials", ()):
                found[f"{role}.{name}"] = Dial(getattr(module, name))
    for part_name, part in step.parts().items():
        for name in fact(part, "dials"):
            found[f"{part_name}.{name}"] = Dial(getattr(part, name))
    found["ema.halflife_kimg"] = Dial(step.ema.halflife)
    attach(found, recipe.schedules)
    return found


def _on(device: torch.device, modules: Mapping[str, nn.Module]) -> dict[str, Any]:
    return {name: module.to(device) for name, module in modules.items()}


def _prepare(chosen: list[nn.Module], recipe: Recipe, generator: nn.Module) -> None:
    """Tell parts that ask for it the shape of a sample, the samples of a pass, and the number of classes."""
    waiting = [part for part in chosen if hasattr(part, "prepare")]
    if not waiting:
        return
    classes = num_classes(generator)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        like = next(generator.parameters())
        latents = torch.zeros(2, latent_dim(generator), dtype=like.dtype, device=like.device)
        made = generator(latents, torch.zeros(2, dtype=torch.long, device=like.device) if classes else None)
    for part in waiting:
        cast(Any, part).prepare(tuple(made.shape[1:]), recipe.batch // recipe.accumulate, classes)


def _refuse_compiled(discriminator: nn.Module, goal: Objective) -> None:
    """torch.compile has no second derivative: a penalty through it would fail, or be silently left out."""
    penalties = [name for name, term in goal.of("D").items() if fact(term, "differentiates")]
    if penalties and any(type(module).__name__ == "OptimizedModule" for module in discriminator.modules()):
        raise InputError(
            f"{penalties[0]} differentiates the discriminator twice, which torch.compile cannot; pass the "
            "discriminator uncompiled, or drop the penalty"
        )


def _refuse_accumulation(recipe: Recipe, goal: Objective, pair: Mapping[str, nn.Module]) -> None:
    """Working off a batch in parts is only the same for parts that treat each sample by itself."""
    if recipe.accumulate == 1:
        return
    coupled = [f"{role}'s {layer}" for role, network in pair.items() for layer in couples_samples(network)]
    coupled += [f"the loss {recipe.loss}"] if goal.loss.couples_samples else []
    coupled += [name for name, term in goal.parts().items() if fact(term, "couples_samples")]
    if coupled:
        raise InputError(
            f"accumulate={recipe.accumulate} would change what {coupled[0]} computes, since it looks at the whole "
            "batch at once; set accumulate=1, or choose parts that treat each sample by itself"
        )
