"""What a user asks for, before anything is chosen for them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from equipoise import config as configs
from equipoise.autopilot import PARTS
from equipoise.balancer import MODES
from equipoise.errors import InputError
from equipoise.metrics.features import check_options
from equipoise.plant import WITHOUT
from equipoise.recipe import Recipe
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
    controller: str | None = None  # None: the autopilot where it may advise or act
    workers: int = 0
    deterministic: bool = False
    snapshot_kimg: float = 0.0
    metric: str | None = None
    metric_kimg: float = 0.0
    metric_weights: str | None = None
    whence: str = "command line"  # who asks, as the origin of what is asked for


def asked(request: Request) -> dict[str, str]:
    """The origin of everything that was asked for by an option of its own."""
    options = [option for option in dataclasses.fields(request) if option.name not in ("recipe", "settings", "changes")]
    return {o.name: request.whence for o in options if getattr(request, o.name) != o.default}


def check(request: Request) -> None:
    """Refuse what contradicts itself, or is no number, name or length."""
    if request.balance not in MODES:
        raise InputError(f"--balance {request.balance} is unknown; there are {', '.join(MODES)}")
    if request.controller is not None:
        name, without, parts = request.controller.partition(WITHOUT)
        find("controller", name)
        if without and (name != "autopilot" or not parts or not set(parts.split()) <= set(PARTS)):
            raise InputError(
                f"--controller {request.controller!r} leaves out what is not there; only the autopilot has parts: "
                f"{', '.join(PARTS)}"
            )
        if request.balance == "off":
            raise InputError(
                f"--controller {request.controller} has nothing to do with --balance off; give watch, advise or act"
            )
    if request.kimg is not None and request.budget is not None:
        raise InputError("--kimg and --budget both fix the length of the run; give one of them")
    if request.kimg is not None and not 0 < request.kimg <= configs.LONGEST:
        raise InputError(
            f"--kimg {request.kimg} is no length; give thousands of images above 0, and at most {configs.LONGEST:g}"
        )
    configs.check_seed("--seed", request.seed)
    if not 0 <= request.workers <= 64:
        raise InputError(f"--workers {request.workers} cannot be started; give 0 (none) to 64 processes")
    if not 0 <= request.snapshot_kimg <= configs.LONGEST:
        raise InputError(f"--snapshot-kimg {request.snapshot_kimg} is no distance; give 0 (a tenth of the run) or more")
    if not 0 <= request.metric_kimg <= configs.LONGEST:
        raise InputError(f"--metric-kimg {request.metric_kimg} is no distance; give 0 (every snapshot) or more")
    if request.metric is not None:
        check_options(request.metric, ["weights"] if request.metric_weights else [])
    elif request.metric_kimg or request.metric_weights:
        raise InputError("--metric-kimg and --metric-weights belong to a feature network; name it, --metric lite0")
    if request.budget is not None:
        configs.parse_budget(request.budget)
