"""Facts about gradients: what comes to a generator through a discriminator."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from equipoise.wires.events import Call, Cut, Differentiation, Event, Happened, Number, Pull, Step
from equipoise.wires.fact import Fact
from equipoise.wires.players import Side, Weight
from equipoise.wires.record import Record
from equipoise.wires.remarks import Muted, Weighed


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
    elif not good and any(side.role == "G" and judge in one.sides for one in _weighed(events)):
        text = f"what {judge.name} thinks of samples reaches {side.name} as a factor, as a reward does, and no gradient"
        yield Fact(name, side.name, "note", text)
    elif not good and _helper(record, side, judge):
        text = f"{judge.name} judges nothing that comes from {side.name}: right for a network that only helps"
        yield Fact(name, side.name, "note", text)
    elif not good:
        yield _cut_off(record, side, judge, alone, events or _nobodys(record, judge))
    elif (strangers := _strangers(record, side, judge) or _unasked(record, judge)) is not None:
        yield strangers
    elif (call := _misplaced(record, side, judge)) is not None:
        text = f"{side.name}'s loss moves {call.root}'s answers for samples at {call.place} that are not generated"
        yield Fact(name, side.name, "broken", f"{text}, and none for those that are", (call.place,))
    elif (pulls := _pulls(good)) and not any(pull.size for pull in pulls):
        place, muted = good[0][0].place, kept(good[0][0].origin, Muted)
        by = f": it is multiplied by 0 at {muted[0].place}" if muted else ""
        text = f"{judge.name} passes {side.name} a gradient that is exactly 0 in the backward at {place}{by}"
        yield Fact(name, side.name, "note" if muted else "broken", text, (place, *(one.place for one in muted[:1])))
    else:
        yield Fact(name, side.name, "holds", f"{side.name}'s gradient comes through {judge.name}")


def _weighed(events: list[Differentiation]) -> list[Weighed]:
    return [one for event in events for one in event.origin if isinstance(one, Weighed)]


def _helper(record: Record, side: Side, judge: Side) -> bool:
    """Whether a discriminator judges for another generator, and nothing of this one's, not even behind a cut.

    What this one made may have been shown in another's turn, if it had gone through that other generator.
    """
    others = {one for one in record.sides if one.role == "G" and one is not side and _good(record, one, judge)}
    mine = [call for event in record.own(side) for call in kept(event.origin, Call) if call.of("D")]
    shown = [call for call in record.all(Call) if call.of("D") and _depends(call, side)]
    last = [[one for one in kept(call.inputs, Call) if others & set(one.sides)] for call in shown]
    return (
        bool(others)
        and not any(_depends(call, side) for call in mine)
        and all(any(_depends(one, side) for one in makers) for makers in last)
    )


def _depends(call: Call, side: Side) -> bool:
    return any(side in one.sides for one in kept(call.inputs, Call))


def _misplaced(record: Record, side: Side, judge: Side) -> Call | None:
    """A call by which a generator pulls a discriminator's answers for real samples, and none for generated ones.

    Only outputs count that D itself learns to tell the two kinds apart by.
    """
    own, alone = set(record.own(side)), _alone(record, side, judge)
    for network in judge.networks:
        its, mine = (_pulled(record, network, events) for events in (set(record.own(judge)) - own, own))
        for number in {n for n, made in its if made and (n, False) in its}:
            calls = mine.get((number, False), {})
            apart = [call for call, event in calls.items() if call.joined or not event.through.get(call, set()) & alone]
            if apart and (number, True) not in mine:
                return apart[0]
    return None


def _pulled(
    record: Record, network: str, events: set[Differentiation]
) -> dict[tuple[Number, bool], dict[Call, Differentiation]]:
    """The calls of a network whose answers some losses pull, by output and by generated or not."""
    found: dict[tuple[Number, bool], dict[Call, Differentiation]] = {}
    for call in record.all(Call):
        for (event, number, made), pull in call.pulls.items() if call.root == network else ():
            if event in events and pull.size:
                found.setdefault((number, made), {})[call] = event
    return found


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


def _unasked(record: Record, judge: Side) -> Fact | None:
    """One of several discriminators learns to tell generated samples, and no generator gets a gradient through it."""
    makers = [one for one in record.sides if one.role == "G"]
    good = {call.root for one in makers for _, call in _good(record, one, judge)}
    asked = {one.root for call in record.all(Call) if judge in call.sides for one in kept(call.inputs, Call)}
    for network in judge.networks:
        calls = _makers(record, judge, network)
        if calls and good and network not in good | asked:
            call = next(iter(calls.values()))
            names = " and ".join(one.name for one in makers)
            text = (
                f"{network} learns at {call.place} to tell generated samples, and {names} gets no gradient through it"
            )
            return Fact("adversarial", makers[0].name, "broken", text, (call.place,))
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
    good = [one for one in events if any(judge in c.sides and behind & alone for c, behind in one.through.items())]
    if good:  # none of the side's own
        text = (
            f"{side.name} gets no gradient through {judge.name}: that of the backward at {good[-1].place} is in no step"
        )
        return Fact("adversarial", side.name, "broken", f"{text} of {side.called}", (good[-1].place,))
    calls = [call for event in events for call in kept(event.origin, Call) if judge in call.sides]
    cuts = [cut for call in calls for cut in kept(call.inputs, Cut) if cut.behind & alone]
    if cuts:
        cut = max(cuts, key=lambda one: one.when)
        text = (
            f"what {judge.name} judged for {side.name} was cut off by {cut.name} at {cut.place}: no gradient comes back"
        )
        return Fact("adversarial", side.name, "broken", text, (cut.place,))
    lost = [cut for event in events for cut in kept(event.origin, Cut) if cut.behind & alone]
    after = [cut for cut in lost if calls and cut.when > calls[0].when and not cut.name.startswith("autograd")] or lost
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


def kept(origin: Iterable[Event], kind: type[Happened]) -> list[Happened]:
    """The events of a kind in an origin, in the order in which they happened."""
    return sorted((event for event in origin if isinstance(event, kind)), key=lambda event: event.when)
