"""What single operations of the loop do that is worth a remark: terms added up, NaNs, what becomes of answers."""

from __future__ import annotations

from dataclasses import dataclass

from equipoise.wires.events import Event, Origin
from equipoise.wires.players import Side, Weight


@dataclass(eq=False, kw_only=True)
class Summand(Event):
    """A single number that was added to others, one of which at least has a gradient."""

    value: float
    origin: Origin
    reach: set[Weight]  # where its gradient goes; empty for one without
    live: bool  # whether it has a gradient
    single: bool = True  # or it was one for each sample, and this is the mean


@dataclass(eq=False, kw_only=True)
class Unsound(Event):
    """An operation whose result has a NaN that was in none of its inputs."""

    name: str
    single: bool  # a single number, as losses are
    matters: bool  # it depends on a player


@dataclass(eq=False, kw_only=True)
class Hiding(Event):
    """An operation that made a NaN disappear."""

    name: str
    single: bool
    gradient: bool  # it was a weight's gradient
    sources: list[Unsound]


@dataclass(eq=False, kw_only=True)
class Muted(Event):
    """Something with a gradient was multiplied by 0."""


@dataclass(eq=False, kw_only=True)
class Weighed(Event):
    """Something of a generator's was multiplied by what discriminators think of its samples, as rewards are."""

    sides: list[Side]


@dataclass(eq=False, kw_only=True)
class Squashed(Event):
    """Answers that had been through a sigmoid or a softmax, taken for logits."""

    name: str  # "binary_cross_entropy_with_logits"
    by: str  # "sigmoid"
    sides: list[Side]


@dataclass(eq=False, kw_only=True)
class Broadcast(Event):
    """Judgements [N, 1] and targets [N], or the other way round, that were made to fit: every one met every other."""

    name: str
    size: int  # N
    shapes: list[str]  # of the judgements, and of the others
    others: str  # "targets", or what else has the other shape
    sides: list[Side]


@dataclass(eq=False, kw_only=True)
class Itself(Event):
    """Something of a player's that was compared with something, or with itself, so that the distance is 0."""

    name: str
    same: bool
    makers: frozenset[str]  # the networks that it comes from
