"""WGAN-LP: its values on linear discriminators, its dead zone, and where it looks."""

import pytest
import torch

from equipoise import compatibility
from equipoise.terms.gradient_penalty import WGANGP
from equipoise.terms.wgan_lp import WGANLP
from plants import DiracGAN, Linear, Quadratic, d_turn, small_recipe


def points(n=5, d=2, seed=0):
    return torch.randn(n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("slope", "expected"), [((3.0, 4.0), 160.0), ((0.3, 0.4), 0.0), ((0.6, 0.8), 0.0), ((0.0, 0.0), 0.0)]
)
def test_linear_discriminator(slope, expected):
    value = d_turn(Linear(slope), points(), points(seed=1)).call(WGANLP(10.0))
    torch.testing.assert_close(value, torch.full((5,), expected, dtype=torch.float64), atol=1e-9, rtol=1e-7)


def test_above_slope_1_it_is_wgan_gp_and_below_it_gives_no_gradient():
    for slope in ((3.0, 4.0), (0.3, 0.4)):
        gradients = []
        for penalty in (WGANLP(10.0), WGANGP(10.0)):
            discriminator = Linear(slope)
            d_turn(discriminator, points(), points(seed=1)).call(penalty).mean().backward()
            gradients.append(discriminator.weight.grad)
        if slope == (3.0, 4.0):
            torch.testing.assert_close(*gradients)
        else:
            assert gradients[0].tolist() == [0.0, 0.0] and gradients[1].abs().min() > 1


def test_the_gradient_of_a_constant_discriminator_is_finite():
    discriminator = Linear((0.0, 0.0))
    d_turn(discriminator, points(), points(seed=1)).call(WGANLP()).mean().backward()
    assert discriminator.weight.grad.tolist() == [0.0, 0.0]


def test_it_looks_between_real_and_fake_and_does_not_reach_the_generator():
    theta, seen = torch.ones(400, 2, dtype=torch.float64, requires_grad=True), []
    discriminator = Quadratic([[1.0, 0.0], [0.0, 3.0]])
    judge = lambda x: seen.append(x.detach()) or discriminator(x)  # noqa: E731
    WGANLP()(torch.zeros(400, 2).double(), theta * 2, judge).mean().backward()
    assert theta.grad is None and torch.equal(seen[0][:, 0], seen[0][:, 1])
    assert 0 <= seen[0].min() < 0.1 and 1.9 < seen[0].max() <= 2


def test_dirac_gan_within_slope_1_is_left_to_rotate():
    """WGAN on the Dirac-GAN from (1, 1): the penalty only holds |psi| below 1, and the orbit touching that stays."""
    game = DiracGAN("wasserstein", {"wgan-lp": {"weight": 10.0}}).play(500)
    assert 0.9 < game.norm < 1.1
    game.theta.data.fill_(0.3), game.psi.data.fill_(0.3)
    plain = DiracGAN("wasserstein")
    plain.theta.data.fill_(0.3), plain.psi.data.fill_(0.3)
    assert game.play(50).norm == plain.play(50).norm


def test_it_is_cautioned_beside_what_forbids_its_freedom():
    assert "allow" in " ".join(compatibility.cautions(small_recipe(terms={"wgan-lp": {}, "wgan-gp": {}})))
