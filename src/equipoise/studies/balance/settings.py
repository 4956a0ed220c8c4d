"""The settings of a cell of the proving ground: plain data, checked once, and the recipe that they mean."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from equipoise.errors import InputError
from equipoise.recipe import Network, Player, Recipe
from equipoise.registry import suggest
from equipoise.schedules import Schedule
from equipoise.studies.balance.networks import ACTIVATIONS

LOSSES = ("non-saturating", "minimax", "hinge", "rpgan")
CHOICES: dict[str, tuple[Any, ...]] = {
    "activation": tuple(ACTIVATIONS), "out": ("linear", "tanh"), "loss": LOSSES, "balance": ("off", "act"),
    "decay": (False, True),
}  # fmt: skip
DEFAULTS: dict[str, Any] = {
    "zdim": 32,  # length of the latents
    "g_widths": [64, 64, 64],  # hidden units of each layer; for images channels, from 4x4 up, and as many as it takes
    "d_widths": [64, 64, 64],  # the same, first layer first; for images channels, from 4x4 up
    "activation": "leaky_relu",  # of slope 0.2; or relu, elu, silu, gelu, tanh, initialised alike
    "out": "linear",  # of the generator: linear or tanh
    "init_std_g": 1.0,  # of the weights, in units of He's
    "init_std_d": 1.0,
    "loss": "non-saturating",
    "lr_g": 2e-3,
    "lr_d": 2e-3,
    "beta1": 0.5,  # of Adam, both players'
    "beta2": 0.99,
    "n_dis": 1.0,  # D's steps per step of G; below 1 G moves more often than D
    "batch": 64,
    "decay": False,  # learning rates linearly to 0 over the second half
    "ema": 0.998,  # decay of the generator's average per update of D; 0: none
    "r1": 0.0,  # gamma, of gamma/2 |grad D|^2
    "r2": 0.0,
    "aug": 0.0,  # probability or, for vectors, noise in units of the data's rms
    "updates": 2000,  # of D; with n_dis from 1 on G moves at most as often
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
LARGEST = 1e38  # beyond it float32 has no numbers
WIDEST = 1e15  # of the data: beyond some 1e18 squares overflow in the networks' gradients, as trials showed
WHOLE = {"zdim": 1, "batch": 2, "updates": 1}  # and their least


def check(cfg: Mapping[str, Any]) -> dict[str, Any]:
    """All settings, with defaults for what is not said; an InputError for what cannot work."""
    if not isinstance(cfg, Mapping):
        raise InputError(f"cfg={cfg!r} holds no settings; give a dict, which may be empty")
    unknown = [key for key in cfg if key not in DEFAULTS and key != "shape"]
    if unknown:
        raise InputError(f"cfg has {unknown[0]!r}, which is no setting{suggest(str(unknown[0]), list(DEFAULTS))}")
    full = DEFAULTS | {key: plain(value) for key, value in cfg.items()}
    for name, allowed in CHOICES.items():
        if full[name] not in allowed:
            raise InputError(f"cfg[{name!r}]={full[name]!r} is not known; give {' or '.join(map(repr, allowed))}")
    for name, (good, said) in RANGES.items():
        if not _number(full[name]) or not good(full[name]):
            raise InputError(f"cfg[{name!r}]={full[name]!r} cannot work; give a number {said}")
    for name, least in WHOLE.items():
        whole(f"cfg[{name!r}]", full[name], least)
    for name in ("g_widths", "d_widths"):
        widths = full[name]
        if not isinstance(widths, list) or not widths or not all(_whole(width) and width >= 1 for width in widths):
            raise InputError(f"cfg[{name!r}]={widths!r} cannot work; give a list of widths, each a whole number from 1")
    return full


def whole(
    name: str,  # for the message
    value: Any,
    least: int,
    bits: int = 31,  # that it may have
) -> int:
    """A whole number, or an InputError."""
    number = plain(value)
    if not _whole(number) or not least <= number < 2**bits:
        raise InputError(f"{name}={value!r} cannot work; give a whole number from {least}, below 2^{bits}")
    return int(number)


def shape_of(value: Any) -> tuple[int, ...]:
    """`d` or `[C, H, W]` as a shape."""
    sizes = plain(value) if isinstance(plain(value), list) else [plain(value)]
    if len(sizes) not in (1, 3) or not all(_whole(size) and size >= 1 for size in sizes):
        raise InputError(f"cfg['shape']={value!r} is no shape; give one number for vectors, or [C, H, W] for images")
    return tuple(int(size) for size in sizes)


def plain(value: Any) -> Any:
    """NumPy's numbers and arrays as Python's; tuples as lists."""
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value.tolist() if isinstance(value, (np.generic, np.ndarray)) else value


def widths(full: Mapping[str, Any], name: str, given: Mapping[str, Any], shape: tuple[int, ...]) -> list[int]:
    """The widths of a player: where images come without, one for 4x4 and one for each doubling."""
    if name in given or len(shape) == 1:
        return [int(width) for width in full[name]]
    return [64] * max(1, round(math.log2(shape[1] / 4)) + 1)


def recipe(
    full: Mapping[str, Any],
    channels: int,  # of images; 0 for vectors
    scale: float,  # root mean square of the data, about its mean
) -> Recipe:
    """The recipe of checked settings. Colours of images that are neither grey nor RGB are not augmented."""
    batch, updates = int(full["batch"]), int(full["updates"])
    terms = {name: {"gamma": float(full[name])} for name in ("r1", "r2") if full[name]}
    augmentations: dict[str, dict[str, Any]] = {}
    if full["aug"]:
        noise = {"instance-noise": {"std": full["aug"] * scale}}
        colours = {} if channels in (1, 3) else {"preset": "bg"}
        augmentations = {"ada": {"p": full["aug"]} | colours} if channels else noise
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
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < LARGEST


def _whole(value: Any) -> bool:
    return _number(value) and value == int(value)
