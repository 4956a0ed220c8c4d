"""A recipe: everything that decides what is trained and how, as one plain value that can be written down and read back.

Single values are addressed by paths, `G.lr`, `network.width`, `r1.gamma`: see `equipoise.paths`.
"""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from dataclasses import dataclass, field
from typing import Any

from equipoise.errors import InputError
from equipoise.schedules import Schedule

T = typing.TypeVar("T")
LARGEST = 10**15  # batch: a size that can still be reckoned with, to say how much memory it would need


@dataclass(frozen=True)
class Network:
    """Which pair of networks, and its size."""

    name: str = "normfree"  # a registered network
    width: int = 64  # channels or units: the one number for size
    latent_dim: int = 64
    conditional: bool | None = None  # None: conditional where the data has labels
    init: str | None = None  # a registered initialisation; None: the network's own
    pack: int = 1  # images of one kind that the discriminator judges at once (PacGAN); 2 to 4 against lost modes
    options: dict[str, Any] = field(default_factory=dict)  # of this network, e.g. norm_D


@dataclass(frozen=True)
class Player:
    """One player's optimiser."""

    optimiser: str = "adam"  # a registered optimiser
    lr: float = 2e-4
    beta1: float = 0.0
    beta2: float = 0.99
    eps: float = 1e-8
    clip: float = 0.0  # largest gradient norm, 0 for none
    steps: float = 1.0  # of D only: discriminator moves per generator move


@dataclass(frozen=True)
class Recipe:
    """A complete run but for the data, the length and the seed."""

    name: str = "custom"
    network: Network = Network()
    loss: str = "non-saturating"  # a registered loss
    terms: dict[str, dict[str, Any]] = field(default_factory=dict)  # registered terms and their settings
    augmentations: dict[str, dict[str, Any]] = field(default_factory=dict)  # the same, in the order they are applied
    weightings: dict[str, dict[str, Any]] = field(default_factory=dict)  # registered weights of a loss's samples
    rules: dict[str, dict[str, Any]] = field(default_factory=dict)  # how moves interleave; none: they alternate
    rates: dict[str, dict[str, Any]] = field(default_factory=dict)  # registered feedback on D's learning rate
    constraints: dict[str, dict[str, Any]] = field(default_factory=dict)  # on D's weights after its moves
    G: Player = Player()
    D: Player = Player()
    schedules: dict[str, Schedule] = field(
        default_factory=dict
    )  # factors on dials: lr, G.lr, r1.gamma, ema.halflife_kimg
    ema_kimg: float = 10.0  # half-life of the generator's average, thousands of real images
    ema_ramp: float = 0.05  # share of the images seen that caps the half-life
    ema_widths: list[float] = field(default_factory=list)  # power-function averages kept beside, e.g. [0.05, 0.1]
    batch: int = 64
    accumulate: int = 1  # equal parts a batch is worked off in
    mixed: bool | None = None  # bfloat16 autocast; None: on CUDA only (decided when a run is resolved)
    captured: bool | None = None  # moves replayed as CUDA graphs; None: on CUDA, but for networks of one's own
    channels_last: bool = False
    mirror: bool | None = None  # horizontal flips of the data; None: where they are safe
    kimg: float = 1000.0  # default length

    def __post_init__(self) -> None:
        if not 2 <= self.batch <= LARGEST or self.accumulate < 1 or self.batch % self.accumulate:
            raise InputError(
                f"batch={self.batch}, accumulate={self.accumulate}: the batch must be a multiple of "
                f"accumulate, from 2 to {LARGEST:g}"
            )
        if self.network.pack < 1 or (self.batch // self.accumulate) % self.network.pack:
            raise InputError(
                f"network.pack={self.network.pack} does not divide the {self.batch // self.accumulate} images of a "
                "pass; give 1 to 4, and a batch (over accumulate) that is a multiple of it"
            )
        if not self.kimg > 0:
            raise InputError(f"kimg={self.kimg}: the length of a run must be above 0 thousand images")
        if self.G.steps != 1:
            raise InputError(
                f"G.steps={self.G.steps}: only the discriminator's steps are counted; set D.steps (below 1 for fewer)"
            )

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return dataclasses.asdict(self)

    @staticmethod
    def from_dict(data: dict[str, Any]) -> Recipe:
        """The recipe that `as_dict` wrote."""
        return from_plain(Recipe, data)

    def values(self) -> dict[str, Any]:
        """Every setting by its path, for printing."""
        return {path: value for path, value in flatten(self.as_dict()) if value != {}}

    def with_values(self, changes: dict[str, Any]) -> Recipe:
        """A copy with values changed by path; a misspelt path raises an InputError with the near ones."""
        from equipoise.paths import changed  # which needs this module

        recipe = self
        for path, value in changes.items():
            recipe = changed(recipe, path, value)
        return recipe


def flatten(node: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """The leaves of nested dictionaries with their paths; an empty dictionary is a leaf."""
    found: list[tuple[str, Any]] = []
    for key, value in node.items():
        nested = isinstance(value, dict) and value
        found += flatten(value, f"{prefix}{key}.") if nested else [(f"{prefix}{key}", value)]
    return found


def from_plain(kind: type[T], data: dict[str, Any]) -> T:
    """A dataclass from what JSON made of it, nested ones by their annotations; InputError where a value fits none."""
    hints = typing.get_type_hints(kind)
    unknown = set(data) - set(hints)
    if unknown:
        raise InputError(
            f"{json.dumps(sorted(unknown))} is nothing a {kind.__name__.lower()} has; it was written by another version"
        )
    return kind(**{name: _read(value, hints[name], name) for name, value in data.items()})


def _read(value: Any, hint: Any, name: str) -> Any:
    """A value as annotated: dataclasses and tuples made anew, any number passing for another."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint) and isinstance(value, dict):
        return from_plain(typing.cast(type, hint), value)
    if origin is dict and isinstance(value, dict):
        return {key: _read(one, inner[1], f"{name}.{key}") for key, one in value.items()}
    if origin in (tuple, list) and isinstance(value, list):
        return origin(_read(one, inner[0], name) for one in value)
    plain = inner if isinstance(hint, types.UnionType) else (hint,)
    number = isinstance(value, (int, float)) and value == value and not {int, float, bool}.isdisjoint(plain)
    if hint is Any or number or type(value) in plain:
        return value
    raise InputError(f"{name} is {value!r}, which it cannot be")
