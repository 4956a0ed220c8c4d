"""The settings of a cell of the proving ground: plain data, checked once, and the recipe that they mean."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from equipoise.errors import InputError
from equipoise.recipe import Network, Player, Recipe
from equipoise.registry import suggest
from equipoise.schedules import Schedule

LOSSES = ("non-saturating", "minimax", "hinge", "rpgan")
CHOICES: dict[str, tuple[Any, ...]] = {
    "activation": ("leaky_relu",), "out": ("linear", "tanh"), "loss": LOSSES, "balance": ("off", "act"),
}  # fmt: skip
DEFAULTS: dict[str, Any] = {
    "zdim": 32,  # length of the latents
    "g_widths": [64, 64, 64],  # hidden units of each layer; for images channels, from 4x4 up
    "d_widths": [64, 64, 64],  # the same, first layer first; for images channels, from 4x4 up
    "activation": "leaky_relu",  # of slope 0.2
    "out": "linear",  # of the generator: linear or tanh
    "init_std_g": 1.0,  # of the weights, in units of He's
    "init_std_d": 1.0,
    "loss": "non-saturating",
    "lr_g": 2e-3,
    "lr_d": 2e-3,
    "beta1": 0.5,  # of Adam, both players'
    "beta2": 0.99,
    "n_dis": 1.0,  # D's steps per step of G
    "batch": 64,
    "decay": False,  # learning rates linearly to 0 over the second half
    "ema": 0.998,  # decay of the generator's average per update of D; 0: none
    "r1": 0.0,  # gamma, of gamma/2 |grad D|^2
    "r2": 0.0,
    "aug": 0.0,  # probability or, for vectors, noise in units of the data's rms
    "updates": 2000,  # of D; G moves at most as often
    "balance": "off",
}
Range = tuple[Callable[[float], bool], str]
RANGES: dict[str, Range] = {
    **dict.fromkeys(("init_std_g", "init_std_d", "n_dis"), (lambda x: x > 0, "above 0")),
    **dict.fromkeys(("lr_g", "lr_d", "r1", "r2"), (lambda x: x >= 0, "0 or more")),
    **dict.fromkeys(("beta2", "ema"), (lambda x: 0 <= x < 1, "from 0 to below 1")),
    "beta1": (lambda x: -1 < x < 1, "between -1 and 1"),
    "aug": (lambda x: 0 <= x <= 1, "from 0 to 1"),
}
WHOLE = {"zdim": 1, "batch": 2, "updates": 1}  # and their least


def check(cfg: Mapping[str, Any]) -> dict[str, Any]:
    """All settings, with defaults for what is not said; an InputError for what cannot work."""
    unknown = [key for key in cfg if key not in DEFAULTS and key != "shape"]
    if unknown:
        raise InputError(f"cfg has {unknown[0]!r}, which is no setting{suggest(unknown[0], list(DEFAULTS))}")
    full = DEFAULTS | dict(cfg)
    for name, allowed in CHOICES.items():
        if full[name] not in allowed:
            raise InputError(f"cfg[{name!r}]={full[name]!r} is not known; give {' or '.join(map(repr, allowed))}")
    for name, (good, said) in RANGES.items():
        if not _number(full[name]) or not good(full[name]):
            raise InputError(f"cfg[{name!r}]={full[name]!r} cannot work; give a number {said}")
    for name, least in WHOLE.items():
        if not _number(full[name]) or full[name] != int(full[name]) or full[name] < least:
            raise InputError(f"cfg[{name!r}]={full[name]!r} cannot work; give a whole number from {least}")
    for name in ("g_widths", "d_widths"):
        widths = full[name]
        if not isinstance(widths, (list, tuple)) or not widths or any(not _number(w) or w < 1 for w in widths):
            raise InputError(f"cfg[{name!r}]={widths!r} cannot work; give a list of widths, each 1 or more")
    return full


def shape_of(value: Any) -> tuple[int, ...]:
    """`d` or `[C, H, W]` as a shape."""
    shape = tuple(int(x) for x in (value if isinstance(value, (list, tuple)) else (value,)))
    if len(shape) not in (1, 3) or min(shape) < 1:
        raise InputError(f"cfg['shape']={value!r} is no shape; give one number for vectors, or [C, H, W] for images")
    return shape


def recipe(full: Mapping[str, Any], images: bool, scale: float) -> Recipe:
    """The recipe of checked settings; `scale` is the root mean square of the data, about its mean."""
    batch, updates = int(full["batch"]), int(full["updates"])
    terms = {name: {"gamma": float(full[name])} for name in ("r1", "r2") if full[name]}
    augmentations: dict[str, dict[str, Any]] = {}
    if full["aug"]:
        augmentations = {"ada": {"p": full["aug"]}} if images else {"instance-noise": {"std": full["aug"] * scale}}
    players = [
        Player(lr=float(full[f"lr_{role}"]), beta1=float(full["beta1"]), beta2=float(full["beta2"]), steps=steps)
        for role, steps in (("g", 1.0), ("d", float(full["n_dis"])))
    ]
    return Recipe(
        name="balance cell",
        network=Network("mlp", latent_dim=int(full["zdim"]), conditional=False),
        loss=full["loss"],
        terms=terms,
        augmentations=augmentations,
        G=players[0],
        D=players[1],
        schedules={"lr": Schedule("linear", begin=0.5)} if full["decay"] else {},
        ema_kimg=batch * math.log(0.5) / math.log(full["ema"]) / 1000 if full["ema"] else 0.0,
        ema_ramp=0.0,
        batch=batch,
        mixed=False,
        mirror=False,
        kimg=updates * batch / 1000,
    )


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
