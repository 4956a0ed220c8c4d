"""The dual contrastive loss against the definition written out, one pair at a time."""

import math

import pytest
import torch

from equipoise.registry import find
from equipoise.turn import Turn
from plants import DiracGAN, play, small_step

LOSS = find("loss", "dual-contrastive").part
RPGAN = find("loss", "rpgan").part


def draw(*shape):
    return torch.randn(2, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def by_hand(r, f):
    real = [math.log(1 + sum(math.exp(b - a) for b in f)) for a in r]
    fake = [math.log(1 + sum(math.exp(b - a) for a in r)) for b in f]
    return [x + y for x, y in zip(real, fake, strict=True)]


def test_each_sample_meets_the_whole_other_batch():
    real, fake = draw(5)
    assert LOSS.d(real, fake).tolist() == pytest.approx(by_hand(real.tolist(), fake.tolist()))
    assert LOSS.g(real, fake).tolist() == pytest.approx([-x for x in by_hand(real.tolist(), fake.tolist())])
    assert LOSS.couples_samples


def test_values_by_hand():
    """At equal logits each half is log(1 + N): 1.609438 for four."""
    zeros = torch.zeros(4, dtype=torch.float64)
    assert (LOSS.d(zeros, zeros) / 2).tolist() == pytest.approx([1.609438] * 4, abs=1e-6)


def test_one_sample_makes_both_halves_rpgan():
    real, fake = draw(1)
    torch.testing.assert_close(LOSS.d(real, fake), 2 * RPGAN.d(real, fake))


def test_only_differences_count():
    real, fake = draw(5)
    torch.testing.assert_close(LOSS.d(real + 40, fake + 40), LOSS.d(real, fake))


def test_positions_and_heads_are_contrasted_each_by_itself():
    real, fake = draw(4, 2, 3)
    value = LOSS.d(real, fake)
    assert value.shape == (4, 2, 3)
    torch.testing.assert_close(value[:, 1, 2], LOSS.d(real[:, 1, 2], fake[:, 1, 2]))
    turn = Turn("D", "D", real_logits=[real, real + 100], fake_logits=[fake, fake + 100])
    torch.testing.assert_close(turn.call(LOSS.d), value.flatten(1).mean(1))


def test_the_gradient_weighs_the_others_by_how_close_they_come():
    real, fake = (x.requires_grad_(True) for x in draw(5))
    assert torch.autograd.gradcheck(lambda r, f: LOSS.d(r, f).mean(), (real, fake))
    slopes = torch.autograd.grad(LOSS.d(real, fake).mean(), (real, fake))
    assert (slopes[0] < 0).all() and (slopes[1] > 0).all()
    assert float(slopes[0].sum() + slopes[1].sum()) == pytest.approx(0.0, abs=1e-12)


def test_single_precision_holds_far_from_zero():
    for r, f in ((100.0, -100.0), (-100.0, 100.0), (100.0, 100.0)):
        values = []
        for dtype in (torch.float32, torch.float64):
            real, fake = (x + torch.arange(3, dtype=dtype) for x in (r, f))
            values.append(LOSS.d(real, fake).double())
        torch.testing.assert_close(values[0], values[1], rtol=1e-6, atol=1e-6)


def test_dirac_gan_by_hand():
    """One sample a batch: L_D = 2 softplus(psi theta), L_G its negative."""
    theta = psi = 1.0
    for _ in range(300):
        psi -= 0.1 * 2 * theta / (1 + math.exp(-psi * theta))
        theta += 0.1 * 2 * psi / (1 + math.exp(-psi * theta))
    assert DiracGAN("dual-contrastive").play(300).norm == pytest.approx(math.hypot(theta, psi), rel=1e-9)


def test_a_whole_step():
    step = play(small_step(loss="dual-contrastive"), 2)
    read = step.meter.read()
    assert read["D.loss"].mean == pytest.approx(2 * math.log(9), rel=0.5) and read["G.skipped"].mean == 0
