"""Facts about steps: who was moved by whom, and along whose gradients."""

from __future__ import annotations

from collections.abc import Iterator

from equipoise.wires.events import Clearing, Cut, Differentiation, Edit, Outside, Scaling, Step
from equipoise.wires.fact import Fact, named
from equipoise.wires.operations import FLAT
from equipoise.wires.players import Side, Weight, held_by
from equipoise.wires.record import Record
from equipoise.wires.remarks import Muted


def own(record: Record, side: Side) -> Iterator[Fact]:
    """A side's step changes the side, and nothing else."""
    steps = record.steps(side)
    if not steps:
        yield _never_stepped(record, side)
        return
    broken = [fact for step in steps for fact in _trespass(side, step)]
    idle = [step for step in steps if not any(side in weight.sides for weight in step.changed) and not step.skipped]
    broken += [_idle(record, side, step) for step in idle]
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
    cleared = [weight.cleared for weight in held if weight.cleared is not None]
    if not held:
        return Fact("own", side.name, "broken", f"{start}: {side.called} holds none of its tensors", (step.place,))
    if step.ledgers and step.rates and not any(step.rates):
        return Fact("own", side.name, "note", f"{start}: the learning rate is 0", (step.place,))
    if not step.ledgers and cleared and record.lately(step) & set(held):
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
        moved = any(since < one.when < step.when for one in record.all(Outside))
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


def outside(record: Record, side: Side) -> Iterator[Fact]:
    """Weights that were changed by something that is no step."""
    changed = {w for one in record.all(Outside) for w in one.weights if side in w.sides}
    if changed:
        by = [one for one in record.all(Edit) if not one.gradients and changed & set(one.weights)]
        how = f", by {by[0].name} at {by[0].place}" if by else ""
        text = f"changed between steps{how}: {named(changed)}"
        yield Fact("outside", side.name, "note", text, tuple(one.place for one in by[:1]))
