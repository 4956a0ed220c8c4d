"""Facts about the terms of a loss: each that depends on a player moves it, and no penalty is left out."""

from __future__ import annotations

from collections.abc import Iterator

from equipoise.wires.events import Call, Cut, Differentiation, Step
from equipoise.wires.fact import Fact
from equipoise.wires.gradients import kept
from equipoise.wires.players import Side
from equipoise.wires.record import Record
from equipoise.wires.remarks import Itself, Summand
from equipoise.wires.where import Place


def terms(record: Record, side: Side) -> Iterator[Fact]:
    """Every term of a side's loss that depends on it carries a gradient."""
    found = [(event, term) for event in record.own(side) for term in event.terms]
    dead = [term for event, term in found if _is_dead(record, side, event, term)]
    for term in {one.place: one for one in dead}.values():
        cuts = _cuts(side, term)
        where = f", cut off by {cuts[-1].name} at {cuts[-1].place}" if cuts else ""
        text = f"the term {term.value:.4g} added at {term.place} depends on {side.name} and gives it no gradient{where}"
        yield Fact("terms", side.name, "broken", text, (term.place, *(cut.place for cut in cuts[-1:])))
    lost = _unused(record, side)
    for event in lost:
        text = f"the gradient taken at {event.place}, with create_graph, is in no loss: was its penalty left out?"
        yield Fact("terms", side.name, "broken", text, (event.place,))
    void = [one for one in record.all(Differentiation) if one.void and any(side in call.sides for call in one.through)]
    for event in {one.place: one for one in void}.values():
        text = (
            f"autograd.grad at {event.place} gave None: what is differentiated does not depend on what was asked about"
        )
        yield Fact("terms", side.name, "broken", text, (event.place,))
    alone = [one for one in record.all(Differentiation) if one.rootless and _lost_last(side, one)]
    for event in {one.place: one for one in alone}.values():
        cut = _cuts(side, event)[-1]
        text = f"the loss that goes backward at {event.place} gives {side.name} no gradient, cut off by {cut.name} at "
        yield Fact("terms", side.name, "broken", f"{text}{cut.place}", (event.place, cut.place))
    apart = {(one.place, one.makers) for one in record.all(Itself) if not one.same}  # as frames are, but the first
    own = [one for event in record.own(side) for one in kept(event.origin, Itself)]
    same = {one.place: one for one in own if (one.place, one.makers) not in apart}
    for place, itself in same.items():
        text = (
            f"{itself.name} at {place} compares something with itself: that is 0 at all times, and so is its gradient"
        )
        yield Fact("terms", side.name, "broken", text, (place,))
    moving = {place: values for place, values in _values(found).items() if place not in {one.place for one in dead}}
    for place, values in moving.items():
        shown = ", ".join(f"{value:.4g}" for value in values[:2])
        text = (
            f"the number added to the loss at {place} changes ({shown}) and has no gradient: .item(), float or NumPy?"
        )
        yield Fact("terms", side.name, "broken", text, (place,))
    if not any((dead, moving, lost, void, alone, same)):
        yield Fact("terms", side.name, "holds", f"no term of {side.name}'s loss is without gradient")


def _cuts(side: Side, event: Differentiation | Summand) -> list[Cut]:
    """Where something lost the gradient that would have reached a side."""
    return [cut for cut in kept(event.origin, Cut) if any(side in weight.sides for weight in cut.behind)]


def _lost_last(side: Side, event: Differentiation) -> bool:
    """Whether the last of the cuts took the gradient from a side; earlier ones may have taken it from others."""
    cuts = kept(event.origin, Cut)
    return bool(cuts) and cuts[-1:] == _cuts(side, event)[-1:]


def _unused(record: Record, side: Side) -> list[Differentiation]:
    """Gradients through a side's calls that were made to be differentiated, and never were: one a place."""
    used = {event for one in record.all(Differentiation) for event in one.origin}
    made = [one for one in record.all(Differentiation) if one.graph and any(side in c.sides for c in one.through)]
    places = {one.place for one in made if one in used}
    return list({one.place: one for one in made if one.place not in places}.values())


def _is_dead(record: Record, side: Side, event: Differentiation, term: Summand) -> bool:
    """Whether a term depends on a role and gives a gradient neither to it nor to another side that stepped along."""
    moved = {one.side for one in record.all(Step) if event in one.consumed()}
    reached = {one for weight in term.reach for one in weight.sides}
    own = {one for one in record.sides if one.role == side.role}
    return any(call.of(side.role) for call in kept(term.origin, Call)) and not reached & (moved | own)


def _values(found: list[tuple[Differentiation, Summand]]) -> dict[Place, list[float]]:
    """The numbers added at each place, where they differ from time to time."""
    values: dict[Place, list[float]] = {}
    for _, term in found:
        if term.single and not term.origin and not term.live:
            values.setdefault(term.place, []).append(term.value)
    return {place: seen for place, seen in values.items() if len(set(seen)) > 1}
