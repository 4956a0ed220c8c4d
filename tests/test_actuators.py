"""Attributes of any kind, and the learning rate beside a scheduler."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from equipoise.actuators import attribute, learning_rate
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


def test_a_tensor_is_filled_and_stays_the_same_tensor():
    owner, p = made(torch.tensor(0.5))
    before = owner.value
    p.move(0.25)
    assert owner.value is before and float(before) == 0.75


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
