"""What is compared: settings, tasks and seeds, from a study file or from the command line."""

from __future__ import annotations

import itertools
import json
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any

from equipoise.errors import InputError
from equipoise.paths import parse_assignment
from equipoise.recipe import flatten
from equipoise.registry import suggest

WORDS = {"on": True, "off": False, "none": None}


@dataclass(frozen=True)
class Task:
    """Data to train on, and what is the same for all settings."""

    name: str
    source: str
    recipe: str | None = None
    kimg: float | None = None  # length; None: the recipe's, or by the study's budget
    set: dict[str, Any] = field(default_factory=dict)  # values by path
    resolution: int | None = None
    labels: str | None = None


@dataclass(frozen=True)
class Setting:
    """One of the things compared: values by path, and those that hold on one task only."""

    name: str
    set: dict[str, Any] = field(default_factory=dict)
    task: dict[str, dict[str, Any]] = field(default_factory=dict)  # by the task's name


@dataclass(frozen=True)
class Cell:
    """One run of a study."""

    task: Task
    setting: Setting
    seed: int

    @property
    def folder(self) -> Path:
        """Where it lives within the study's folder."""
        return Path("cells") / slug(self.task.name) / slug(self.setting.name) / f"seed{self.seed}"

    @property
    def changes(self) -> dict[str, Any]:
        """The values by path: the task's, the setting's, and the setting's for this task, later ones winning."""
        return {**self.task.set, **self.setting.set, **self.setting.task.get(self.task.name, {})}


@dataclass(frozen=True)
class Study:
    """Settings on tasks over seeds. The first setting is what all others are compared with."""

    title: str
    tasks: tuple[Task, ...]
    settings: tuple[Setting, ...]
    seeds: int = 5
    budget: str | None = None  # time for each run, turned once into kimg that all settings of a task share

    def __post_init__(self) -> None:
        if not self.tasks or not self.settings or self.seeds < 1:
            raise InputError(
                "a study needs a task, a setting and a seed at least; write [[task]], [[setting]] and seeds"
            )
        for kind, names in (("task", [t.name for t in self.tasks]), ("setting", [s.name for s in self.settings])):
            twice = {name for name in names if [slug(n) for n in names].count(slug(name)) > 1}
            if twice:
                raise InputError(f"two {kind}s are called {min(twice)!r}; give each a name of its own")
        known = {task.name for task in self.tasks}
        for setting in self.settings:
            for name in setting.task.keys() - known:
                raise InputError(f"the setting {setting.name!r} names a task {name!r}{suggest(name, sorted(known))}")

    def cells(self) -> list[Cell]:
        """Every run, seed by seed, so that an unfinished study has something of every setting."""
        return [Cell(t, s, seed) for seed in range(self.seeds) for t in self.tasks for s in self.settings]

    def as_json(self) -> str:
        """The whole study as text, which decides whether two are the same."""
        return json.dumps(asdict(self), indent=1) + "\n"


def from_json(text: str) -> Study:
    """The study that `as_json` wrote."""
    data = json.loads(text)
    tasks = tuple(Task(**one) for one in data.pop("tasks"))
    settings = tuple(Setting(**one) for one in data.pop("settings"))
    return Study(tasks=tasks, settings=settings, **data)


def slug(name: str) -> str:
    """A name as a folder's."""
    return re.sub(r"[^A-Za-z0-9.=+-]+", "-", name).strip("-.") or "default"


def varied(vary: Mapping[str, Sequence[Any]]) -> tuple[Setting, ...]:
    """Every combination of the values given for each path."""
    combinations = itertools.product(*([(path, value) for value in values] for path, values in vary.items()))
    return tuple(Setting(", ".join(f"{p}={_word(v)}" for p, v in one), dict(one)) for one in combinations)


def from_options(
    source: str | None,
    study: str | None,
    vary: Sequence[str],
    settings: Sequence[str],
    seeds: int | None,
    kimg: float | None,
    budget: str | None,
    recipe: str | None,
    resolution: int | None,
    labels: str | None,
) -> Study:
    """The study that a command line asks for: a file, whose seeds and length may change, or a source and --vary."""
    if kimg is not None and budget is not None:
        raise InputError("--kimg and --budget both fix the length of the runs; give one of them")
    if study is not None:
        if source or vary or settings or recipe or resolution or labels:
            raise InputError("--study says what is compared; beside it give only --seeds, --kimg, --budget, --out")
        found = read(study)
        length = {"kimg": kimg} if kimg else {"kimg": None} if budget else {}
        tasks = tuple(replace(task, **length) for task in found.tasks)
        return replace(found, tasks=tasks, seeds=seeds or found.seeds, budget=budget or found.budget)
    if not source or not vary:
        raise InputError("there is nothing to compare; give a source and --vary path=value,value, or --study")
    base = dict(parse_assignment(text) for text in settings)
    task = Task(source, source, recipe, kimg, base, resolution, labels)
    return Study(
        f"{slug(source)} by {', '.join(parse_vary(vary))}", (task,), varied(parse_vary(vary)), seeds or 5, budget
    )


def parse_vary(texts: Sequence[str]) -> dict[str, list[Any]]:
    """`path=a,b,c` of the command line, each value as `--set` has it; commas within brackets do not part."""
    found: dict[str, list[Any]] = {}
    for text in texts:
        path, equals, values = text.partition("=")
        if not equals or not values.strip():
            raise InputError(f"--vary {text}: write path=value,value, for example --vary r1.gamma=0,0.1,1")
        parts = re.split(r",(?![^\[]*\])", values)
        found[path.strip()] = [parse_assignment(f"{path}={part}")[1] for part in parts]
    return found


def shipped() -> list[str]:
    """The names of the studies that come with the package."""
    folder = resources.files("equipoise.studies") / "shipped"
    return sorted(file.name.removesuffix(".toml") for file in folder.iterdir() if file.name.endswith(".toml"))


def read(name: str) -> Study:
    """A study from a TOML file, or one that comes with the package by its name."""
    if name in shipped():
        text = (resources.files("equipoise.studies") / "shipped" / f"{name}.toml").read_text(encoding="utf-8")
    else:
        path = Path(name)
        if not path.is_file():
            raise InputError(f"there is no study {name!r}, neither a file nor a name{suggest(name, shipped())}")
        text = path.read_text(encoding="utf-8")
    try:
        return _study(tomllib.loads(text), name)
    except (tomllib.TOMLDecodeError, TypeError, KeyError, AttributeError) as error:
        raise InputError(f"the study {name} cannot be read ({error}); see docs/compare.md for its form") from None


def _study(data: dict[str, Any], name: str) -> Study:
    tasks = tuple(_task(one) for one in data.pop("task", []))
    settings = tuple(
        Setting(one["name"], _values(one.get("set", {})), {t: _values(v) for t, v in one.get("task", {}).items()})
        for one in data.pop("setting", [])
    )
    vary = {path: list(values) for path, values in flatten(data.pop("vary", {}))}
    if vary and settings:
        raise InputError(f"the study {name} has both [[setting]] and [vary]; keep one of them")
    return Study(tasks=tasks, settings=settings or (varied(vary) if vary else ()), **{"title": Path(name).stem, **data})


def _task(one: dict[str, Any]) -> Task:
    source = os.path.expandvars(one["source"])
    if "$" in source:
        raise InputError(f"the task's source {source} names a variable that is not set; set it before the command")
    kimg = one.get("kimg")
    return Task(**{"name": one["source"], **one, "source": source, "set": _values(one.get("set", {})),
                   "kimg": None if kimg is None else float(kimg)})  # fmt: skip


def _values(table: Mapping[str, Any]) -> dict[str, Any]:
    """Values by path, with on, off and none as the command line has them."""
    return {path: WORDS.get(value, value) if isinstance(value, str) else value for path, value in flatten(dict(table))}


def _word(value: Any) -> str:
    return {True: "on", False: "off", None: "none"}[value] if value is None or isinstance(value, bool) else str(value)
