"""Probes: what is looked at once per tick rather than at every move, on samples and on the networks themselves.

Like a sensor, a probe is a plain function whose parameters name what it reads: fields of a `View`. Anybody can call it
with tensors, and `look` calls all those whose fields are there.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from equipoise.errors import InputError
from equipoise.metrics._matrices import distance_blocks, tensor64
from equipoise.registry import entries, register
from equipoise.turn import parameters

SIDE = 32  # pixels a side at most when images are compared; larger ones are averaged down to it
SETS = ("samples", "averaged", "training", "augmented", "pool", "heldout")  # fields that are sets of samples


@dataclass(frozen=True)
class Probe:
    """A look at samples or networks: a function of a view's fields, and the signals that it tells."""

    name: str
    function: Callable[..., Any]
    tells: tuple[str, ...]  # names of `equipoise.signals`
    every: int  # ticks
    asked: bool  # whether it is called only where it is asked for, being costly

    def __call__(self, view: View) -> dict[str, Any]:
        """What it tells; nan for what cannot be told."""
        value = self.function(**{name: view[name] for name in self.reads(view)})
        return dict(value) if isinstance(value, Mapping) else {self.tells[0]: value}

    def reads(self, view: View) -> list[str]:
        """The fields it would take from this view."""
        return [name for name, required in parameters(self.function).items() if required or name in view]

    def sees(self, view: View) -> bool:
        """Whether all that it needs is there."""
        return all(name in view for name in self.reads(view))


def probe(
    *tells: str,  # the signals it tells; none: the one called like the function
    every: int = 1,  # ticks
    asked: bool = False,
    paper: str = "",
    claim: str = "",
    cost: str = "",
) -> Callable[[Callable[..., Any]], Probe]:
    """Make a function of a view's fields a registered probe."""

    def decorate(function: Callable[..., Any]) -> Probe:
        made = Probe(function.__name__, function, tells or (function.__name__,), every, asked)
        about = inspect.getdoc(function) or ""
        register("probe", made.name, paper=paper, claim=claim or about.splitlines()[0].rstrip("."), cost=cost)(made)
        return made

    return decorate


class View:
    """The fields of one look; what is None is not there.

    `samples` (generated now), `averaged` (by the averaged generator), `training`, `augmented` (these as D is shown
    them), `heldout` and `pool` (more of the training data) are sets `[n, ...]` in the networks' range. For any two of
    them, `samples_to_training` and the like are the Euclidean distances `[n, m]` between their `features`, formed when
    first asked for, and kept. Further fields: `labels` of `samples` and `training`, `judge(images) -> [N]`, D's score
    without augmentation, `discriminator`, `generator`, and whatever else a caller gives. What is costly to make may be
    given in `later`, as functions without arguments.
    """

    def __init__(self, fields: Mapping[str, Any], later: Mapping[str, Callable[[], Any]] | None = None) -> None:
        self._fields = {name: value for name, value in fields.items() if value is not None}
        self._later = dict(later or {})
        self._features: dict[str, Tensor] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._fields or name in self._later or all(map(self._is_set, self._ends(name)))

    def __getitem__(self, name: str) -> Any:
        """The field `name`."""
        if name not in self._fields:
            if name not in self:
                raise KeyError(f"the view has no field {name!r}; it has {', '.join({**self._fields, **self._later})}")
            self._fields[name] = self._later[name]() if name in self._later else self._distances(*self._ends(name))
        return self._fields[name]

    def made(self, name: str) -> bool:
        """Whether the field `name` is there already."""
        return name in self._fields

    def features(self, name: str) -> Tensor:
        """A set's samples as they are compared, float64 `[n, d]`: those that are finite."""
        if name not in self._features:
            rows = features(self[name])
            self._features[name] = rows[torch.isfinite(rows).all(1)]
        return self._features[name]

    def _ends(self, name: str) -> tuple[str, str]:
        first, _, second = name.partition("_to_")
        return first, second

    def _is_set(self, name: str) -> bool:
        return name in SETS and (name in self._fields or name in self._later)

    def _distances(self, rows: str, columns: str) -> Tensor:
        turned = f"{columns}_to_{rows}"
        if turned in self._fields:
            made: Tensor = self._fields[turned].T
            return made
        one, two = self.features(rows), self.features(columns)
        if one.shape[1] != two.shape[1]:
            shapes = [list(self[name].shape[1:]) for name in (rows, columns)]
            raise InputError(f"{rows} are {shapes[0]} each and {columns} {shapes[1]}: show sets of one kind of samples")
        return distances(one, two)


def features(
    samples: Any,  # [n, ...]
) -> Tensor:
    """What samples are compared by, float64 `[n, d]`: their values, images above 32 pixels a side averaged down."""
    rows = tensor64(samples)
    if rows.dim() == 4 and max(rows.shape[2:]) > SIDE:
        rows = F.interpolate(rows, size=[min(side, SIDE) for side in rows.shape[2:]], mode="area")
    return rows.flatten(1)


def distances(rows: Tensor, columns: Tensor) -> Tensor:
    """Euclidean distances `[n, m]` between two sets of features."""
    if not len(rows) or not len(columns):
        return rows.new_zeros(len(rows), len(columns))
    return torch.cat([block for _, block in distance_blocks(rows, columns)])


@torch.no_grad()
def look(
    fields: View | Mapping[str, Any],
    *,
    tick: int = 0,  # number of the look: a probe is due at every so many; 0: all are
    probes: Sequence[Probe] | None = None,  # None: all registered ones that need not be asked for
) -> dict[str, float]:
    """The signals of the probes that are due and whose fields are there, by the names of `equipoise.signals`.

    Samples that are not finite are left out, and their share is told as `nonfinite`.
    """
    view = fields if isinstance(fields, View) else View(fields)
    found: dict[str, Any] = {}
    for one in all_probes() if probes is None else probes:
        if tick % one.every == 0 and one.sees(view):
            found |= one(view)
    told = {name: float(value) for name, value in found.items()}
    told = {name: value for name, value in told.items() if math.isfinite(value)}
    return told | ({"nonfinite": _lost(view["samples"])} if "samples" in view else {})


def all_probes() -> list[Probe]:
    """Every registered probe that is called without being asked for."""
    return [entry.part for entry in entries("probe") if not entry.part.asked]


def _lost(samples: Any) -> float:
    finite = torch.isfinite(tensor64(samples)).reshape(len(samples), -1).all(1)
    return float(1 - finite.double().mean())
