"""Facts about gradients: whether every trainable tensor gets one."""

from __future__ import annotations

from collections.abc import Iterator

from equipoise.wires.events import Call, Cut, Differentiation, Number
from equipoise.wires.fact import Fact, named
from equipoise.wires.gradients import kept
from equipoise.wires.players import Side, Weight
from equipoise.wires.record import Record


def reached(record: Record, side: Side) -> Iterator[Fact]:
    """Every trainable tensor of a side gets a gradient from its loss."""
    steps, events = record.steps(side), record.own(side)
    held = {w for w in record.weights if side in w.sides and side in w.optimisers and w.trained}
    early = [step for step in steps if not step.frozen & record.lately(step)]  # else frozen after the backward
    stopped = {step: (held & step.frozen) - set(step.ledgers) for step in early}
    frozen = set().union(*stopped.values())
    got = {weight for event in events for weight in event.written}
    if frozen:
        step = next(step for step in early if stopped[step])
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
    elif spared := [event for event in events if event.chosen and event.reachable & missing]:
        text = f"{named(spared[0].reachable & missing)} take part in the loss at {spared[0].place} and are not among "
        yield Fact("reached", side.name, "broken", f"{text}the `inputs` of that backward", (spared[0].place,))
    elif idle := _unmoved(record, side, missing):
        text = f"no tensor of {idle.root} gets a gradient in any step of {side.called}, though {idle.root} is called"
        yield Fact("reached", side.name, "broken", f"{text} at {idle.place}", (idle.place,))
    elif judging := _untrained(record, side, missing):
        text = f"{named(missing)} get no gradient from {side.name}'s loss, and the loss at {judging[0].place} goes "
        yield Fact(
            "reached",
            side.name,
            "broken",
            f"{text}through them: what they answer was never learnt",
            (judging[0].place,),
        )
    elif missing:
        yield Fact("reached", side.name, "note", f"no gradient and no part in the loss: {named(missing)}")
    elif not frozen:
        yield Fact("reached", side.name, "holds", f"all {len(held)} trainable tensors got a gradient")


def _untrained(record: Record, side: Side, missing: set[Weight]) -> list[Differentiation]:
    """Generators' losses that go through tensors of a discriminator's which its own does not reach.

    While it is frozen only its outputs can tell: one that generators' losses pull, and none of its own.
    """
    its = set(record.own(side))
    if side.role != "D" or not missing:
        return []
    theirs = [event for one in record.sides if one.role == "G" for event in record.own(one) if event not in its]
    asked, learnt = (_pulled_at(record, side, events) for events in (set(theirs), its))
    return [one for one in theirs if one.reachable & missing] or [asked[key] for key in asked.keys() - learnt.keys()]


def _pulled_at(record: Record, side: Side, events: set[Differentiation]) -> dict[tuple[str, Number], Differentiation]:
    """The outputs of a discriminator's networks that some losses pull, and one such loss each."""
    calls = [call for call in record.all(Call) if side in call.sides]
    pulls = [
        (call.network, number, event) for call in calls for (event, number, _), pull in call.pulls.items() if pull.size
    ]
    return {(network, number): event for network, number, event in pulls if event in events}


def _unmoved(record: Record, side: Side, missing: set[Weight]) -> Call | None:
    """The first call of one of a side's networks that is without any gradient, while the others have some."""
    for name in side.networks:
        held = [weight for weight in record.weights if side in weight.optimisers]
        whole = {weight for weight in held if any(one.startswith(f"{name}.") for one in weight.names)}
        calls = [call for call in record.all(Call) if call.root == name]
        if calls and whole and whole <= missing:
            return calls[0]
    return None
