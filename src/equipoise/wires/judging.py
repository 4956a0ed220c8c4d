"""Facts about judgements: what a discriminator is shown, what its answers are compared with, how they are pulled."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from equipoise.wires.events import Broadcast, Call, Differentiation, Mixture, Pull, Record, Squashed
from equipoise.wires.fact import Fact
from equipoise.wires.players import Side, several
from equipoise.wires.where import Place


def inputs(record: Record, side: Side) -> Iterator[Fact]:
    """In its own turn a discriminator judges real and generated samples."""
    calls = [[call for call in event.through if side in call.sides] for event in record.own(side)]
    seen = [call for group in calls for call in group]
    kinds = {kind for call in seen for kind in call.ranges}
    twice = [(a, b) for group in calls for a in group for b in group if a.when < b.when and a.storages & b.storages]
    if not seen:
        yield Fact("inputs", side.name, "untold", f"{side.name} was not called in its own turn")
    elif kinds == {True, False}:
        yield _scales(record, side, seen)
    elif (
        kinds == {True}
        and not any(event.reversed for event in record.own(side))  # as of two domains that go through one network
        and all(_pure(call) for call in seen)
        and sum(len(one.networks) for one in record.sides if one.role == "G") == 1
    ):
        text = f"all that {side.name} judged in its own turn, at {_lines(seen)}, came from the generator"
        yield Fact("inputs", side.name, "broken", text, tuple(call.place for call in seen))
    elif kinds == {False} and twice:
        first, second = twice[0]
        text = f"{side.name} judged the same samples at {first.place} and {second.place}, and none that were generated"
        yield Fact("inputs", side.name, "broken", text, (first.place, second.place))
    else:
        yield Fact("inputs", side.name, "untold", "which of the samples were generated could not be followed")


def _pure(call: Call) -> bool:
    """Whether all that went in was generated, and nothing else had gone into that."""
    return not call.mixed and not any(isinstance(event, Mixture) for event in call.inputs)


def _scales(record: Record, side: Side, calls: list[Call]) -> Fact:
    """Whether real samples are where a generator with a bounded last layer can follow."""
    bounds = [call.bound for call in record.all(Call) if call.of("G") and call.bound is not None]
    low, high = bounds[0] if bounds else (-float("inf"), float("inf"))
    room = 0.5 * (high - low)  # for noise and augmentations
    real, fake = (_extent(calls, made) for made in (False, True))
    within = [low - room <= one[0] and one[1] <= high + room for one in (real, fake)]
    if within[0] or not within[1]:
        return Fact("inputs", side.name, "holds", f"{side.name} judged real and generated samples")
    text = (
        f"the generator's last layer keeps its samples within {low:g} and {high:g}; the real ones that {side.name} "
        f"judged, at {_lines(calls)}, go from {real[0]:.3g} to {real[1]:.3g}"
    )
    return Fact("inputs", side.name, "broken", text, tuple(call.place for call in calls))


def _extent(calls: list[Call], generated: bool) -> tuple[float, float]:
    """The smallest and the largest value of all samples of a kind."""
    seen = [call.ranges[generated] for call in calls if generated in call.ranges]
    return min(one[0] for one in seen), max(one[1] for one in seen)


def shapes(record: Record, side: Side) -> Iterator[Fact]:
    """Judgements and targets fit each other."""
    differentiated = {event for one in record.all(Differentiation) for event in one.origin}
    broadcasts = [event for event in record.all(Broadcast) if side in event.sides and event in differentiated]
    found = {event.place: event for event in broadcasts}
    for event in found.values():
        n = event.size
        text = (
            f"{event.name} at {event.place} compares {side.name}'s judgements [{n}, 1] with targets [{n}]: that is "
            f"broadcast to [{n}, {n}], every sample against every target; reshape one of them"
        )
        yield Fact("shapes", side.name, "broken", text, (event.place,))
    if not found:
        yield Fact("shapes", side.name, "holds", f"no target was broadcast against {side.name}'s judgements")


def logits(record: Record, side: Side) -> Iterator[Fact]:
    """A loss for logits is given logits."""
    differentiated = {event for one in record.all(Differentiation) for event in one.origin}
    wrong = [event for event in record.all(Squashed) if side in event.sides and event in differentiated]
    for event in {one.place: one for one in wrong}.values():
        text = f"{event.name} at {event.place} applies a {event.by} to {side.name}'s answers, which end in one already"
        yield Fact("logits", side.name, "broken", text, (event.place,))
    if not wrong:
        yield Fact("logits", side.name, "holds", f"{side.name}'s answers go through no second sigmoid")


def direction(record: Record, side: Side, judge: Side) -> Iterator[Fact]:
    """A generator pulls the judgement of its samples to where the discriminator pulls that of real ones.

    Each network of a judge by itself: several discriminators may share an optimiser, as in a cycle.
    """
    told = {network: list(_direction(record, side, judge, network)) for network in judge.networks}
    found = [fact for facts in told.values() for fact in facts]
    unclear = [network for network, facts in told.items() if not facts]
    if any(fact.state == "broken" for fact in found):
        yield from (fact for fact in found if fact.state == "broken")
    elif found:
        rest = f"; of {several(unclear)} it cannot be told" if unclear else ""
        yield Fact("direction", side.name, "holds", f"{side.name} pulls against {judge.name}{rest}")
    else:
        text = f"{judge.name} and {side.name} do not pull its outputs clearly enough to tell"
        yield Fact("direction", side.name, "untold", text)


def _direction(record: Record, side: Side, judge: Side, network: str) -> Iterator[Fact]:
    """What can be told of one network of a judge; nothing where its outputs are not pulled clearly."""
    mine, its = set(record.own(side)), set(record.own(judge))
    real, fake = (_pulled(record, network, its - mine, made) for made in (False, True))
    pulled = _pulled(record, network, mine - its, True)
    both = [number for number in real if number in fake and real[number].size and fake[number].size]
    if both and all(_alike(real[number], fake[number]) for number in both):
        place = _place(record, judge, network)
        text = f"the backward at {place} pulls {network}'s judgements of real and of generated samples the same way, "
        yield Fact("direction", judge.name, "broken", f"{text}and as hard: are both called real?", (place,))
        return
    outputs = [n for n in real if n in pulled and _clear(real[n], 0.5) and _clear(pulled[n], 0.9)]
    against = [n for n in outputs if n not in fake or not fake[n].size or fake[n].total * real[n].total < 0]
    if not against:
        return
    if all(real[number].total * pulled[number].total > 0 for number in against):
        yield Fact("direction", side.name, "holds", f"{side.name} pulls against {network}")
        return
    places = _place(record, side, network), _place(record, judge, network)
    text = (
        f"the backward at {places[0]} moves {network}'s judgement of generated samples away from that of real ones, "
        f"as {network}'s own at {places[1]} does: {side.name} helps {network}; are the labels or the sign swapped in "
        "one of the two?"
    )
    yield Fact("direction", side.name, "broken", text, places)


def _place(record: Record, side: Side, network: str) -> Place:
    """Where a side went backward through a network of a discriminator."""
    return next(
        event.place for event in record.own(side) if any(one.of("D") and one.root == network for one in event.through)
    )


def _pulled(record: Record, network: str, events: set[Differentiation], generated: bool) -> dict[int, Pull]:
    """How some losses pull each output of a network of a discriminator, added up."""
    found: dict[int, Pull] = {}
    for call in record.all(Call):
        for (event, number, made), pull in call.pulls.items() if call.root == network else ():
            if event in events and made == generated and event.kind == "backward":
                found.setdefault(number, Pull()).add(pull)
    return found


def _clear(pull: Pull, share: float) -> bool:
    """Whether nearly all of a pull goes one way."""
    return pull.size > 0 and abs(pull.total) >= share * pull.size


def _alike(one: Pull, other: Pull) -> bool:
    """Whether two pulls go the same way and come from one and the same loss.

    Going the same way is not enough: least squares with two targets pulls answers below both of them up. So a curve is
    laid through the gradients of the one, over the answers, and must foretell those of the other.
    """
    if not (_clear(one, 0.9) and _clear(other, 0.9) and one.total * other.total > 0 and one.points and other.points):
        return False
    (at, slope), (elsewhere, slopes) = (torch.tensor(pull.points, dtype=torch.float64).T for pull in (one, other))
    for here, there in zip(_curves(at), _curves(elsewhere), strict=True):
        weights = torch.linalg.lstsq(here, slope[:, None]).solution
        fits = (here @ weights)[:, 0], (there @ weights)[:, 0]
        if all(_close(fit, given) for fit, given in zip(fits, (slope, slopes), strict=True)):
            return True
    return False


def _curves(at: Tensor) -> list[Tensor]:
    """What the gradients of the usual losses are weighted sums of, whatever the targets.

    In this order: least squares, hinge and Wasserstein; cross entropy of logits; cross entropy of probabilities.
    """
    one = torch.ones_like(at)
    pairs = [(one, at), (one, torch.sigmoid(at)), (1 / at.clamp(min=1e-6), 1 / (1 - at).clamp(min=1e-6))]
    return [torch.stack(pair, 1) for pair in pairs]


def _close(fit: Tensor, given: Tensor) -> bool:
    return bool(((fit - given).abs() <= 1e-3 * given.abs().max()).all())


def _lines(calls: list[Call]) -> str:
    return ", ".join(dict.fromkeys(str(call.place) for call in calls))
