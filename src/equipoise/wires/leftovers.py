"""Facts about what is left over: gradients of another time or of the other player, and those cleared in vain."""

from __future__ import annotations

from collections.abc import Iterator

from equipoise.wires.events import Clearing, Differentiation, Edit, Outside, Step
from equipoise.wires.fact import Fact, named
from equipoise.wires.players import Side, Weight
from equipoise.wires.record import Record


def stale(record: Record, side: Side) -> Iterator[Fact]:
    """A side steps along its own loss's gradients of this time, and along nothing else."""
    steps = record.steps(side)
    found = _reused(side, steps) or _foreign(record, side, steps) or _doubled(side, steps)
    if found is not None:
        yield found
    elif len(steps) < 2:
        yield Fact(
            "stale",
            side.name,
            "untold",
            f"{len(steps)} steps of {side.called} seen; it takes two to see what is left over",
        )
    else:
        yield Fact(
            "stale", side.name, "holds", f"nothing was left over in the gradients that {side.called} stepped along"
        )
    yield from _wasted(record, side)
    yield from _discarded(record, side, steps)


def _reused(side: Side, steps: list[Step]) -> Fact | None:
    """A gradient that was stepped along before, by the same optimiser."""
    for number, step in enumerate(steps):
        for earlier in steps[:number]:
            again = {w: set(ledger) & set(earlier.ledgers.get(w, ())) for w, ledger in step.ledgers.items()}
            weights = {weight for weight, events in again.items() if events}
            if weights:
                event = next(iter(set().union(*again.values())))
                text = (
                    f"{side.called}.step() at {step.place} used the gradient of the backward at {event.place} again, "
                    f"in {named(weights)}: it had not been cleared; call {side.called}.zero_grad() each time"
                )
                return Fact("stale", side.name, "broken", text, (step.place, event.place))
    return None


def _foreign(record: Record, side: Side, steps: list[Step]) -> Fact | None:
    """A gradient that the other role stepped along as well."""
    for step in steps:
        for weight, ledger in step.ledgers.items():
            mine = [event for event in ledger if _roles(record, event) == {side.role}]
            both = [event for event in ledger if len(_roles(record, event)) == 2 and not _of_gradients(event)]
            if both and (mine or len(both) > 1):
                return _mixed(side, step, both[0], [w for w, events in step.ledgers.items() if both[0] in events])
            if both and _entangled(record, both[0]) and not both[0].reversed:
                text = (
                    f"one backward, at {both[0].place}, filled the gradients of G and D through the same call of D: "
                    f"in {weight.name} both players' losses are added up; go backward apart, or through a reversal"
                )
                return Fact("stale", side.name, "broken", text, (step.place, both[0].place))
    return None


def _doubled(side: Side, steps: list[Step]) -> Fact | None:
    """A loss that went backward by itself and as a summand of another."""
    pairs = {(part, whole): step for step in steps for ledger in step.ledgers.values()
             for whole in ledger for part in whole.parts & set(ledger)}  # fmt: skip
    for (part, whole), step in pairs.items():
        text = (
            f"{side.called}.step() at {step.place} used the gradient of the loss that went backward at {part.place} "
            f"twice: it is part of the loss that went backward at {whole.place}, too"
        )
        return Fact("stale", side.name, "broken", text, (part.place, whole.place))
    return None


def _discarded(record: Record, side: Side, steps: list[Step]) -> Iterator[Fact]:
    """Each time, a backward pass was cleared away before the step, and made again or never looked at.

    As in the accumulation of one batch only, or where the loss for real samples is cleared before that for others.
    """
    lost = [_discarded_before(record, step) for step in steps]
    if len(steps) > 1 and all(lost):
        clearing = next(one for one in lost if one is not None)
        event = clearing.lost[-1]
        text = (
            f"the gradient of the backward at {event.place} was cleared at {clearing.place}, before "
            f"{side.called}.step() at {steps[0].place}, and nothing had used it, each time: only what follows counts"
        )
        yield Fact("discarded", side.name, "broken", text, (event.place, clearing.place))


def _discarded_before(record: Record, step: Step) -> Clearing | None:
    """A gradient of a step's own loss that was cleared since the last step of anybody, while no weight changed."""
    since = max((one.when for one in record.all(Step) if one.when < step.when), default=-1)
    used = {event for one in record.all(Step) for event in one.consumed() | one.earlier}
    for clearing in record.all(Clearing):
        made = [event for event in clearing.lost if since < event.when and event not in used]
        again = [event for event in step.consumed() if any(event.place == one.place for one in made)]
        vain = bool(made) and step.consumed() and not any(event.read for event in clearing.lost)
        moves = [*record.all(Outside), *(edit for edit in record.all(Edit) if not edit.gradients)]
        moved = any(since < one.when < step.when for one in moves)
        if step.side in clearing.weight.sides and clearing.when < step.when and (again or vain) and not moved:
            return clearing
    return None


def _mixed(side: Side, step: Step, event: Differentiation, weights: list[Weight]) -> Fact:
    other = "D" if side.role == "G" else "G"
    text = (
        f"{side.called}.step() at {step.place} used the gradient of the backward at {event.place}, which is {other}'s, "
        f"added to its own in {named(weights)}: call {side.called}.zero_grad() between the two"
        + ("" if side.role == "D" else ", or detach the fakes that D learns from")
    )
    return Fact("stale", side.name, "broken", text, (step.place, event.place))


def _of_gradients(event: Differentiation) -> bool:
    """Whether a loss is made of weights' gradients, as in consensus optimisation: it is meant for both players."""
    return any(isinstance(one, Differentiation) and one.targets for one in event.origin)


def _roles(record: Record, event: Differentiation) -> set[str]:
    """The roles that stepped along a backward pass."""
    return {step.side.role for step in record.all(Step) if event in step.consumed()}


def _entangled(record: Record, event: Differentiation) -> bool:
    """Whether one call of a discriminator gave both roles all the gradient they stepped along."""
    ledgers = [ledger for step in record.all(Step) for ledger in step.ledgers.values() if event in ledger]
    return all(len(ledger) == 1 for ledger in ledgers) and any(
        call.of("D") and {"G", "D"} <= {s.role for w in behind & event.written if len(w.sides) == 1 for s in w.sides}
        for call, behind in event.through.items()
    )


def _wasted(record: Record, side: Side) -> Iterator[Fact]:
    """A discriminator's backward that runs on into the generator: cleared in time, and work for nothing."""
    for event in record.own(side) if side.role == "D" else ():
        into = {weight for weight in event.written if all(one.role == "G" for one in weight.sides)}
        if into and _roles(record, event) == {"D"}:
            text = f"the backward at {event.place} runs on into {named(into)}: detach the fakes and save that work"
            yield Fact("detached", side.name, "note", text, (event.place,))
            return
