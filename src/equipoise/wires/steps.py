"""Facts about steps: who was moved by whom, and along whose gradients."""

from __future__ import annotations

from collections.abc import Iterator

from equipoise.wires.events import Cut, Edit, Outside, Scaling, Step
from equipoise.wires.fact import Fact, named
from equipoise.wires.operations import FLAT
from equipoise.wires.players import Side, held_by
from equipoise.wires.record import Record
from equipoise.wires.remarks import Muted
from equipoise.wires.where import Place


def own(record: Record, side: Side) -> Iterator[Fact]:
    """A side's step changes the side, and nothing else."""
    steps = record.steps(side)
    if not steps:
        yield _never_stepped(record, side)
        return
    broken = [fact for step in steps for fact in _trespass(side, step)]
    idle = [step for step in steps if not any(side in weight.sides for weight in step.changed) and not step.skipped]
    broken += [_idle(record, side, step) for step in idle]
    broken += [_emptied(side, step) for step in steps if step not in idle and _cleared(record, side, step)]
    broken += _resting(record, side, steps)
    yield from dict.fromkeys(broken)
    moved = {weight for step in steps for weight in step.changed}
    if not broken:
        yield Fact("own", side.name, "holds", f"{len(steps)} steps of {side.called} changed {len(moved)} tensors of "
                                              f"{side.name} and no other")  # fmt: skip


def _never_stepped(record: Record, side: Side) -> Fact:
    tried = [event for event in record.all(Scaling) if event.what == "step" and event.optimiser in side.optimisers]
    if tried:
        text = (
            f"the scaler skipped all {len(tried)} steps of {side.called}, as it does until its scale fits: watch more"
        )
        return Fact("own", side.name, "untold", text, (tried[0].place,))
    text = f"{side.called}.step() was never called; if {side.name} moves less often than every iteration, watch more"
    return Fact("own", side.name, "broken", text)


def _resting(record: Record, side: Side, steps: list[Step]) -> Iterator[Fact]:
    """Those of a side's several optimisers that nobody asks to step, nor a scaler for them."""
    tried = [event.optimiser for event in record.all(Scaling) if event.what == "step"] + [
        one.optimiser for one in steps
    ]
    for optimiser in side.optimisers if len(side.optimisers) > 1 else ():
        own = set(map(id, held_by(optimiser)))
        held = [weight for weight in record.weights if id(weight.tensor) in own and side in weight.sides]
        if held and not any(optimiser is one for one in tried):
            text = f"one of {side.called}, {type(optimiser).__name__}, never stepped: {named(held)} stay as they are"
            yield Fact("own", side.name, "broken", f"{text}; if it moves less often than every iteration, watch more")


def _trespass(side: Side, step: Step) -> Iterator[Fact]:
    others = {weight for weight in step.changed if side not in weight.sides}
    if others:
        text = f"{side.called}.step() at {step.place} changed {named(others)}, which {side.name} does not have"
        yield Fact("own", side.name, "broken", text, (step.place,))


def _idle(record: Record, side: Side, step: Step) -> Fact:
    """A step that left the side as it was, and why."""
    start = f"{side.called}.step() at {step.place} changed nothing of {side.name}"
    held = [weight for weight in step.held if side in weight.sides]
    if not held:
        return Fact("own", side.name, "broken", f"{start}: {side.called} holds none of its tensors", (step.place,))
    if step.ledgers and step.rates and not any(step.rates):
        return Fact("own", side.name, "note", f"{start}: the learning rate is 0", (step.place,))
    if cleared := _cleared(record, side, step):
        text = f"{start}: its gradients were cleared at {cleared[-1]}, after backward and before the step"
        return Fact("own", side.name, "broken", text, (step.place, cleared[-1]))
    if not step.ledgers and step.frozen >= set(held):
        return Fact("own", side.name, "broken", f"{start}: requires_grad is False on all its tensors", (step.place,))
    muted = [event for one in step.consumed() for event in one.origin if isinstance(event, Muted)]
    if step.ledgers and step.zero and (muted or all(event.nil for event in step.consumed())):
        by = f", multiplied by 0 at {muted[0].place}" if muted else ", as hinge's is where all answers are beyond it"
        places = step.place, *(event.place for event in muted[:1])
        return Fact("own", side.name, "note", f"{start}: its loss was exactly 0{by}", places)
    if step.zero and any(side in weight.sides for one in record.steps(side) for weight in one.changed):
        why = "its gradient was exactly 0" if step.ledgers else "no gradient had reached it"
        text = f"{start}: {why}, and in other steps it was not so"
        return Fact("own", side.name, "note", text, (step.place,))
    flat = [event for one in step.consumed() for event in one.origin if isinstance(event, Cut) and event.name in FLAT]
    by = f" behind {flat[0].name} at {flat[0].place}" if flat else ""
    there = f"its gradient was exactly 0{by}" if step.zero else "though gradients were there"
    why = there if step.ledgers else "no gradient had reached it"
    return Fact("own", side.name, "broken", f"{start}: {why}", (step.place, *(cut.place for cut in flat[:1])))


def _cleared(record: Record, side: Side, step: Step) -> list[Place]:
    """Where all gradients of a step were cleared after the backward pass that made them; nothing if they were not."""
    held = [weight for weight in step.held if side in weight.sides]
    places = [weight.cleared for weight in held if weight.cleared is not None]
    return places if not step.ledgers and record.lately(step) & set(held) else []


def _emptied(side: Side, step: Step) -> Fact:
    place = next(weight.cleared for weight in reversed(step.held) if weight.cleared is not None)
    text = (
        f"{side.called}.step() at {step.place} had no gradient to go along: all were cleared at {place}, after backward"
    )
    return Fact(
        "own", side.name, "broken", f"{text}; what it changed comes of weight decay or momentum", (step.place, place)
    )


def outside(record: Record, side: Side) -> Iterator[Fact]:
    """Weights that were changed by something that is no step."""
    changed = {w for one in record.all(Outside) for w in one.weights if side in w.sides}
    if changed:
        by = [one for one in record.all(Edit) if not one.gradients and changed & set(one.weights)]
        how = f", by {by[0].name} at {by[0].place}" if by else ""
        text = f"changed between steps{how}: {named(changed)}"
        yield Fact("outside", side.name, "note", text, tuple(one.place for one in by[:1]))
