"""Readiness: D starts alone, and the weight rises when it can judge samples that it was not trained on."""

import json
import math

import pytest
import torch
from torch import nn
from torch.nn.functional import softplus

from equipoise.balancer import Balancer
from equipoise.diagnosis import History
from equipoise.errors import InputError
from equipoise.monitor import Monitor
from equipoise.readiness import Readiness

READY = {"gap": 2.0, "memory": 0.0, "logit_scale": 1.5}


def fed(start, *looks, act=True, first=1.0):
    """Signals at looks a thousand samples apart; the weights after each, and all moves."""
    balancer = Balancer(start, mode="act" if act else "watch", rules=())
    moves, weights = balancer.begin(), []
    for number, signals in enumerate(looks):
        moves += balancer.decide(int(1000 * (first + number)), signals).moves
        weights.append(float(start.weight))
    return weights, moves, balancer


def test_alone_then_fading_then_on():
    start = Readiness(fade_kimg=5.0)
    weights, moves, _ = fed(start, *[READY] * 8)
    assert weights == pytest.approx([0, 0, 0.2, 0.4, 0.6, 0.8, 1, 1])  # the third look in a row, then a fifth a look
    assert start.phase == "on" and start.on_kimg == 3.0
    assert f"an advantage of {math.erf(1.0):.2f} on held-out" in moves[1].why and [m.said for m in moves[1:]] == [
        1,
        0,
        0,
        0,
        1,
    ]


def test_looks_far_apart_make_no_jump():
    assert fed(Readiness(fade_kimg=0.1, looks=1), *[READY] * 5)[0] == [0.25, 0.5, 0.75, 1, 1]


def test_looks_must_follow_each_other():
    blind = READY | {"gap": 0.1}
    assert not any(fed(Readiness(), READY, READY, blind, READY, READY, blind)[0])


@pytest.mark.parametrize(
    ("signals", "why"),
    [
        ({"gap": 0.05, "logit_scale": 1.0}, "its advantage is 0.03"),
        ({"gap": 3.0, "memory": 0.95, "logit_scale": 1.0}, "knows its own by heart"),
        ({"gap": 3.0, "memory": 0.0, "logit_scale": 30.0}, "scale of 30"),
        ({"gap": 3.0, "logit_scale": 1.0}, "no heldout_logits"),
        ({"win_rate": 0.9}, "no finite logits"),
    ],
)
def test_a_discriminator_that_cannot_judge_never_starts_and_it_is_said(signals, why):
    start = Readiness(patience_kimg=2.0)
    weights, moves, balancer = fed(start, *[signals] * 9)
    assert not any(weights) and start.phase == "alone"
    assert [move.kimg for move in moves[1:]] == [2.0, 4.0, 8.0] and all(why in move.why for move in moves[1:])
    assert why in balancer.finish()[0].why


def test_samples_that_never_repeat_need_no_held_out_ones():
    assert fed(Readiness(heldout=False), *[{"gap": 2.0, "logit_scale": 1.0}] * 3)[0][-1] > 0


def test_one_of_several_discriminators():
    signals = {"gap": 0.0, "logit_scale": 1.0, "memory": 0.0, "mpd/gap": 2.0}
    assert fed(Readiness().of("mpd"), *[signals] * 3)[0][-1] > 0
    assert fed(Readiness(), *[signals] * 3)[0][-1] == 0
    weights, _, balancer = fed(Readiness().of("msd"), *[READY | signals | {"mpd/memory": 0.0}] * 4)
    assert weights[-1] == 0 and "not observed under the name msd, but mpd were" in balancer.finish()[0].why
    weights, _, balancer = fed(Readiness().of("msd"), *[READY] * 4)
    assert weights[-1] == 0 and "not observed under the name msd, but D were" in balancer.finish()[0].why
    with pytest.raises(InputError, match="give the name under which a discriminator is observed"):
        Readiness().of("mpd/gap")
    assert fed(Readiness().of("D"), *[READY] * 3)[0][-1] > 0  # the only one, whose signals have no name before them


def test_watching_leaves_the_weight_alone():
    start = Readiness(fade_kimg=2.0)
    weights, moves, _ = fed(start, *[READY] * 6, act=False)
    assert weights == [1.0] * 6 and moves[-1].after == 1.0 and not any(move.done for move in moves)


def test_a_state_sets_nothing_but_what_is_remembered():
    start = Readiness(advantage=0.3)
    start.load_state_dict(Readiness().state_dict() | {"phase": "on", "advantage": 0.9, "decide": None})
    assert start.phase == "on" and start.advantage == 0.3 and callable(start.decide)


def test_kept_as_plain_data_and_restored():
    start, other = Readiness(fade_kimg=5.0), Readiness(fade_kimg=5.0)
    _, _, balancer = fed(start, *[READY] * 4)
    second = Balancer(other, mode="act", rules=())
    second.load_state_dict(json.loads(json.dumps(balancer.state_dict())))
    assert float(other.weight) == pytest.approx(0.4) and other.on_kimg == 3.0
    for one in (balancer, second):
        one.decide(5000, READY)
    assert float(other.weight) == float(start.weight) == pytest.approx(0.6)


def watched(heldout, real=2.0, steps=60):
    """A monitor fed normal logits: generated ones at 0, real ones and held-out ones where told."""
    torch.manual_seed(0)
    start = Readiness(fade_kimg=1.0)
    monitor = Monitor(start, mode="act")
    for _ in range(steps):
        monitor.observe("D", real_logits=real + torch.randn(100), fake_logits=torch.randn(100),
                        heldout_logits=heldout + torch.randn(100))  # fmt: skip
        monitor.step(100)
    return start


def test_the_monitor_turns_it_by_what_it_reads():
    assert watched(heldout=1.5).phase == "on"
    assert watched(heldout=0.0).phase == "alone"  # it knows its training samples and no others
    assert watched(heldout=0.0, real=0.0).phase == "alone"  # blind


def judging(shift, steps=100):
    """A network that learns 16 real samples in 64 dimensions by heart; generated ones differ from them by a shift."""
    torch.manual_seed(0)
    judge = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
    optimiser, start = torch.optim.SGD(judge.parameters(), lr=0.1, momentum=0.9), Readiness(fade_kimg=1.0)
    monitor, kept = Monitor(start, mode="act", loss="non-saturating"), torch.randn(16, 64) + shift
    for _ in range(steps):
        real, fake = judge(kept), judge(torch.randn(64, 64))
        with torch.no_grad():
            unseen = judge(torch.randn(64, 64) + shift)
        monitor.observe("D", real_logits=real, fake_logits=fake, heldout_logits=unseen)
        optimiser.zero_grad()
        (softplus(-real).mean() + softplus(fake).mean()).backward()
        optimiser.step()
        monitor.step(16)
    return start, monitor.history.now("win_rate")


def test_a_network_that_memorises_is_not_let_in_and_one_that_judges_is():
    start, wins = judging(shift=0.0)  # there is nothing to tell apart
    assert start.phase == "alone" and wins > 0.9 and "by heart" in start.missing
    assert judging(shift=0.5)[0].phase == "on"


def test_the_advantage_is_that_of_normal_logits():
    torch.manual_seed(0)
    real, fake = 1.0 + torch.randn(4000), torch.randn(4000)
    auc = (real[:, None] > fake).float().mean()
    history = History({"gap": [(1.0, 1.0)], "memory": [(1.0, 0.0)]})
    assert Readiness().judged(1.0, history) == pytest.approx(float(2 * auc - 1), abs=0.03)
    assert math.isnan(Readiness().judged(2.0, history))  # an older look does not count


def test_the_weight_is_0_before_the_first_use_of_it():
    start = Readiness()
    monitor = Monitor(start, mode="act")
    assert float(start.weight) == 1.0
    monitor.observe("D", real_logits=torch.ones(4), fake_logits=torch.zeros(4))
    assert float(start.weight) == 0.0
    assert [move.after for move in monitor.step(4).moves] == [0.0]
    assert "no heldout_logits" in monitor.finish()[0].why or "no finite" in monitor.finish()[0].why


def test_one_that_joins_a_run_in_the_middle_starts_alone_too():
    """Its weight stood at 1 until D was ready, and fell to the first step of the fade then."""
    running = Monitor(mode="act")
    running.observe("D", real_logits=torch.ones(4), fake_logits=torch.zeros(4))
    running.step(4)
    start = Readiness()
    joined = Monitor(start, mode="act")
    joined.load_state_dict(running.state_dict())
    for _ in range(10):
        joined.observe("D", real_logits=torch.ones(4), fake_logits=torch.zeros(4))
        decision = joined.step(4)
    assert float(start.weight) == 0.0 and "D starts alone" in decision.moves[0].why


def test_what_is_no_state_of_it_is_refused():
    with pytest.raises(InputError, match="no state of a Readiness, since weight, phase"):
        Readiness().load_state_dict({"target": 0.6})
    monitor = Monitor(Readiness())
    state = Monitor(Readiness()).state_dict() | {"samples": 900}
    state["balancer"]["steering"]["readiness"].pop("phase")
    with pytest.raises(InputError, match="since phase is missing"):
        monitor.load_state_dict(state)
    assert monitor.samples == 0


def test_what_cannot_be():
    with pytest.raises(InputError, match="looks be a whole number"):
        Readiness(looks=1.5)
    with pytest.raises(InputError, match="between 0 and 1"):
        Readiness(advantage=1.0)
    with pytest.raises(InputError, match="both turn adversarial weight"):
        start = Readiness()
        Monitor(start, start)
