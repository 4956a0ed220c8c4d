"""Begin a run with the networks of another: both of them, or its generator beside a discriminator that is new.

A new discriminator says nothing of use at first, and a trained generator that follows it forgets what it knows. So its
learning rate rises from 0 while the discriminator learns at its full one.
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

from torch import nn

from equipoise import build, checkpoint, config
from equipoise.config import Config
from equipoise.errors import InputError
from equipoise.plan import BY_DEVICE, FOLLOWING, Plan, Request
from equipoise.recipe import Recipe
from equipoise.schedules import Schedule

WARM_UP = 5.0  # kimg over which G's rate rises beside a new D


def ask(request: Request, run: Path) -> Request:
    """The request with the recipe and the resolution of the run, where it names none of its own."""
    settings = _read(run)
    following: dict[str, Any] = {name: None for name in FOLLOWING if settings.origin.get(name) == BY_DEVICE}
    recipe = dataclasses.replace(settings.recipe, mirror=None, **following)  # it follows the data, they the device
    side = settings.shape[-1] if len(settings.shape) == 3 else None
    return dataclasses.replace(request, recipe=request.recipe or recipe, resolution=request.resolution or side)


def begin_from(
    planned: Plan,
    run: Path,
    only: str | None = None,  # "G": its averaged generator alone; None: both networks, as trained
    warm_up: float | None = None,  # kimg over which G's rate rises; default: 5 beside a new D, or else 0
) -> tuple[Plan, tuple[nn.Module, nn.Module]]:
    """The plan of a run that begins from another's newest checkpoint, and its two networks."""
    if only not in (None, "G"):
        raise InputError(f"--only {only} leaves a generator that knows nothing; give G, or leave it out for both")
    rise = (WARM_UP if only else 0.0) if warm_up is None else warm_up
    if not 0 <= rise < math.inf:
        raise InputError(f"--warm-up {rise:g} is no length; give thousands of images from 0")
    settings, found = _read(run), checkpoint.find(run)
    _check(planned.config, settings, run)
    changed = dataclasses.replace(
        planned.config,
        recipe=_risen(planned.config.recipe, rise) if rise else planned.config.recipe,
        start=f"{found}{', G alone' if only else ''}",
        origin=planned.config.origin | {"start": "command line"},
    )
    build.seed_everything(changed.seed)
    pair = build.players(changed.recipe, changed.shape, changed.classes)
    names = ("G_ema",) if only else ("G", "D")
    for network, name in zip(pair, names, strict=False):
        checkpoint.load_network(found / f"{name}.safetensors", network)
    return dataclasses.replace(planned, config=changed), pair


def _read(run: Path) -> Config:
    settings = config.read(run)
    if settings.own_networks:
        raise InputError(
            f"{run} was trained with networks of your own, which only your code can build; give them to "
            "equipoise.GAN, which goes on from their weights"
        )
    return settings


def _check(new: Config, old: Config, run: Path) -> None:
    """Refuse data that the run's networks are not made for."""
    for name, here, there in (("shape", new.shape, old.shape), ("number of classes", new.classes, old.classes)):
        if here != there:
            raise InputError(
                f"{run} was trained on another {name} ({there}) than this data has ({here}), and its networks fit no "
                "other; give data alike, or train anew"
            )
    if new.recipe.network != old.recipe.network:
        raise InputError(
            f"this run's networks differ from those of {run}, whose weights they are to have; leave out the settings "
            "of network, or --recipe"
        )


def _risen(recipe: Recipe, kimg: float) -> Recipe:
    """The recipe with G's learning rate rising over so many kimg, and each player's own schedule kept."""
    schedules = dict(recipe.schedules)
    both = schedules.pop("lr", Schedule(end=1.0))
    own = {f"{player}.lr": schedules.get(f"{player}.lr", both) for player in "GD"}
    own["G.lr"] = dataclasses.replace(own["G.lr"], warmup_kimg=kimg)
    return dataclasses.replace(recipe, schedules=schedules | own)
