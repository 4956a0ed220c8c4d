"""Facts about judgements: what a discriminator is shown, and what its answers are compared with."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from typing import TypeVar

from equipoise.wires.events import Call, Differentiation, Mixture, Number, Step
from equipoise.wires.fact import Fact
from equipoise.wires.players import Side
from equipoise.wires.record import Record
from equipoise.wires.remarks import Broadcast, Squashed

Remark = TypeVar("Remark", Broadcast, Squashed)
FREE = (-float("inf"), float("inf"))
NOISY = 0.5  # of a generator's range: how far beyond it real samples may be, for noise
ALTERED = 4.0  # the same where generated ones are changed in value, too, as by augmentations of colour


def inputs(record: Record, side: Side) -> Iterator[Fact]:
    """In its own turn a discriminator judges real and generated samples."""
    groups = [[call for call in event.through if side in call.sides] for event in record.own(side)]
    seen = [call for group in groups for call in group]
    kinds = {kind for call in seen for kind in call.ranges}
    alone = _repeated(side, seen)
    twice = [(a, b) for group in groups for a in group for b in group if a.when < b.when and a.storages == b.storages]
    if (fact := _both_ways(record, side)) is not None:
        yield fact
    elif not seen:
        yield Fact("inputs", side.name, "untold", f"{side.name} was not called in its own turn")
    elif alone is not None:
        text = f"{alone.root} is shown the same samples twice at {alone.place}, and never any of the other kind"
        yield Fact("inputs", side.name, "broken", text, (alone.place,))
    elif kinds == {True, False}:
        yield _scales(record, side, seen)
    elif kinds == {True} and _pure(seen) and not _two_domains(record, side, groups):
        text = f"all that {side.name} judged in its own turn, at {_lines(seen)}, came from the generator"
        yield Fact("inputs", side.name, "broken", text, tuple(call.place for call in seen))
    elif kinds == {False} and twice:
        first, second = twice[0]
        text = f"{side.name} judged the same samples at {first.place} and {second.place}, and none that were generated"
        yield Fact("inputs", side.name, "broken", text, (first.place, second.place))
    else:
        yield Fact("inputs", side.name, "untold", "which of the samples were generated could not be followed")


def _both_ways(record: Record, side: Side) -> Fact | None:
    """The very same samples are learnt as real and as generated: each answer for them is pulled both ways.

    Generated ones may equal real ones for once, as where a last layer begins at zero; so they have to each time.
    """
    for network in side.networks:
        found = [_same(step, network) for step in record.steps(side) if step.consumed()]
        for one in found:
            if one is not None and (one[0].generated == one[1].generated or all(found)):
                first, second = one
                text = (
                    f"{network} is shown the very same samples at {first.place} and at {second.place}, and its answers "
                    "for them are pulled one way and the other: are real ones taken for generated ones?"
                )
                return Fact("inputs", side.name, "broken", text, (first.place, second.place))
    return None


def _same(step: Step, network: str) -> tuple[Call, Call] | None:
    """Two calls of a network with the same arguments whose answers a step's losses pull opposite ways, every one.

    If both are of a kind, no sample is judged once only: some may be there twice for a second term.
    """
    calls = {call for event in step.consumed() for call in event.through if call.root == network and _at(step, call)}
    seen = Counter(call.given for call in calls)
    for pair in itertools.combinations(sorted(calls, key=lambda call: call.when), 2):
        alone = pair[0].generated != pair[1].generated or all(times > 1 for times in seen.values())
        if alone and pair[0].given == pair[1].given and _opposed(step, *pair):
            return pair
    return None


def _opposed(step: Step, first: Call, second: Call) -> bool:
    pulls = [_at(step, call) for call in (first, second)]
    products = [a * b for number in pulls[0].keys() & pulls[1].keys()
                for a, b in zip(pulls[0][number], pulls[1][number], strict=False)]  # fmt: skip
    return len(products) > 1 and max(products) <= 0 and min(products) < 0


def _at(step: Step, call: Call) -> dict[Number, list[float]]:
    """The gradients of a step's losses at each of a call's outputs, but for what is compared with other answers."""
    pulls = {n: pull for (event, n, _), pull in call.pulls.items() if event in step.consumed() and pull.size}
    return {number: [slope for _, slope in pull.points] for number, pull in pulls.items() if number not in call.likened}


def _repeated(side: Side, seen: list[Call]) -> Call | None:
    """A call of a network that is given the same samples twice each time, and real or generated ones only."""
    for network in side.networks:
        calls = [call for call in seen if call.root == network]
        if (
            calls
            and all(call.repeated for call in calls)
            and len({kind for call in calls for kind in call.ranges}) == 1
        ):
            return calls[0]
    return None


def _pure(calls: list[Call]) -> bool:
    """Whether all samples were generated, and nothing else had gone into them; conditions have another shape."""
    shapes = [{shape for call in calls for made, shape in call.kinds if made == kind} for kind in (False, True)]
    return not shapes[0] & shapes[1] and not any(isinstance(one, Mixture) for call in calls for one in call.inputs)


def _two_domains(record: Record, side: Side, groups: list[list[Call]]) -> bool:
    """Whether generated samples alone may be meant: of two generators, or of two domains that one network encodes.

    An encoder reads data, not noise, and has another loss beside the discriminator's, or a reversed gradient.
    """
    if any(event.reversed for event in record.own(side)):
        return True
    if sum(len(one.networks) for one in record.sides if one.role == "G") > 1:
        return True
    if any(len(group) > 1 and len({call.sums for call in group}) == 1 for group in groups):  # the same ones twice
        return False
    makers = {event for group in groups for call in group for event in call.inputs if isinstance(event, Call)}
    return _other_loss(record) or not any(maker.drawn for maker in makers if maker.of("G"))


def _other_loss(record: Record) -> bool:
    """Whether a generator is moved by something that no discriminator has judged."""
    moved = {weight for event in record.all(Differentiation) for weight in event.aside & event.written}
    return any(one.role == "G" for weight in moved for one in weight.sides)


def _scales(record: Record, side: Side, calls: list[Call]) -> Fact:
    """Whether real samples are where a generator with a bounded last layer can follow."""
    makers = [call for call in record.all(Call) if call.of("G") and call.bound is not None]
    low, high = makers[0].bound or FREE if makers else FREE
    real, fake = (_extent(calls, made) for made in (False, True))
    room = (ALTERED if makers and _altered(makers, fake) else NOISY) * (high - low)
    within = [low - room <= one[0] and one[1] <= high + room for one in (real, fake)]
    if within[0] or not within[1]:
        return Fact("inputs", side.name, "holds", f"{side.name} judged real and generated samples")
    text = (
        f"the generator's last layer keeps its samples within {low:g} and {high:g}; the real ones that {side.name} "
        f"judged, at {_lines(calls)}, go from {real[0]:.3g} to {real[1]:.3g}"
    )
    return Fact("inputs", side.name, "broken", text, tuple(call.place for call in calls))


def _altered(makers: list[Call], fake: tuple[float, float]) -> bool:
    """Whether generated samples were judged outside of what generators gave, as where contrast is changed at random."""
    given = min(one.span[0] for one in makers), max(one.span[1] for one in makers)
    slack = 0.02 * (given[1] - given[0])
    return fake[0] < given[0] - slack or given[1] + slack < fake[1]


def _extent(calls: list[Call], generated: bool) -> tuple[float, float]:
    """The smallest and the largest value of all samples of a kind."""
    seen = [call.ranges[generated] for call in calls if generated in call.ranges]
    return min(one[0] for one in seen), max(one[1] for one in seen)


def shapes(record: Record, side: Side) -> Iterator[Fact]:
    """Judgements and targets fit each other."""
    found = _differentiated(record, Broadcast, side)
    for event in found:
        n = event.size
        text = (
            f"{event.name} at {event.place} compares {side.name}'s judgements {event.shapes[0]} with {event.others} "
            f"{event.shapes[1]}: that is broadcast to [{n}, {n}], every one against every other; reshape one of them"
        )
        yield Fact("shapes", side.name, "broken", text, (event.place,))
    if not found:
        yield Fact("shapes", side.name, "holds", f"no target was broadcast against {side.name}'s judgements")


def logits(record: Record, side: Side) -> Iterator[Fact]:
    """A loss for logits is given logits."""
    found = _differentiated(record, Squashed, side)
    for event in found:
        what = "answers" if side.role == "D" else "outputs"
        text = f"{event.name} at {event.place} applies a {event.by} to {side.name}'s {what}, which end in one already"
        yield Fact("logits", side.name, "broken", text, (event.place,))
    if not found and side.role == "D":
        yield Fact("logits", side.name, "holds", f"{side.name}'s answers go through no second sigmoid")


def _differentiated(record: Record, kind: type[Remark], side: Side) -> list[Remark]:
    """What was remarked of a side's answers on the way to a loss that went backward, once a line."""
    origin = {event for one in record.all(Differentiation) for event in one.origin}
    return list({one.place: one for one in record.all(kind) if side in one.sides and one in origin}.values())


def _lines(calls: list[Call]) -> str:
    return ", ".join(dict.fromkeys(str(call.place) for call in calls))
