"""Rounds of anybody's loop: what ends one, several discriminators, what is not shown, ranks, going on after a stop."""

import math

import pytest
import torch

from equipoise import distributed
from equipoise.monitor import Monitor
from equipoise.sensors.rounds import Rounds

WAVE = [math.sin(2 * math.pi * step / 20) for step in range(160)]  # a period of 20 rounds


def played(rounds, wave=WAVE, player="D", moves=1, shows_g=True):
    """Of each round's moves of D only the last one's loss is the wave; G's loss is its opposite."""
    for value in wave:
        for move in range(moves):
            said = value if move == moves - 1 else 7.0
            rounds.see(player, "D", torch.tensor([2 + said]), torch.tensor([0.0]))
        rounds.see("G", "G", torch.tensor([-value]) if shows_g else None, None)
        rounds.step(8)
    return rounds


def test_a_swing_is_told_with_its_period_size_and_lag():
    found = played(Rounds()).read("D", 2.0)
    assert found["swing"] > 0.97 and found["swing_kimg"] == pytest.approx(20 * 8 / 1000, rel=0.01)
    assert found["swing_size"] == pytest.approx(1 / math.sqrt(2) / 2, rel=0.03)
    assert found["lag"] == pytest.approx(0.5, abs=0.01)


def test_of_several_moves_of_d_the_last_counts():
    assert played(Rounds(), moves=5).read("D", 2.0) == played(Rounds()).read("D", 2.0)


def test_a_step_without_g_ends_no_round_and_its_samples_count():
    rounds = Rounds()
    for value in WAVE:
        for _ in range(4):  # the loop counts each move of D as a step
            rounds.see("D", "D", torch.tensor([7.0]), None)
            rounds.step(8)
        played(rounds, [value])
    assert rounds.number == 160 and rounds.read("D", 2.0)["swing_kimg"] == pytest.approx(20 * 40 / 1000, rel=0.01)


def test_without_gs_loss_no_lag_and_without_an_ideal_value_no_size():
    assert set(played(Rounds(), shows_g=False).read("D", 2.0)) == {"swing", "swing_size", "swing_kimg"}
    assert set(played(Rounds()).read("D", 0.0)) == {"swing", "swing_kimg", "lag"}


def test_each_discriminator_has_its_own():
    rounds = Rounds()
    for value in WAVE:
        rounds.see("steady", "D", torch.tensor([1.0]), None)
        played(rounds, [value], player="swings")
    assert rounds.read("swings", 2.0)["swing_size"] > 0.3 and rounds.read("steady", 2.0)["swing_size"] < 1e-6
    assert rounds.read("unknown", 2.0) == {}


def test_over_ranks_the_mean_is_judged(monkeypatch):
    """Two ranks whose losses swing against each other: together they do not."""
    one, other = played(Rounds()), played(Rounds(), [-value for value in WAVE])
    theirs = other.traces["D"].rows
    monkeypatch.setattr(distributed, "average_", lambda mine: mine.copy_((mine + theirs) / 2))
    assert one.read("D", 2.0) == {"swing": 0.0, "swing_size": pytest.approx(0.0, abs=1e-6)}


def test_it_goes_on_as_if_it_had_not_stopped():
    first, second = played(Rounds(), WAVE[:90]), Rounds()
    second.load_state_dict(first.state_dict())
    assert played(second, WAVE[90:]).read("D", 2.0) == played(Rounds()).read("D", 2.0)


def test_the_monitor_tells_swings_of_the_losses_that_it_knows():
    monitor, signals = Monitor(loss="hinge"), {}
    for value in WAVE:
        logits = torch.full((8,), value / 2)
        monitor.observe("D", real_logits=logits, fake_logits=-logits)  # a loss of 2 - the wave
        monitor.observe("G", fake_logits=-logits)
        decision = monitor.step(8)
        signals = signals if decision is None else decision.signals
    assert signals["swing"] > 0.9 and signals["swing_kimg"] == pytest.approx(0.16, rel=0.02)
    assert {one.name for one in monitor.verdict.findings} >= {"oscillation"}
    again = Monitor(loss="hinge")
    again.load_state_dict(monitor.state_dict())
    assert again.rounds.read("D", 2.0) == monitor.rounds.read("D", 2.0)
