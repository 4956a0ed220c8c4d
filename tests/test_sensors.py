"""Sensors against closed forms, the meter's moments against numpy, and the numbers derived from them."""

import math

import numpy as np
import pytest
import torch

from equipoise.readings import Reading, pooled_gap, reading
from equipoise.registry import entries, find
from equipoise.sensors import Meter, sensor
from equipoise.signals import derive
from equipoise.turn import Turn
from plants import batch_of, small_step

OF_LOGITS = [entry for entry in entries("sensor") if not entry.part.reads("pull")]
NAMES = ["D.loss", "D.r1", "D.score"]


def meter():
    return Meter(NAMES, torch.device("cpu"))


def d_turn(real, fake):
    return Turn("D", "D", real_logits=torch.tensor(real), fake_logits=torch.tensor(fake))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("D.real_score", [2.0, -1.0, 0.0, 3.0]),
        ("D.fake_score", [-1.0, 0.0, 0.0, 4.0]),
        ("D.sign_real", [1.0, -1.0, 0.0, 1.0]),
        ("D.sign_fake", [-1.0, 0.0, 0.0, 1.0]),
        ("D.win_rate", [1.0, 0.0, 0.5, 0.0]),
        ("D.auc", [0.75, 0.125, 0.5, 0.75]),  # 2 exceeds -1, 0, 0; -1 ties with -1; 0 exceeds -1, ties with 0 and 0
    ],
)
def test_readings_by_hand(name, expected):
    turn = d_turn([2.0, -1.0, 0.0, 3.0], [-1.0, 0.0, 0.0, 4.0])
    assert find("sensor", name).part(turn).tolist() == expected


@pytest.mark.parametrize("entry", OF_LOGITS, ids=lambda e: e.name)
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_not_finite_is_told_and_not_read_as_zero(entry, bad):
    """torch.tensor(nan).sign() is 0: a broken logit must not pass for a balanced one."""
    value = entry.part(d_turn([bad, 1.0], [bad, -1.0]))
    assert [math.isfinite(v) for v in value.tolist()] == [False, True]


def test_auc_by_hand_and_beside_win_rate():
    auc = find("sensor", "D.auc").part
    assert float(auc(d_turn([1.0, 2.0], [0.0, 1.5])).mean()) == 0.75
    real, fake = torch.randn(400, generator=torch.Generator().manual_seed(0)) + 1, torch.zeros(400)
    turn = Turn("D", "D", real_logits=real, fake_logits=fake)
    assert float(auc(turn).mean()) == pytest.approx(float((real > 0).double().mean()))
    assert auc(d_turn([1.0, 1.0], [math.nan, 0.0])).tolist() == [1.0, 1.0]  # of the one that can be compared


def test_pull_and_agreement_by_hand():
    pull, agreement = (find("sensor", f"G.{name}").part for name in ("pull", "agreement"))

    def g_turn(*rows):
        return Turn("G", "G", pull=torch.tensor(rows))

    assert pull(g_turn([[3.0, 4.0]], [[0.0, 1.0]])).tolist() == [5.0, 1.0]
    assert float(agreement(g_turn([1.0, 0.0], [5.0, 0.0], [2.0, 0.0]))) == pytest.approx(1.0)
    assert float(agreement(g_turn([1.0, 0.0], [-5.0, 0.0]))) == pytest.approx(-1.0)
    assert float(agreement(g_turn([1.0, 0.0], [0.0, 2.0]))) == pytest.approx(0.0)
    assert float(agreement(g_turn([0.0, 0.0], [0.0, 2.0]))) == 0.0  # no direction: agrees with none
    assert float(agreement(g_turn([1e-25, 1e-25], [0.0, 2.0]))) == 0.0  # nor has one whose squares are lost
    rows = torch.randn(7, 3, 2, generator=torch.Generator().manual_seed(1))
    cosines = [torch.cosine_similarity(rows[i].flatten(), rows[j].flatten(), 0)
               for i in range(7) for j in range(7) if i != j]  # fmt: skip
    assert float(agreement(Turn("G", "G", pull=rows))) == pytest.approx(float(sum(cosines) / 42), abs=1e-6)
    assert pull(g_turn([math.nan, 0.0], [0.0, 1.0])).isnan().tolist() == [True, False]
    assert math.isnan(float(agreement(g_turn([math.nan, 0.0], [0.0, 1.0]))))


@pytest.mark.parametrize(("changes", "parts"), [({}, 1), ({"accumulate": 2}, 2), ({"network": {"pack": 2}}, 1)])
def test_the_pull_is_the_gradient_at_the_generators_output(changes, parts):
    """Against torch.autograd.grad in a loop of one's own; of the batch's last part where it is worked off in parts."""
    step = small_step(**changes)
    G, D, count = step.networks["G"], step.networks["D"], 8 // parts
    torch.manual_seed(3)
    latents = torch.randn(8, 4, dtype=torch.float64)[8 - count :]
    fake = G(latents).detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(torch.nn.functional.softplus(-D(fake)).sum(), fake)
    rows = gradient.reshape(count // step.pack, -1)
    torch.manual_seed(3)
    step.move("G", *batch_of(step, 0))
    found = step.meter.read()
    assert found["G.pull"].mean == pytest.approx(float(rows.norm(dim=1).mean()), rel=1e-9)
    units = rows / rows.norm(dim=1, keepdim=True)
    cosines = units @ units.T
    expected = float(cosines.sum() - cosines.trace()) / (len(rows) * (len(rows) - 1))
    assert found["G.agreement"].mean == pytest.approx(expected, rel=1e-9) and found["G.pull"].n == 1


@pytest.mark.parametrize("rule", ["extragradient", "consensus", "unrolled"])
def test_the_pull_is_read_whatever_the_rule(rule):
    step = small_step(rules={rule: {}})
    torch.manual_seed(0)
    step.round(1, lambda: batch_of(step, 0))
    assert math.isfinite(step.meter.read()["G.pull"].mean)


@pytest.mark.parametrize("entry", OF_LOGITS, ids=lambda e: e.name)
def test_sensors_read_patch_maps_and_several_heads(entry):
    patches = torch.tensor([[[2.0, 2.0]], [[-1.0, -1.0]]])
    single = entry.part(Turn("D", "D", real_logits=patches[:, 0, 0], fake_logits=-patches[:, 0, 0]))
    assert entry.part(Turn("D", "D", real_logits=patches, fake_logits=-patches)).tolist() == single.tolist()
    heads = entry.part(Turn("D", "D", real_logits=[patches, patches], fake_logits=[-patches, -patches]))
    assert heads.tolist() == single.tolist()


def test_a_function_becomes_a_registered_sensor():
    @sensor("G", claim="for this test")
    def test_only(fake):
        """Half the fakes."""
        return fake / 2

    assert find("sensor", "G.test_only").part is test_only and test_only.role == "G"
    assert test_only(Turn("G", "G", fake=torch.tensor([4.0]))).tolist() == [2.0]
    from equipoise import registry

    del registry._entries["sensor", "G.test_only"]


# ------------------------------------------------------------------------------------------------ the meter


def test_moments_equal_numpy_over_uneven_batches():
    rng, made, seen = np.random.default_rng(0), meter(), {name: [] for name in NAMES}
    for size in (7, 1, 64):
        batch = {name: rng.normal(3 + i, 0.1 + i, size) for i, name in enumerate(NAMES)}
        made.add({name: torch.tensor(v, dtype=torch.float32) for name, v in batch.items()})
        for name, v in batch.items():
            seen[name].append(v.astype(np.float32))
    for name, found in made.read().items():
        values = np.concatenate(seen[name]).astype(np.float64)
        assert found.n == 72 and found.nonfinite == 0
        assert (found.mean, found.std) == (
            pytest.approx(values.mean(), rel=1e-12),
            pytest.approx(values.std(), rel=1e-9),
        )


def test_a_large_offset_does_not_eat_the_spread():
    made = meter()
    made.add({"D.loss": torch.tensor([1000.0, 1000.25])})
    assert made.read()["D.loss"].std == pytest.approx(0.125, rel=1e-6)


def test_non_finite_values_are_counted_and_left_out():
    made = meter()
    made.add({"D.loss": torch.tensor([1.0, math.nan, 3.0, math.inf, -math.inf])})
    made.add({"D.r1": torch.tensor([math.nan])})
    found = made.read()
    assert found["D.loss"] == Reading(2.0, 1.0, 2, 3)
    assert math.isnan(found["D.r1"].mean) and found["D.r1"][2:] == (0, 1)


def test_reading_opens_a_new_window():
    made = meter()
    made.add({"D.loss": torch.tensor([5.0])})
    assert made.read()["D.loss"].mean == 5.0
    assert made.read() == {}
    made.add({"D.loss": torch.tensor([1.0])})
    assert made.read()["D.loss"] == Reading(1.0, 0.0, 1, 0)


def test_names_may_come_in_any_order_and_only_some_of_them():
    made = meter()
    made.add({"D.score": torch.tensor([1.0, 2.0]), "D.loss": torch.tensor([3.0, 4.0])})
    made.add({"D.loss": torch.tensor([5.0, 6.0])})
    found = made.read()
    assert set(found) == {"D.score", "D.loss"}
    assert (found["D.score"].mean, found["D.loss"].mean, found["D.loss"].n) == (1.5, 4.5, 4)


def test_a_single_number_beside_a_batch_counts_for_each_sample():
    made = meter()
    made.add({"D.loss": torch.tensor([1.0, 2.0, 3.0]), "D.r1": torch.tensor([7.0])})
    assert made.read()["D.r1"] == Reading(7.0, 0.0, 3, 0)


def test_an_open_window_is_saved_and_restored():
    first, second = meter(), meter()
    first.add({"D.loss": torch.tensor([1.0, 2.0])})
    state = {name: tensor.clone() for name, tensor in first.state_dict().items()}
    second.add({"D.r1": torch.tensor([9.0])})
    second.load_state_dict(state)
    state["moments"].zero_()
    for made in (first, second):
        made.add({"D.loss": torch.tensor([6.0])})
    assert first.read() == second.read() == {"D.loss": Reading(3.0, pytest.approx(math.sqrt(14 / 3)), 3, 0)}


def test_values_with_a_graph_leave_no_graph():
    made = meter()
    made.add({"D.loss": torch.ones(2, requires_grad=True) * 2})
    assert not made.moments.requires_grad


# ------------------------------------------------------------------------------------------------ derived numbers


def at(mean, std=1.0, n=100):
    return Reading(mean, std, n, 0)


def test_readings_from_moments():
    assert reading(4, 8.0, 20.0, 1) == Reading(2.0, 1.0, 4, 1)
    assert math.isnan(reading(0, 0.0, 0.0, 2).mean)
    assert reading(2, 2.0, 1.9999999, 0).std == 0.0  # rounding below zero


def test_gap_in_pooled_deviations():
    assert pooled_gap(at(3.0, 1.0), at(-2.0, 7.0)) == pytest.approx(1.0)  # pooled: sqrt((1 + 49) / 2) = 5
    assert math.isnan(pooled_gap(at(1.0, 0.0), at(0.0, 0.0)))


def readings(**changes):
    scores = {"D.real_score": at(2.0), "D.fake_score": at(0.0), "D.heldout_score": at(1.0), "D.training_score": at(2.0)}
    base = scores | {"D.loss": at(0.6931), "D.win_rate": at(0.75), "D.update": at(0.03), "G.update": at(0.02)}
    return {k: v for k, v in (base | changes).items() if v is not None}


def test_the_balance_in_a_few_numbers():
    found = derive(readings(), (1.386294361, 0.693147), {"D": 30.0, "G": 10.0})
    assert found == {
        "loss_D": pytest.approx(0.5, abs=1e-4),
        "win_rate": 0.75,
        "gap": pytest.approx(2.0),
        "logit_scale": pytest.approx(math.sqrt(2)),  # of two heaps of deviation 1 at 0 and 2
        "memory": pytest.approx(0.5),  # r_v with 2 on training, 1 on held-out, 0 on generated
        "step_D": pytest.approx(0.001),
        "step_G": pytest.approx(0.002),
        "nonfinite": 0.0,
    }


@pytest.mark.parametrize(("heldout", "memory"), [(2.0, 0.0), (0.0, 1.0), (1.5, 0.25)])
def test_memory_runs_from_none_to_complete(heldout, memory):
    found = derive(readings(**{"D.heldout_score": at(heldout)}), (1.0, None), {})
    assert found["memory"] == pytest.approx(memory)


def test_memory_survives_a_shift_and_a_scale_of_the_logits():
    names = ("D.real_score", "D.fake_score", "D.heldout_score", "D.training_score")
    plain = readings(**{"D.heldout_score": at(1.3)})
    moved = plain | {name: at(5 + 3 * plain[name].mean, 3.0) for name in names}
    a, b = (derive(x, (1.0, None), {}) for x in (plain, moved))
    assert b["memory"] == pytest.approx(a["memory"]) and b["gap"] == pytest.approx(a["gap"])


def test_what_cannot_be_told_is_left_out():
    assert "loss_D" not in derive(readings(), (0.0, None), {})  # wasserstein has no ideal value to divide by
    assert "memory" not in derive(readings(**{"D.real_score": at(0.2)}), (1.0, None), {})  # gap of 0.2
    assert "memory" not in derive(readings(**{"D.heldout_score": None}), (1.0, None), {})
    assert "step_D" not in derive(readings(), (1.0, None), {"D": 0.0})
    assert "win_rate" not in derive(readings(**{"D.win_rate": at(math.nan)}), (1.0, None), {})
    assert derive({}, (1.0, None), {"D": 1.0}) == {}
    constant = {"D.real_score": at(1.0, 0.0), "D.fake_score": at(1.0, 0.0)}
    assert derive(readings(**constant), (1.0, None), {}).keys() == {"loss_D", "win_rate", "nonfinite", "logit_scale"}
