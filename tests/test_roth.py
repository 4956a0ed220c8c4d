"""Roth's regulariser on discriminators of known slope, and on the Dirac-GAN, which it calms as R1 does."""

import math

import pytest
import torch

from equipoise.registry import find
from equipoise.terms.roth import Roth
from plants import DiracGAN, Linear, Quadratic, d_turn


def sigmoid(t):
    return 1 / (1 + math.exp(-t))


def turn_at(real, fake):
    """The linear discriminator, slope 5, at points where its logits are these."""
    direction = torch.tensor([[3.0, 4.0]]).double() / 25
    return d_turn(Linear(), real * direction, fake * direction)


def test_at_zero_logits_it_is_a_quarter_of_both_penalties():
    assert turn_at(0.0, 0.0).call(Roth(1.0).double()).tolist() == [pytest.approx(6.25, abs=1e-12)]


@pytest.mark.parametrize(("real", "fake"), [(2.0, -1.0), (-3.0, 0.5), (100.0, -100.0), (-100.0, 100.0)])
def test_only_slopes_where_it_errs_count(real, fake):
    expected = 1.7 / 2 * 25 * ((1 - sigmoid(real)) ** 2 + sigmoid(fake) ** 2)
    value = turn_at(real, fake).call(Roth(1.7).double())
    assert value.tolist() == [pytest.approx(expected, rel=1e-6, abs=1e-12)]


def test_the_weights_are_differentiated_too():
    """d/dw of 1/2 (s(-r)^2 + s(f)^2) |w|^2 by hand, with r = w.x, f = w.y."""
    discriminator = Linear((0.3, -0.2))
    x, y = torch.tensor([[1.0, 2.0]]).double(), torch.tensor([[-1.0, 0.5]]).double()
    d_turn(discriminator, x, y).call(Roth(1.0).double()).mean().backward()
    w = discriminator.weight.detach()
    p, q = float((-(x @ w)).sigmoid()), float((y @ w).sigmoid())
    expected = (p**2 + q**2) * w + float(w @ w) * (-(p**2) * (1 - p) * x[0] + q**2 * (1 - q) * y[0])
    torch.testing.assert_close(discriminator.weight.grad, expected)


def test_a_batch_twice_over_gives_the_same_value_and_a_flat_discriminator_none():
    real, fake = torch.randn(2, 4, 2, generator=torch.Generator().manual_seed(0)).double()
    discriminator, term = Quadratic([[1.0, 0.5], [0.5, 2.0]]), Roth(1.0).double()
    once = d_turn(discriminator, real, fake).call(term)
    torch.testing.assert_close(d_turn(discriminator, real.repeat(2, 1), fake.repeat(2, 1)).call(term), once.repeat(2))
    assert d_turn(Linear((0.0, 0.0)), real, fake).call(term).tolist() == [0.0] * 4


def test_it_calms_the_dirac_gan_as_r1_of_half_the_strength_does():
    """Near the equilibrium gamma/2 (1/4 + 1/4) psi^2 is R1 of gamma / 2: critically damped at 2, and slower below."""
    ended = [DiracGAN("non-saturating", {"roth": {"gamma": gamma}}).play(1000).norm for gamma in (0.0, 0.2, 2.0)]
    assert ended[0] == pytest.approx(0.281040, rel=3e-6) and ended[1] < 0.05 and ended[2] < 1e-12


def test_dirac_gan_by_hand():
    theta = psi = 1.0
    for _ in range(50):
        f = psi * theta
        s = sigmoid(f)
        slope = s * theta + (0.25 + s**2) * psi + s**2 * (1 - s) * theta * psi**2  # of the loss, and of gamma = 1
        psi -= 0.1 * slope
        theta += 0.1 * psi * sigmoid(-psi * theta)
    game = DiracGAN("non-saturating", {"roth": {"gamma": 1.0}}).play(50)
    assert game.norm == pytest.approx(math.hypot(theta, psi), rel=1e-9)


def test_what_it_says_of_other_losses():
    cautions = find("term", "roth").facts["cautions"]
    assert "hinge" in cautions and "r1" in cautions and "non-saturating" not in cautions and "f-gan" not in cautions
