"""Schedules against the numbers of R3GAN's burn-in, and dials that hold base and factor apart."""

import math

import pytest
import torch

from equipoise.errors import InputError
from equipoise.schedules import Dial, Schedule, attach

TOTAL = 20_000_000


def burn_in(start, end, base, samples):
    """The value of a dial with this base whose cosine runs from `start` to `end`."""
    return base * Schedule("cosine", start=start / base, end=end / base).factor(samples, TOTAL)


@pytest.mark.parametrize(
    ("start", "end", "base", "at", "expected"),
    [
        (2e-4, 5e-5, 2e-4, 0.5, 1.25e-4),
        (2e-4, 5e-5, 2e-4, 0.25, 1.780330e-4),
        (0.05, 0.005, 0.05, 0.5, 0.0275),
        (0.05, 0.005, 0.05, 0.25, 0.043410),
        (0.9, 0.99, 0.99, 0.5, 0.945),
        (0.9, 0.99, 0.99, 0.25, 0.913180),
        (0.0, 5000.0, 5000.0, 0.0, 0.0),
        (0.0, 5000.0, 5000.0, 0.5, 2500.0),
        (2e-4, 5e-5, 2e-4, 0.0, 2e-4),
        (2e-4, 5e-5, 2e-4, 1.0, 5e-5),
        (2e-4, 5e-5, 2e-4, 3.0, 5e-5),
    ],
)
def test_burn_in_of_r3gan(start, end, base, at, expected):
    assert burn_in(start, end, base, at * TOTAL) == pytest.approx(expected, rel=3e-6)


@pytest.mark.parametrize(
    ("schedule", "factors"),
    [
        (Schedule(), [1, 1, 1, 1, 1]),
        (Schedule("linear"), [1, 0.75, 0.5, 0, 0]),
        (Schedule("linear", begin=0.5), [1, 1, 1, 0, 0]),
        (Schedule("linear", begin=0.25, until=0.75), [1, 1, 0.5, 0, 0]),
        (Schedule("linear", start=0.5, end=2.0), [0.5, 0.875, 1.25, 2, 2]),
        (Schedule("constant", start=0.3), [0.3] * 5),
        (Schedule("linear", until_kimg=0.5), [1, 0.5, 0, 0, 0]),
        (Schedule("linear", begin=0.5, until_kimg=1.0), [1, 1, 1, 0, 0]),
        (Schedule(warmup_kimg=0.5), [0, 0.5, 1, 1, 1]),
        (Schedule("linear", warmup_kimg=0.5), [0, 0.375, 0.5, 0, 0]),
        (Schedule("linear", until=0.5), [1, 0.5, 0, 0, 0]),
    ],
)
def test_factors_at_0_a_quarter_half_end_and_beyond(schedule, factors):
    assert [schedule.factor(s, 1000) for s in (0, 250, 500, 1000, 5000)] == pytest.approx(factors)


def test_a_length_in_images_does_not_follow_the_run():
    schedule = Schedule("cosine", until_kimg=10)
    assert schedule.factor(5000, 20_000) == schedule.factor(5000, 10**9) == pytest.approx(0.5)


@pytest.mark.parametrize("shape", ["linear", "cosine"])
def test_monotone_and_within_its_ends(shape):
    values = [Schedule(shape, start=1.0, end=0.1).factor(s, 1000) for s in range(0, 1200, 7)]
    assert values == sorted(values, reverse=True) and values[0] == 1.0 and values[-1] == pytest.approx(0.1)


@pytest.mark.parametrize(
    "wrong",
    [{"begin": 0.5, "until": 0.5}, {"begin": -0.1}, {"warmup_kimg": -1.0}, {"until_kimg": -1.0}, {"begin": math.nan}],
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(InputError, match="begin must lie from 0 to below until"):
        Schedule("linear", **wrong)


def test_a_misspelt_shape_suggests_the_right_one():
    with pytest.raises(InputError, match="did you mean cosine"):
        Schedule("cosin")


def test_a_dial_multiplies_base_and_factor_and_writes_to_the_device():
    dial = Dial(torch.tensor(0.5), Schedule("linear"))
    dial.turn(250, 1000)
    assert (dial.value, float(dial.tensor)) == (0.375, 0.375)
    dial.set(2.0)  # somebody turns the base mid-way: the schedule's factor still applies
    assert (dial.base, dial.value, float(dial.tensor)) == (2.0, 1.5, 1.5)
    dial.turn(500, 1000)
    assert float(dial.tensor) == 1.0
    dial.turn(250, 1000)
    assert float(dial.tensor) == 1.5  # nothing accumulates


def test_a_value_that_stands_still_is_not_written_again():
    """Each write of a tensor counts its version up; on a device it is a launch."""
    still, moving = Dial(torch.tensor(0.1)), Dial(torch.tensor(0.5), Schedule("linear", begin=0.5))
    begun = [dial.tensor._version for dial in (still, moving)]
    for samples in (0, 250, 500, 750):
        still.turn(samples, 1000)
        moving.turn(samples, 1000)
    written = [dial.tensor._version - before for dial, before in zip((still, moving), begun, strict=True)]
    assert written == [0, 1] and float(moving.tensor) == 0.25


def test_a_dial_without_schedule_stays():
    dial = Dial(torch.tensor(math.inf))  # what an unset clip is
    dial.turn(10, 100)
    assert float(dial.tensor) == math.inf


def dials():
    return {name: Dial(torch.tensor(1.0)) for name in ("G.lr", "D.lr", "G.beta2", "D.beta2", "r1.gamma")}


def test_a_name_without_player_means_both():
    made, schedule = dials(), Schedule("cosine")
    attach(made, {"lr": schedule, "r1.gamma": schedule, "D.beta2": schedule})
    assert [name for name, dial in made.items() if dial.schedule is schedule] == ["G.lr", "D.lr", "D.beta2", "r1.gamma"]


@pytest.mark.parametrize("order", [("lr", "G.lr"), ("G.lr", "lr")])
def test_two_schedules_on_one_dial_are_refused(order):
    with pytest.raises(InputError, match=r"two schedules turn G.lr"):
        attach(dials(), dict.fromkeys(order, Schedule("linear")))


def test_a_schedule_for_nothing_is_refused():
    with pytest.raises(InputError, match=r"nothing called 'r2.gamma' to schedule; there are: lr, D.beta2"):
        attach(dials(), {"r2.gamma": Schedule("linear")})
