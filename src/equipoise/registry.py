"""Where the parts are found by name: a decorator beside each part, and one place to look them up.

Registration carries the facts of a part (paper, claim, cost) as data, so that the listing, the documentation table and
the contract test follow from it.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from equipoise.errors import InputError

T = TypeVar("T", bound=Callable[..., Any])

# The packages whose modules hold parts of a kind; importing them registers the parts.
HOMES = {
    "network": "equipoise.networks",
    "initialisation": "equipoise.initialise",
    "loss": "equipoise.terms",
    "term": "equipoise.terms",
    "augmentation": "equipoise.augmentations",
    "weighting": "equipoise.weightings",
    "constraint": "equipoise.constraints",
    "rule": "equipoise.rules",
    "optimiser": "equipoise.optimisers",
    "rate": "equipoise.rates",
    "preset": "equipoise.presets",
    "schedule": "equipoise.schedules",
    "sensor": "equipoise.sensors",
    "probe": "equipoise.sensors",
    "finding": "equipoise.diagnosis",
    "controller": "equipoise.loops",
    "features": "equipoise.metrics",
    "recipe": "equipoise.recipes",
}

# Parts by the names that they go by elsewhere.
CALLED = {
    "bce": "non-saturating", "vanilla": "non-saturating", "logistic": "non-saturating", "lsgan": "least-squares",
    "mse": "least-squares", "wgan": "wasserstein", "wgan-gp": "wasserstein", "wgangp": "wasserstein",
    "ragan": "relativistic-average", "ralsgan": "relativistic-least-squares", "r3gan": "rpgan",
}  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """One registered part: what it is, where it comes from, and what is known of it."""

    kind: str
    name: str
    part: Any
    paper: str = ""  # e.g. "arXiv:1801.04406"
    claim: str = ""  # one line: what it is good for
    facts: dict[str, Any] = field(default_factory=dict)  # whatever else is known: cost, treats, incompatible with ...

    @property
    def ours(self) -> bool:
        """Whether this package brought the part."""
        return _origin(self.part).startswith("equipoise.")


_entries: dict[tuple[str, str], Entry] = {}
_imported: set[str] = set()


def register(kind: str, name: str | None = None, *, paper: str = "", claim: str = "", **facts: Any) -> Callable[[T], T]:
    """Register the decorated function or class under `name` (default: its own, `_` becoming `-`)."""
    if kind not in HOMES:
        raise ValueError(f"no kind of part is called {kind!r}; there are {', '.join(HOMES)}")

    def decorate(part: T) -> T:
        add(kind, name or part.__name__.lower().replace("_", "-"), part, paper=paper, claim=claim, **facts)
        return part

    return decorate


def add(kind: str, name: str, part: Any, *, paper: str = "", claim: str = "", **facts: Any) -> None:
    """Register something that is no function or class, such as a pair of functions."""
    known = _entries.get((kind, name))
    if known is not None and _origin(known.part) != _origin(part):
        raise ValueError(f"the {kind} {name!r} is registered already, by {_origin(known.part)}; choose another name")
    _entries[kind, name] = Entry(kind, name, part, paper, claim, facts)


def _origin(part: Any) -> str:
    """The module that a part was written in: of a loss or a sensor, which are values, that of its function."""
    for name in ("function", "d"):
        part = getattr(part, name, part)
    return str(getattr(part, "__module__", ""))


def entries(kind: str | None = None) -> list[Entry]:
    """All registered parts, or those of one kind, sorted by kind and name."""
    for one in HOMES if kind is None else (kind,):
        _import_home(HOMES[one])
    return [entry for key, entry in sorted(_entries.items()) if kind in (None, key[0])]


def find(kind: str, name: str) -> Entry:
    """The part of this kind and name; an unknown name raises an InputError that suggests near ones."""
    _import_home(HOMES[kind])
    if (kind, name) in _entries:
        return _entries[kind, name]
    raise InputError(f"there is no {kind} called {name!r}{suggest(name, [entry.name for entry in entries(kind)])}")


def suggest(name: str, known: list[str]) -> str:
    """The end of an error message: the near misses of `name` among `known`, or all of them."""
    near = [one for one in (CALLED.get(name.lower()), name.lower()) if one in known]
    near = near or difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(near)}?" if near else f"; there are: {', '.join(known)}."


def _import_home(home: str) -> None:
    if home in _imported:
        return
    _imported.add(home)
    package = importlib.import_module(home)
    for module in pkgutil.iter_modules(getattr(package, "__path__", [])):
        importlib.import_module(f"{home}.{module.name}")
