"""The direction: how a discriminator's answers are pulled by its own loss, and by a generator's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from equipoise.wires.events import Call, Differentiation, Edit, Number, Pull
from equipoise.wires.fact import Fact
from equipoise.wires.players import Side, several
from equipoise.wires.pulls import alike, clear, costs
from equipoise.wires.record import Record
from equipoise.wires.relative import compared
from equipoise.wires.targets import BEYOND, SAME, share, steady, turns, upward
from equipoise.wires.where import Place

Pulls = dict[Number, list[Pull]]  # by output, each batch by itself


def direction(record: Record, side: Side, judge: Side) -> Iterator[Fact]:
    """A generator pulls the judgement of its samples to where the discriminator pulls that of real ones.

    Each network of a judge by itself: several discriminators may share an optimiser, as in a cycle.
    """
    asked = [(call, one) for call in record.all(Call) for one in call.inputs if isinstance(one, Call)]
    inner = {one.root for call, one in asked if _asks(judge, call, one)}
    final = [network for network in judge.networks if network not in inner]
    told = {network: list(_of_network(record, side, judge, network)) for network in final}
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


def _asks(judge: Side, call: Call, other: Call) -> bool:
    """Whether one network of a discriminator is asked about what another one answered: that was no judgement yet."""
    return judge in call.sides and judge in other.sides and other.root != call.root


def _of_network(record: Record, side: Side, judge: Side, network: str) -> Iterator[Fact]:
    """What can be told of one network of a judge; nothing where its outputs are not pulled clearly.

    Where its parts are called one after another, as by a method of its own, the last ones give the answers.
    """
    calls = [call for call in record.all(Call) if call.root == network]
    names = {call.network for call in calls}
    inner = {one.network for call in calls for one in call.inputs
             if isinstance(one, Call) and one.network in names - {call.network}}  # fmt: skip
    parts = [[call for call in calls if call.network == name] for name in sorted(names - inner)]
    apart = [fact for part in parts for fact in _direction(record, side, judge, network, part)]
    last = [call for part in parts for call in part]
    yield from (
        apart or list(_direction(record, side, judge, network, last)) or _direction(record, side, judge, network, calls)
    )


def _direction(record: Record, side: Side, judge: Side, network: str, calls: list[Call]) -> Iterator[Fact]:
    """The same for the answers of some of its calls."""
    mine, its = set(record.own(side)), set(record.own(judge))
    if any(edit.turned and {side, judge} & set(edit.weights[0].sides) for edit in record.all(Edit)):
        return
    apart = [_apart(calls, its - mine, made, _descends(judge)) for made in (False, True)]
    matched = {number for event in mine for call in event.through if call in calls for number in call.likened}
    aim = _apart(calls, mine - its, True, _descends(side))
    aim = {number: pulls for number, pulls in aim.items() if number not in matched}
    real, fake = map(_summed, apart)
    both = [number for number in real if number in fake and real[number].size and fake[number].size]
    if any(costs(real[number]) and costs(fake[number]) for number in both):
        return
    if both and all(alike(real[number], fake[number]) for number in both):
        place = _place(record, judge, network)
        text = f"the backward at {place} pulls {network}'s judgements of real and of generated samples the same way, "
        yield Fact("direction", judge.name, "broken", f"{text}and as hard: are both called real?", (place,))
        return
    if not real and (fact := _by_makers(record, side, judge, network, calls)) is not None:
        yield fact
        return
    right = _by_targets(apart[0], apart[1], aim) or _by_signs(apart[0], apart[1], aim)
    if right and all(right):
        yield Fact("direction", side.name, "holds", f"{side.name} pulls against {network}")
    elif right and not any(right):
        yield _helps(record, side, judge, network)


def _by_targets(real: Pulls, fake: Pulls, aim: Pulls) -> list[bool]:
    """Whether a generator pulls the right way, for each output whose targets, D's at least, are known.

    Where G's own target is neither near D's for real samples nor D's for generated ones, both is said.
    """
    right: list[bool] = []
    for number in real.keys() & fake.keys() & aim.keys():
        near = share(real[number], fake[number], aim[number])
        up, pull = upward(real[number], fake[number]), _summed(aim)[number]
        if near is not None:
            right += [True] if near >= BEYOND else [False] if near <= SAME else [True, False]
        elif up is not None and steady(aim[number]) and clear(pull, 0.9):
            right.append(up == (pull.total < 0))
    return right


def _by_signs(real: Pulls, fake: Pulls, aim: Pulls) -> list[bool]:
    """The same for each output of which D's losses pull real and generated samples' answers opposite ways.

    Where they pull them to each other they may have targets that were passed, and their signs tell nothing then.
    Where real ones are pulled both ways, as those are that stand beside a wrong text, the generated ones have to tell.
    """
    ours, theirs, pulled = map(_summed, (real, fake, aim))
    right = []
    for n in ours.keys() & pulled.keys():
        opposed = not theirs or (n in theirs and (not theirs[n].size or theirs[n].total * ours[n].total < 0))
        passed = _together(ours[n], theirs.get(n)) and not (steady(real[n]) and steady(fake[n]) and not turns(aim[n]))
        if opposed and not passed and clear(ours[n], 0.5) and clear(pulled[n], 0.9):
            right.append(ours[n].total * pulled[n].total > 0)
        elif not clear(ours[n], 0.5) and n in theirs and steady(fake[n]) and steady(aim[n]):
            right += [theirs[n].total * pulled[n].total < 0] if clear(theirs[n], 0.9) and clear(pulled[n], 0.9) else []
    return right


def _by_makers(record: Record, side: Side, judge: Side, network: str, calls: list[Call]) -> Fact | None:
    """The same where all that D judges is generated in part, by different networks, as pairs of sample and code are.

    D pulls its answers for the two kinds apart, by a loss that does so for ever, and G each kind the other way.
    """
    mine, its = set(record.own(side)), set(record.own(judge))
    theirs, ours = (_made(calls, events, _descends(one)) for events, one in ((its - mine, judge), (mine - its, side)))
    for number in {number for number, _ in theirs}:
        kinds = {key: pull for key, pull in theirs.items() if key[0] == number and pull.size}
        opposed = len(kinds) == 2 and min(p.total for p in kinds.values()) < 0 < max(p.total for p in kinds.values())
        shared = [key for key in kinds if key in ours and ours[key].size]
        pulls = [*kinds.values(), *(ours[key] for key in shared)]
        if not (opposed and shared and steady(pulls) and all(clear(pull, 0.9) for pull in pulls)):
            continue
        right = [kinds[key].total * ours[key].total < 0 for key in shared]
        if all(right):
            return Fact("direction", side.name, "holds", f"{side.name} pulls against {network}")
        if not any(right):
            return _helps(record, side, judge, network)
    return None


def _made(calls: list[Call], events: set[Differentiation], down: bool) -> dict[tuple[Number, frozenset[str]], Pull]:
    """How some losses pull each output of some calls, by the generators' networks that what it judged comes from."""
    found: dict[tuple[Number, frozenset[str]], Pull] = {}
    for call in calls:
        makers = frozenset(one.root for one in call.inputs if isinstance(one, Call) and one.of("G"))
        for (event, number, _), pull in call.pulls.items() if not call.joined else ():
            if event in events and number not in call.likened:
                found.setdefault((number, makers), Pull()).add(pull if down else pull.turned())
    return found


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


def _summed(apart: Pulls) -> dict[Number, Pull]:
    """All pulls of each output together."""
    found: dict[Number, Pull] = {}
    for number, pulls in apart.items():
        for pull in pulls:
            found.setdefault(number, Pull()).add(pull)
    return found


def _together(real: Pull, fake: Pull | None) -> bool:
    """Whether a discriminator's answers for real and for generated samples are pulled to each other."""
    if fake is None or not real.points or not fake.points:
        return False
    means = [sum(at for at, _ in pull.points) / len(pull.points) for pull in (real, fake)]
    return (means[0] - means[1]) * real.total > 0


def _apart(calls: list[Call], events: set[Differentiation], generated: bool, down: bool) -> Pulls:
    """How some losses, which an optimiser goes down or up, pull each output of some calls, each batch by itself."""
    found: dict[Number, list[Pull]] = {}
    for call in calls:
        for (event, number, made), pull in call.pulls.items():
            inner = bool(event.near) and (call, number) not in event.near  # features, or a step of D's that is unrolled
            if event in events and made == generated and not inner and (event.kind == "backward" or event.straight):
                seen = replace(pull, against=compared(calls, event, number, made))
                found.setdefault(number, []).append(seen if down else seen.turned())
    return found


def _descends(side: Side) -> bool:
    """Whether an optimiser goes down its loss, as most do."""
    groups = [group for one in side.optimisers for group in getattr(one, "param_groups", [])]
    return not groups or not all(group.get("maximize") for group in groups)
