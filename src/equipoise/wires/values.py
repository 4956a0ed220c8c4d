"""Facts about values and modes: eval where training is meant, numbers that are not finite, the scaler's order."""

from __future__ import annotations

from collections.abc import Iterator

from equipoise.wires.events import Differentiation, Edit, Happened, Scaling, Step
from equipoise.wires.fact import Fact, State, named
from equipoise.wires.gradients import kept
from equipoise.wires.players import Side, several
from equipoise.wires.record import Record
from equipoise.wires.remarks import Hiding, Unsound


def modes(record: Record, side: Side) -> Iterator[Fact]:
    """A side is in training mode where its own loss is formed."""
    calls = [call for event in record.own(side) for call in event.through if side in call.sides]
    asleep = [call for call in calls if not call.training and call.asleep]
    partly = sorted({layer for call in calls if call.training for layer in call.asleep})
    if not calls:
        yield Fact("modes", side.name, "untold", f"no call of {side.name} was seen in its own turn")
    elif asleep:
        call = min(asleep, key=lambda one: one.when)
        layers = several([f"{call.network}.{name}" if name else call.network for name in call.asleep])
        text = f"{call.network} was in eval mode at {call.place}, in its own turn; it matters for {layers}"
        yield Fact("modes", side.name, "broken", text, (call.place,))
    elif partly:
        yield Fact("modes", side.name, "note", f"in training mode but for {several(partly)}")
    elif not all(call.training for call in calls):
        yield Fact("modes", side.name, "note", "in eval mode, in its own turn; no layer is known to differ there")
    else:
        yield Fact("modes", side.name, "holds", f"{side.name} was in training mode in its own turn")


def finite(record: Record) -> Iterator[Fact]:
    """Losses, gradients and weights are finite, and nothing hides where they are not."""
    broken = [fact for kind in (_hidden, _born, _losses, _gradients, _weights) for fact in kind(record)]
    yield from broken
    if not any(fact.state == "broken" for fact in broken):
        yield Fact("finite", "", "holds", "all losses, gradients and weights were finite")


def _hidden(record: Record) -> Iterator[Fact]:
    for hiding in _once(record.all(Hiding)):
        source = f" that arose in {hiding.sources[0].name} at {hiding.sources[0].place}" if hiding.sources else ""
        what = "in a gradient" if hiding.gradient else "in the loss" if hiding.single else "among other values"
        text = f"{hiding.name} at {hiding.place} hid a NaN {what}{source}"
        state: State = "broken" if hiding.gradient or hiding.single else "note"
        yield Fact("finite", "", state, text, (hiding.place, *(one.place for one in hiding.sources[:1])))


def _born(record: Record) -> Iterator[Fact]:
    """Losses that came out as NaN and were left out."""
    known = {source for hiding in record.all(Hiding) for source in hiding.sources}
    used = {event for one in record.all(Differentiation) for event in one.origin}
    for event in _once([one for one in record.all(Unsound) if one.single and one.matters and one not in known | used]):
        text = f"{event.name} at {event.place} gave NaN, and what depends on it never went backward"
        yield Fact("finite", "", "broken", text, (event.place,))


def _losses(record: Record) -> Iterator[Fact]:
    for event in _once([one for one in record.all(Differentiation) if not one.finite and not _scale(one)]):
        source = kept(event.origin, Unsound)
        where = f"; NaN arose in {source[0].name} at {source[0].place}" if source else ""
        yield Fact(
            "finite", "", "broken", f"the loss differentiated at {event.place} is not finite{where}", (event.place,)
        )


def _gradients(record: Record) -> Iterator[Fact]:
    for event in _once([one for one in record.all(Differentiation) if one.unsound and one.finite]):
        text = f"the backward at {event.place} left gradients that are not finite in {named(event.unsound)}"
        if _scale(event):
            yield Fact(
                "finite", "", "note", f"{text}: the scaler skips such steps until its scale fits", (event.place,)
            )
        else:
            yield Fact("finite", "", "broken", f"{text}, from a loss that is", (event.place,))
    for step in _once([one for one in record.all(Step) if one.unsound and one.scaled_by is None]):
        if not any(event.unsound or not event.finite for event in step.consumed()):
            text = (
                f"the gradients of {named(step.unsound)} were not finite at {step.side.called}.step() at {step.place}"
            )
            yield Fact("finite", "", "broken", text, (step.place,))


def _weights(record: Record) -> Iterator[Fact]:
    for step in _once([one for one in record.all(Step) if one.broke]):
        text = f"{step.side.called}.step() at {step.place} left {named(step.broke)} not finite"
        yield Fact("finite", "", "broken", text, (step.place,))


def _once(events: list[Happened]) -> list[Happened]:
    """One event a place."""
    return list({event.place: event for event in reversed(events)}.values())


def _scale(event: Differentiation) -> Scaling | None:
    """The scaling that a loss went through."""
    scalings = [one for one in kept(event.origin, Scaling) if one.what == "scale"]
    return scalings[-1] if scalings else None


def _scaler(event: Differentiation) -> object | None:
    """The scaler that multiplied a loss last; another may have served for a gradient that is part of it."""
    scaling = _scale(event)
    return None if scaling is None else scaling.scaler


def scaler(record: Record) -> Iterator[Fact]:
    """Scale, backward, unscale, clip, step, update: in this order."""
    calls = record.all(Scaling)
    if not calls:
        yield Fact("scaler", "", "untold", "no GradScaler was used")
        return
    broken = [fact for step in record.all(Step) for fact in _wrong_step(record, step)]
    broken += _clipped(record) + _updates(calls)
    yield from {(fact.side, fact.places): fact for fact in broken}.values()
    if not any(fact.state == "broken" for fact in broken):
        yield Fact("scaler", "", "holds", "scale, backward, step and update came in the right order")


def _wrong_step(record: Record, step: Step) -> Iterator[Fact]:
    name, call = step.side.called, f"{step.side.called}.step() at {step.place}"
    scaled = [event for event in step.consumed() if _scale(event)]
    plain = [event for event in step.consumed() if not _scale(event)]
    if scaled and plain and not step.unscaled:
        text = f"{call}: scaled gradients (of {scaled[0].place}) and unscaled ones (of {plain[0].place}) are added up"
        yield Fact("scaler", step.side.name, "broken", text, (step.place, scaled[0].place, plain[0].place))
    elif scaled and step.scaled_by is None and not step.unscaled:
        text = f"{call} used gradients still multiplied by the scale: call scaler.step({name}) instead"
        yield Fact("scaler", step.side.name, "broken", text, (step.place,))
    elif scaled and step.scaled_by is None:
        text = f"{call} is none of the scaler's: along gradients that are not finite it would step, too"
        yield Fact("scaler", step.side.name, "note", text, (step.place,))
    elif other := [event for event in scaled if step.scaled_by not in (None, _scaler(event))]:
        text = f"{call} is made by another scaler than the one that multiplied the loss, at {other[0].place}"
        yield Fact("scaler", step.side.name, "broken", text, (step.place, other[0].place))
    elif plain and step.scaled_by is not None:
        text = f"{call} divided by the scale the gradients of a loss that was never scaled, at {plain[0].place}"
        yield Fact("scaler", step.side.name, "broken", text, (step.place, plain[0].place))
    updates = [one for one in record.all(Scaling) if one.what == "update" and one.when < step.when]
    for event in scaled:
        between = [one for one in updates if one.when > event.when and one.scaler is step.scaled_by]
        if between:
            text = f"the scaler was updated at {between[0].place}, between the backward at {event.place} and {call}"
            yield Fact("scaler", step.side.name, "broken", text, (between[0].place, step.place))


def _clipped(record: Record) -> list[Fact]:
    """Gradients clipped while they are multiplied by the scale."""
    found = []
    for edit in [one for one in record.all(Edit) if one.gradients and one.clips]:
        side = edit.weights[0].sides[0]
        last = [one for one in record.all(Differentiation) if one.when < edit.when and one.written & set(edit.weights)]
        since = last[-1].when if last else edit.when
        undone = any(one.what == "unscale_" and since < one.when < edit.when for one in record.all(Scaling))
        if last and _scale(last[-1]) and not undone:
            text = f"{edit.name} at {edit.place} clipped {named(edit.weights)} while still multiplied by the scale: "
            text += f"call scaler.unscale_({side.called}) before"
            found.append(Fact("scaler", side.name, "broken", text, (edit.place,)))
    return found


def _updates(calls: list[Scaling]) -> list[Fact]:
    """Scalers that step and are never updated."""
    stepping = {id(one.scaler): one for one in calls if one.what == "step"}
    updated = {id(one.scaler) for one in calls if one.what == "update"}
    text = "scaler.step at {} and no scaler.update: the scale can never adapt"
    never = [one for key, one in stepping.items() if key not in updated]
    return [Fact("scaler", "", "broken", text.format(one.place), (one.place,)) for one in never]
