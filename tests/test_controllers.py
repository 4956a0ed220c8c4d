"""Laws and wrappers against plants with a known answer, and by hand."""

import math

import pytest

from equipoise.controllers import PID, Controller, DeadBand, Hold, Limit, Ratio, Relay, Sign, Smooth
from equipoise.errors import InputError


def moves(controller, errors, dt=1.0):
    state, made = controller.init(), []
    for error in errors:
        move, state = controller.update(error, state, dt)
        made.append(move)
    return made


def closed(controller, plant, target, steps, dt=1.0, position=0.0, low=-math.inf, high=math.inf):
    """Positions of a loop around a static plant, the actuator limited as ours are."""
    state, seen = controller.init(), []
    for _ in range(steps):
        move, state = controller.update(target - plant(position), state, dt)
        position = min(max(position + move, low), high)
        seen.append(position)
    return seen


def test_sign_moves_at_its_rate_in_the_direction_of_the_error():
    assert moves(Sign(0.002), [0.4, -1e-9, 0.0], dt=0.256) == pytest.approx([0.000512, -0.000512, 0.0])


def test_adas_step_for_64_images():
    assert moves(Sign(1 / 500), [0.1], dt=4 * 0.064)[0] == pytest.approx(0.000512)  # every 4 batches of 64


def test_pid_is_the_textbook_law_in_velocity_form():
    kp, ki, kd, dt, errors = 0.7, 0.3, 0.2, 0.5, [1.0, 0.6, 0.9, -0.2, 0.1]
    position = [kp * e + ki * dt * sum(errors[: i + 1]) + kd * ((e - errors[i - 1]) / dt if i else 0.0)
                for i, e in enumerate(errors)]  # fmt: skip
    made = moves(PID(kp, ki, kd), errors, dt)
    summed = [kp * errors[0] + sum(made[: i + 1]) for i in range(len(errors))]  # it begins where the actuator stands
    assert summed == pytest.approx(position)


@pytest.mark.parametrize("gain", [0.5, 3.0])
def test_an_integrator_holds_a_static_plant_at_its_target(gain):
    seen = closed(PID(ki=0.3 / gain), lambda x: gain * x + 0.7, target=2.0, steps=80)
    assert gain * seen[-1] + 0.7 == pytest.approx(2.0, abs=1e-6)


def test_an_integrator_diverges_beyond_its_gain_limit():
    within, beyond = (closed(PID(ki=k), lambda x: x, 1.0, 60) for k in (1.9, 2.1))  # |1 - k| < 1
    assert abs(within[-1] - 1) < 0.01 and abs(beyond[-1] - 1) > 10


def test_nothing_winds_up_at_a_limit():
    law, state, position = PID(ki=0.1), (), 0.0
    for _ in range(1000):  # a target out of reach
        move, state = law.update(5.0, state, 1.0)
        position = min(position + move, 1.0)
    move, _ = law.update(-1.0, state, 1.0)
    assert position + move < 1.0  # the first error of the other sign turns it back


def test_relay_has_hysteresis():
    law = Relay(on=0.2, off=0.0, rise=1.0, fall=0.5)
    assert moves(law, [0.1, 0.3, 0.1, 0.05, -0.1, 0.1]) == [-0.5, 1.0, 1.0, 1.0, -0.5, -0.5]


def test_ratio_brings_a_logarithm_back_by_its_share():
    assert moves(Ratio(0.5), [math.log(4)]) == pytest.approx([math.log(2)])


def test_dead_band_is_continuous_at_its_edge():
    assert moves(DeadBand(Ratio(), 0.2), [0.19, -0.2, 0.2, 0.3, -0.5]) == pytest.approx([0, 0, 0, 0.1, -0.3])
    assert moves(DeadBand(Sign(1.0), 0.2), [0.1, -0.3]) == [0.0, -1.0]


def test_limits_of_a_move_and_of_a_rate():
    assert moves(Limit(Ratio(), largest=0.3), [1.0, -1.0, 0.1]) == [0.3, -0.3, 0.1]
    assert moves(Limit(Ratio(), rate=0.1), [1.0], dt=2.0) == pytest.approx([0.2])


def test_hold_waits_after_a_move_and_not_after_none():
    assert moves(Hold(Ratio(), kimg=2.0), [0.0, 1.0, 1.0, 1.0, 1.0]) == [0.0, 1.0, 0.0, 1.0, 0.0]


def test_smooth_halves_the_difference_in_its_half_life():
    assert moves(Smooth(Ratio(), kimg=2.0), [1.0, 0.0, 0.0], dt=2.0) == pytest.approx([1.0, 0.5, 0.25])


STACKED = Hold(Smooth(DeadBand(Limit(Ratio(), 0.5), 0.1), 2.0), 3.0)


@pytest.mark.parametrize("law", [Sign(), PID(ki=0.1), Relay(0.1, 0.0, 1.0), STACKED])
def test_updating_does_not_change_what_was_handed_in(law):
    assert isinstance(law, Controller)
    state = law.init()
    first = law.update(0.7, state, 1.0)
    assert law.update(0.7, state, 1.0) == first


WRONG = [
    lambda: Sign(0.0),
    lambda: PID(),
    lambda: PID(kp=-1.0),
    lambda: Relay(0.0, 0.1, 1.0),
    lambda: DeadBand(Sign(), 0.0),
    lambda: Hold(Sign(), 0.0),
    lambda: Smooth(Sign(), -1.0),
    lambda: Limit(Sign(), 0.0),
]


@pytest.mark.parametrize("wrong", WRONG)
def test_settings_that_cannot_work(wrong):
    with pytest.raises(InputError):
        wrong()
