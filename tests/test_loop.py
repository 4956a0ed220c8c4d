"""One loop: its direction, its clock, cascades, freezing, exhaustion said once, hand-over, and what cannot work."""

import itertools
import json
import math

import pytest

from equipoise import loops
from equipoise.actuators import Handover, attribute
from equipoise.balancer import Balancer
from equipoise.controllers import PID, DeadBand, Hold, Limit, Ratio, Relay, Sign, Smooth
from equipoise.errors import InputError
from equipoise.loop import Loop
from test_actuators import made
from test_balancer import run


@pytest.mark.parametrize(("acting", "after"), [(1, 0.6), (-1, 0.4)])
def test_the_direction_in_which_a_loop_acts(acting, after):
    owner, p = made()
    run(Balancer(Loop("x", 1.0, Sign(0.1), p, acting), mode="act"), [2.0])
    assert owner.value == pytest.approx(after)


@pytest.mark.parametrize(
    ("mode", "value", "said"), [("act", 0.6, 1), ("advise", 0.5, 1), ("watch", 0.5, 1), ("off", 0.5, 0)]
)
def test_only_acting_moves(mode, value, said):
    owner, p = made()
    (decision,) = run(Balancer(Loop("x", 1.0, Sign(0.1), p), mode=mode), [2.0])
    assert owner.value == pytest.approx(value) and len(decision.moves) == said
    assert decision.judged == (mode != "off")


def test_a_closed_loop_reaches_its_target_and_stays():
    owner, p = made(0.0, 0.0, 10.0)
    balancer = Balancer(Loop("x", 3.0, PID(ki=0.5), p, -1), mode="act")
    for i in range(60):
        balancer.decide(1000 * (i + 1), {"x": 0.5 * owner.value + 1.0})
    assert owner.value == pytest.approx(4.0, abs=1e-3)


def test_the_time_that_has_passed_counts_and_not_the_number_of_looks():
    (one, p), (two, q) = made(0.0), made(0.0)
    for actuator, every in ((p, 1000), (q, 250)):
        balancer = Balancer(Loop("x", 1.0, Sign(0.1), actuator), mode="act")
        for samples in range(every, 4001, every):
            balancer.decide(samples, {"x": 2.0})
    assert one.value == pytest.approx(0.4) and two.value == pytest.approx(0.4)


def test_no_reading_no_move():
    owner, p = made()
    balancer = Balancer(Loop("x", 1.0, Sign(0.1), p), mode="act")
    run(balancer, [2.0])
    assert not balancer.decide(2000, {"y": 5.0}).moves and owner.value == pytest.approx(0.6)
    assert not balancer.decide(3000, {"x": math.nan}).moves and owner.value == pytest.approx(0.6)


def test_a_frozen_loop_and_one_that_has_not_begun():
    owner, p = made()
    loop = Loop("x", 1.0, Sign(0.1), p, begin_kimg=2.0)
    balancer = Balancer(loop, mode="act")
    run(balancer, [2.0])
    assert owner.value == 0.5
    balancer.decide(2000, {"x": 2.0})
    assert owner.value == pytest.approx(0.6)  # what stood before it began is not made up for
    loop.frozen = True
    balancer.decide(3000, {"x": 2.0})
    assert owner.value == pytest.approx(0.6)


@pytest.mark.parametrize("law", [Sign(0.01), PID(ki=0.01), Relay(0.5, 0.0, rise=0.01), Limit(Ratio(), rate=0.01)])
def test_an_error_counts_for_the_time_since_the_look_before(law):
    """Neither a reading that was long missing nor a loop that joins late makes up at once for what it did not see."""
    owner, p = made(0.0)
    balancer = Balancer(Loop("x", 1.0, law, p), mode="act")
    for samples in range(4000, 200_001, 4000):
        balancer.decide(samples, {"y": 5.0})
    balancer.decide(204_000, {"x": 2.0})
    assert owner.value == pytest.approx(0.04)
    late, q = made(0.0)
    joined = Balancer(Loop("x", 1.0, law, q), mode="act")
    joined.load_state_dict(Balancer().state_dict() | {"history": balancer.state_dict()["history"]})
    joined.decide(208_000, {"x": 2.0})
    assert late.value == pytest.approx(0.04)


def test_a_hold_runs_on_while_readings_are_missing():
    owner, p = made(0.0)
    balancer = Balancer(Loop("x", 0.0, DeadBand(Limit(Hold(Smooth(Sign(0.1), 1.0), 3.0), 1.0), 0.1), p), mode="act")
    for samples, signals in enumerate([{"x": 1.0}, {"y": 1.0}, {"y": 1.0}, {"x": 1.0}, {"x": 1.0}], start=1):
        balancer.decide(1000 * samples, signals)
    assert owner.value == pytest.approx(0.2)  # at the first look and at the fourth


def test_exhaustion_is_said_once_and_again_after_a_move():
    _, p = made(0.95)
    decisions = run(Balancer(Loop("x", 1.0, Sign(0.1), p), mode="act"), [2.0, 2.0, 2.0, 0.0, 2.0, 2.0])
    assert ["at its limit" in d.moves[0].why if d.moves else None for d in decisions] == [
        False, True, None, False, False, True]  # fmt: skip


def test_hand_over_is_in_the_log():
    (_, a), (_, b) = made(0.95, label="a"), made(0.0, label="b")
    balancer = Balancer(Loop("x", 1.0, Sign(0.1), Handover(a, b)), mode="act")
    moves = [decision.moves[0] for decision in run(balancer, [2.0, 2.0, 2.0, 0.0, 0.0, 0.0])]
    assert [move.actuator for move in moves] == ["a", "b", "b", "b", "b", "a"]
    up, down = "a has nothing left to give, so b goes on", "b is back where it began, so a goes on"
    assert [move.why.partition("; ")[2] for move in moves] == ["", up, "", "", "", down]
    assert moves[1].said and moves[5].said


def test_a_hand_over_is_said_once_though_the_loop_was_stopped():
    (_, a), (_, b) = made(0.95, label="a"), made(0.0, label="b")
    first, second = (Balancer(Loop("x", 1.0, Sign(0.1), Handover(a, b)), mode="act") for _ in range(2))
    run(first, [2.0, 2.0])
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    (move,) = second.decide(3000, {"x": 2.0}).moves
    assert move.actuator == "b" and "goes on" not in move.why


def test_an_outer_loop_sets_the_target_of_an_inner_one():
    _, p = made()
    inner = Loop("x", 1.0, Sign(0.1), p)
    outer = Loop("y", 0.0, Sign(1.0), attribute(inner, "target", 0.0, 5.0), name="outer")
    Balancer(inner, outer, mode="act").decide(1000, {"x": 1.0, "y": 2.0})
    assert inner.target == 2.0


def test_what_is_no_actuator():
    with pytest.raises(InputError, match="cannot turn a float: give an actuator"):
        loops.ada(0.1)


def test_every_move_says_which_reading_caused_it():
    _, p = made()
    (decision,) = run(Balancer(Loop("x", 1.0, Sign(0.1), p), mode="act"), [2.5])
    assert decision.moves[0].text() == "1 kimg: value 0.5 -> 0.6, since x is 2.5 and 1 is aimed at"


def test_small_moves_are_logged_and_not_said():
    _, p = made(0.5)
    decisions = run(Balancer(Loop("x", 1.0, Sign(0.02), p), mode="act"), [2.0] * 7)
    assert [d.moves[0].said for d in decisions] == [False, False, True, False, False, False, True]  # .56 and .64


def test_small_moves_that_are_only_advised_are_said_when_they_add_up():
    _, p = made(0.5)
    decisions = run(Balancer(Loop("x", 1.0, Sign(0.02), p), mode="advise"), [2.0] * 7)
    assert [d.moves[0].said for d in decisions] == [False, False, True, False, False, True, False]  # .06 and .12 of .5
    assert {(d.moves[0].before, round(d.moves[0].after, 6)) for d in decisions} == {(0.5, 0.52)}
    _, rest = made(0.0)
    decisions = run(Balancer(Loop("x", 1.0, Sign(0.02), rest), mode="advise"), [2.0] * 16)
    said = [d.moves[0].said for d in decisions]
    assert all(said[:9]) and sum(said[9:]) == 3  # each by a tenth of what they add up to


def test_a_hand_over_goes_back_to_where_it_began_though_the_loop_was_stopped():
    """Made anew, its actuators stand where they were left, and not where they began."""

    def fresh(at, its):
        (a, p), (b, q) = made(at, label="a"), made(its, label="b")
        return a, b, Balancer(Loop("x", 1.0, Sign(0.1), Handover(p, q)), mode="act")

    one, two, balancer = fresh(0.95, 0.2)
    run(balancer, [2.0] * 4)
    a, b, again = fresh(one.value, two.value)
    again.load_state_dict(json.loads(json.dumps(balancer.state_dict())))
    for samples in range(5000, 10_000, 1000):
        back = [each.decide(samples, {"x": 0.0}).moves for each in (balancer, again)]
        assert back[0] == back[1]
    assert (one.value, two.value) == (a.value, b.value) == (pytest.approx(0.8), pytest.approx(0.2))


def test_the_state_of_another_loop_is_refused_and_nothing_is_changed():
    _, p = made(0.5, 0.1, 0.9, scale="log")
    known = [loops.ada, loops.gap_aware, loops.steps_by_gap, loops.rates_by_wins]
    for one, other in itertools.product(known, known):
        if one is other:
            one(p).load_state_dict(other(p).state_dict())
            continue
        with pytest.raises(InputError, match="the state of another loop than"):
            one(p).load_state_dict(other(p).state_dict())
    with pytest.raises(
        InputError, match=r"than steps-by-gap: its law is Sign on 1 actuators, and here it is Hold\(Lim"
    ):
        loops.steps_by_gap(p).load_state_dict(loops.ada(p).state_dict())
    first, second = loops.ada(p), loops.gap_aware(made(0.5, 0.1, 0.9, scale="log")[1])
    memory = {"ada": {**first.state_dict(), "frozen": True}, "gap-aware": {"weight": 1.0}}
    with pytest.raises(InputError, match="no state of the loop gap-aware, since law, state"):
        Balancer(first, second).remember(memory)
    assert not first.frozen
    with pytest.raises(InputError, match="no state of a balancer, since history, steering"):
        Balancer(first).load_state_dict({})


def test_a_target_that_is_asked_for_anew_goes_before_the_one_there_was():
    _, p = made()
    before = loops.ada(p, target=0.6)
    before.target = 0.7  # an outer loop's doing
    same, anew = loops.ada(p, target=0.6), loops.ada(p, target=0.4)
    for one in (same, anew):
        one.load_state_dict(before.state_dict())
    assert (same.target, anew.target) == (0.7, 0.4)


def test_whose_reading_a_loop_follows():
    owner, p = made(0.2)
    loop = loops.ada(p).of("msd").of("mpd")
    balancer = Balancer(loop, mode="act", rules=())
    (move,) = balancer.decide(1000, {"sign_real": 0.0, "msd/sign_real": 0.0, "mpd/sign_real": 0.9}).moves
    assert move.loop == "ada of mpd" and "since mpd/sign_real is 0.9" in move.why and owner.value > 0.2
    alone = loops.ada(made(0.2)[1]).of("D")
    assert Balancer(alone, mode="act", rules=()).decide(1000, {"sign_real": 0.9}).moves  # D is the only one
    unseen = loops.ada(made(0.2)[1]).of("mdp")
    (said,) = unseen.unread(1.0, balancer.history, act=True)
    assert "no reading of mdp's sign_real has come (mpd and msd were observed)" in said.why
    with pytest.raises(InputError, match="give the name under which"):
        loops.ada(p).of("")


@pytest.mark.parametrize("wrong", [{"acting": 2}, {"target": math.nan}, {"target": "x"}, {"target": 0.0, "log": True}])
def test_loops_that_cannot_work(wrong):
    settings = {"target": 1.0, "acting": 1} | wrong
    with pytest.raises(InputError, match="cannot work"):
        Loop("x", controller=Sign(), actuator=made()[1], **settings)
    with pytest.raises(InputError, match="has no law in a str"):
        Loop("x", 1.0, "pid", made()[1])
