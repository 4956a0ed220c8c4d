"""The drift penalty: a square, on real images only, which settles what a loss leaves open."""

import pytest
import torch

from equipoise.registry import find
from equipoise.terms.logit_drift import LogitDrift
from equipoise.turn import Turn
from plants import Linear, d_turn


def test_values_by_hand_for_each_logit_and_head():
    real = torch.tensor([2.0, -3.0]).double()
    turn = Turn("D", "D", real_logits=real, fake_logits=100 * real)
    torch.testing.assert_close(turn.call(LogitDrift()), torch.tensor([0.004, 0.009]).double(), rtol=1e-6, atol=0)
    heads = Turn("D", "D", real_logits=[torch.tensor([[1.0, -1.0]]), torch.tensor([[3.0]])])
    assert heads.call(LogitDrift(1.0)).tolist() == [5.0]  # (1 + 9) / 2: squares before means


def test_it_pulls_the_weights_by_twice_the_logit_times_the_image():
    discriminator, real = Linear(), torch.tensor([[1.0, 2.0]]).double()
    d_turn(discriminator, real, -real).call(LogitDrift(0.5)).mean().backward()
    torch.testing.assert_close(discriminator.weight.grad, 0.5 * 2 * 11 * real[0])


@pytest.mark.parametrize("loss", ["wasserstein", "rpgan", "relativistic-average"])
def test_it_gives_a_zero_to_losses_that_have_none(loss):
    """D(x) = b + x with only b learnt: the loss says nothing of b, the term brings the reals' mean logit to 0."""
    offset = torch.tensor(5.0, dtype=torch.float64, requires_grad=True)
    real, fake = torch.tensor([1.0, 2.0]).double(), torch.tensor([-1.0, 0.5]).double()
    for _ in range(100):
        turn = Turn("D", "D", real_logits=real + offset, fake_logits=fake + offset)
        (of_loss,) = torch.autograd.grad(turn.call(find("loss", loss).part.d).mean(), offset)
        assert abs(float(of_loss)) < 1e-12
        (slope,) = torch.autograd.grad(turn.call(LogitDrift(0.5)).mean(), offset)
        offset.data -= 0.5 * slope
    assert float(offset.detach()) == pytest.approx(-1.5, abs=1e-9)
