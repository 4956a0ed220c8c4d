"""Gradients that are clipped, or changed by hand: are they those that the next step goes along?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from equipoise.wires.events import Clipped, Differentiation, Edit, Scaling, Step
from equipoise.wires.fact import Fact, named
from equipoise.wires.players import Weight
from equipoise.wires.record import Record
from equipoise.wires.where import Place


def clipping(record: Record) -> Iterator[Fact]:
    """Gradients that are clipped, or changed otherwise, are those of the step that follows."""
    edits = _edits(record)
    vain = {edit.place: (edit, step) for edit in edits if (step := _passed(record, edit, edits)) is not None}
    for edit, step in vain.values():
        did = f"{edit.name} at {edit.place} {'clipped' if edit.clips else 'changed'}"
        text = (
            f"{did} gradients that no step used, of {named(edit.weights)}; "
            f"the step that follows is {step.side.called}.step() at {step.place}"
        )
        yield Fact("clipping", step.side.name, "broken", text, (edit.place, step.place))
    early = list(_early(record))
    yield from early
    if edits and not vain and not early:
        yield Fact("clipping", "", "holds", "the gradients that were changed are those that were stepped along")


def _early(record: Record) -> Iterator[Fact]:
    """Gradients clipped where there are never any, and made afterwards: clipped before `backward`."""
    calls: dict[Place, list[Clipped]] = {}
    for one in record.all(Clipped):
        calls.setdefault(one.place, []).append(one)
    for place, seen in calls.items():
        first, weights = seen[0].when, {one.weight for one in seen}
        after = [step for step in record.all(Step) if step.when > first and weights & set(step.ledgers)]
        if after and all(one.empty for one in seen):
            event = max(after[0].consumed(), key=lambda one: one.when, default=None)
            made = f"the backward at {event.place}" if event is not None else "they are made"
            text = f"{place.called} at {place} finds no gradient to clip: it comes before {made}"
            yield Fact("clipping", after[0].side.name, "broken", text, (place,))


def _edits(record: Record) -> list[Edit]:
    """Changes of gradients; those that a line makes one after another, with no step between, are one."""
    found: dict[tuple[Place, int], Edit] = {}
    ends = [step.when for step in record.all(Step)]
    for one in (edit for edit in record.all(Edit) if edit.gradients):
        key = one.place, sum(end < one.when for end in ends)
        weights = [*found[key].weights, *one.weights] if key in found else one.weights
        found[key] = replace(one, weights=weights)
    return list(found.values())


def _passed(record: Record, edit: Edit, edits: list[Edit]) -> Step | None:
    """The step after a change of gradients that no step used, if those changed were not the ones to be changed.

    They were not if they were clipped when a step had used them, or if the next step goes along others that were there.
    """
    steps = record.all(Step)
    following = next((step for step in steps if step.when > edit.when), None)
    tried = sum(one.what == "step" for one in record.all(Scaling))
    skipped = tried > sum(step.scaled_by is not None and not step.skipped for step in steps)
    if following is None or any(_uses(step, edit) for step in steps) or skipped:
        return None
    last = [made[-1] for weight in edit.weights if (made := _written(record, weight, edit))]
    used = edit.clips and any(event in step.consumed() for event in last for step in steps if step.when < edit.when)
    there = following.consumed() and all(event.when < edit.when for event in following.consumed())
    since = max((step.when for step in steps if step.when < edit.when), default=-1)
    own = any(since < one.when < following.when and set(one.weights) & set(following.ledgers) for one in edits)
    return following if used or (there and not own) else None


def _written(record: Record, weight: Weight, edit: Edit) -> list[Differentiation]:
    """The backward passes before a change of gradients that wrote a weight's."""
    return [event for event in record.all(Differentiation) if event.when < edit.when and weight in event.written]


def _uses(step: Step, edit: Edit) -> bool:
    """Whether a step used gradients that an edit had changed."""
    ledgers = [step.ledgers[weight] for weight in edit.weights if weight in step.ledgers]
    return step.when > edit.when and any(ledger and ledger[0].when < edit.when for ledger in ledgers)
