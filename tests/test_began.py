"""BEGAN: the law of k by hand, its ends, its memory, and the ratio that it holds."""

import copy
import math

import pytest
import torch

from equipoise.errors import InputError
from equipoise.terms.began import BEGAN, convergence, moved
from equipoise.turn import Turn
from plants import batch_of, changed, play, small_step, snapshot

AUTO = {"name": "autoencoder", "width": 4, "options": {"code": 8, "norm_G": "none"}}
ENERGY = {"loss": "energy", "network": AUTO}


def logits(*energies):
    return -torch.tensor(energies, dtype=torch.float64)


def number(x):
    return torch.tensor(x, dtype=torch.float64)


@pytest.mark.parametrize(
    ("k", "real", "fake", "after"),
    [
        (0.0, 1.0, 0.2, 0.0003),
        (0.375, 1.0, 0.5, 0.375),  # at the ratio: unchanged
        (1.0, 1.0, 0.2, 1.0),  # clipped above
        (0.0, 1.0, 0.7, 0.0),  # clipped below
        (0.5, 0.2, 0.7, 0.4994),
    ],
)
def test_the_share_moves_by_its_law(k, real, fake, after):
    assert float(moved(number(k), number(real), number(fake), 0.5, 0.001)) == pytest.approx(after, abs=1e-12)
    term = BEGAN(start=k).double()
    value = term(logits(real, real), logits(fake, fake))
    assert value.tolist() == pytest.approx([-k * fake] * 2) and float(term.k) == pytest.approx(after, abs=1e-7)


def test_convergence_by_hand():
    assert float(convergence(number(1.0), number(0.2), 0.5)) == pytest.approx(1.3)
    assert float(convergence(number(1.0), number(0.5), 0.5)) == 1.0


def test_the_value_uses_the_share_before_its_move_and_differentiates_by_it():
    fake = logits(0.1, 0.3).requires_grad_(True)
    term = BEGAN(rate=1.0, start=0.25).double()
    value = term(logits(2.0), fake)
    assert float(term.k) == 1.0
    assert torch.autograd.grad(value.sum(), fake)[0].tolist() == [0.25, 0.25]


def test_means_move_it_once_for_all_heads():
    term = BEGAN(rate=0.1).double()
    heads = [logits(1.0, 2.0)[:, None], logits(3.0, 4.0)[:, None]]
    Turn("D", "D", real_logits=heads, fake_logits=[h / 10 for h in heads]).call(term)
    assert float(term.k) == pytest.approx(0.1 * (0.5 * 2.5 - 0.25))


def test_it_holds_the_ratio_of_a_generator_that_gives_way():
    """A plant: E(x) = 1, and the fakes' energy settles, with a lag, at 0.9 k + 0.1."""
    term, fake = BEGAN(gamma=0.6, rate=0.05).double(), 0.1
    for _ in range(2000):
        term(logits(1.0), logits(fake))
        fake += 0.1 * (0.9 * float(term.k) + 0.1 - fake)
    assert fake == pytest.approx(0.6, abs=1e-6) and float(term.k) == pytest.approx(0.5 / 0.9, abs=1e-6)


@pytest.mark.parametrize("settings", [{"gamma": -0.1}, {"rate": -1.0}, {"start": 1.5}, {"start": math.nan}])
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(InputError, match=next(iter(settings))):
        BEGAN(**settings)


# ------------------------------------------------------------------------------------------------ in a whole step


def test_the_memory_is_saved_undone_with_a_skipped_update_and_no_dial():
    step = play(small_step(terms={"began": {"start": 0.5}}, dtype=torch.float32, **ENERGY), 3)
    term = step.objective.terms["began"]
    assert 0 < float(term.k) != 0.5 and "began.k" in step.memory() and "began.gamma" not in step.memory()
    before, images = snapshot(step), torch.rand(8, 1, 8, 8)
    images[0] = math.nan
    step.move("D", images, None, step.due("D"))
    assert changed(before, snapshot(step)) == set()
    other = BEGAN()
    other.load_state_dict(term.state_dict())
    assert torch.equal(copy.deepcopy(term)(*torch.ones(2, 8)), other(*torch.ones(2, 8)))
    step.move("D", *batch_of(step, 0), step.due("D"))
    assert "objective.terms.began.k" in changed(before, snapshot(step))


def test_it_reaches_the_discriminator_by_k_times_the_fakes_energy():
    step = small_step(terms={"began": {"start": 0.5}}, **ENERGY)
    network = step.networks["D"]
    made = step.turn("D", batch_of(step, 0)[0], None, torch.randn(8, 4).double(), step.due("D"))
    weights = list(network.parameters())
    mine = torch.autograd.grad(made.call(step.objective.terms["began"]).mean(), weights, retain_graph=True)
    plain = torch.autograd.grad(made["fake_score"].mean(), weights)
    for one, other in zip(mine, plain, strict=True):
        torch.testing.assert_close(one, 0.5 * other)


def test_a_batch_is_not_worked_off_in_parts_and_mixed_precision_runs():
    with pytest.raises(InputError, match="accumulate=2 would change what began computes"):
        small_step(terms={"began": {}}, accumulate=2, **ENERGY)
    step = play(small_step(terms={"began": {}}, dtype=torch.float32, mixed=True, **ENERGY), 3)
    assert step.meter.read()["D.skipped"].mean == 0.0
