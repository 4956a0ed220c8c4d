"""Label smoothing beside the logistic losses: the smoothed cross entropy, its minimum, and whom it goes with."""

import math

import pytest
import torch
import torch.nn.functional as F

from equipoise import build
from equipoise.errors import InputError
from equipoise.recipe import Network, Recipe
from equipoise.registry import entries, find
from equipoise.terms import Objective
from equipoise.terms.label_smoothing import LabelSmoothing
from equipoise.turn import Turn
from plants import DiracGAN, Linear, d_turn


def total(logit, loss="non-saturating", smoothing=0.1):
    """What D is asked for a real of this logit, the fake's being far below."""
    real = torch.as_tensor(logit, dtype=torch.float64)
    turn = Turn("D", "D", real_logits=real, fake_logits=torch.full_like(real, -1000.0))
    values = Objective(find("loss", loss).part, {"it": LabelSmoothing(smoothing).double()})(turn, frozenset({"it"}))
    return values["loss"] + values["it"]


@pytest.mark.parametrize("loss", ["minimax", "non-saturating"])
def test_it_is_the_cross_entropy_with_a_softer_target(loss):
    real = torch.linspace(-30, 30, 25).double()
    for alpha in (0.75, 0.9, 1.0):
        expected = F.binary_cross_entropy_with_logits(real, torch.full_like(real, alpha), reduction="none")
        torch.testing.assert_close(total(real, loss, 1 - alpha), expected, rtol=1e-6, atol=1e-6)


def test_the_best_logit_of_a_real_is_log_nine():
    logits = torch.linspace(2.0, 2.4, 4001).double()
    values = total(logits)
    assert float(logits[values.argmin()]) == pytest.approx(math.log(9), abs=1e-3)
    assert float(total([math.log(9)])[0]) == pytest.approx(0.325083, abs=1e-6)


def test_where_the_generator_matches_the_optimum_is_at_half_the_target():
    logits = torch.linspace(-1, 1, 2001).double()
    both = total(logits) + F.softplus(logits)
    assert float(torch.sigmoid(logits[both.argmin()])) == pytest.approx(0.45, abs=1e-3)


def test_it_pulls_the_weights_down_the_reals_by_smoothing_and_leaves_fakes_alone():
    discriminator, real = Linear(), torch.tensor([[1.0, 2.0], [3.0, -1.0]]).double()
    d_turn(discriminator, real, 100 * real).call(LabelSmoothing(0.2)).mean().backward()
    torch.testing.assert_close(discriminator.weight.grad, 0.2 * real.mean(0), rtol=1e-6, atol=0)


def test_it_does_not_damp_rotation():
    """The only real point of the Dirac-GAN has logit 0 whatever the weight."""
    assert DiracGAN("non-saturating", {"label-smoothing": {}}).play(1000).norm == pytest.approx(0.281040, rel=3e-6)


@pytest.mark.parametrize("loss", [entry.name for entry in entries("loss")])
def test_losses_without_labels_refuse_it(loss):
    network = Network("autoencoder" if loss == "energy" else "mlp")  # one that the loss goes with
    recipe = Recipe(network=network, loss=loss, terms={"label-smoothing": {}})
    if loss in ("minimax", "non-saturating", "f-gan"):
        assert set(build.objective(recipe).terms) == {"label-smoothing"}
    else:
        with pytest.raises(InputError, match=f"label-smoothing cannot stand beside {loss}: a label is"):
            build.objective(recipe)


@pytest.mark.parametrize("wrong", [-0.1, 1.0, math.nan])
def test_a_smoothing_that_is_none_is_refused(wrong):
    with pytest.raises(InputError, match="smoothing="):
        LabelSmoothing(wrong)
