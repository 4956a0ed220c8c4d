"""Changing single values of a recipe by path: `G.lr`, `network.width`, `r1.gamma`, `schedules.lr.end`.

Naming a value of a registered term or augmentation switches it on; `r1=on` does so with its defaults, `r1=off` switches
it off. `network.norm_D` is short for `network.options.norm_D`.
"""

from __future__ import annotations

import dataclasses
import inspect
import tomllib
import types
import typing
from pathlib import Path
from typing import Any

from equipoise.errors import InputError
from equipoise.recipe import Recipe, flatten
from equipoise.registry import entries, find, suggest
from equipoise.schedules import Schedule

PARTS = {  # kinds of parts, and the fields of a recipe that name them
    "term": "terms",
    "augmentation": "augmentations",
    "weighting": "weightings",
    "rule": "rules",
    "rate": "rates",
    "constraint": "constraints",
}


def read_toml(path: str | Path) -> dict[str, Any]:
    """The changes that a TOML file asks for, by path; its tables are the paths' parts."""
    try:
        data = tomllib.loads(Path(path).read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError(f"{path} cannot be read as TOML ({error}); write lines such as: G.lr = 2e-4") from None
    return {path: True if value == {} else value for path, value in flatten(data)}  # a bare [r1] switches it on


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


def changed(recipe: Recipe, path: str, value: Any) -> Recipe:
    """A copy of the recipe with the value at `path` changed; for a misspelt path, an InputError with the near ones."""
    head, _, rest = path.partition(".")
    if head in PARTS.values() and rest:  # terms.r1.gamma is r1.gamma
        head, _, rest = rest.partition(".")
    if head == "preset" and not rest:
        return recipe.with_values(find("preset", str(value)).part)
    if head == "schedules":
        return dataclasses.replace(recipe, schedules=_with_schedule(recipe.schedules, rest, value))
    if head in {f.name for f in dataclasses.fields(Recipe)} - set(PARTS.values()):
        return typing.cast(Recipe, _replace(recipe, path.split("."), value, path))
    parts = {entry.name: kind for kind in PARTS for entry in entries(kind)}
    if head in parts:
        kind = parts[head]
        chosen = {PARTS[kind]: _with_part(getattr(recipe, PARTS[kind]), kind, head, rest, value, path)}
        return typing.cast(Recipe, dataclasses.replace(typing.cast(Any, recipe), **chosen))
    settings = [f"{part}.{name}" for part, kind in parts.items() for name in _settings(kind, part)]
    raise InputError(f"there is no setting called {path!r}{suggest(path, [*recipe.values(), *settings, *parts])}")


def _replace(node: Any, keys: list[str], value: Any, path: str) -> Any:
    """A copy of a dataclass with one nested value changed."""
    fields = {f.name: f for f in dataclasses.fields(node)}
    key, *rest = keys
    options = _network_options() if "options" in fields and key not in fields else {}
    if key in options and not rest:  # network.norm_D is short for network.options.norm_D
        value = "none" if value is None and isinstance(options[key], str) else value  # none is a norm's name, too
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
        if len(rest) > 1:
            raise InputError(f"there is no setting called {path!r}; set {key}.{rest[0]}")
        if not rest and not isinstance(value, dict):
            raise InputError(f"{path}={value!r} is a group, not a value; set single ones, such as {path}.norm_D")
        return dataclasses.replace(node, **{key: current | ({rest[0]: value} if rest else dict(value))})
    if rest:
        raise InputError(
            f"{'.'.join(keys[:1])} is a single value, so {path!r} names nothing; set {path.rpartition('.')[0]}"
        )
    return dataclasses.replace(node, **{key: _convert(value, typing.get_type_hints(type(node))[key], path)})


def _with_part(
    parts: dict[str, dict[str, Any]], kind: str, name: str, setting: str, value: Any, path: str
) -> dict[str, dict[str, Any]]:
    """The settings of a recipe's terms or augmentations with one of them changed, switched on or switched off."""
    known = _settings(kind, name)
    if setting:
        if setting not in known:
            raise InputError(f"{name} has no setting called {setting!r}{suggest(setting, list(known))}")
        return {**parts, name: {**parts.get(name, {}), setting: _convert(value, known[setting], path)}}
    if isinstance(value, dict):
        for one, inner in value.items():
            parts = _with_part(parts, kind, name, one, inner, f"{path}.{one}")
        return {**parts, name: parts.get(name, {})}
    if not isinstance(value, (bool, type(None))):
        settings = ", ".join(f"{name}.{one}" for one in known)
        article = f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"
        raise InputError(f"{name}={value}: {article} is switched on or off; its strength is set by {settings}")
    others = {other: settings for other, settings in parts.items() if other != name}
    return {**parts, name: parts.get(name, {})} if value else others


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


def _network_options() -> dict[str, Any]:
    """The options that some network has, and a default; which the chosen one takes is checked when it is built."""
    from equipoise.networks import options_of

    return {option: default for entry in entries("network") for option, default in options_of(entry.name).items()}


def _settings(kind: str, name: str) -> dict[str, Any]:
    """A part's settings and their types, from its signature."""
    part = find(kind, name).part
    signature = inspect.signature(part)
    hints = typing.get_type_hints(part.__init__ if inspect.isclass(part) else part)
    return {name: hints.get(name, Any) for name in signature.parameters}


def _convert(value: Any, hint: Any, path: str) -> Any:
    """`value` as the type that a setting has: whole numbers from a file become floats, nothing else is bent."""
    allowed = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if hint is Any or (value is None and type(None) in allowed) or type(value) in allowed:
        return value
    if typing.get_origin(hint) is list:
        several = _list(value) if isinstance(value, str) else value if isinstance(value, list) else [value]
        several = [] if value is None or value is False else several
        return [_convert(one, typing.get_args(hint)[0], path) for one in several]
    if float in allowed and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if int in allowed and isinstance(value, float) and value.is_integer():
        return int(value)
    if type(None) in allowed and value in (False, "auto"):
        return None
    wanted = " or ".join("none" if t is type(None) else getattr(t, "__name__", str(t)) for t in allowed)
    raise InputError(f"{path}={value!r} is a {type(value).__name__}, and {path} must be {wanted}")


def _list(text: str) -> list[Any]:
    """The values of `0.05,0.1`, which is easier to write in a shell than brackets are."""
    try:
        return list(tomllib.loads(f"value = [{text}]")["value"])
    except tomllib.TOMLDecodeError:
        return [part.strip() for part in text.split(",")]
