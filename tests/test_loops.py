"""The known loops: each moves as it says, holds a plant at its target, and refuses what cannot work."""

import math

import pytest

from equipoise import loops
from equipoise.actuators import Handover
from equipoise.balancer import Balancer
from equipoise.errors import InputError
from test_actuators import made

CASES = [  # loop, start, limits, scale, reading, expected direction
    (loops.ada, 0.2, (0.0, 0.8), "linear", {"sign_real": 0.9}, 1),
    (loops.ada, 0.2, (0.0, 0.8), "linear", {"sign_real": 0.3}, -1),
    (loops.ada_heldout, 0.2, (0.0, 0.8), "linear", {"memory": 0.7}, 1),
    (loops.apa, 0.2, (0.0, 0.8), "linear", {"sign_real": 0.9}, 1),
    (loops.gap_aware, 1e-3, (1e-4, 1e-2), "log", {"loss_D": 0.5}, -1),
    (loops.gap_aware, 1e-3, (1e-4, 1e-2), "log", {"loss_D": 1.3}, 1),
    (loops.gap_aware, 1e-3, (1e-4, 1e-2), "log", {"loss_D": 0.95}, 0),
    (loops.gamma_by_slope, 0.1, (1e-3, 1e3), "log", {"slope_fake": 5.0}, 1),
    (loops.gamma_by_slope, 0.1, (1e-3, 1e3), "log", {"slope_fake": 0.1}, -1),
    (loops.gamma_by_slope, 0.1, (1e-3, 1e3), "log", {"slope_fake": 0.6}, 0),
    (loops.gamma_by_swing, 0.1, (1e-3, 1e3), "log", {"swing": 0.8}, 1),
    (loops.rates_by_wins, 1e-3, (1e-4, 1e-2), "log", {"win_rate": 0.95}, -1),
    (loops.rates_by_wins, 1e-3, (1e-4, 1e-2), "log", {"win_rate": 0.5}, 1),
    (loops.steps_by_gap, 2.0, (0.25, 8.0), "log", {"gap": 6.0}, -1),
    (loops.lecam_by_memory, 0.1, (0.0, 1.0), "linear", {"memory": 0.6}, 1),
]


@pytest.mark.parametrize(("loop", "start", "limits", "scale", "reading", "way"), CASES)
def test_known_loops_move_the_way_they_say(loop, start, limits, scale, reading, way):
    owner, actuator = made(start, *limits, scale=scale)
    Balancer(loop(actuator), mode="act").decide(1000, reading)
    assert math.copysign(1, owner.value - start) * (owner.value != start) == way


@pytest.mark.parametrize(
    ("loop", "settings", "text"),
    [
        (loops.ada, {"target": 1.5}, "no loop can hold sign_real at 1.5, since it lies between -1 and 1"),
        (loops.ada_heldout, {"target": -0.1}, "no loop can hold memory at -0.1"),
        (loops.rates_by_wins, {"target": 70}, "no loop can hold win_rate at 70"),
        (loops.ada, {"kimg": 0}, "kimg=0: the time that a loop takes"),
        (loops.gap_aware, {"kimg": math.nan}, "kimg=nan"),
        (loops.gap_aware, {"tolerance": 0}, "tolerance=0: give the part"),
        (loops.gamma_by_swing, {"kimg": 0}, "kimg=0"),
        (loops.lecam_by_memory, {"kimg": -1}, "kimg=-1"),
    ],
)
def test_settings_of_known_loops_that_cannot_work(loop, settings, text):
    with pytest.raises(InputError, match=text):
        loop(made(0.5, 0.1, 0.9, scale="log")[1], **settings)


def test_what_is_turned_by_factors_wants_a_scale_of_factors():
    """On a linear one the rate went from one limit to the other and back."""
    for loop in (loops.gap_aware, loops.rates_by_wins, loops.gamma_by_slope, loops.gamma_by_swing, loops.steps_by_gap):
        for turned in (made(0.5, 0.1, 0.9)[1], Handover(made(scale="log", low=0.1)[1], made()[1])):
            with pytest.raises(InputError, match=r'value is turned by factors here.*scale="log"'):
                loop(turned)


@pytest.mark.parametrize(
    ("loop", "start", "limits", "signal", "plant"),
    [
        (loops.ada, 0.0, (0.0, 0.85), "sign_real", lambda p: 1 - 0.8 * p),
        (loops.ada_heldout, 0.0, (0.0, 0.85), "memory", lambda p: 0.9 - p),
        (loops.apa, 0.0, (0.0, 0.85), "sign_real", lambda p: 1 - 0.8 * p),
        (loops.lecam_by_memory, 0.0, (0.0, 1.0), "memory", lambda p: 0.9 / (1 + 3 * p)),
        (loops.gap_aware, 4e-3, (1e-4, 0.1), "loss_D", lambda p: 1 - 0.3 * math.log(p / 1e-3)),
        (loops.rates_by_wins, 1e-2, (1e-5, 0.1), "win_rate", lambda p: 1 / (1 + (p / 3e-4) ** -0.7)),
        (loops.gamma_by_slope, 1e-2, (1e-3, 1e3), "slope_fake", lambda p: 0.6 * p**-0.5),
        (loops.steps_by_gap, 8.0, (0.25, 8.0), "gap", lambda p: 1.5 * p**0.8),
        (loops.gamma_by_swing, 1e-2, (1e-3, 1e3), "swing", lambda p: min(1.0, max(0.0, 0.3 - 0.3 * math.log(2 * p)))),
    ],
)
@pytest.mark.parametrize("lag", [0.0, 10.0])
def test_known_loops_hold_a_plant_at_their_targets(loop, start, limits, signal, plant, lag):
    """Readings follow the position with a lag, in kimg; a dead band's edge counts as the target."""
    band = {loops.lecam_by_memory: 0.05, loops.gap_aware: 0.1, loops.rates_by_wins: 0.1, loops.gamma_by_swing: 0.21}
    band |= {loops.gamma_by_slope: 0.19, loops.steps_by_gap: 0.76}
    owner, turned = made(start, *limits, scale="log" if limits[0] > 0 else "linear")
    held = loop(turned)
    balancer, reading, seen = Balancer(held, mode="act", rules=()), plant(start), []
    for samples in range(4000, 2_000_001, 4000):
        reading += (plant(owner.value) - reading) * (1 - math.exp(-4 / lag) if lag else 1)
        balancer.decide(samples, {signal: reading})
        seen.append(reading)
    assert abs(seen[0] - held.target) > band.get(loop, 0.0) + 0.05  # it had something to do
    assert max(abs(one - held.target) for one in seen[-100:]) < band.get(loop, 0.0) + 0.02


def test_ada_goes_from_none_to_all_in_its_time():
    owner, p = made(0.0)
    balancer = Balancer(loops.ada(p, kimg=500.0), mode="act")
    for samples in range(4000, 250_001, 4000):
        balancer.decide(samples, {"sign_real": 0.9})
    assert owner.value == pytest.approx(248 / 500)
