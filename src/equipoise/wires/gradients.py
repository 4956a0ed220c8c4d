"""Facts about gradients: what reaches whom through what, and which terms carry none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from equipoise.wires.events import Call, Cut, Differentiation, Event, Happened, Muted, Pull, Record, Step, Summand
from equipoise.wires.fact import Fact, named
from equipoise.wires.players import Side, Weight
from equipoise.wires.where import Place


def adversarial(record: Record, side: Side, judge: Side) -> Iterator[Fact]:
    """A generator receives a gradient through a discriminator."""
    name, events = "adversarial", record.own(side)
    alone, good = _alone(record, side, judge), _good(record, side, judge)
    if not record.steps(side):
        yield Fact(name, side.name, "untold", f"no step of {side.called} was seen")
    elif not events and any(step.unknown for step in record.steps(side)):
        yield Fact(name, side.name, "untold", f"where {side.called}'s gradients came from could not be followed")
    elif not good and _others(record, side, judge):
        text = f"{judge.name} passes {side.name} no gradient: it judges another generator, and {side.name} has a judge"
        yield Fact(name, side.name, "note", text)
    elif not good:
        yield _cut_off(record, side, judge, alone, events or _nobodys(record, judge))
    elif (strangers := _strangers(record, side, judge)) is not None:
        yield strangers
    elif (pulls := _pulls(good)) and not any(pull.size for pull in pulls):
        place, muted = good[0][0].place, kept(good[0][0].origin, Muted)
        by = f": it is multiplied by 0 at {muted[0].place}" if muted else ""
        text = f"{judge.name} passes {side.name} a gradient that is exactly 0 in the backward at {place}{by}"
        yield Fact(name, side.name, "note" if muted else "broken", text, (place, *(one.place for one in muted[:1])))
    else:
        yield Fact(name, side.name, "holds", f"{side.name}'s gradient comes through {judge.name}")


def _alone(record: Record, side: Side, judge: Side) -> set[Weight]:
    """The weights that a generator does not share with a discriminator."""
    return {weight for weight in record.weights if side in weight.sides and judge not in weight.sides}


def _good(record: Record, side: Side, judge: Side) -> list[tuple[Differentiation, Call]]:
    """The judgements through which a generator's own losses reach it."""
    alone = _alone(record, side, judge)
    return [
        (event, call) for event in record.own(side) for call, behind in event.through.items()
        if judge in call.sides and behind & alone
    ]  # fmt: skip


def _others(record: Record, side: Side, judge: Side) -> bool:
    """Whether a generator is judged by another discriminator, and the discriminator judges another generator."""
    return any(_good(record, side, one) for one in record.sides if one.role == "D") and any(
        _good(record, one, judge) for one in record.sides if one.role == "G"
    )


def _pulls(good: list[tuple[Differentiation, Call]]) -> list[Pull]:
    """How some losses pull a discriminator's answers; none where they use its inner layers only."""
    return [pull for event, call in good for (one, _, _), pull in call.pulls.items() if one is event]


def _strangers(record: Record, side: Side, judge: Side) -> Fact | None:
    """A discriminator is to be fooled by one generator and learns from the samples of another only.

    Each network of a judge by itself: several discriminators may share an optimiser, as in a cycle.
    """
    for network in judge.networks:
        learnt, fooled = (_makers(record, own, network) for own in (judge, side))
        if learnt and fooled and not set(learnt) & set(fooled):
            call = next(iter(fooled.values()))
            text = (
                f"{network} judges for {side.name}, at {call.place}, what comes from {' and '.join(sorted(fooled))}, "
                f"and learns from what comes from {' and '.join(sorted(learnt))}"
            )
            return Fact("adversarial", side.name, "broken", text, (call.place,))
    return None


def _makers(record: Record, side: Side, network: str) -> dict[str, Call]:
    """The generators whose samples a network of a discriminator judged in a side's turn, with the judgement of each."""
    calls = [call for event in record.own(side) for call in event.through if call.of("D") and call.root == network]
    made = [(one, call) for call in calls for one in kept(call.inputs, Call) if one.of("G")]
    return {one.root: call for one, call in made}


def _nobodys(record: Record, judge: Side) -> list[Differentiation]:
    """Backward passes that went into no step and came from a generated sample's judgement."""
    used = {event for step in record.all(Step) for event in step.consumed()}
    return [
        event for event in record.all(Differentiation)
        if event not in used and any(call.generated for call in kept(event.origin, Call) if judge in call.sides)
    ]  # fmt: skip


def _cut_off(record: Record, side: Side, judge: Side, alone: set[Weight], events: list[Differentiation]) -> Fact:
    calls = [call for event in events for call in kept(event.origin, Call) if judge in call.sides]
    cuts = [cut for call in calls for cut in kept(call.inputs, Cut) if cut.behind & alone]
    if cuts:
        cut = min(cuts, key=lambda one: one.when)
        text = (
            f"what {judge.name} judged for {side.name} was cut off by {cut.name} at {cut.place}: no gradient comes back"
        )
        return Fact("adversarial", side.name, "broken", text, (cut.place,))
    after = [cut for event in events for cut in kept(event.origin, Cut) if cut.behind & alone]
    if calls and after:
        text = f"{judge.name}'s judgement was cut off by {after[0].name} at {after[0].place}: no gradient comes back"
        return Fact("adversarial", side.name, "broken", text, (after[0].place,))
    places = tuple(dict.fromkeys(event.place for event in events))
    seen = f"the loss at {places[0]}" if places else f"what {side.called} stepped along"
    what = f"judged nothing that comes from {side.name}" if calls else "is no part of it"
    return Fact(
        "adversarial",
        side.name,
        "broken",
        f"{side.name} gets no gradient through {judge.name}: in {seen} {judge.name} {what}",
        places,
    )


def reached(record: Record, side: Side) -> Iterator[Fact]:
    """Every trainable tensor of a side gets a gradient from its loss."""
    steps, events = record.steps(side), record.own(side)
    held = {w for w in record.weights if side in w.sides and side in w.optimisers and w.trained}
    stopped = {step: (held & step.frozen) - set(step.ledgers) for step in steps}
    frozen = set().union(*stopped.values())
    got = {weight for event in events for weight in event.written}
    if frozen:
        step = next(step for step in steps if stopped[step])
        text = f"requires_grad was off at {side.called}.step() at {step.place}, and on before, in {named(frozen)}"
        yield Fact("reached", side.name, "broken", text, (step.place,))
    if not held & got:
        yield Fact("reached", side.name, "untold", "no gradient was seen at all")
        return
    missing = held - got - frozen
    cuts = [cut for event in events for cut in kept(event.origin, Cut) if cut.behind & missing]
    if cuts:
        cut = max(cuts, key=lambda one: len(one.behind & missing))
        text = f"{named(cut.behind & missing)} get no gradient: cut off by {cut.name} at {cut.place}"
        yield Fact("reached", side.name, "broken", text, (cut.place,))
    elif missing:
        yield Fact("reached", side.name, "note", f"no gradient and no part in the loss: {named(missing)}")
    elif not frozen:
        yield Fact("reached", side.name, "holds", f"all {len(held)} trainable tensors got a gradient")


def terms(record: Record, side: Side) -> Iterator[Fact]:
    """Every term of a side's loss that depends on it carries a gradient."""
    found = [(event, term) for event in record.own(side) for term in event.terms]
    dead = [term for event, term in found if _is_dead(record, side, event, term)]
    for term in {one.place: one for one in dead}.values():
        cuts = [cut for cut in kept(term.origin, Cut) if any(side in weight.sides for weight in cut.behind)]
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
    moving = {place: values for place, values in _values(found).items() if place not in {one.place for one in dead}}
    for place, values in moving.items():
        shown = ", ".join(f"{value:.4g}" for value in values[:2])
        text = (
            f"the number added to the loss at {place} changes ({shown}) and has no gradient: .item(), float or NumPy?"
        )
        yield Fact("terms", side.name, "broken", text, (place,))
    if not dead and not moving and not lost and not void:
        yield Fact("terms", side.name, "holds", f"no term of {side.name}'s loss is without gradient")


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
        if not term.origin and not term.live:
            values.setdefault(term.place, []).append(term.value)
    return {place: seen for place, seen in values.items() if len(set(seen)) > 1}


def kept(origin: Iterable[Event], kind: type[Happened]) -> list[Happened]:
    """The events of a kind in an origin, in the order in which they happened."""
    return sorted((event for event in origin if isinstance(event, kind)), key=lambda event: event.when)
