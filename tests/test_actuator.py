"""Actuators: limits, scales, the largest move, and hand-over."""

import math

import pytest

from equipoise.actuator import Actuator, Handover
from equipoise.errors import InputError
from test_actuators import made


def test_a_move_goes_as_far_as_the_limits():
    owner, p = made()
    assert p.move(0.2) == ("value", 0.5, pytest.approx(0.7)) and owner.value == pytest.approx(0.7)
    assert p.move(9.0).after == 1.0 and owner.value == 1.0
    assert p.move(0.1) == ("value", 1.0, 1.0)
    assert p.move(-0.25).after == 0.75  # nothing has wound up


def test_on_a_log_scale_a_move_is_a_factor():
    owner, lr = made(1e-3, 1e-5, 1e-1, scale="log")
    assert lr.move(math.log(2)).after == pytest.approx(2e-3) and owner.value == pytest.approx(2e-3)
    assert lr.move(-100.0).after == pytest.approx(1e-5)


def test_no_move_is_larger_than_the_largest():
    owner, p = made(largest=0.1)
    p.move(0.4)
    assert owner.value == pytest.approx(0.6)


def test_without_acting_it_is_only_said():
    owner, p = made()
    assert p.move(0.2, act=False).after == pytest.approx(0.7) and owner.value == 0.5


@pytest.mark.parametrize(("delta", "after"), [(0.5, 3.0), (-0.5, 2.5), (-9.0, 0.0)])
def test_a_position_beyond_the_limit_set_by_hand_is_left_alone_or_brought_back(delta, after):
    owner, p = made(3.0)
    p.move(delta)
    assert owner.value == pytest.approx(after)


@pytest.mark.parametrize("delta", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_moves_nothing(delta):
    owner, p = made()
    p.move(delta)
    assert owner.value == 0.5


def test_hand_over_up_and_back():
    (one, a), (two, b) = made(0.0, label="a"), made(0.2, label="b")
    both = Handover(a, b)
    seen = [both.move(0.6).name for _ in range(3)]
    assert seen == ["a", "a", "b"] and (one.value, two.value) == (1.0, pytest.approx(0.8))
    back = [both.move(-0.6) for _ in range(3)]
    assert [move.name for move in back] == ["b", "a", "a"]
    assert two.value == pytest.approx(0.2) and one.value == 0.0  # b returned to its start, not to its limit
    assert both.move(-0.6).before == both.move(-0.6).after
    assert both.read() == 0.0


@pytest.mark.parametrize("settings", [{"low": 1.0, "high": 0.0}, {"low": 0.0, "scale": "log"}, {"largest": 0.0}])
def test_limits_that_cannot_be(settings):
    with pytest.raises(InputError, match="cannot move from"):
        made(**{"low": 0.0, "high": 1.0} | settings)


def test_one_actuator_is_no_hand_over():
    with pytest.raises(InputError, match="two actuators"):
        Handover(made()[1])


def test_an_actuator_of_anything_at_all():
    kept = [1.0]
    Actuator("x", lambda: kept[0], lambda x: kept.__setitem__(0, x), 0.0, 2.0).move(0.5)
    assert kept == [1.5]
