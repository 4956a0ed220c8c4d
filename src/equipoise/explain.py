"""What a dry run says: every resolved value and where it came from, the sizes of the networks, the memory needed."""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections.abc import Mapping
from typing import Any

import torch

from equipoise import build, estimate
from equipoise.networks import options_of
from equipoise.paths import PARTS
from equipoise.plan import Plan
from equipoise.recipe import Recipe
from equipoise.registry import find

HIDDEN = ("recipe", "origin", "class_names", "own_networks", "shape", "version")  # said elsewhere, or no choice


def explain(planned: Plan) -> str:
    """The report on the data, the choices made, and a table of values: path, value, origin.

    Raises InputError, as training would, for parts that do not fit together.
    """
    config = planned.config
    pair = build.players(config.recipe, config.shape, config.classes)
    build.dials(build.assemble(config.recipe, *pair, torch.device("cpu")), config.recipe)
    values = _complete(config.recipe)
    values |= {key: value for key, value in dataclasses.asdict(config).items() if key not in HIDDEN}
    if config.budget is not None and not config.kimg:
        values["kimg"] = "as measured"
    rows = [(_short(path), _text(value), config.origin.get(path, "default")) for path, value in sorted(values.items())]
    sizes = estimate.describe(config)
    rows += [(f"parameters of {role}", f"{count:,}", "counted") for role, count in sizes["parameters"].items()]
    rows += [(f"memory: {what}", _megabytes(size), "estimated") for what, size in sizes["bytes"].items()]
    return "\n".join([planned.dataset.report.text(), *planned.remarks, "", *_table(rows)])


def _complete(recipe: Recipe) -> dict[str, Any]:
    """Every value of a recipe by path, the defaults of its parts and of its network's options included."""
    values = {key: value for key, value in recipe.values().items() if key != "name"}
    defaults: dict[str, Mapping[str, Any]] = {"network.options": options_of(recipe.network.name)}
    for kind, field in PARTS.items():
        for part in getattr(recipe, field):
            parameters = inspect.signature(find(kind, part).part).parameters
            defaults[f"{field}.{part}"] = {name: parameter.default for name, parameter in parameters.items()}
    for prefix, known in defaults.items():
        values |= {f"{prefix}.{name}": value for name, value in known.items() if f"{prefix}.{name}" not in values}
    return {"recipe": recipe.name} | values


def _short(path: str) -> str:
    """The path as `--set` takes it at its shortest."""
    return path.removeprefix("terms.").removeprefix("augmentations.").replace("network.options.", "network.")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "none" if value is None else json.dumps(value)


def _megabytes(size: float) -> str:
    return f"{size / 2**20:,.0f} MiB" if size >= 10 * 2**20 else f"{size / 2**20:.1f} MiB"


def _table(rows: list[tuple[str, str, str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    return [f"{path:{widths[0]}}  {value:{widths[1]}}  {where}" for path, value, where in rows]
