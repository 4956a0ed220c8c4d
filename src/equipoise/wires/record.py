"""What happened in a loop, in order."""

from __future__ import annotations

from torch import Tensor

from equipoise.wires.events import Differentiation, Event, Happened, Step
from equipoise.wires.players import Side, Weight


class Record:
    """All events in order, and the weights as they are."""

    def __init__(self, sides: list[Side], weights: list[Weight]) -> None:
        self.sides, self.weights = sides, weights
        self.by_id = {id(weight.tensor): weight for weight in weights}
        self.events: list[Event] = []
        self.strangers: dict[str, dict[int, Tensor]] = {}  # by network: what it computes with and does not list
        self.current: Differentiation | None = None

    def add(self, event: Happened) -> Happened:
        event.when = len(self.events)
        self.events.append(event)
        return event

    def all(self, kind: type[Happened]) -> list[Happened]:
        return [event for event in self.events if isinstance(event, kind)]

    def steps(self, side: Side) -> list[Step]:
        return [step for step in self.all(Step) if step.side is side]

    def lately(self, step: Step) -> set[Weight]:
        """The weights whose gradients were written since the last step of a side."""
        last = max((one.when for one in self.steps(step.side) if one.when < step.when), default=-1)
        passes = [one for one in self.all(Differentiation) if last < one.when < step.when]
        return {weight for event in passes for weight in event.written}

    def own(self, side: Side) -> list[Differentiation]:
        """The backward passes whose gradients a side stepped along, and those that these passed on."""
        consumed = {event for step in self.steps(side) for event in step.consumed()}
        consumed |= {part for event in consumed for part in event.carried}
        return [event for event in self.all(Differentiation) if event in consumed]
