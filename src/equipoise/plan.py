"""From what was asked for to a resolved run: every value, and where it came from."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from equipoise import build, compatibility, recipes
from equipoise import config as configs
from equipoise.config import Config
from equipoise.data import Dataset
from equipoise.errors import InputError
from equipoise.paths import parse_assignment, read_toml
from equipoise.plant import WITHOUT
from equipoise.recipe import Recipe
from equipoise.registry import entries, find
from equipoise.request import Request as Request
from equipoise.request import asked, check
from equipoise.tempo import Tempo

BY_DEVICE = "on for CUDA only"  # the origin of a value that follows the device
FOLLOWING = ("mixed", "captured")  # the values that do, where nobody said


@dataclass(frozen=True)
class Plan:
    """A resolved run and the data it is for."""

    config: Config
    dataset: Dataset
    remarks: list[str]  # choices made for the user, in words


def resolve(request: Request, dataset: Dataset) -> Plan:
    """Choose what was left open and check the rest, before anything is built."""
    remarks: list[str] = []
    check(request)
    device = choose_device(request.device)
    recipe, origin = _recipe(request, dataset, device, remarks)
    controller = request.controller or ("autopilot" if request.balance in ("advise", "act") else None)
    if controller is not None and request.balance == "act":
        recipe = with_actuators(recipe, controller, origin)
    build.rates(recipe, build.objective(recipe))
    build.rule(recipe)
    Tempo(recipe.D.steps)
    build.refuse_shape(recipe, dataset.shape)
    if controller is not None:
        compatibility.refuse_controller(controller.partition(WITHOUT)[0], recipe)
    remarks += compatibility.cautions(recipe)
    conditional = recipe.network.conditional
    if conditional is None:
        conditional, why = _conditional(recipe, dataset)
        origin["network.conditional"] = why
        if dataset.labels is not None and not conditional:
            remarks.append(f"Trained without the data's labels: {why}.")
    if conditional and dataset.labels is None:
        raise InputError(
            f"network.conditional=true, but {request.source} has no labels; give --labels folders or a file, or "
            "leave it out"
        )
    mirror = recipe.mirror
    if mirror is None:
        mirror = dataset.mirror_safe
        origin["mirror"] = "flips are safe for this data" if mirror else "flips are not safe for this data"
    refuse_captured(recipe.captured, device)
    if recipe.captured is None and (own := _foreign(recipe, controller)):
        recipe, origin["captured"] = recipe.with_values({"captured": False}), f"{own} is no part of this package"
    unsaid = [name for name in FOLLOWING if getattr(recipe, name) is None]
    origin |= dict.fromkeys(unsaid, BY_DEVICE)
    recipe = recipe.with_values({"network.conditional": conditional, "mirror": mirror})
    recipe = recipe.with_values(dict.fromkeys(unsaid, device.startswith("cuda")))
    origin |= {"fingerprint": "the data", "threads": "this machine", "snapshot_kimg": "a tenth of the run"}
    origin |= asked(request)
    if request.budget is not None:
        origin["kimg"] = f"budget {request.budget}, measured when training starts"
    if request.device == "auto":
        origin["device"] = "auto: the best of this machine"
    kimg = request.kimg if request.kimg is not None else (0.0 if request.budget else recipe.kimg)
    if not kimg <= configs.LONGEST:
        raise InputError(f"kimg={kimg} is no length; give thousands of images above 0, and at most {configs.LONGEST:g}")
    config = Config(
        source=request.source,
        recipe=recipe,
        shape=dataset.shape,
        class_names=dataset.classes if conditional else (),
        fingerprint=dataset.fingerprint,
        seed=request.seed,
        kimg=kimg,
        budget=request.budget,
        device=device,
        balance=request.balance,
        controller=controller,
        resolution=request.resolution,
        labels=request.labels,
        workers=request.workers,
        deterministic=request.deterministic,
        snapshot_kimg=request.snapshot_kimg,
        metric=request.metric,
        metric_kimg=request.metric_kimg,
        metric_weights=request.metric_weights,
        threads=torch.get_num_threads(),
        origin=origin,
    )
    return Plan(config, dataset, remarks)


def _foreign(recipe: Recipe, controller: str | None) -> str:
    """A part of a step that somebody else registered: nobody here knows whether it waits for the device."""
    chosen = [("network", recipe.network.name), ("loss", recipe.loss)]
    chosen += [("initialisation", name) for name in (recipe.network.init or "").split("+") if name]
    chosen += [("controller", controller.partition(WITHOUT)[0])] if controller else []
    chosen += [("optimiser", player.optimiser) for player in (recipe.G, recipe.D)]
    chosen += [
        (kind, name)
        for kind in ("term", "augmentation", "weighting", "rule", "rate", "constraint")
        for name in getattr(recipe, f"{kind}s")
    ]
    parts = [find(kind, name) for kind, name in chosen] + entries("sensor")
    return next((part.name for part in parts if not part.ours), "")


def _conditional(recipe: Recipe, dataset: Dataset) -> tuple[bool, str]:
    """Whether to train with labels where nobody said, and why."""
    if recipe.network.pack > 1:
        return False, "a packed discriminator sees no labels"
    if not find("network", recipe.network.name).facts.get("conditional", True):
        return False, f"the network {recipe.network.name} has no place for classes"
    labelled = dataset.labels is not None
    return labelled, "the data has labels" if labelled else "the data has no labels"


def _recipe(request: Request, dataset: Dataset, device: str, remarks: list[str]) -> tuple[Recipe, dict[str, str]]:
    """The recipe with all changes applied, and where its values came from."""
    changes: list[tuple[str, str, Any]] = []
    chosen: str | Recipe | None = request.recipe
    if isinstance(chosen, str) and Path(chosen).suffix == ".toml":
        from_file = read_toml(chosen)
        changes += [(f"file {chosen}", path, value) for path, value in from_file.items() if path != "recipe"]
        chosen = from_file.get("recipe")
    if chosen is not None and not isinstance(chosen, (str, Recipe)):
        raise InputError(f"recipe={chosen!r} is no recipe; give the name of one, a TOML file's name, or a Recipe")
    if isinstance(chosen, Recipe):
        base = chosen
    else:
        name, why = (chosen, "") if chosen is not None else recipes.suggested(dataset.shape, len(dataset))
        base = find("recipe", name).part(dataset.shape, len(dataset), device)
        if why:
            remarks.append(f"Recipe {name}, for {why}.")
    changes += [(request.whence, *parse_assignment(text)) for text in request.settings]
    changes += [(request.whence, path, value) for path, value in request.changes.items()]
    if request.batch is not None:
        changes.append((request.whence, "batch", request.batch))
    origin = dict.fromkeys([*base.values(), "recipe"], f"recipe {base.name}")
    origin["recipe"] = request.whence if request.recipe is not None else "by the data"
    recipe = base
    for where, path, value in changes:
        before, recipe = recipe.values(), recipe.with_values({path: value})
        named = {path, f"terms.{path}", path.replace("network.", "network.options.", 1)}
        origin |= {key: where for key, new in recipe.values().items() if key in named or before.get(key, ...) != new}
    return recipe, origin


def with_actuators(recipe: Recipe, controller: str, origin: dict[str, str]) -> Recipe:
    """The recipe with what the controller turns and the recipe does not have, at rest; what cannot be is left out."""
    for path, rest in find("controller", controller.partition(WITHOUT)[0]).facts["wants"].items():
        if path in recipe.values() or path.partition(".")[0] in recipe.terms | recipe.augmentations:
            continue
        changed = recipe.with_values({path: rest})
        with contextlib.suppress(InputError):
            build.objective(changed)
            recipe = changed
            origin |= {key: f"controller {controller}" for key in changed.values() if key.endswith(path)}
    return recipe


def refuse_captured(wanted: bool | None, device: str) -> None:
    """Raise an InputError where graphs are asked for on a device that has none."""
    if wanted and not device.startswith("cuda"):
        raise InputError(
            f"captured=true replays CUDA graphs, and the device is {device}; give --device cuda, or leave it out"
        )


def choose_device(name: str) -> str:
    """A usable device: `auto` takes CUDA, then Apple's MPS, then the CPU."""
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return next(device for device in ("cuda", "mps", "cpu") if available[device])
    kind = name.partition(":")[0]
    if kind not in available or not re.fullmatch(r"[a-z]+(:\d+)?", name):
        raise InputError(f"there is no device called {name!r}; there are auto, cpu, cuda and mps")
    if kind != "cuda" and ":" in name:
        raise InputError(f"--device {name}: only CUDA devices are numbered; give {kind}")
    if not available[kind]:
        raise InputError(
            f"this machine has no usable {kind} device (or its PyTorch was built without it); use --device cpu or auto"
        )
    if kind == "cuda" and ":" in name and int(name.partition(":")[2]) >= torch.cuda.device_count():
        raise InputError(f"there is no {name}: this machine has {torch.cuda.device_count()} CUDA device(s)")
    return name


def on_device(config: Config, device: str) -> Config:
    """The configuration for another device, with what was chosen for the device chosen anew."""
    following = [name for name in FOLLOWING if config.origin.get(name) == BY_DEVICE]
    recipe = config.recipe.with_values(dict.fromkeys(following, device.startswith("cuda")))
    return dataclasses.replace(config, device=device, recipe=recipe)


def with_length(config: Config, images_per_second: float, spent: float) -> Config:
    """The configuration with its budget turned into kimg, once: from the measured speed, less the time measuring it."""
    assert config.budget is not None
    seconds = max(configs.parse_budget(config.budget) - spent, 0.1) * SHARE
    kimg = max(config.recipe.batch, images_per_second * seconds) / 1000
    return dataclasses.replace(
        config,
        kimg=float(f"{kimg:.4g}"),
        origin=config.origin | {"kimg": f"budget {config.budget} at {images_per_second:.0f} images/s"},
    )


SHARE = 0.94  # of a budget that goes into updates: the rest is for samples, readings and checkpoints
