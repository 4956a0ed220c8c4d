"""Actuators: limits, scales, hand-over, and the learning rate beside a scheduler."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from equipoise.actuators import Actuator, Handover, attribute, learning_rate
from equipoise.balancer import Balancer
from equipoise.controllers import Sign
from equipoise.errors import InputError
from equipoise.loop import Loop


class Owner:
    def __init__(self, value):
        self.value = value


def made(value=0.5, low=0.0, high=1.0, **settings):
    owner = Owner(value)
    return owner, attribute(owner, "value", low, high, label=settings.pop("label", "value"), **settings)


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


def test_a_tensor_is_filled_and_stays_the_same_tensor():
    owner, p = made(torch.tensor(0.5))
    before = owner.value
    p.move(0.25)
    assert owner.value is before and float(before) == 0.75


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


def test_learning_rates_of_all_groups_move_together_and_a_scheduler_goes_on():
    layers = nn.Linear(1, 1), nn.Linear(1, 1)
    groups = [{"params": layers[0].parameters(), "lr": 0.1}, {"params": layers[1].parameters(), "lr": 0.4}]
    optimiser = torch.optim.SGD(groups)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 0.5**step)
    rate = learning_rate(optimiser, 0.01, 1.0, scheduler=scheduler)
    optimiser.step()
    scheduler.step()
    rate.move(math.log(2))
    assert [g["lr"] for g in optimiser.param_groups] == pytest.approx([0.1, 0.4])  # halved, then doubled
    optimiser.step()
    scheduler.step()
    assert [g["lr"] for g in optimiser.param_groups] == pytest.approx([0.05, 0.2])  # the schedule goes on from there


def test_learning_rate_in_a_tensor_keeps_its_tensor():
    rate = torch.tensor(0.1)
    optimiser = torch.optim.Adam(nn.Linear(1, 1).parameters(), lr=rate, capturable=False, foreach=False)
    held = optimiser.param_groups[0]["lr"]
    learning_rate(optimiser, 0.01, 1.0).move(math.log(2))
    assert optimiser.param_groups[0]["lr"] is held and float(held) == pytest.approx(0.2)


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


def test_a_rate_is_turned_after_a_state_was_loaded_into_its_optimiser():
    optimiser = torch.optim.Adam(torch.nn.Linear(1, 1).parameters(), lr=0.01)
    rate = learning_rate(optimiser, 1e-4, 1.0)
    optimiser.load_state_dict(optimiser.state_dict())  # which puts other groups in place of those there were
    rate.move(math.log(1.5))
    assert optimiser.param_groups[0]["lr"] == pytest.approx(0.015) == pytest.approx(rate.read())


SCHEDULERS = {
    "in a row": lambda o, s: s.SequentialLR(o, [s.LinearLR(o, 0.1, total_iters=4), s.CosineAnnealingLR(o, 20)], [4]),
    "at once": lambda o, s: s.ChainedScheduler([s.ConstantLR(o, 0.5, 4), s.ExponentialLR(o, 0.9)]),
    "by a function": lambda o, s: s.LambdaLR(o, lambda step: 1 / (1 + step)),
    "on a plateau": lambda o, s: s.ReduceLROnPlateau(o, patience=3),
}


@pytest.mark.parametrize("kind", SCHEDULERS)
@pytest.mark.parametrize("when", [1, 9])
def test_a_move_lasts_under_any_scheduler_that_can_be_turned(kind, when):
    """A rate that was multiplied once by 1.5 is 1.5 times that of an untouched twin from then on."""
    ends = []
    for turned in (False, True):
        optimiser = torch.optim.SGD(torch.nn.Linear(1, 1).parameters(), lr=0.01)
        scheduler = SCHEDULERS[kind](optimiser, torch.optim.lr_scheduler)
        rate = learning_rate(optimiser, 1e-6, 1.0, scheduler=scheduler)
        for step in range(12):
            if turned and step == when:
                rate.move(math.log(1.5))
            optimiser.step()
            scheduler.step(*([1.0] if kind == "on a plateau" else []))
        ends.append(optimiser.param_groups[0]["lr"])
    assert ends[1] == pytest.approx(1.5 * ends[0]) and ends[0] > 0


def test_schedulers_and_optimisers_that_cannot_be_turned():
    optimiser = torch.optim.SGD(torch.nn.Linear(1, 1).parameters(), lr=0.01, momentum=0.9)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimiser, 0.1, 100)
    with pytest.raises(InputError, match=r"OneCycleLR\(...\) keeps no base rates"):
        learning_rate(optimiser, 1e-4, 1.0, scheduler=cycle)
    with pytest.raises(InputError, match="hand over an optimiser"):
        learning_rate(torch.nn.Linear(1, 1), 1e-4, 1.0)
    still = torch.optim.SGD(torch.nn.Linear(1, 1).parameters(), lr=0.0)
    with pytest.raises(InputError, match="0 stays 0 under any"):
        learning_rate(still, 1e-4, 1.0)


class Wrapper:
    """As Accelerate has schedulers."""

    def __init__(self, scheduler):
        self.scheduler = scheduler


def test_a_scheduler_that_is_not_handed_over_is_not_fought_with():
    """It would set the rate anew at every step, and each move would be logged as done."""
    optimiser, other = (torch.optim.SGD(torch.nn.Linear(1, 1).parameters(), lr=0.01) for _ in range(2))
    early = learning_rate(optimiser, 1e-4, 1.0)
    scheduler, its = (torch.optim.lr_scheduler.LambdaLR(one, lambda step: 1.0) for one in (optimiser, other))
    for turn in (lambda: early.move(0.1), lambda: learning_rate(optimiser, 1e-4, 1.0)):
        with pytest.raises(InputError, match="a scheduler sets lr too"):
            turn()
    with pytest.raises(InputError, match="another optimiser's"):
        learning_rate(optimiser, 1e-4, 1.0, scheduler=its)
    learning_rate(optimiser, 1e-4, 1.0, scheduler=Wrapper(scheduler)).move(math.log(1.5))
    optimiser.step()
    scheduler.step()
    assert optimiser.param_groups[0]["lr"] == pytest.approx(0.015) and early.read() == pytest.approx(0.015)


def test_a_rate_that_was_brought_to_0_is_not_said_to_move():
    optimiser = torch.optim.SGD(torch.nn.Linear(1, 1).parameters(), lr=0.01)
    rate = learning_rate(optimiser, 1e-4, 1.0)
    optimiser.param_groups[0]["lr"] = 0.0
    assert rate.move(0.5)[1:] == (0.0, 0.0) and optimiser.param_groups[0]["lr"] == 0.0


class Knobs:
    none, several, whole, switch = None, torch.zeros(3), torch.tensor(0), True
    coarse, fine, number = torch.tensor(0.5, dtype=torch.bfloat16), torch.tensor(0.5), np.float32(0.5)

    @property
    def read_only(self):
        return 0.5


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("missing", "is not there"),
        ("none", "is a NoneType"),
        ("several", "is a Tensor"),
        ("whole", "is of torch.int64, which has no values between"),
        ("switch", "is of bool, which has no values between"),
        ("coarse", "is of torch.bfloat16, which loses small moves"),
        ("read_only", "cannot be set"),
    ],
)
def test_attributes_that_cannot_be_turned(name, text):
    with pytest.raises(InputError, match=text):
        attribute(Knobs(), name, 0.0, 1.0)
    assert attribute(Knobs(), "fine", 0.0, 1.0).read() == attribute(Knobs(), "number", 0.0, 1.0).read() == 0.5


@pytest.mark.parametrize("position", [math.nan, math.inf])
def test_a_position_that_is_not_finite_is_left_and_said_once(position):
    owner, p = made(position)
    balancer = Balancer(Loop("x", 1.0, Sign(0.1), p), mode="act", rules=())
    moves = [move for samples in (1000, 2000) for move in balancer.decide(samples, {"x": 2.0}).moves]
    assert [f"but it stands at {position}" in move.why for move in moves] == [True]
    assert str(owner.value) == str(position)


def test_a_parameter_is_turned_too():
    module = nn.Module()
    module.weight = nn.Parameter(torch.tensor(0.25))
    attribute(module, "weight", 0.0, 1.0).move(0.5)
    assert float(module.weight.detach()) == 0.75 and module.weight.grad is None
