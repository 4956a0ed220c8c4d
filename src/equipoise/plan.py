"""From what was asked for to a resolved run: every value, and where it came from."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from equipoise import config as configs
from equipoise import recipes
from equipoise.config import BALANCE, Config
from equipoise.data import Dataset
from equipoise.errors import InputError
from equipoise.recipe import Recipe, parse_assignment, read_toml
from equipoise.registry import find


@dataclass(frozen=True)
class Request:
    """What a user asked for; None means: choose well and say so."""

    source: str
    recipe: str | Recipe | None = None  # a name, a TOML file, or a recipe
    settings: Sequence[str] = ()  # path=value
    changes: Mapping[str, Any] = field(default_factory=dict)  # the same from Python, by path
    kimg: float | None = None
    budget: str | None = None
    seed: int = 0
    resolution: int | None = None
    batch: int | None = None
    labels: str | None = None
    device: str = "auto"
    balance: str = "watch"
    workers: int = 0
    deterministic: bool = False
    snapshot_kimg: float = 0.0


@dataclass(frozen=True)
class Plan:
    """A resolved run and the data it is for."""

    config: Config
    dataset: Dataset
    remarks: list[str]  # choices made for the user, in words


def resolve(request: Request, dataset: Dataset) -> Plan:
    """Choose what was left open and check the rest, before anything is built."""
    remarks: list[str] = []
    _check(request)
    device = choose_device(request.device)
    recipe, origin = _recipe(request, dataset, device, remarks)
    conditional = recipe.network.conditional
    if conditional is None:
        conditional = dataset.labels is not None
        origin["network.conditional"] = "the data has labels" if conditional else "the data has no labels"
    if conditional and dataset.labels is None:
        raise InputError(
            f"network.conditional=true, but {request.source} has no labels; give --labels folders or a file, or "
            "leave it out"
        )
    mirror = recipe.mirror
    if mirror is None:
        mirror = dataset.mirror_safe
        origin["mirror"] = "flips are safe for this data" if mirror else "flips are not safe for this data"
    mixed = recipe.mixed if recipe.mixed is not None else device.startswith("cuda")
    recipe = recipe.with_values({"network.conditional": conditional, "mirror": mirror, "mixed": mixed})
    origin |= {
        name: "command line"
        for name in ("kimg", "budget", "resolution", "batch", "labels")
        if getattr(request, name) is not None
    }
    origin.setdefault("kimg", f"recipe {recipe.name}" if request.budget is None else f"budget {request.budget}")
    if request.device == "auto":
        origin["device"] = "auto"
    kimg = request.kimg if request.kimg is not None else (0.0 if request.budget else recipe.kimg)
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
        resolution=request.resolution,
        labels=request.labels,
        workers=request.workers,
        deterministic=request.deterministic,
        snapshot_kimg=request.snapshot_kimg,
        threads=torch.get_num_threads(),
        origin=origin,
    )
    return Plan(config, dataset, remarks)


def _recipe(request: Request, dataset: Dataset, device: str, remarks: list[str]) -> tuple[Recipe, dict[str, str]]:
    """The recipe with all changes applied, and where its values came from."""
    changes: list[tuple[str, str, Any]] = []
    chosen: str | Recipe | None = request.recipe
    if isinstance(chosen, str) and (chosen.endswith(".toml") or Path(chosen).is_file()):
        from_file = read_toml(chosen)
        changes += [(f"file {chosen}", path, value) for path, value in from_file.items() if path != "recipe"]
        chosen = from_file.get("recipe")
    if isinstance(chosen, Recipe):
        base = chosen
    else:
        name, why = (chosen, "") if chosen else recipes.suggested(dataset.shape, len(dataset))
        base = find("recipe", name).part(dataset.shape, len(dataset), device)
        if why:
            remarks.append(f"Recipe {name}, for {why}.")
    changes += [("command line", *parse_assignment(text)) for text in request.settings]
    changes += [("given", path, value) for path, value in request.changes.items()]
    if request.batch is not None:
        changes.append(("command line", "batch", request.batch))
    recipe = base.with_values({path: value for _, path, value in changes})
    origin = dict.fromkeys(recipe.values(), f"recipe {base.name}")
    origin |= {path.removeprefix("terms."): where for where, path, _ in changes}
    return recipe, origin


def _check(request: Request) -> None:
    if request.balance in ("advise", "act"):
        raise InputError(
            f"--balance {request.balance} needs controllers, which this version does not have yet; use watch, "
            "which reads and logs"
        )
    if request.balance not in BALANCE:
        raise InputError(f"--balance {request.balance} is unknown; there are {', '.join(BALANCE)}")
    if request.kimg is not None and request.budget is not None:
        raise InputError("--kimg and --budget both fix the length of the run; give one of them")
    if request.kimg is not None and not request.kimg > 0:
        raise InputError(f"--kimg {request.kimg} is no length; give thousands of images above 0")
    if request.budget is not None:
        configs.parse_budget(request.budget)


def choose_device(name: str) -> str:
    """A usable device: `auto` takes CUDA, then Apple's MPS, then the CPU."""
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return next(device for device in ("cuda", "mps", "cpu") if available[device])
    kind = name.partition(":")[0]
    if kind not in available or not re.fullmatch(r"[a-z]+(:\d+)?", name):
        raise InputError(f"there is no device called {name!r}; there are auto, cpu, cuda and mps")
    if not available[kind]:
        raise InputError(
            f"this machine has no usable {kind} device (or its PyTorch was built without it); use --device cpu or auto"
        )
    if kind == "cuda" and ":" in name and int(name.partition(":")[2]) >= torch.cuda.device_count():
        raise InputError(f"there is no {name}: this machine has {torch.cuda.device_count()} CUDA device(s)")
    return name


def with_length(config: Config, images_per_second: float, spent: float) -> Config:
    """The configuration with its budget turned into kimg, once: from the measured speed, less what was spent "
    "measuring."""
    assert config.budget is not None
    seconds = max(configs.parse_budget(config.budget) - spent, 0.1) * SHARE
    kimg = max(config.recipe.batch, images_per_second * seconds) / 1000
    return dataclasses.replace(
        config,
        kimg=float(f"{kimg:.4g}"),
        origin=config.origin | {"kimg": f"budget {config.budget} at {images_per_second:.0f} images/s"},
    )


SHARE = 0.94  # of a budget that goes into updates: the rest is for samples, readings and checkpoints
