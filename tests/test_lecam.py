"""LeCam: one-sided squares to running averages with a closed form, a memory that is kept, and the Dirac-GAN."""

import copy

import pytest
import torch

from equipoise.errors import InputError
from equipoise.terms.lecam import LeCam
from equipoise.turn import Turn
from plants import DiracGAN, Linear, d_turn, play, small_step


def at(real, fake):
    return torch.tensor([float(real)]).double(), torch.tensor([float(fake)]).double()


@pytest.mark.parametrize(
    ("real", "fake", "averages", "expected"),
    [
        (1.0, -1.0, (1.0, -1.0), 2.4),  # 4 + 4, times 0.3
        (0.0, 0.0, (0.0, 0.0), 0.0),
        (-2.0, 0.5, (0.2, -1.0), 0.0),  # real below the average fake, fake above the average real: nothing to pull
        (-2.0, -1.8, (0.2, -1.0), 0.3 * 4.0),
        (1.0, 0.5, (0.2, -1.0), 0.3 * 4.0),
    ],
)
def test_values_by_hand(real, fake, averages, expected):
    term = LeCam(0.3).double()
    term.mass.fill_(1e12)  # so full of `averages` that the batch does not move them
    term.anchors.copy_(1e12 * torch.tensor(averages))
    assert float(term(*at(real, fake))) == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_the_averages_follow_their_closed_form_from_the_first_batch_on():
    """a_t = sum_k b^k m_(t-k) / sum_k b^k, the batch at hand included: no start at zero."""
    term, decay = LeCam(1.0, decay=0.9).double(), 0.9
    means = torch.randn(30, 2, generator=torch.Generator().manual_seed(0)).double()
    for t, (real, fake) in enumerate(means):
        spread = torch.tensor([-1.0, 0.0, 1.0]).double()
        value = term(real + spread, fake + spread)
        weights = decay ** torch.arange(t, -1, -1).double()
        a_real, a_fake = (weights[:, None] * means[: t + 1]).sum(0) / weights.sum()
        expected = (real + spread - a_fake).clamp(min=0).square() + (a_real - fake - spread).clamp(min=0).square()
        torch.testing.assert_close(value, expected)


def test_a_constant_added_to_all_logits_changes_nothing():
    a, b = LeCam().double(), LeCam().double()
    for seed in range(5):
        real, fake = torch.randn(2, 4, generator=torch.Generator().manual_seed(seed)).double()
        torch.testing.assert_close(a(real, fake), b(real + 30, fake + 30))


def test_a_batch_twice_over_gives_the_same_value():
    real, fake = torch.randn(2, 4).double()
    torch.testing.assert_close(LeCam()(real.repeat(2), fake.repeat(2)), LeCam()(real, fake).repeat(2))


def test_it_pulls_the_weights_by_its_formula_and_not_through_the_averages():
    """d/dw of relu(w.x - a_F)^2 + relu(a_R - w.y)^2 with a_R = w.x, a_F = w.y held fixed: 2 (w.x - w.y) (x - y)."""
    discriminator = Linear()
    x, y = torch.tensor([[1.0, 1.0]]).double(), torch.tensor([[0.0, -1.0]]).double()
    d_turn(discriminator, x, y).call(LeCam(0.5).double()).mean().backward()
    torch.testing.assert_close(discriminator.weight.grad, 0.5 * 2 * 11 * (x - y)[0])


def test_several_heads_move_the_averages_once():
    logits = [torch.ones(2, 1).double(), 3 * torch.ones(2, 1).double()]
    term = LeCam(decay=0.5).double()
    Turn("D", "D", real_logits=logits, fake_logits=logits).call(term)
    assert term.mass.item() == 0.5 and term.anchors.tolist() == [1.0, 1.0]  # half of 2


def test_double_precision_logits_meet_single_precision_averages():
    assert LeCam()(*at(1.0, -1.0)).dtype == torch.float64


def test_dirac_gan_is_held_but_not_calmed():
    game = DiracGAN("non-saturating", {"lecam": {"weight": 0.3, "decay": 0.99}}).play(1000)
    assert game.norm == pytest.approx(0.217063, rel=3e-6)


def test_the_memory_is_saved_and_goes_on_where_it_stopped():
    step = play(small_step(terms={"lecam": {}}, loss="hinge"), 3)
    term = step.objective.terms["lecam"]
    other = LeCam()
    other.load_state_dict(term.state_dict())
    assert set(term.state_dict()) == {"weight", "anchors", "mass"} and float(term.mass) == pytest.approx(1 - 0.99**3)
    logits = torch.randn(2, 8)
    assert torch.equal(copy.deepcopy(term)(*logits), other(*logits))
    assert not torch.equal(LeCam()(*logits), copy.deepcopy(term)(*logits))


@pytest.mark.parametrize("decay", [1.0, -0.1, float("nan")])
def test_a_decay_that_makes_no_average_is_refused(decay):
    with pytest.raises(InputError, match="decay="):
        LeCam(decay=decay)
