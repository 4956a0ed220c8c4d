"""The autopilot: each part against a run whose fault is known, and that it turns nothing where it only watches."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from equipoise import plan, train
from equipoise.autopilot import PARTS, Autopilot, beginning, governor, intact, keeper, landing, restart, scale
from equipoise.autopilot.choice import Choice
from equipoise.data import open_dataset
from equipoise.diagnosis import History
from equipoise.errors import InputError, TrainingFailed
from equipoise.plant import Plant
from equipoise.registry import find
from equipoise.sensors.samples import both_ways, spread
from equipoise.studies.balance import adapter, networks, settings
from equipoise.tempo import Tempo

CFG = {"shape": 2, "zdim": 4, "g_widths": [16, 16], "d_widths": [16, 16], "batch": 8, "updates": 2250}


def plant_of(balance="act", rows=None, **changes):
    full = settings.check(CFG | changes | {"balance": "act" if balance == "act" else "off"})
    rows = np.random.default_rng(0).standard_normal((400, 2)) if rows is None else rows
    dataset = adapter.as_dataset(rows, rows.shape[1:])
    torch.manual_seed(0)
    pair = networks.pair(
        rows.shape[1:], 4, full["g_widths"], full["d_widths"], False, full["init_std_g"], full["init_std_d"]
    )
    config = dataclasses.replace(adapter.configured(full, dataset, 0), balance=balance)
    step, dials, batches = train.start(config, dataset, pair)
    return Plant(config, step, dials, Tempo(config.recipe.D.steps), batches)


def told(kimg=1.0, looks=1, **signals):
    """The same at so many looks, the last of them now."""
    history = History()
    for before in reversed(range(looks)):
        history.add(kimg - 0.01 * before, signals)
    return history


# ------------------------------------------------------------------------------------------------ the beginning


def test_the_pace_falls_with_the_cube_root_of_the_length():
    assert beginning.pace(2250) == 1
    assert beginning.pace(18000) == pytest.approx(0.5)
    assert beginning.pace(100) == 1


def test_the_breadth_falls_with_the_root_of_the_inputs():
    assert beginning.breadth(nn.Linear(64, 3)) == beginning.breadth(nn.Linear(2, 500)) == 1
    assert beginning.breadth(nn.Linear(256, 3)) == pytest.approx(0.5)
    assert beginning.breadth(nn.Conv2d(16, 4, 4)) == pytest.approx(0.5)  # each output sums over 16 x 4 x 4
    assert beginning.breadth(nn.ConvTranspose2d(64, 4, 4, stride=2)) == pytest.approx(0.5)  # and here over 64 x 2 x 2
    both = nn.Sequential(nn.Linear(64, 256, bias=False), nn.ReLU(), nn.Linear(256, 64, bias=False))  # as many weights
    assert beginning.breadth(both) == pytest.approx((64 / 160) ** 0.5)
    assert beginning.breadth(nn.Linear(9000, 1)) == 0.25 and beginning.breadth(nn.ReLU()) == 1


def test_many_latents_are_no_breadth():
    latents = nn.Sequential(nn.Linear(512, 64, bias=False), nn.ReLU(), nn.Linear(64, 64, bias=False))
    assert beginning.breadth(latents) < 0.5 and beginning.breadth(latents, "G") == 1
    assert beginning.breadth(nn.Sequential(nn.Linear(4, 256, bias=False), nn.Linear(256, 4, bias=False)), "G") == (
        pytest.approx((64 / 130) ** 0.5)  # narrow latents stay as they are: 4 and 256 inputs, as many weights
    )
    plant = plant_of()
    plant.step.networks["G"] = latents
    assert beginning.within((1.0, 2.0), plant, "G") == (1.0, 2.0)


def test_of_length_and_width_the_one_that_asks_for_smaller_steps_counts():
    plant = plant_of(g_widths=[256, 256])
    wide = beginning.breadth(plant.step.networks["G"])
    assert 0.5 <= wide < 0.52
    assert beginning.within((1.0, 2.0), plant, "D") == (1.0, 2.0)
    assert beginning.within((1.0, 2.0), plant, "G") == (wide, 2 * wide)
    plant.config = dataclasses.replace(plant.config, kimg=18000 * plant.config.recipe.batch / 1000)
    assert plant.updates == 18000
    assert (
        beginning.within((1.0, 2.0), plant, "D")
        == beginning.within((1.0, 2.0), plant, "G")
        == pytest.approx((0.5, 1.0))
    )
    assert governor.Governor(plant).band("G") == pytest.approx((0.004, 0.0075))


@pytest.mark.parametrize("scaled", [nn.BatchNorm1d(8), nn.utils.parametrizations.spectral_norm(nn.Linear(8, 8))])
def test_networks_that_set_their_own_scale_have_a_looser_band_at_any_width(scaled):
    plant = plant_of()
    assert beginning.is_plain(plant.step.networks["D"])
    plant.step.networks["D"] = nn.Sequential(nn.Linear(2, 8), scaled, nn.Linear(8, 1))
    assert not beginning.is_plain(plant.step.networks["D"]) and beginning.is_plain(plant.step.networks["G"])
    assert beginning.within((1.6, 2.0), plant, "D") == (0.2, 6.0)  # a D may be faster too
    assert beginning.within((1.6, 2.0), plant, "G") == (1.6, 2.0)
    plant.step.networks["G"] = plant.step.networks["D"]
    assert beginning.within((1.6, 2.0), plant, "G") == (0.2, 2.0)


def test_networks_whose_weights_are_shared_by_places_have_a_lower_edge():
    plant = plant_of()
    plant.step.networks["D"] = nn.Sequential(nn.Conv2d(28, 4, 3), nn.Flatten())  # of 252 inputs
    scale = (64 / 252) ** 0.5
    assert beginning.within((1.6, 2.0), plant, "D") == pytest.approx((0.2 * scale, 6 * scale))


def test_a_rate_out_of_proportion_is_brought_to_the_edge():
    plant = plant_of(lr_g=1.0, lr_d=1e-5)
    rms = {role: beginning.weights_rms(plant, role) for role in "GD"}
    moves = {move.actuator: move for move in beginning.rates(plant, act=True)}
    assert plant.dials["G.lr"].base == pytest.approx(0.021 * rms["G"])
    assert plant.dials["D.lr"].base == pytest.approx(0.012 * rms["D"])
    assert "outside 0.012 to 0.021" in moves["G.lr"].why
    assert beginning.rates(plant, act=True) == []


def test_a_rate_near_the_edge_is_let_be():
    rms = {role: beginning.weights_rms(plant_of(), role) for role in "GD"}
    near = plant_of(lr_g=1.4 * 0.021 * rms["G"], lr_d=0.012 * rms["D"] / 1.4)
    assert beginning.rates(near, act=True) == []
    far = plant_of(lr_g=1.6 * 0.021 * rms["G"], lr_d=0.012 * rms["D"] / 1.6)
    assert [move.after for move in beginning.rates(far, act=True)] == pytest.approx(
        [0.012 * rms["D"], 0.021 * rms["G"]]
    )
    one = plant_of(lr_g=0.013 * rms["G"], lr_d=0.012 * rms["D"] / 1.6)  # what a narrow band lets be is right
    assert [move.actuator for move in beginning.rates(one, act=True)] == ["D.lr"]


def test_in_a_long_run_a_rate_is_brought_to_the_middle():
    plant = plant_of(lr_g=1.0, lr_d=1e-5, updates=18000)
    rms = {role: beginning.weights_rms(plant, role) for role in "GD"}
    beginning.rates(plant, act=True)
    middle = (0.012 / 2 / 1.5 * 0.021 * 1.5) ** 0.5  # steps of half the size at the lower edge only
    assert [plant.dials[f"{role}.lr"].base / rms[role] for role in "GD"] == pytest.approx([middle, middle])
    assert beginning.rates(plant, act=True) == []


def images_plant(**changes):
    """A convolutional pair, whose bands are wide."""
    return plant_of(shape=[1, 8, 8], rows=np.random.default_rng(0).uniform(-1, 1, (64, 1, 8, 8)), **changes)


def wide(plant, role):
    """The edges for Adam's rate over the weights' rms by hand: an eighth below, three times for D above, 1.5 beyond."""
    scale = beginning.breadth(plant.step.networks[role])
    return 0.012 / 8 / 1.5 * scale, 0.021 * (3 if role == "D" else 1) * 1.5 * scale


@pytest.mark.parametrize(
    ("lr_g", "lr_d", "after"),  # over the weights' rms, times the breadth
    [
        (0.1, 0.01, {"G": "edge"}),
        (0.0005, 0.05, {"G": "middle"}),
        (0.0005, 0.003, {"G": "middle", "D": "middle"}),  # D would be let be, and is slow as well
        (0.01, 0.0005, {"D": "middle"}),
        (0.003, 0.0005, {"D": "middle", "G": "middle"}),
        (0.003, 0.2, {"D": "edge"}),
        (0.1, 0.2, {"D": "edge", "G": "edge"}),
        (0.003, 0.003, {}),
    ],
)
def test_in_a_wide_band_a_slow_rate_is_brought_to_the_middle_and_the_others_with_it(lr_g, lr_d, after):
    bare = images_plant()
    rms = {role: beginning.weights_rms(bare, role) for role in "GD"}
    scale = {role: beginning.breadth(bare.step.networks[role]) for role in "GD"}
    plant = images_plant(lr_g=lr_g * rms["G"] * scale["G"], lr_d=lr_d * rms["D"] * scale["D"])
    places = {
        role: {"middle": math.sqrt(math.prod(wide(bare, role))), "edge": wide(bare, role)[1] / 1.5} for role in "GD"
    }
    moves = {move.actuator[0]: move.after / rms[move.actuator[0]] for move in beginning.rates(plant, act=True)}
    assert moves == pytest.approx({role: places[role][place] for role, place in after.items()})
    assert beginning.rates(plant, act=True) == []


def test_rms_of_weights_by_hand():
    plant, network = plant_of(), torch.nn.Linear(2, 2)
    with torch.no_grad():
        network.weight.copy_(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    plant.step.networks["D"] = network
    assert beginning.weights_rms(plant, "D") == pytest.approx(math.sqrt(30 / 4))
    plant.paces["D.weight"] = 5.0
    assert beginning.weights_rms(plant, "D") == pytest.approx(math.sqrt(30 / 4) / 5)


@pytest.mark.parametrize("units", [50.0, 0.02])
def test_layers_that_meet_or_make_data_in_other_units_move_in_proportion(units):
    rows = np.random.default_rng(0).standard_normal((400, 2))
    plain, plant = plant_of(rows=rows), plant_of(rows=units * rows)
    assert scale.scales(plain, act=True) == [] and plain.paces == {}
    moves = scale.scales(plant, act=True)
    first, last = plant.paces["D.0.weight"], plant.paces["G.4.weight"]
    assert set(plant.paces) == {"D.0.weight", "G.4.weight", "G.4.bias"} and plant.paces["G.4.bias"] == last
    assert 0.2 < first * units < 5 and 0.2 < last / units < 5
    assert {move.actuator for move in moves} == {"D.0", "D.0's rate", "G.4", "G.4's rate"}
    for role in "DG":  # both rates stay in proportion to the hidden layers
        assert beginning.weights_rms(plant, role) == pytest.approx(beginning.weights_rms(plain, role), rel=0.3)
    again = plant_of(rows=units * rows)
    again.restore(json.loads(json.dumps(plant.state())))
    assert again.paces == plant.paces
    for one in (plant, again):
        before = [p.detach().clone() for p in one.step.networks["D"].parameters()]
        for parameter in one.step.networks["D"].parameters():
            parameter.grad = torch.ones_like(parameter)
        one.step.optimisers["D"].step()
        moved = [
            float((p.detach() - b).abs().mean())
            for p, b in zip(one.step.networks["D"].parameters(), before, strict=True)
        ]
        rate = one.dials["D.lr"].value
        assert moved[0] == pytest.approx(rate * first, rel=1e-3) and moved[1:] == pytest.approx([rate] * 5, rel=1e-3)


def test_layers_of_zeros_keep_their_pace():
    plant = plant_of(rows=0.05 * np.random.default_rng(0).standard_normal((400, 2)))
    last = plant.step.networks["G"][-1]
    with torch.no_grad():
        last.weight.zero_()
        last.bias.fill_(1.0)
    scale.scales(plant, act=True)
    assert not any(name.startswith("G.") for name in plant.paces)


def test_a_step_is_read_without_what_paced_layers_make_of_it():
    plain, plant = plant_of(d_widths=[64] * 3), plant_of(d_widths=[64] * 3)
    assert scale.overstated(plant, "D") == 1.0
    for one, paced in ((plain, False), (plant, True)):
        layer = one.step.networks["D"][0]
        if paced:
            with torch.no_grad():
                layer.weight.mul_(50.0)
            one.pace("D.0.weight", 50.0)
        for parameter in one.step.networks["D"].parameters():
            parameter.grad = torch.ones_like(parameter)
        one.step.optimisers["D"].step()

    def reading(one):
        weights = torch.cat([p.detach().flatten() for p in one.step.networks["D"].parameters()])
        return float(one.step.optimisers["D"].update_norm / weights.norm())

    assert reading(plant) < reading(plain) / 2
    assert reading(plant) / scale.overstated(plant, "D") == pytest.approx(reading(plain), rel=1e-3)
    held, step = governor.Governor(plant), 0.01 * scale.overstated(plant, "D")
    assert held.decide(1.0, told(step_D=step, step_G=0.01), act=True) == []
    assert len(held.decide(1.0, told(step_D=0.01, step_G=0.01), act=False)) == 1


def test_only_layers_that_are_far_off_are_rescaled():
    assert scale.scales(plant_of(), act=True) == []
    plant = plant_of(init_std_g=8, init_std_d=0.001)
    moves = scale.scales(plant, act=True)
    assert [move.actuator for move in moves if move.actuator[0] == "D"] == ["D.0", "D.2"]  # and not its one logit
    assert {move.actuator[0] for move in moves} == {"D", "G"} and all("times what it should be" in m.why for m in moves)
    made = plant.step.networks["G"](torch.randn(2000, 4)).square().mean().sqrt()
    assert 1 / 3 < float(made.detach()) < 3
    for live, averaged in zip(plant.step.networks["G"].parameters(), plant.step.ema.average.parameters(), strict=True):
        assert (live == averaged).all()
    assert scale.scales(plant, act=True) == []


def test_momentum_is_lowered_only_where_it_is_high():
    assert beginning.momentum(plant_of(beta1=0.5), act=True) == []
    plant = plant_of(beta1=0.9)
    assert len(beginning.momentum(plant, act=True)) == 2
    assert float(plant.step.optimisers["D"].beta1) == 0.5


def test_copies_are_left_out_and_stay_so_after_a_resume():
    rows = np.random.default_rng(0).standard_normal((400, 2)).astype(np.float32)
    rows[200:] = rows[np.arange(200) % 5]  # half of the data: 40 copies each of five
    pilot = Autopilot(plant_of(rows=rows))
    moves = [move for move in pilot.begin(act=True) if move.actuator == "data"]
    assert [(m.before, m.after) for m in moves] == [(400.0, 200.0)] and "200 samples are copies of 5" in moves[0].why
    again = Autopilot(plant_of(rows=rows))
    again.load_state_dict(pilot.state_dict())
    for plant in (pilot.plant, again.plant):
        served = torch.cat([plant.batches.next()[0] for _ in range(25)])  # one epoch
        _, counts = served.unique(dim=0, return_counts=True)
        assert int(counts.max()) <= 2
        assert not set(plant.batches.holdout.training(0).tolist()) & set(range(200, 400))
    watched = Autopilot(plant_of(rows=rows))
    watched.begin(act=False)
    assert len(watched.plant.batches.holdout.training(0)) > 300


def test_repeats_that_all_data_have_are_no_copies():
    assert len(beginning.spares(plant_of(rows=np.repeat(np.eye(4)[:, :2], 100, 0)).batches.dataset)[0]) == 0


# ------------------------------------------------------------------------------------------------ while it runs


def test_the_governor_brings_a_step_to_the_edge_of_a_band_that_follows_the_schedule():
    plant = plant_of(lr_d=0.004, decay=True)
    held = governor.Governor(plant)
    move = held.decide(1.0, told(step_D=0.03, step_G=0.01), act=True)
    assert [(m.actuator, m.before, m.after) for m in move] == [("D.lr", pytest.approx(0.004), pytest.approx(0.002))]
    plant.dials["D.lr"].turn(int(0.75 * plant.config.total), plant.config.total)  # half of the decay is over
    assert held.band("D") == pytest.approx((0.004, 0.0075))
    assert held.decide(1.0, told(step_D=0.005), act=True) == []
    held.hold["D"] = 0.5
    assert held.decide(1.0, told(step_D=0.005), act=False)[0].after == pytest.approx(0.002 * 0.75)
    assert plant.dials["D.lr"].base == pytest.approx(0.002)


def test_a_rate_of_the_runs_own_is_let_be_near_the_edges():
    plant = plant_of(lr_d=0.004)
    held = governor.Governor(plant)
    near = (0.015 * 1.49, 0.008 / 1.49)
    assert [held.decide(1.0, told(step_D=step), act=True) for step in near] == [[], []]
    held.hold["D"] = 0.85  # something is wrong
    assert [len(held.decide(1.0, told(step_D=step), act=False)) for step in near] == [1, 1]
    held.hold["D"] = 1.0
    assert len(held.decide(1.0, told(step_D=0.015 * 1.51), act=True)) == 1
    assert [len(held.decide(1.0, told(step_D=step), act=False)) for step in near] == [1, 1]  # no more its own
    plant.dials["G.lr"].set(2 * plant.dials["G.lr"].base)  # as `rates` does
    assert len(held.decide(1.0, told(step_G=near[0]), act=False)) == 1
    again = governor.Governor(plant_of(lr_d=0.004))
    again.plant.restore(plant.state())  # a resumed run knows too
    again.load_state_dict(held.state_dict())
    assert [len(again.decide(1.0, told(step_D=step), act=False)) for step in near] == [1, 1]


def test_in_a_long_run_an_own_rate_is_wrong_above_the_band_of_any_length_and_by_eleven_looks():
    plant = plant_of(updates=18000)
    assert beginning.within((1.0, 2.0), plant, "D") == pytest.approx((0.5, 1.0))
    assert beginning.let_be((1.0, 2.0), plant, "D") == pytest.approx((0.5 / 1.5, 2.0 * 1.5))
    assert beginning.let_be((1.0, 2.0), plant_of(updates=3000), "D") == pytest.approx(
        (0.909 / 1.5, 1.817 * 1.5), rel=1e-3
    )
    held = governor.Governor(plant)
    dip = told(0.99, looks=10, step_D=0.01)
    dip.add(1.0, {"step_D": 0.004 / 2})
    over = told(0.99, looks=10, step_D=0.024)
    over.add(1.0, {"step_D": 0.01})
    early = told(looks=10, step_D=0.024)
    below = told(looks=11, step_D=0.015 * 1.49)
    assert [held.decide(1.0, history, act=True) for history in (dip, over, early, below)] == [[]] * 4
    assert len(held.decide(1.0, told(step_D=0.015 * 1.51 * 3), act=False)) == 1  # by far: no waiting
    (move,) = held.decide(1.0, told(looks=11, step_D=0.024), act=True)
    assert move.after == pytest.approx(move.before * 7.5 / 24)  # to the edge for this length
    assert len(held.decide(1.0, told(step_D=0.008), act=True)) == 1  # no more its own


def test_moves_of_d_are_halved_while_it_starves_the_generator():
    pilot = Autopilot(plant_of(n_dis=5))
    assert pilot.holds.decide(1.0, told(loss_D=0.98), act=True) == []
    made = pilot.holds.decide(1.0, told(loss_D=0.95), act=True)
    assert (made[0].before, made[0].after, pilot.plant.tempo.ratio) == (5.0, 2.5, 2.5)


@pytest.mark.parametrize(
    ("loss", "precision", "after"),
    [(1.1, 0.3, 0.4), (0.98, 0.3, 0.2), (1.1, 0.9, 0.2)],  # outrun; not worse than a guess; good samples
)
def test_moves_of_d_are_doubled_where_several_of_g_outrun_it(loss, precision, after):
    pilot = Autopilot(plant_of(n_dis=0.2))
    signs = told(looks=12, loss_D=loss, precision=precision, coverage=precision)
    pilot.holds.decide(1.0, signs, act=True)
    assert pilot.plant.tempo.ratio == 0.2  # at the beginning all runs swing
    pilot.plant.samples = pilot.plant.config.total // 10
    pilot.holds.decide(1.0, signs, act=False)
    assert pilot.plant.tempo.ratio == 0.2
    pilot.holds.decide(1.0, signs, act=True)
    assert pilot.plant.tempo.ratio == after


def test_no_more_moves_of_d_than_of_g_are_given():
    pilot = Autopilot(plant_of(n_dis=0.8))
    pilot.plant.samples = pilot.plant.config.total // 10
    signs = told(looks=12, loss_D=1.1, precision=0.3, coverage=0.3)
    moves = [pilot.holds.decide(1.0, signs, act=True) for _ in range(2)]
    assert [(move.actuator, move.after) for move in moves[0]] == [("D.steps", 1.0)]
    assert all(move.actuator != "D.steps" for move in moves[1])


def halfway(plant, loss, before, now, **signals):
    """What is done in the middle of a run at this loss of D, when energy went from one value to another."""
    total = plant.config.total / 1000
    history = History()
    for share, energy in ((0.42, before), (0.48, now), (0.49, now), (0.5, now)):
        history.add(share * total, {"loss_D": loss, "energy": energy, **signals})
    return Autopilot(plant).holds, lambda pilot: pilot.decide(0.5 * total, history, act=True)


def test_a_set_point_is_lowered_while_d_is_far_ahead_of_samples_that_get_no_better():
    for before, now, hold in ((0.3, 0.3, 0.85), (0.6, 0.3, 1.0), (0.05, 0.05, 1.0)):
        holds, decide = halfway(plant_of(r1=0.1), 0.3, before, now)
        decide(holds)
        assert holds.governor.hold == {"D": pytest.approx(hold), "G": 1.0}
    holds.governor.hold["D"] = 0.85
    holds.decide(2.0, told(2.0, loss_D=0.9), act=True)
    assert holds.governor.hold == {"D": 1.0, "G": 1.0}


def test_a_d_far_ahead_gets_a_penalty_before_it_is_slowed():
    plant = plant_of(updates=2250)
    holds, decide = halfway(plant, 0.4, 0.4, 0.4)
    (move,) = decide(holds)
    assert (move.actuator, move.before) == ("r1.gamma", 0.0) and "D is far ahead" in move.why
    assert move.after == plant.dials["r1.gamma"].value > 0
    assert [m.actuator for m in decide(holds)] == ["D's step"]
    own, decide = halfway(plant_of(r1=1e-4), 0.4, 0.4, 0.4)  # a strength that the run came with
    assert [m.actuator for m in decide(own)] == ["D's step"]


def test_a_blind_d_that_gets_no_better_takes_larger_steps():
    holds, decide = halfway(plant_of(), 0.99, 0.4, 0.4)
    assert [(m.actuator, m.after) for m in decide(holds)] == [("D's step", pytest.approx(1 / 0.85))]
    holds, decide = halfway(plant_of(), 0.99, 0.9, 0.4)
    assert decide(holds) == []


def test_a_blind_d_that_g_outruns_gets_more_moves_before_larger_steps():
    holds, decide = halfway(plant_of(n_dis=0.5), 0.9, 0.4, 0.4)
    holds.plant.samples = holds.plant.config.total // 2
    assert [(m.actuator, m.after) for m in decide(holds)] == [("D.steps", 1.0)]
    assert [m.actuator for m in decide(holds)] == ["D's step"]
    better, decide = halfway(plant_of(n_dis=0.5), 0.9, 0.8, 0.2)  # samples come nearer by themselves
    better.plant.samples = better.plant.config.total // 2
    assert decide(better) == []


def test_a_step_below_a_wide_band_is_held_in_its_middle():
    plant = images_plant()
    pilot = Autopilot(plant)
    least, most = governor.Governor(plant).lenient["G"]
    narrow = math.sqrt(least * most) * math.sqrt(0.008 / 0.015), math.sqrt(least * most) * math.sqrt(0.015 / 0.008)
    held = pilot.governor
    assert held.decide(1.0, told(step_G=least * 1.01, step_D=held.band("D")[1]), act=True) == []
    assert held.band("G")[0] < narrow[0] and held.band("G")[1] > narrow[1]
    (move,) = held.decide(2.0, told(2.0, step_G=least * 0.9), act=True)
    assert held.band("G") == pytest.approx(narrow)
    assert move.after == pytest.approx(2 * move.before)  # as far as one look allows
    (move,) = held.decide(3.0, told(3.0, step_G=narrow[0] / 1.5), act=True)
    assert move.after == pytest.approx(1.5 * move.before)
    assert held.decide(4.0, told(4.0, step_G=narrow[0] * 1.01), act=True) == []
    again = Autopilot(plant).governor
    again.load_state_dict(json.loads(json.dumps(held.state_dict())))
    assert again.band("G") == held.band("G") and again.band("D") == held.band("D")
    fast = Autopilot(images_plant()).governor
    upper = fast.band("D")[1]
    (move,) = fast.decide(1.0, told(step_D=3 * upper), act=True)
    assert fast.band("D")[1] == upper and move.after == pytest.approx(move.before / 3)  # to the edge


def test_a_blind_d_below_the_middle_of_its_wide_band_is_brought_there_first():
    plant = images_plant()
    middle = math.sqrt(math.prod(governor.Governor(plant).lenient["D"]))
    narrow = middle * math.sqrt(0.008 / 0.015), middle * math.sqrt(0.015 / 0.008)
    holds, decide = halfway(plant, 0.99, 0.4, 0.4, step_D=1.1 * middle)
    assert [move.actuator for move in decide(holds)] == ["D's step"] and holds.governor.centred == []
    holds, decide = halfway(plant, 0.99, 0.4, 0.4, step_D=0.9 * middle)
    (move,) = decide(holds)
    assert (move.actuator, move.after) == ("D's least step", pytest.approx(narrow[0]))
    assert holds.governor.bands["D"] == pytest.approx(narrow)
    assert [move.actuator for move in decide(holds)] == ["D's step"]  # then as anywhere
    plain, decide = halfway(plant_of(), 0.99, 0.4, 0.4, step_D=1e-9)
    assert [move.actuator for move in decide(plain)] == ["D's step"]


def test_weights_changed_from_outside_are_put_back():
    plant = plant_of()
    guard = intact.Intact(plant)
    assert guard.decide(1.0, told(step_D=0.01, step_G=0.01), act=True) == []
    before = plant.step.networks["D"][0].weight.clone()
    plant.samples += 10 * plant.config.recipe.batch
    with torch.no_grad():
        for weight in plant.step.networks["D"].parameters():
            weight.mul_(1.18)  # .18 / 1.18 = .1525 of their norm, and ten updates and the slack make .16
    assert guard.decide(2.0, told(2.0, step_D=0.01, step_G=0.01), act=True) == []
    plant.samples += 10 * plant.config.recipe.batch
    kept = plant.step.networks["D"][0].weight.clone()
    with torch.no_grad():
        for weight in plant.step.networks["D"].parameters():
            weight.mul_(1.2)  # .2 / 1.2 = .167
    move = guard.decide(3.0, told(3.0, step_D=0.01, step_G=0.01), act=True)[0]
    assert "D's weights moved by 0.17 of their norm, and updates account for 0.16" in move.why
    assert (plant.step.networks["D"][0].weight == kept).all() and (kept != before).any()


def test_what_a_checkpoint_gave_is_held_against_weights_on_another_device(monkeypatch):
    plant, seen = plant_of(), []
    guard = intact.Intact(plant)
    monkeypatch.setattr(intact, "_norm", lambda tensors: seen.extend(tensors) or 1.0)  # these have no values
    with FakeTensorMode():
        plant.step.networks["D"] = nn.ParameterDict({"weight": torch.empty(3, device="cuda")})
        guard.kept = {"network.D.weight": torch.empty(3)}  # as files are read
        guard._moved("D", told(step_D=0.01, step_G=0.01), 1.0)
    assert len(seen) == 2 and {tensor.device.type for tensor in seen} == {"cuda"}


def test_weights_that_suddenly_come_far_for_their_updates_are_put_back():
    plant = plant_of()
    guard = intact.Intact(plant)
    weights = list(plant.step.networks["G"].parameters())

    def look(number, factor):
        plant.samples += 100 * plant.config.recipe.batch  # updates of .01 of the weights: 1 in all
        with torch.no_grad():
            for weight in weights:
                weight.mul_(factor)
        return guard.decide(float(number), told(float(number), step_D=0.01, step_G=0.01), act=True)

    assert [look(n, 1.25) for n in range(11)] == [[]] * 11  # .2 of the norm each, but for the first, with none before
    again = intact.Intact(plant)
    again.load_state_dict(guard.state_dict())
    assert again.shares["G"] == guard.shares["G"] == pytest.approx([0.2] * 10)
    assert look(11, 2.0) == []  # .5, and 2.5 times the share and the slack make .55
    assert guard.shares["G"][-1] == pytest.approx(0.5) and len(guard.shares["G"]) == 10
    guard.load_state_dict(again.state_dict() | {"kept": plant.capture(), "at": plant.samples})
    kept = weights[0].detach().clone()
    (move,) = look(12, 2.5)  # .6
    assert move.actuator == "rollback" and "moved by 0.6 of their norm, and updates account for 0.55" in move.why
    assert (weights[0] == kept).all()


def test_after_another_way_back_nothing_is_known_of_how_far_weights_come():
    plant = plant_of()
    guard = intact.Intact(plant)
    guard.shares = {"D": [0.1] * 10, "G": [0.1] * 10}
    guard.anew()
    assert guard.shares == {"D": [], "G": []} and guard.kept is not None
    plant.samples += 100 * plant.config.recipe.batch
    with torch.no_grad():
        for weight in plant.step.networks["D"].parameters():
            weight.mul_(2.0)  # half of the norm, of a sum of 1
    assert guard.decide(1.0, told(step_D=0.01, step_G=0.01), act=True) == []


@pytest.mark.parametrize("moves", [10, 0.2])
def test_the_sum_of_updates_goes_by_the_moves_of_each_player(moves):
    plant = plant_of(n_dis=moves)
    guard = intact.Intact(plant)
    guard.decide(0.0, told(0.0, step_D=0.01, step_G=0.01), act=True)
    plant.samples += 100 * plant.config.recipe.batch
    with torch.no_grad():
        for role in "DG":
            for weight in plant.step.networks[role].parameters():
                weight.mul_(1.05)
    guard.decide(1.0, told(step_D=0.01, step_G=0.01), act=True)
    assert guard.shares["G"] == pytest.approx([moves * guard.shares["D"][0]])


def test_after_three_ways_back_the_weights_are_left_to_whoever_changes_them():
    plant = plant_of()
    guard = intact.Intact(plant)
    guard.decide(0.0, told(0.0, step_D=0.01, step_G=0.01), act=True)
    made = []
    for number in range(1, 6):
        plant.samples += plant.config.recipe.batch
        with torch.no_grad():
            plant.step.networks["G"][0].weight.add_(1.0)
        made.append(len(guard.decide(number, told(number, step_D=0.01, step_G=0.01), act=True)))
    assert made == [1, 1, 1, 0, 0]


@pytest.mark.parametrize("signs", [{"slope_fake": 40.0, "energy": 0.4}, {"slope_fake": 3.0, "energy": 1.6}])
def test_a_run_that_is_lost_early_begins_again_with_smaller_steps(signs):
    plant = plant_of()
    held = governor.Governor(plant)
    again = restart.Restart(plant, held)
    again.begin()
    first, rate = plant.step.networks["G"][0].weight.clone(), plant.dials["G.lr"].base
    looks = [{"slope_fake": 1.0, "energy": 0.5}, *[signs] * 4]
    made = []
    for number, look in enumerate(looks):
        with torch.no_grad():
            plant.step.networks["G"][0].weight.add_(1.0)
        made.append(len(again.decide(number, told(number, **look), act=True)))
    assert made == [0, 0, 0, 0, 1]
    assert (plant.step.networks["G"][0].weight == first).all()
    assert plant.dials["G.lr"].base == pytest.approx(rate / 2) and held.band("G") == pytest.approx((0.004, 0.0075))
    copy = restart.Restart(plant, governor.Governor(plant))
    copy.load_state_dict(again.state_dict())
    assert (copy.first, copy.tries, copy.lost) == (0.5, 1, 0)


def test_a_run_that_is_lost_while_g_outruns_d_begins_again_with_as_many_moves_of_both():
    plant = plant_of(n_dis=0.2)
    held = governor.Governor(plant)
    again = restart.Restart(plant, held)
    again.begin()
    made = []
    for number, energy in enumerate([0.5, *[1.6] * 8]):
        made += again.decide(number, told(number, slope_fake=3.0, energy=energy), act=True)
    assert [(move.actuator, move.after) for move in made] == [("D.steps", 1.0), ("both players' steps", 0.5)]
    assert plant.tempo.ratio == 1.0 and held.slower == 0.5


def test_a_way_back_is_no_change_from_outside():
    pilot = Autopilot(plant_of())
    pilot.begin(act=True)
    first = pilot.plant.step.networks["G"][0].weight.clone()
    for number in range(1, 6):
        pilot.plant.samples += pilot.plant.config.recipe.batch
        with torch.no_grad():
            for weight in pilot.plant.step.networks["G"].parameters():
                weight.mul_(1.1)
        signs = {"slope_fake": 1.0, "energy": 0.5} if number == 1 else {"slope_fake": 40.0, "energy": 0.5}
        pilot.decide(number, told(number, step_G=0.1, step_D=0.01, **signs), act=True)
    assert pilot.restart.tries == 1 and (pilot.plant.step.networks["G"][0].weight == first).all()
    pilot.plant.samples += pilot.plant.config.recipe.batch
    made = pilot.decide(6, told(6, step_G=0.004, step_D=0.004, slope_fake=1.0, energy=0.4), act=True)
    assert not any(move.actuator == "rollback" for move in made)


def test_what_is_lost_late_is_not_begun_again():
    plant = plant_of()
    again = restart.Restart(plant, governor.Governor(plant))
    again.begin()
    plant.samples = plant.config.total // 2
    for number in range(6):
        assert again.decide(number, told(number, slope_fake=40.0, energy=0.5), act=True) == []
    assert again.kept is None


def test_a_blind_d_loses_its_noise_before_its_penalty():
    plant = plant_of(r1=0.1, aug=0.8)
    std = plant.dials["instance-noise.std"].base
    plant.samples = plant.config.total // 10
    bad = dict(loss_D=0.99, precision=0.3, coverage=0.3)
    made = Autopilot(plant).holds.decide(1.0, told(slope_fake=0.5, **bad), act=True)
    assert [(m.actuator, m.after) for m in made] == [("instance-noise.std", pytest.approx(std / 2))]
    bare = plant_of(r1=0.1)
    bare.samples = bare.config.total // 10
    holds = Autopilot(bare).holds
    assert holds.decide(1.0, told(slope_fake=0.5, **bad), act=True) == []
    assert [m.actuator for m in holds.decide(1.0, told(slope_fake=0.1, **bad), act=True)] == ["r1.gamma"]
    good = dict(loss_D=0.99, precision=0.8, coverage=0.8)
    assert holds.decide(1.0, told(slope_fake=0.1, **good), act=True) == []
    long_mute = told(slope_fake=0.05, **good)
    assert [m.actuator for m in holds.decide(1.0, long_mute, act=True)] == ["r1.gamma"]
    moment = told(0.98, slope_fake=0.5, **good)
    for kimg, slope in ((0.99, 0.5), (1.0, 0.05)):
        moment.add(kimg, {"slope_fake": slope, **good})
    assert holds.decide(1.0, moment, act=True) == []  # of three looks only the last is flat


def test_with_convolutions_a_d_is_flat_only_where_it_is_mute():
    plant = plant_of(shape=[1, 8, 8], rows=np.random.default_rng(0).uniform(-1, 1, (64, 1, 8, 8)), r1=0.1)
    plant.samples = plant.config.total // 10
    bad = dict(loss_D=0.99, precision=0.3, coverage=0.3)
    assert Autopilot(plant).holds.decide(1.0, told(slope_fake=0.15, **bad), act=True) == []
    made = Autopilot(plant).holds.decide(1.0, told(slope_fake=0.09, **bad), act=True)
    assert [move.actuator for move in made] == ["r1.gamma"]


def test_a_steep_d_with_bad_samples_gets_a_penalty_once():
    plant = plant_of()
    plant.rest("r1")
    wanted = 0.025 * float(torch.as_tensor(plant.batches.training(256, 0)[0]).double().var(0).sum())
    holds, steep = Autopilot(plant).holds, dict(loss_D=0.75, precision=0.6, coverage=0.5, energy=0.1)
    assert holds.decide(1.0, told(slope_fake=6.0, **steep), act=True) == []  # too early
    plant.samples = plant.config.total // 10
    assert holds.decide(1.0, told(slope_fake=4.9, **steep), act=True) == []
    assert holds.decide(1.0, told(slope_fake=6.0, **steep | dict(precision=0.9, coverage=0.8)), act=True) == []
    (seen,) = holds.decide(1.0, told(slope_fake=6.0, **steep), act=False)
    assert plant.dials["r1.gamma"].value == 0 and "r1" in plant.step.resting and "slope is 6 " in seen.why
    (made,) = holds.decide(1.0, told(slope_fake=6.0, **steep), act=True)
    assert made.after == seen.after == plant.dials["r1.gamma"].value == pytest.approx(wanted)
    assert "r1" not in plant.step.resting
    assert holds.decide(1.0, told(slope_fake=6.0, **steep), act=True) == []
    moment = told(0.98, slope_fake=1.0, **steep)
    for kimg, slope in ((0.99, 1.0), (1.0, 9.0)):
        moment.add(kimg, {"slope_fake": slope, **steep})
    plant.actuator("r1.gamma", 0.0, math.inf).set(0.0)
    assert holds.decide(1.0, told(slope_fake=6.0, **steep), act=True) == []  # once only, and so it stays
    again = Autopilot(plant).holds
    again.load_state_dict(json.loads(json.dumps(holds.state_dict())))
    assert again.decide(1.0, told(slope_fake=6.0, **steep), act=True) == []
    assert Autopilot(plant).holds.decide(1.0, moment, act=True) == []  # of three looks only the last is steep
    untold = told(slope_fake=6.0, loss_D=0.75)  # of precision and coverage: too few are held out
    fresh = plant_of()
    fresh.samples = fresh.config.total // 10
    assert Autopilot(fresh).holds.decide(1.0, untold, act=True) == []
    assert Autopilot(fresh).holds.decide(1.0, told(slope_fake=0.15, loss_D=0.99), act=True) == []
    strong = plant_of(r1=0.1)
    strong.samples = strong.config.total // 10
    assert Autopilot(strong).holds.decide(1.0, told(slope_fake=6.0, **steep), act=True) == []


def test_a_penalty_that_was_weakened_in_vain_comes_back_for_good():
    plant = plant_of(r1=0.16)
    plant.samples = plant.config.total // 10
    holds = Autopilot(plant).holds

    def looks(*slopes):
        bad = dict(loss_D=0.99, precision=0.3, coverage=0.3)
        return [move for slope in slopes for move in holds.decide(1.0, told(slope_fake=slope, **bad), act=True)]

    made = looks(*[0.1] * 5)
    assert [move.after for move in made] == pytest.approx([0.08, 0.04, 0.02, 0.01, 0.005])
    again = Autopilot(plant).holds
    again.load_state_dict(json.loads(json.dumps(holds.state_dict())))
    (back,) = looks(0.12)
    assert back.after == plant.dials["r1.gamma"].value == pytest.approx(0.16) and "not at fault" in back.why
    assert looks(0.1, 0.05) == []
    plant.dials["r1.gamma"].set(0.005)
    holds = again  # a resumed run knows when it was suspected; there the slope answered
    good = dict(loss_D=0.99, precision=0.8, coverage=0.8)
    assert holds.decide(1.0, told(slope_fake=0.14, **good), act=True) == []  # for a while
    assert [move.after for move in looks(*[0.1] * 5)] == pytest.approx([0.005 / 2**n for n in range(1, 6)])
    assert [move.after for move in looks(0.1)] == pytest.approx([0.005])  # and the second time it did not


def test_a_penalty_beyond_all_that_fits_the_data_is_weakened_further_and_does_not_come_back_whole():
    plant = plant_of(r1=320.0)
    plant.samples = plant.config.total // 10
    holds, bad = Autopilot(plant).holds, dict(loss_D=1.0, precision=0.1, coverage=0.1, slope_fake=0.01)
    most = 5 * beginning.fitting(plant)
    strengths = [move.after for _ in range(30) for move in holds.decide(1.0, told(**bad), act=True)]
    assert strengths[:3] == pytest.approx([160, 80, 40])
    assert most / 2 < min(strengths) <= most  # others are left to themselves at a thirty-second
    assert strengths[-1] == pytest.approx(most)


@pytest.mark.parametrize("images", [False, True])
def test_a_penalty_whose_weakening_made_d_steeper_is_weakened_on_while_samples_stay_bad(images):
    plant = images_plant(r1=3.2) if images else plant_of(r1=3.2)
    plant.samples = plant.config.total // 10
    holds, bad = Autopilot(plant).holds, dict(loss_D=0.99, precision=0.3, coverage=0.3)
    good = dict(precision=0.8, coverage=0.8)

    def looks(slope, act=True, **signals):
        return [move.after for move in holds.decide(1.0, told(slope_fake=slope, **bad | signals), act=act)]

    assert looks(0.4) == []  # steep, and no penalty is suspected
    assert looks(0.08) == pytest.approx([1.6])
    assert looks(0.4) == []  # the answer: five times as steep, and only at a half
    assert looks(0.08) == pytest.approx([0.8])
    assert looks(0.4) == pytest.approx([] if images else [0.4])  # F says too little of images
    moment = told(0.97, looks=97, slope_fake=0.4, **bad | good)
    for kimg in (0.98, 0.99, 1.0):
        moment.add(kimg, {"slope_fake": 0.4, **bad})
    assert holds.decide(1.0, moment, act=True) == []  # of a hundred looks only the last three have bad samples
    assert looks(0.51) == looks(0.4, loss_D=0.9) == looks(0.4, **good) == []
    assert looks(0.49) == pytest.approx([] if images else [0.2])


def test_a_penalty_whose_weakening_made_no_difference_is_let_be_where_d_is_steep():
    plant = plant_of(r1=3.2)
    plant.samples = plant.config.total // 10
    holds, bad = Autopilot(plant).holds, dict(loss_D=0.99, precision=0.3, coverage=0.3)
    made = [holds.decide(1.0, told(slope_fake=slope, **bad), act=True) for slope in (0.19, 0.19, 0.24, 0.25)]
    assert [len(moves) for moves in made] == [1, 1, 0, 1]  # 1.26 and 1.32 times as steep


def test_the_strongest_penalty_is_asked_first():
    plant = plant_of(r1=0.1, r2=5.0)
    plant.samples = plant.config.total // 10
    bad = dict(loss_D=0.99, precision=0.3, coverage=0.3, slope_fake=0.1)
    made = Autopilot(plant).holds.decide(1.0, told(**bad), act=True)
    assert [(move.actuator, move.after) for move in made] == [("r2.gamma", pytest.approx(2.5))]


def looked_at(kept, values, begin=1, act=True):
    """Let a keeper see precision and coverage, a hundredth of the run apart; the last moves it made."""
    made = []
    for number, value in enumerate(values, begin):
        kept.plant.samples = number * kept.plant.config.total // 100
        made = kept.decide(number, told(number, precision=value, coverage=value), act) or made
    return made


def test_it_goes_back_to_a_proven_state_and_gives_up_in_the_end():
    plant = plant_of()
    kept = keeper.Keeper(plant, governor.Governor(plant))
    looked_at(kept, [0.6, 0.62] * 13)
    healthy = plant.step.networks["G"][0].weight.clone()
    for number in range(4):
        with torch.no_grad():
            plant.step.networks["G"][0].weight.zero_()
        made = looked_at(kept, [0.6] * 12 * bool(number) + [0.3] * 3, 27 + 15 * number)
        assert "fell to 0.3 from 0.6" in made[0].why
        if number < 3:
            assert (plant.step.networks["G"][0].weight == healthy).all()
    assert kept.governor.hold["D"] == pytest.approx(0.7**2)
    assert kept.given_up and "nothing more is tried" in made[0].why
    assert looked_at(kept, [0.6] * 12 + [0.3] * 3, 90) == []


@pytest.mark.parametrize(("images", "energy", "backs"), [(True, 0.1, 0), (True, 0.2, 1), (False, 0.1, 1)])
def test_of_images_energy_has_to_agree(monkeypatch, images, energy, backs):
    monkeypatch.setattr(keeper, "of_images", lambda plant: images)
    plant, history, made = plant_of(), History(), []
    kept = keeper.Keeper(plant, governor.Governor(plant))
    for number, value in enumerate([0.6] * 26 + [0.3] * 3):
        plant.samples = number * plant.config.total // 100
        history.add(number, {"precision": value, "coverage": value, "energy": energy if value < 0.5 else 0.02})
        made += kept.decide(number, history, act=True)
    assert len(made) == backs


def test_swings_that_a_run_has_anyway_are_no_fall():
    plant = plant_of()
    kept = keeper.Keeper(plant, governor.Governor(plant))
    assert looked_at(kept, [0.6, 0.35, 0.45, 0.7] * 5 + [0.35] * 3) == []


@pytest.mark.parametrize(
    ("swings", "decay", "images", "due"),
    [(0.3, False, False, True), (0.02, False, False, False), (0.3, True, False, False), (0.3, False, True, False)],
)
def test_a_run_that_swings_and_has_no_decay_is_brought_to_rest(monkeypatch, swings, decay, images, due):
    monkeypatch.setattr(landing, "of_images", lambda plant: images)
    plant = plant_of(decay=decay)
    held = governor.Governor(plant)
    lands, before = landing.Landing(plant, held), {role: rate.read() for role, rate in held.rates.items()}
    history, total = History(), plant.config.total / 1000
    made = []
    for number in range(1, 91):
        plant.samples = number * plant.config.total // 100
        for dial in plant.dials.values():
            dial.turn(plant.samples, plant.config.total)
        value = 0.6 + swings * math.sin(number)
        history.add(number * total / 100, {"precision": value, "coverage": value})
        made += lands.decide(number * total / 100, history, act=True)
    assert len(made) == due and lands.due is due
    assert held.landing == pytest.approx(0.5 if due else 1.0)
    assert {role: rate.read() for role, rate in held.rates.items()} == pytest.approx(
        {role: rate * held.landing for role, rate in before.items()}
    )  # both alike, wherever they stand in their bands
    factor = plant.dials["D.lr"].factor
    assert held.band("D") == pytest.approx((0.008 * factor * held.landing, 0.015 * factor * held.landing))


def test_the_best_generator_is_handed_over():
    plant = plant_of()
    torch.manual_seed(1)
    good = {name: value.clone() for name, value in plant.step.networks["G"].state_dict().items()}
    for value in plant.step.ema.average.state_dict().values():
        value.mul_(30.0)  # samples far from the data
    choice = Choice(plant)
    move = choice.finish(1.0, act=True)[0]
    assert "the last weights" in move.why and move.after < move.before
    assert all((plant.step.ema.average.state_dict()[name] == good[name]).all() for name in good)
    assert choice.finish(1.0, act=True) == []


@pytest.mark.parametrize("images", [True, False])
def test_grey_images_are_not_nearest(monkeypatch, images):
    """A generator of the mean lies nearest to all by neighbours, and far by energy."""
    plant = plant_of(rows=np.random.default_rng(0).standard_normal((400, 64)), shape=64)
    monkeypatch.setattr(Choice, "_images", images)

    class Given(nn.Module):
        """Noise of a size, in as many dimensions as the data."""

        latent_dim, num_classes = 4, 0

        def __init__(self, size):
            super().__init__()
            self.size = nn.Parameter(torch.tensor(size))

        def forward(self, z, labels=None):
            return self.size * torch.randn(len(z), 64, generator=torch.Generator().manual_seed(1))

    choice, grey, like = Choice(plant), Given(0.1), Given(1.0)
    told = [choice._distance(Given(0.0), network.state_dict()) for network in (grey, like)]
    assert (told[0] > told[1]) is images


@pytest.mark.parametrize(("fall", "handed"), [(0.009, 0), (0.011, 1)])
def test_images_that_energy_hardly_tells_apart_are_not_exchanged(monkeypatch, fall, handed):
    plant = plant_of()
    monkeypatch.setattr(Choice, "_images", True)
    asked = iter([0.05, 0.05 - fall])  # the run's own average, the last weights
    monkeypatch.setattr(Choice, "_distance", lambda self, network, state: next(asked))
    assert len(Choice(plant).finish(1.0, act=True)) == handed


def test_energy_is_told_in_units_of_the_distance_between_real_images(monkeypatch):
    rows = np.random.default_rng(0).standard_normal((400, 64))
    monkeypatch.setattr(Choice, "_images", True)
    state = plant_of(rows=rows, shape=64).step.networks["G"].state_dict()

    class Scaled(nn.Module):
        latent_dim, num_classes = 4, 0

        def __init__(self, size):
            super().__init__()
            self.size = size

        def load_state_dict(self, state, strict=True, assign=False):
            return None

        def forward(self, z, labels=None):
            return self.size * torch.randn(len(z), 64, generator=torch.Generator().manual_seed(1))

    one, ten = (
        Choice(plant_of(rows=size * rows, shape=64))._distance(Scaled(2.0 * size), state) for size in (1.0, 10.0)
    )
    assert one == pytest.approx(ten, rel=0.1) and 0.05 < one < 0.5


def test_spread_is_the_energy_distance_but_for_the_real_ones():
    real, made = (torch.randn(40, 200, generator=torch.Generator().manual_seed(seed)).double() for seed in (0, 1))
    own, grey = spread(real.clone() + 0.01 * made, real), spread(0.1 * made, real)
    assert both_ways(0.1 * made, real) < both_ways(made, real) and grey > own  # near to all, and of too little variety
    by_hand = 2 * torch.cdist(made, real).mean() - torch.cdist(made, made).sum() / (40 * 39)
    assert spread(made, real) == pytest.approx(float(by_hand))
    made[0, 0] = math.nan
    assert spread(made, real) == math.inf


# ------------------------------------------------------------------------------------------------ as a whole


def run_of(balance, **changes):
    full = settings.check(CFG | {"updates": 60, "lr_g": 0.1, "lr_d": 0.1} | changes)
    dataset = adapter.as_dataset(np.random.default_rng(0).standard_normal((400, 2)), (2,))
    torch.manual_seed(0)
    pair = networks.pair((2,), 4, [16, 16], [16, 16], False)
    config = adapter.configured(full, dataset, 0)
    controller = None if balance == "off" else "autopilot"
    return train.train(dataclasses.replace(config, balance=balance, controller=controller), dataset, networks=pair)


def test_watching_changes_no_bit_and_acting_does():
    off, watched, acted = (run_of(balance) for balance in ("off", "watch", "act"))
    for plain, other in zip(off.step.networks["G"].parameters(), watched.step.networks["G"].parameters(), strict=True):
        assert (plain == other).all()
    assert watched.moves and not any(move.done for move in watched.moves)
    assert all(move.done and "since" in move.why for move in acted.moves)
    moved = [
        p - q for p, q in zip(off.step.networks["G"].parameters(), acted.step.networks["G"].parameters(), strict=True)
    ]
    assert any((one != 0).any() for one in moved)


def test_parts_can_be_left_out_and_memory_comes_back():
    bare = Autopilot(plant_of(lr_g=1.0), without=[part for part in PARTS if part != "penalty"])
    assert (
        bare.begin(True)
        == bare.decide(1.0, told(step_D=1.0, loss_D=0.1), True)
        == bare.finish(1.0, History(), True)
        == []
    )
    whole = Autopilot(plant_of())
    whole.governor.hold["D"], whole.keeper.past, whole.keeper.tries = 0.5, [0.4], 2
    again = Autopilot(plant_of())
    again.load_state_dict(whole.state_dict())
    assert again.state_dict() == whole.state_dict()


def test_it_is_offered_by_name():
    assert find("controller", "autopilot").part(plant_of())[0].name == "autopilot"


def test_few_data_get_a_penalty_where_the_run_has_none():
    assert beginning.penalty(plant_of(), act=True) == []  # 400 samples, 45 passes
    plant = plant_of(updates=40000)  # 800 passes
    rows = torch.from_numpy(plant.batches.dataset.images).double()
    move = beginning.penalty(plant, act=True)[0]
    assert move.after == pytest.approx(0.025 * float(rows.var(0).sum()), rel=0.15)  # of 256 of them
    assert float(plant.step.objective.terms["r1"].gamma) == pytest.approx(move.after)
    assert "800 times" in move.why
    assert beginning.penalty(plant_of(updates=40000, r1=0.1), act=True) == []


def test_parts_are_left_out_by_name():
    dataset = open_dataset("ring")
    asked = plan.Request("ring", balance="act", controller="autopilot without copies landing")
    assert plan.resolve(asked, dataset).config.controller == "autopilot without copies landing"
    for wrong in ("autopilot without wings", "ada without copies", "autopilot without "):
        with pytest.raises(InputError, match="leaves out what is not there"):
            plan.resolve(dataclasses.replace(asked, controller=wrong), dataset)


# ------------------------------------------------------------------------------------------------ lost updates


def outage(first, last):
    """A D that answers nothing but NaN in these rounds."""

    def disturb(rounds, pair):
        if rounds == first:
            pair[1].broken = pair[1].register_forward_hook(lambda module, given, made: made * math.nan)
        if rounds == last:
            pair[1].broken.remove()

    return disturb


@pytest.mark.parametrize("first", [40, 200])  # of 400: early enough to begin again, and later
def test_a_run_whose_updates_are_lost_for_a_while_goes_back_and_on(first):
    rows, cfg = np.random.default_rng(0).standard_normal((400, 2)), CFG | {"updates": 400}
    with pytest.raises(TrainingFailed, match="not finite"):
        adapter.train(cfg, rows, 0, 10, disturb=outage(first, first + 30))
    made, moves = adapter.steered(cfg | {"balance": "act"}, rows, 0, 10, disturb=outage(first, first + 30))
    lost = [move for move in moves if "came to anything finite" in move.why]
    assert lost and {move.loop for move in lost} <= {"autopilot: restart", "autopilot: keeper"}
    assert np.isfinite(made).all()


def test_updates_that_stay_lost_end_the_run_after_three_ways_back(monkeypatch):
    ways, back = [], Plant.put_back
    monkeypatch.setattr(Plant, "put_back", lambda self, state: (ways.append(self.samples), back(self, state)))
    rows, cfg = np.random.default_rng(0).standard_normal((400, 2)), CFG | {"updates": 400, "balance": "act"}
    with pytest.raises(TrainingFailed, match="not finite"):
        adapter.train(cfg, rows, 0, 10, disturb=outage(200, 1000))
    assert len(ways) == 3


def test_an_early_run_whose_updates_are_all_lost_begins_again_at_once():
    again = restart.Restart(plant := plant_of(), governor.Governor(plant))
    again.begin()
    assert again.decide(1.0, told(skipped=0.9, energy=0.5), act=True) == []
    (made,) = again.decide(2.0, told(2.0, skipped=1.0, energy=0.5), act=True)
    assert made.actuator == "both players' steps" and "finite" in made.why


def test_a_state_that_has_not_proven_itself_will_do_where_updates_are_lost():
    plant = plant_of()
    kept = keeper.Keeper(plant, held := governor.Governor(plant))
    assert kept.decide(1.0, told(skipped=1.0), act=True) == []  # there is none yet
    kept.waiting = [(0.1, plant.capture())]
    assert kept.decide(1.0, told(skipped=0.9), act=True) == []
    (back,) = kept.decide(2.0, told(2.0, skipped=1.0), act=True)
    assert back.actuator == "rollback" and held.hold == {"D": 0.7, "G": 0.7} and plant.back == plant.samples
