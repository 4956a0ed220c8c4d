"""The direction: how a discriminator's answers are pulled by its own loss, and by a generator's."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from equipoise.wires.events import Call, Differentiation, Pull, Record
from equipoise.wires.fact import Fact
from equipoise.wires.players import Side, several
from equipoise.wires.targets import BEYOND, SAME, share, turns
from equipoise.wires.where import Place


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
    shares = _shares(record, network, its - mine, mine - its)
    if shares and all(one >= BEYOND for one in shares):
        yield Fact("direction", side.name, "holds", f"{side.name} pulls against {network}")
        return
    if shares and all(abs(one) <= SAME for one in shares):
        yield _helps(record, side, judge, network)
        return
    apart = [_apart(record, network, its - mine, made) for made in (False, True)]
    real, fake = map(_summed, apart)
    aim = _apart(record, network, mine - its, True)
    pulled = _summed(aim)
    both = [number for number in real if number in fake and real[number].size and fake[number].size]
    if both and all(_alike(real[number], fake[number]) for number in both):
        place = _place(record, judge, network)
        text = f"the backward at {place} pulls {network}'s judgements of real and of generated samples the same way, "
        yield Fact("direction", judge.name, "broken", f"{text}and as hard: are both called real?", (place,))
        return
    outputs = [n for n in real if n in pulled and _clear(real[n], 0.5) and _clear(pulled[n], 0.9)]
    against = [n for n in outputs if n not in fake or not fake[n].size or fake[n].total * real[n].total < 0]
    against = [n for n in against if not (_together(real[n], fake.get(n)) and _turning(n, apart, aim))]
    if not against:
        return
    if all(real[number].total * pulled[number].total > 0 for number in against):
        yield Fact("direction", side.name, "holds", f"{side.name} pulls against {network}")
        return
    yield _helps(record, side, judge, network)


def _shares(record: Record, network: str, its: set[Differentiation], mine: set[Differentiation]) -> list[float]:
    """How near a generator's targets are to those for real samples, for each output that has targets."""
    real, fake, pulled = (
        _apart(record, network, events, made) for events, made in ((its, False), (its, True), (mine, True))
    )
    each = [share(real[number], fake[number], pulled[number]) for number in real.keys() & fake.keys() & pulled.keys()]
    return [one for one in each if one is not None]


def _helps(record: Record, side: Side, judge: Side, network: str) -> Fact:
    places = _place(record, side, network), _place(record, judge, network)
    text = (
        f"the backward at {places[0]} moves {network}'s judgement of generated samples away from that of real ones, "
        f"as {network}'s own at {places[1]} does: {side.name} helps {network}; are the labels or the sign swapped in "
        "one of the two?"
    )
    return Fact("direction", side.name, "broken", text, places)


def _place(record: Record, side: Side, network: str) -> Place:
    """Where a side went backward through a network of a discriminator."""
    return next(
        event.place for event in record.own(side) if any(one.of("D") and one.root == network for one in event.through)
    )


def _summed(apart: dict[int, list[Pull]]) -> dict[int, Pull]:
    """All pulls of each output together."""
    found: dict[int, Pull] = {}
    for number, pulls in apart.items():
        for pull in pulls:
            found.setdefault(number, Pull()).add(pull)
    return found


def _turning(number: int, apart: list[dict[int, list[Pull]]], aim: dict[int, list[Pull]]) -> bool:
    """Whether D's losses, or G's, have targets that answers can be beyond: the sign of a pull tells little then."""
    return all(turns(one[number]) for one in apart) or turns(aim[number])


def _together(real: Pull, fake: Pull | None) -> bool:
    """Whether a discriminator's answers for real and for generated samples are pulled to each other."""
    if fake is None or not real.points or not fake.points:
        return False
    means = [sum(at for at, _ in pull.points) / len(pull.points) for pull in (real, fake)]
    return (means[0] - means[1]) * real.total > 0


def _apart(record: Record, network: str, events: set[Differentiation], generated: bool) -> dict[int, list[Pull]]:
    """How some losses pull each output of a network of a discriminator, each batch by itself."""
    found: dict[int, list[Pull]] = {}
    for call in record.all(Call):
        for (event, number, made), pull in call.pulls.items() if call.root == network else ():
            if event in events and made == generated and event.kind == "backward":
                found.setdefault(number, []).append(pull)
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
