"""What happened in the loop, in order: forward calls, backward passes, steps, and what was done between them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor

from equipoise.wires.players import Side, Weight
from equipoise.wires.where import Place

if TYPE_CHECKING:
    from equipoise.wires.remarks import Summand

Origin = frozenset["Event"]  # the events that a tensor's value depends on
Number = tuple[int, int, bool]  # of an output: its place, its dimensions, whether the second has length 1
Happened = TypeVar("Happened", bound="Event")


@dataclass(eq=False, kw_only=True)
class Event:
    """Something that happened at a place, and which in the order of things it was."""

    place: Place
    when: int = 0


@dataclass(eq=False, kw_only=True)
class Call(Event):
    """A forward pass through a player, or through the part of it that was called by itself."""

    sides: list[Side]
    root: str  # "D", "G": the network
    network: str  # "D", "G.mapping": what of it was called
    training: bool
    asleep: list[str]  # layers in eval mode that behave differently there
    inputs: Origin
    storages: frozenset[int]  # addresses of what went in
    rows: tuple[tuple[int, bool], ...] = ()  # what was joined along the first axis: how many, and whether generated
    pulls: dict[tuple[Differentiation, Number, bool], Pull] = field(
        default_factory=dict
    )  # by output and generated or not
    kinds: tuple[tuple[bool, torch.Size], ...] = ()  # of each thing that went in: generated or not, and its shape
    repeated: bool = False  # the same samples went in twice, side by side or as rows of one batch
    drawn: bool = False  # noise went in
    sums: frozenset[float] = frozenset()  # of each thing that went in
    given: tuple[object, ...] = ()  # the same for exactly the same arguments
    ranges: dict[bool, tuple[float, float]] = field(default_factory=dict)  # of what went in, by generated or not
    answers: dict[tuple[Number, bool], list[float]] = field(default_factory=dict)  # by output and generated or not
    bound: tuple[float, float] | None = None  # what a generator's last layer cannot leave
    span: tuple[float, float] = (0.0, 0.0)  # of what a generator gave
    slopes: dict[Differentiation, Tensor] = field(default_factory=dict)  # at a generator's output, or D's input
    likened: set[Number] = field(
        default_factory=set
    )  # outputs that were compared, by their distance, with other answers

    def of(self, role: str) -> bool:
        return any(side.role == role for side in self.sides)

    @property
    def mixed(self) -> bool:
        """Whether several things went in, some generated and some not."""
        return len({made for made, _ in self.kinds}) > 1

    @property
    def joined(self) -> bool:
        """Whether generated samples and others went in as rows of one batch."""
        return len({made for _, made in self.rows}) > 1

    @property
    def generated(self) -> bool:
        """Whether what went in came from a generator."""
        return any(isinstance(event, Call) and event.of("G") for event in self.inputs)


@dataclass(eq=False, kw_only=True)
class Answer(Event):
    """One of the outputs of a discriminator's call."""

    call: Call
    number: Number


@dataclass(eq=False)
class Pull:
    """The gradient of a loss at a network's output, and the output itself."""

    total: float = 0.0  # sum of the gradient
    size: float = 0.0  # sum of its absolute values
    points: list[tuple[float, float]] = field(default_factory=list, repr=False)  # output and gradient, up to a thousand
    against: list[float] = field(
        default_factory=list, repr=False
    )  # answers of the other kind that the loss compares with

    def turned(self) -> Pull:
        """The same the other way."""
        return Pull(-self.total, self.size, [(at, -slope) for at, slope in self.points], self.against)

    def add(self, other: Pull) -> None:
        """Both together."""
        self.total, self.size, self.points = (
            self.total + other.total,
            self.size + other.size,
            self.points + other.points,
        )


@dataclass(eq=False, kw_only=True)
class Differentiation(Event):
    """One backward pass, or one call of torch.autograd.grad."""

    kind: str  # "backward", "grad"
    origin: Origin
    finite: bool
    reachable: set[Weight]  # by the graph
    through: dict[Call, set[Weight]]  # discriminators' calls in the graph, and what lies behind each
    terms: list[Summand]
    nil: bool = False  # what was differentiated is exactly 0
    rootless: bool = False  # it has no graph, and was told to require a gradient by hand
    near: set[tuple[Call, Number]] = field(default_factory=set)  # outputs that come first, seen from the loss
    aside: set[Weight] = field(default_factory=set)  # reachable without passing through a discriminator
    graph: bool = False  # autograd.grad gave gradients that can be differentiated in turn
    void: bool = False  # autograd.grad was to give such, and gave None: the inputs are no part of the graph
    parts: set[Differentiation] = field(default_factory=set)  # those whose losses are summands of this one
    carried: set[Differentiation] = field(default_factory=set)  # those whose gradients were handed to this one
    straight: bool = False  # what autograd.grad gave was written into a weight's `.grad` as it was
    targets: set[Weight] = field(default_factory=set)  # the weights that autograd.grad was asked about
    written: set[Weight] = field(default_factory=set)
    unsound: list[Weight] = field(default_factory=list)  # gradients that are not finite
    read: bool = False  # the gradients that it left were looked at
    chosen: bool = False  # a backward pass that was told its `inputs`
    reversed: bool = False  # whether a gradient changed its sign between a discriminator and a generator


@dataclass(eq=False, kw_only=True)
class Step(Event):
    """A step of an optimiser: what the gradients were made of, and what changed."""

    side: Side
    optimiser: object
    ledgers: dict[Weight, tuple[Differentiation, ...]]
    held: list[Weight]  # by the optimiser
    frozen: set[Weight]
    unsound: list[Weight]
    zero: bool = False  # all gradients were exactly 0
    scaled_by: object | None = None  # the GradScaler that called it
    unscaled: bool = False
    unknown: bool = False  # there were gradients of which nobody saw where they came from
    earlier: set[Differentiation] = field(default_factory=set)  # those of the earlier calls of a closure
    rates: list[float] = field(default_factory=list)
    skipped: bool = False  # by a fused optimiser, because the scaler found gradients that are not finite
    changed: set[Weight] = field(default_factory=set)
    broke: list[Weight] = field(default_factory=list)  # not finite afterwards

    def consumed(self) -> set[Differentiation]:
        """The backward passes that its own weights' gradients came from."""
        return {event for weight, ledger in self.ledgers.items() if self.side in weight.sides for event in ledger}


@dataclass(eq=False, kw_only=True)
class Cut(Event):
    """An operation that took something with a gradient and gave something without."""

    name: str  # "detach"
    behind: set[Weight]  # what would otherwise have been reached


@dataclass(eq=False, kw_only=True)
class Edit(Event):
    """Gradients, or weights themselves, changed in place by something that is no step."""

    name: str  # "clip_grad_norm_"
    weights: list[Weight]
    gradients: bool  # or the weights themselves
    turned: bool = False  # their sign was

    @property
    def clips(self) -> bool:
        return "clip" in self.name or self.name.startswith("clamp")


@dataclass(eq=False, kw_only=True)
class Clipped(Event):
    """A weight that a function which clips gradients was given."""

    weight: Weight
    empty: bool  # it had no gradient then, or one of zeros


@dataclass(eq=False, kw_only=True)
class Taken(Event):
    """A weight's `.grad` was read: what it was the sum of then."""

    weight: Weight
    ledger: tuple[Differentiation, ...]


@dataclass(eq=False, kw_only=True)
class Clearing(Event):
    """A gradient was emptied."""

    weight: Weight
    lost: tuple[Differentiation, ...]  # what it was the sum of


@dataclass(eq=False, kw_only=True)
class Mixture(Event):
    """Something generated was mixed with something that was not, or not as far as could be seen."""


@dataclass(eq=False, kw_only=True)
class Scaling(Event):
    """A call of a GradScaler."""

    scaler: object
    what: str  # "scale", "unscale_", "step", "update"
    optimiser: object | None = None


@dataclass(eq=False, kw_only=True)
class Outside(Event):
    """Weights that changed where no known optimiser stepped."""

    weights: set[Weight]
