"""A recipe: everything that decides what is trained and how, as one plain value that can be written down and read back.

Single values are addressed by paths, `G.lr`, `network.width`, `r1.gamma`; naming a value of a registered term switches
the term on, and `r1=off` switches it off.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import tomllib
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from equipoise.errors import InputError
from equipoise.registry import entries, find, suggest
from equipoise.schedules import Schedule


@dataclass(frozen=True)
class Network:
    """Which pair of networks, and its size."""

    name: str = "normfree"  # a registered network
    width: int = 64  # channels or units: the one number for size
    latent_dim: int = 64
    conditional: bool | None = None  # None: conditional where the data has labels
    init: str | None = None  # a registered initialisation; None: the network's own
    options: dict[str, Any] = field(default_factory=dict)  # of this network, e.g. norm_D


@dataclass(frozen=True)
class Player:
    """One player's optimiser: Adam."""

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
    G: Player = Player()
    D: Player = Player()
    schedules: dict[str, Schedule] = field(
        default_factory=dict
    )  # factors on dials: lr, G.lr, r1.gamma, ema.halflife_kimg
    ema_kimg: float = 10.0  # half-life of the generator's average, thousands of real images
    ema_ramp: float = 0.05  # share of the images seen that caps the half-life
    batch: int = 64
    accumulate: int = 1  # equal parts a batch is worked off in
    mixed: bool | None = None  # bfloat16 autocast; None: on CUDA only (decided when a run is resolved)
    channels_last: bool = False
    mirror: bool | None = None  # horizontal flips of the data; None: where they are safe
    kimg: float = 1000.0  # default length

    def __post_init__(self) -> None:
        if self.batch < 2 or self.accumulate < 1 or self.batch % self.accumulate:
            raise InputError(
                f"batch={self.batch}, accumulate={self.accumulate}: the batch must be at least 2 and a multiple "
                "of accumulate"
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
        return typing.cast(Recipe, _build(Recipe, data))

    def values(self) -> dict[str, Any]:
        """Every setting by its path, for printing."""
        return {path: value for path, value in _flatten(self.as_dict()) if value != {}}

    def with_values(self, changes: dict[str, Any]) -> Recipe:
        """A copy with values changed by path; a misspelt path raises an InputError with the near ones."""
        recipe = self
        for path, value in changes.items():
            recipe = _set(recipe, path, value)
        return recipe


def read_toml(path: str | Path) -> dict[str, Any]:
    """The changes that a TOML file asks for, by path; its tables are the paths' parts."""
    try:
        data = tomllib.loads(Path(path).read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path} cannot be read as TOML ({error}); write lines such as: G.lr = 2e-4") from None
    return {path: True if value == {} else value for path, value in _flatten(data)}  # a bare [r1] switches it on


def parse_assignment(text: str) -> tuple[str, Any]:
    """`path=value` from the command line: the value as TOML has it, or else a string."""
    path, equals, raw = text.partition("=")
    if not equals or not path.strip():
        raise InputError(f"--set {text}: write path=value, for example --set G.lr=1e-4")
    try:
        value = tomllib.loads(f"value = {raw}")["value"]
    except tomllib.TOMLDecodeError:
        value = {"none": None, "on": True, "off": False}.get(raw.strip().lower(), raw.strip())
    return path.strip(), value


# ------------------------------------------------------------------------------------------------ paths


def _set(recipe: Recipe, path: str, value: Any) -> Recipe:
    head, _, rest = path.partition(".")
    fields = {f.name for f in dataclasses.fields(Recipe)}
    if head in ("terms", "schedules") and rest:
        head, _, rest = (rest if head == "terms" else path).partition(".")
    if head == "schedules":
        return dataclasses.replace(recipe, schedules=_with_schedule(recipe.schedules, rest, value))
    if head in fields and head != "terms":
        return typing.cast(Recipe, _replace(recipe, path.split("."), value, path))
    terms = [entry.name for entry in entries("term")]
    if head in terms:
        return dataclasses.replace(recipe, terms=_with_term(recipe.terms, head, rest, value, path))
    known = [*recipe.values(), *(f"{t}.{name}" for t in terms for name in _settings(t)), *terms]
    raise InputError(f"there is no setting called {path!r}{suggest(path, known)}")


def _replace(node: Any, keys: list[str], value: Any, path: str) -> Any:
    """A copy of a dataclass with one nested value changed."""
    fields = {f.name: f for f in dataclasses.fields(node)}
    key, *rest = keys
    options = _network_options() if "options" in fields and key not in fields else []
    if key in options and not rest:  # network.norm_D is short for network.options.norm_D
        return dataclasses.replace(node, options=node.options | {key: value})
    if key not in fields:
        raise InputError(f"there is no setting called {path!r}{suggest(key, [*fields, *options])}")
    current = getattr(node, key)
    if dataclasses.is_dataclass(current):
        if not rest:
            raise InputError(
                f"{path} is a group, not a value; set one of "
                f"{', '.join(f'{path}.{f.name}' for f in dataclasses.fields(current))}"
            )
        return dataclasses.replace(node, **{key: _replace(current, rest, value, path)})
    if isinstance(current, dict):
        if not rest and not isinstance(value, dict):
            raise InputError(f"{path}={value!r} is a group, not a value; set single ones, such as {path}.norm_D")
        return dataclasses.replace(node, **{key: current | ({rest[0]: value} if rest else dict(value))})
    if rest:
        raise InputError(
            f"{'.'.join(keys[:1])} is a single value, so {path!r} names nothing; set {path.rpartition('.')[0]}"
        )
    return dataclasses.replace(node, **{key: _convert(value, typing.get_type_hints(type(node))[key], path)})


def _with_term(
    terms: dict[str, dict[str, Any]], name: str, setting: str, value: Any, path: str
) -> dict[str, dict[str, Any]]:
    if not setting:
        if not isinstance(value, (bool, dict, type(None))):
            raise InputError(
                f"{name}={value}: a term is switched on or off; its strength is set by "
                f"{', '.join(f'{name}.{s}' for s in _settings(name))}"
            )
        return {**terms, name: {**terms.get(name, {}), **(value if isinstance(value, dict) else {})}} if value else {
            other: settings for other, settings in terms.items() if other != name}  # fmt: skip
    known = _settings(name)
    if setting not in known:
        raise InputError(f"{name} has no setting called {setting!r}{suggest(setting, list(known))}")
    return {**terms, name: {**terms.get(name, {}), setting: _convert(value, known[setting], path)}}


def _with_schedule(schedules: dict[str, Schedule], path: str, value: Any) -> dict[str, Schedule]:
    name, _, setting = path.rpartition(".")
    fields = {f.name for f in dataclasses.fields(Schedule)}
    if setting in fields and name:
        hint = typing.get_type_hints(Schedule)[setting]
        value = _convert(value, hint, f"schedules.{path}")
        return {**schedules, name: dataclasses.replace(schedules.get(name, Schedule()), **{setting: value})}
    if path and (value is None or value is False or value == "none"):
        return {other: schedule for other, schedule in schedules.items() if other != path}
    if path and isinstance(value, str):  # schedules.lr=cosine: from the full value to zero over the run
        return {**schedules, path: Schedule(value)}
    raise InputError(
        f"schedules{'.' * bool(path)}{path}={value}: write schedules.lr=cosine, or one of "
        f"{', '.join(f'schedules.lr.{f}' for f in sorted(fields))}"
    )


def _network_options() -> list[str]:
    """The options that some network has; which of them the chosen one takes is checked when it is built."""
    from equipoise.networks import options_of

    return sorted({option for entry in entries("network") for option in options_of(entry.name)})


def _settings(term: str) -> dict[str, Any]:
    """A term's settings and their types, from its signature."""
    part = find("term", term).part
    signature = inspect.signature(part)
    hints = typing.get_type_hints(part.__init__ if inspect.isclass(part) else part)
    return {name: hints.get(name, Any) for name in signature.parameters}


def _convert(value: Any, hint: Any, path: str) -> Any:
    """`value` as the type that a setting has: whole numbers from a file become floats, nothing else is bent."""
    allowed = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if hint is Any or (value is None and type(None) in allowed) or type(value) in allowed:
        return value
    if float in allowed and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if int in allowed and isinstance(value, float) and value.is_integer():
        return int(value)
    if type(None) in allowed and value in (False, "auto"):
        return None
    wanted = " or ".join("none" if t is type(None) else getattr(t, "__name__", str(t)) for t in allowed)
    raise InputError(f"{path}={value!r} is a {type(value).__name__}, and {path} must be {wanted}")


def _flatten(node: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in node.items():
        nested = isinstance(value, dict) and value
        found += _flatten(value, f"{prefix}{key}.") if nested else [(f"{prefix}{key}", value)]
    return found


def _build(kind: type, data: dict[str, Any]) -> Any:
    """A dataclass from plain data, nested ones by their annotations."""
    hints = typing.get_type_hints(kind)
    unknown = set(data) - set(hints)
    if unknown:
        raise InputError(
            f"{json.dumps(sorted(unknown))} is nothing a {kind.__name__.lower()} has; it was written by another version"
        )
    values = {
        name: _build(hints[name], value) if dataclasses.is_dataclass(hints[name]) else value
        for name, value in data.items()
    }
    if kind is Recipe:
        values["schedules"] = {name: _build(Schedule, value) for name, value in values.get("schedules", {}).items()}
    return kind(**values)
