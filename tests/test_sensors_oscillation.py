"""Oscillation against sines of known period and lag, noise without any, and a game that rotates by its equations."""

import math

import numpy as np
import pytest
import torch

from equipoise.registry import find
from equipoise.sensors.oscillation import autocorrelation, detrended, finite_end, lag, repeat
from equipoise.sensors.trace import LENGTH, Trace
from plants import DiracGAN, batch_of, small_step

TIME = np.arange(512.0)
oscillation = find("probe", "oscillation").part.function


def wave(period, phase=0.0):
    """A sine that trails by `phase` of a period."""
    return np.sin(2 * np.pi * (TIME / period - phase))


def rows(first, second, third=None):
    return np.stack([first, second, first * 0 if third is None else third], axis=1)


def noise(seed, n=512, memory=0.0):
    """Noise of variance 1 that remembers: autocorrelation memory^lag."""
    steps = np.random.default_rng(seed).normal(size=n + 200) * math.sqrt(1 - memory**2)
    for i in range(1, len(steps)):
        steps[i] += memory * steps[i - 1]
    return steps[200:]


def loss_of(game, role):
    return float(game.objective(game.turn(role), frozenset())["loss"].mean().detach())


# ------------------------------------------------------------------------------------------------ pure functions


def test_autocorrelation_equals_the_plain_sum():
    series = detrended(noise(0, 40))
    plain = [sum(series[t] * series[t + k] for t in range(40 - k)) / (40 - k) for k in range(40)]
    np.testing.assert_allclose(autocorrelation(series), np.array(plain) / plain[0], atol=1e-12)
    assert autocorrelation(detrended(np.full(50, 3.3))).tolist() == [0.0] * 50


@pytest.mark.parametrize("period", [5, 12.5, 40, 125.7])
def test_a_sine_repeats_after_its_period(period):
    found = repeat(detrended(wave(period)))
    assert found.period == pytest.approx(period, rel=0.02) and found.height > 0.95


@pytest.mark.parametrize("period", [10, 25, 60])
def test_noise_lowers_the_height_to_the_sines_share_of_the_variance(period):
    found = repeat(detrended(math.sqrt(2) * wave(period) + noise(1)))
    assert found.height == pytest.approx(0.5, abs=0.1) and found.period == pytest.approx(period, rel=0.1)


@pytest.mark.parametrize("memory", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("n", [64, 512])
def test_noise_alone_repeats_in_a_few_of_a_hundred(memory, n):
    """The bound holds in about 99 of 100: of 100 more than 6 would come once in a thousand at 2 in 100."""
    assert sum(repeat(detrended(noise(seed, n, memory))).height > 0 for seed in range(100)) <= 6


def test_a_trend_is_no_oscillation():
    for trend in (3 - TIME / 100, np.exp(-TIME / 60), np.exp(-TIME / 400), np.log1p(TIME)):
        assert repeat(detrended(trend + 1e-3 * noise(2))).height == 0.0
    drifting = repeat(detrended(wave(40) + 5 - TIME / 50))  # and does not hide one
    assert drifting.period == pytest.approx(40, rel=0.02) and drifting.height > 0.97


def test_fewer_than_three_cycles_say_nothing():
    assert repeat(detrended(wave(200))).height == 0.0


@pytest.mark.parametrize("phase", [0.0, 0.25, 0.5, 0.8])
def test_the_lag_is_the_part_of_a_period_by_which_the_second_trails(phase):
    assert lag(wave(32), wave(32, phase), 32) % 1 == pytest.approx(phase, abs=1e-6)


def test_what_comes_before_a_value_that_is_not_finite_is_left_out():
    series = rows(wave(20), wave(20))
    series[[100, 130], [0, 2]] = np.nan
    assert len(finite_end(series)) == 512 - 131
    assert oscillation(series, 0.1)["swing_kimg"] == pytest.approx(2.0, rel=0.02)
    series[470, 1] = np.inf
    assert oscillation(series, 0.1) == {}  # 41 rounds are too few


# ------------------------------------------------------------------------------------------------ the signals


def test_the_four_signals_by_hand():
    found = oscillation(rows(2 + 0.5 * wave(32), 1 + 0.1 * wave(32, 0.25)), round_kimg=0.064, ideal=1.25)
    assert found["swing"] > 0.97 and found["swing_kimg"] == pytest.approx(32 * 0.064, rel=0.01)
    assert found["swing_size"] == pytest.approx(0.5 / math.sqrt(2) / 1.25, rel=0.01)
    assert found["lag"] == pytest.approx(0.25, abs=0.01)


def test_without_oscillation_height_and_size_are_told_alone():
    found = oscillation(rows(1 + 0.2 * noise(3), noise(4), noise(5)), 0.064, 2.0)
    assert found == {"swing": 0.0, "swing_size": pytest.approx(0.1 / math.sqrt(2), rel=0.1)}  # neighbours' means
    assert oscillation(rows(noise(3), noise(4), noise(5)), 0.064, 0.0) == {"swing": 0.0}  # of wasserstein
    assert oscillation(rows(noise(3), noise(4))[:63], 0.064) == {}


def test_what_alternates_from_round_to_round_is_no_rotation():
    zigzag = np.cos(math.pi * np.arange(512))
    found = oscillation(rows(2 + zigzag + 0.01 * noise(3), 1 - zigzag, zigzag + 0.01 * noise(4)), 0.064, 2.0)
    assert found["swing"] == 0.0 and found["swing_size"] < 0.01


def test_the_most_regular_series_tells_the_period():
    found = oscillation(rows(noise(6), noise(7), wave(16)), 1.0)
    assert found["swing_kimg"] == pytest.approx(16, rel=0.01)


def test_the_dirac_gan_rotates_as_its_equations_say():
    """Its weights rotate by lr f'(0) = lr / 2 a step (arXiv:1801.04406), so D(G) = theta psi, and with it both losses,
    in half that period; since the losses see the same product with opposite signs, they are half a period apart."""
    game = DiracGAN("non-saturating", lr_G=0.1, lr_D=0.1)
    game.theta.data *= 0.1  # near the equilibrium, where the game is linear
    game.psi.data *= 0.1
    series = []
    for _ in range(512):
        series.append([*(loss_of(game, role) for role in "DG"), float((game.theta * game.psi).detach())])
        game.play(1)
    found = oscillation(np.array(series), round_kimg=1.0, ideal=2 * math.log(2))
    assert found["swing"] > 0.95
    assert found["swing_kimg"] == pytest.approx(math.pi / 0.05, rel=0.02)  # 62.8
    assert found["lag"] == pytest.approx(0.5, abs=0.02)


def test_a_damped_game_does_not_swing():
    game = DiracGAN("non-saturating", {"r1": {"gamma": 1.0}})
    series = []
    for _ in range(512):
        game.play(1)
        series.append([loss_of(game, role) for role in "DG"] + [0.0])
    assert oscillation(np.array(series)[100:], 1.0)["swing"] < 0.5


# ------------------------------------------------------------------------------------------------ the trace


def test_the_trace_keeps_the_last_rounds_in_order():
    trace = Trace(torch.device("cpu"))
    for number in range(LENGTH + 3):
        trace.see("D", torch.tensor([number, number + 2.0]), torch.tensor([-1.0, -3.0]))
        trace.see("G", torch.tensor([10.0 * number]))
        trace.close()
        if number == 4:
            assert trace.read()[:, 0].tolist() == [1.0, 2.0, 3.0, 4.0, 5.0]
    kept = trace.read()
    assert kept.shape == (LENGTH, 3) and kept[0].tolist() == [4.0, 30.0, -2.0]
    assert kept[-1].tolist() == [LENGTH + 3.0, 10.0 * (LENGTH + 2), -2.0]


def test_a_step_traces_what_its_players_saw():
    step = small_step()
    for number in range(3):
        for role in "DDG":
            step.move(role, *batch_of(step, number), step.due(role))
    assert step.trace.read().shape == (3, 3)
    step.meter.read()
    for role in "DG":
        step.move(role, *batch_of(step, 7), step.due(role))
    found, last = step.meter.read(), step.trace.read()[-1]
    expected = [found[name].mean for name in ("D.loss", "G.loss", "D.fake_score")]
    assert last.tolist() == pytest.approx(expected, rel=1e-6)
    assert small_step(sensing=False).trace is None
