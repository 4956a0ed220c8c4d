"""f-GAN: the table of divergences against its literal form, conjugacy at parity, optimal logits, and the Dirac-GAN."""

import math

import pytest
import torch

from equipoise import build
from equipoise.errors import InputError
from equipoise.registry import find
from equipoise.terms.f_gan import DIVERGENCES, STEEPEST, Divergence, f_loss, tame_exp
from plants import DiracGAN, small_recipe

LOG2 = math.log(2)
# f(u), g_f(v), f*(t), f'(1), the optimal logit at density ratio u, F at parity: the paper's tables 2 and 6, literally
TABLE = {
    "f-kl": (lambda u: u * u.log(), lambda v: v, lambda t: (t - 1).exp(), 1.0, lambda u: 1 + u.log(), 0.0),
    "f-reverse-kl": (lambda u: -u.log(), lambda v: -(-v).exp(), lambda t: -1 - (-t).log(), -1.0, lambda u: u.log(), 0),
    "f-pearson": (lambda u: (u - 1) ** 2, lambda v: v, lambda t: t**2 / 4 + t, 0.0, lambda u: 2 * (u - 1), 0.0),
    "f-hellinger": (
        lambda u: (u.sqrt() - 1) ** 2,
        lambda v: 1 - (-v).exp(),
        lambda t: t / (1 - t),
        0.0,
        lambda u: u.log() / 2,
        0.0,
    ),
    "f-jensen-shannon": (
        lambda u: u * u.log() - (u + 1) * ((u + 1) / 2).log(),
        lambda v: LOG2 - (1 + (-v).exp()).log(),
        lambda t: -(2 - t.exp()).log(),
        0.0,
        lambda u: u.log(),
        0.0,
    ),
    "f-gan": (
        lambda u: u * u.log() - (u + 1) * (u + 1).log(),
        lambda v: -(1 + (-v).exp()).log(),
        lambda t: -(1 - t.exp()).log(),
        -LOG2,
        lambda u: u.log(),
        -2 * LOG2,
    ),
}
NAMES = list(DIVERGENCES)


def double(x):
    return torch.tensor([float(x)], dtype=torch.float64, requires_grad=True)


def test_the_table_is_whole():
    assert set(TABLE) == set(NAMES) and all(find("loss", name) for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_the_logits_forms_are_the_tables(name):
    """T and f*(T), written for the logit, against g_f and f* as printed."""
    v = torch.linspace(-6, 6, 41, dtype=torch.float64)
    _, activation, conjugate, *_ = TABLE[name]
    torch.testing.assert_close(DIVERGENCES[name].value(v), activation(v))
    torch.testing.assert_close(DIVERGENCES[name].conjugate(v), conjugate(activation(v)))


@pytest.mark.parametrize("name", NAMES)
def test_at_parity_the_bound_has_its_value_and_the_conjugate_slope_one(name):
    f, activation, conjugate, slope, logit, bound = TABLE[name]
    one = double(1)
    assert float(torch.autograd.grad(f(one), one)[0]) == pytest.approx(slope, abs=1e-12)
    t = double(slope)
    assert float(torch.autograd.grad(conjugate(t), t)[0]) == pytest.approx(1.0, abs=1e-12)
    v = logit(one.detach())
    assert float(activation(v)) == pytest.approx(slope, abs=1e-12)
    loss, ideal = find("loss", name).part, find("loss", name).facts["ideal"]
    assert -float(loss.d(v, v)) == pytest.approx(bound, abs=1e-9)
    assert ideal == (pytest.approx(-bound, abs=1e-9), pytest.approx(-slope, abs=1e-9))
    assert float(loss.g(v)) == pytest.approx(-slope, abs=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_the_best_discriminator_of_two_distributions_gives_the_divergence(name):
    """P, Q on four points: at T = f'(p / q) the loss is minus the divergence, and nothing around it is lower."""
    p, q = torch.tensor([[0.1, 0.2, 0.3, 0.4], [0.3, 0.3, 0.2, 0.2]], dtype=torch.float64)
    f, *_, logit, _ = TABLE[name]
    divergence = float((q * f(p / q)).sum())
    v = logit(p / q).requires_grad_(True)
    pair = DIVERGENCES[name]
    value = (q * pair.conjugate(v) - p * pair.value(v)).sum()
    assert -float(value.detach()) == pytest.approx(divergence, abs=1e-9)
    torch.testing.assert_close(torch.autograd.grad(value, v)[0], torch.zeros(4).double(), atol=1e-12, rtol=0)
    for change in (0.1, -0.1):
        moved = v.detach() + change
        assert float((q * pair.conjugate(moved) - p * pair.value(moved)).sum()) > float(value.detach())


def test_gan_and_jensen_shannon_are_the_non_saturating_loss_up_to_constants():
    r, f = torch.randn(2, 9, dtype=torch.float64)
    plain, gan, js = (find("loss", name).part for name in ("non-saturating", "f-gan", "f-jensen-shannon"))
    torch.testing.assert_close(gan.d(r, f), plain.d(r, f))
    torch.testing.assert_close(gan.g(f), plain.g(f))
    torch.testing.assert_close(js.d(r, f), plain.d(r, f) - 2 * LOG2)
    torch.testing.assert_close(js.g(f), plain.g(f) - LOG2)


def test_exponentials_go_on_as_their_tangent():
    x = torch.tensor([-2.0, 0.0, STEEPEST, STEEPEST + 3, 200.0], requires_grad=True)
    top = math.exp(STEEPEST)
    assert tame_exp(x).tolist() == pytest.approx([math.exp(-2), 1.0, top, 4 * top, 191 * top], rel=1e-5)
    slopes = torch.autograd.grad(tame_exp(x).sum(), x)[0].tolist()
    assert slopes == pytest.approx([math.exp(-2), 1.0, top, top, top], rel=1e-5)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("at", [-100.0, 100.0])
def test_a_lost_logit_still_has_a_slope_that_leads_back(name, at):
    """Where the discriminator is wrong (a real far down, a fake far up) its gradient is finite and not zero."""
    loss, v = find("loss", name).part, torch.tensor([at], requires_grad=True)
    zero = torch.zeros(1)
    value = loss.d(v, zero) if at < 0 else loss.d(zero, v)
    slope = float(torch.autograd.grad(value.sum(), v)[0])
    assert math.isfinite(slope) and slope * at > 0.9


def test_a_divergence_of_ones_own():
    """Any pair of functions of the logit makes a loss: here KL again, whose bound is 0 at parity."""
    loss = f_loss(Divergence(lambda v: v, lambda v: (v - 1).exp()))
    assert loss.d(torch.ones(2), torch.ones(2)).tolist() == [0.0, 0.0]


@pytest.mark.parametrize(("name", "norm"), [("f-gan", 0.281040), ("f-jensen-shannon", 0.281040)])
def test_dirac_gan_as_non_saturating(name, norm):
    assert DiracGAN(name).play(1000).norm == pytest.approx(norm, rel=3e-6)


@pytest.mark.parametrize("name", NAMES)
def test_dirac_gan_by_hand(name):
    """Against the literal table: psi follows -d F / d psi = -theta d f*(T) / dv, theta follows psi dT / dv."""
    _, activation, conjugate, *_ = TABLE[name]
    theta = psi = 1.0
    for _ in range(200):
        v = double(psi * theta)
        psi -= 0.1 * theta * float(torch.autograd.grad(conjugate(activation(v)), v)[0])
        v = double(psi * theta)
        theta += 0.1 * psi * float(torch.autograd.grad(activation(v), v)[0])
    assert DiracGAN(name).play(200).norm == pytest.approx(math.hypot(theta, psi), rel=1e-9)


def test_label_smoothing_has_no_meaning_beside_most():
    for name in NAMES:
        recipe = small_recipe(loss=name, terms={"label-smoothing": {}})
        if name == "f-gan":
            build.objective(recipe)
        else:
            with pytest.raises(InputError, match="cannot stand beside"):
                build.objective(recipe)
