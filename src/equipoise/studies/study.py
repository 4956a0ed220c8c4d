"""What is compared: settings, tasks and seeds, from a study file or a study that comes with the package."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from importlib import resources
from pathlib import Path
from typing import Any

from equipoise.errors import InputError
from equipoise.recipe import flatten
from equipoise.registry import suggest

WORDS = {"on": True, "off": False, "none": None}
DEVICES = ("auto", "cpu", "cuda")
MOST = 10_000  # seeds
LONGEST = 80  # characters of a folder's name


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
    against: str | None = None  # a source never trained on that runs are judged by; None: see `scores.score`
    fingerprint: str = ""  # of the data; known once the study is settled


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
        found: dict[str, Any] = {}
        for values in (self.task.set, self.setting.set, self.setting.task.get(self.task.name, {})):
            for path, value in values.items():
                found.pop(path, None)  # to the end: r1 = "off" before it must not win
                found[path] = value
        return found

    @property
    def name(self) -> str:
        """In words."""
        return f"{self.task.name}, {self.setting.name}, seed {self.seed}"


@dataclass(frozen=True)
class Study:
    """Settings on tasks over seeds. The first setting is what all others are compared with."""

    title: str
    tasks: tuple[Task, ...]
    settings: tuple[Setting, ...]
    seeds: int = 5
    budget: str | None = None  # time for each run, turned once into kimg that all settings of a task share
    device: str = "auto"  # auto, cpu or cuda; a settled study has one of the last two, since recipes differ by it

    def __post_init__(self) -> None:
        if type(self.seeds) is not int or self.seeds > MOST:
            raise InputError(f"seeds={self.seeds!r} is no number of runs; give a whole one up to {MOST:,}, such as 5")
        if self.device not in DEVICES:
            raise InputError(f"--device {self.device} is unknown to a study; there are {', '.join(DEVICES)}")
        if not self.tasks or not self.settings or self.seeds < 1:
            raise InputError(
                "a study needs a task, a setting and a seed at least; write [[task]], [[setting]] and seeds"
            )
        for kind, names in (("task", [t.name for t in self.tasks]), ("setting", [s.name for s in self.settings])):
            folders = [slug(name).lower() for name in names]  # some disks take R1 and r1 for the same
            twice = {name for name in names if folders.count(slug(name).lower()) > 1}
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


def from_json(text: str | bytes) -> Study:
    """The study that `as_json` wrote, as text or as a file holds it."""
    try:
        data = json.loads(text)
        tasks = tuple(Task(**one) for one in data.pop("tasks"))
        settings = tuple(Setting(**one) for one in data.pop("settings"))
        return Study(tasks=tasks, settings=settings, **data)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(
            f"study.json cannot be read ({error}); it must be as `equipoise compare` wrote it, so give another --out"
        ) from None


def slug(name: str) -> str:
    """A name as a folder's."""
    plain = re.sub(r"[^A-Za-z0-9.=+-]+", "-", name).strip("-.") or "default"
    if len(plain) <= LONGEST:
        return plain
    return f"{plain[: LONGEST - 9]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def varied(vary: Mapping[str, Sequence[Any]]) -> tuple[Setting, ...]:
    """Every combination of the values given for each path."""
    combinations = itertools.product(*([(path, value) for value in values] for path, values in vary.items()))
    return tuple(Setting(", ".join(f"{p}={_word(v)}" for p, v in one), dict(one)) for one in combinations)


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
        text = ""
    try:
        return _study(tomllib.loads(text or path.read_text(encoding="utf-8")), name)
    except KeyError as error:
        raise InputError(f"the study {name} has a [[task]] or [[setting]] without {error}; add that") from None
    except InputError:
        raise
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"the study {name} cannot be read ({error}); see docs/compare.md for its form") from None


def _study(data: dict[str, Any], name: str) -> Study:
    _known(data, name, ("title", "seeds", "budget", "device", "task", "setting", "vary"))
    tasks = tuple(_task(one, f"a [[task]] of {name}") for one in data.pop("task", []))
    settings = tuple(_setting(one, f"a [[setting]] of {name}") for one in data.pop("setting", []))
    vary = {path: [_meant(value) for value in values] for path, values in flatten(data.pop("vary", {}))}
    if vary and settings:
        raise InputError(f"the study {name} has both [[setting]] and [vary]; keep one of them")
    return Study(tasks=tasks, settings=settings or (varied(vary) if vary else ()), **{"title": Path(name).stem, **data})


def _setting(one: dict[str, Any], where: str) -> Setting:
    _known(one, where, [f.name for f in fields(Setting)])
    own = {task: _values(values) for task, values in one.get("task", {}).items()}
    return Setting(one["name"], _values(one.get("set", {})), own)


def _task(one: dict[str, Any], where: str) -> Task:
    _known(one, where, [f.name for f in fields(Task) if f.name != "fingerprint"])
    sources: dict[str, Any] = {key: os.path.expandvars(one[key]) for key in ("source", "against") if key in one}
    for key, source in sources.items():
        if "$" in source:
            raise InputError(f"the task's {key} {source} names a variable that is not set; set it before the command")
    kimg = one.get("kimg")
    values: dict[str, Any] = {"name": one["source"], **one, **sources, "set": _values(one.get("set", {}))}
    return Task(**values | {"kimg": None if kimg is None else float(kimg)})


def _values(table: Mapping[str, Any]) -> dict[str, Any]:
    """Values by path, with on, off and none as the command line has them."""
    return {path: _meant(value) for path, value in flatten(dict(table))}


def _meant(value: Any) -> Any:
    return WORDS.get(value, value) if isinstance(value, str) else value


def _known(table: Mapping[str, Any], where: str, names: Sequence[str]) -> None:
    """A misspelt key would leave a setting as it is, and compare nothing."""
    for key in table.keys() - set(names):
        raise InputError(f"{where} has {key!r}, which means nothing there{suggest(key, list(names))}")


def _word(value: Any) -> str:
    return {True: "on", False: "off", None: "none"}[value] if value is None or isinstance(value, bool) else str(value)
