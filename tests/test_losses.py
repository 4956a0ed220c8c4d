"""Losses against closed forms: values, slopes, invariances, and what they say of themselves."""

import math

import pytest
import torch

from equipoise.registry import entries, find
from equipoise.turn import Turn

LOG2 = math.log(2)
NAMES = [entry.name for entry in entries("loss") if entry.name != "multi-hinge"]  # which reads pairs of logits
F_GAN = {"f-gan", "f-hellinger", "f-jensen-shannon", "f-kl", "f-pearson", "f-reverse-kl"}
AVERAGES = ["relativistic-average", "relativistic-hinge", "relativistic-least-squares"]


def evaluate(name, r, f, dtype=torch.float64):
    """The players' losses and their slopes at one pair of logits: (L_D, L_G, dL_D/dr, dL_D/df, dL_G/dr, dL_G/df)."""
    loss = find("loss", name).part
    real, fake = (torch.tensor([x], dtype=dtype, requires_grad=True) for x in (r, f))
    fields = {"real_logits": real, "fake_logits": fake}
    found = []
    for side in (loss.d, loss.g):
        names = side.__code__.co_varnames[: side.__code__.co_argcount]
        value = side(**{n: fields[n] for n in names})
        assert value.shape == (1,)
        slopes = torch.autograd.grad(value.sum(), [real, fake], allow_unused=True)
        found.append((float(value.detach()), *(0.0 if s is None else float(s) for s in slopes)))
    (d, d_r, d_f), (g, g_r, g_f) = found
    return d, g, d_r, d_f, g_r, g_f


def test_the_losses_are_these():
    own = {*AVERAGES, "hinge", "least-squares", "minimax", "non-saturating", "rpgan", "wasserstein"}
    assert own | F_GAN | {"dual-contrastive", "energy"} == set(NAMES)
    assert [n for n in NAMES if find("loss", n).part.couples_samples] == ["dual-contrastive", *AVERAGES]


@pytest.mark.parametrize("name", [name for name in NAMES if name != "energy"])  # which sees the data alone
def test_an_undecided_discriminator_says_the_losses_zero(name):
    """Where it says the same of both, the loss is least there; where only differences count, it is so anywhere."""
    loss, said = find("loss", name).part, torch.linspace(-4, 4, 65, dtype=torch.float64)
    values = torch.stack([loss.d(one[None], one[None])[0] for one in said])
    least = said[values <= values.min() + 1e-9]
    assert (loss.zero is None) == (len(least) == len(said))
    assert loss.zero is None or float(least.mean()) == pytest.approx(loss.zero, abs=1e-9)


@pytest.mark.parametrize(
    ("name", "at", "ideal"),
    [
        ("minimax", 0.0, (1.386294361, -0.693147181)),
        ("non-saturating", 0.0, (1.386294361, 0.693147181)),
        ("hinge", 0.0, (2.0, 0.0)),
        ("least-squares", 0.5, (0.25, 0.125)),
        ("wasserstein", 0.3, (0.0, None)),
        ("rpgan", 0.7, (0.693147181, 0.693147181)),
        ("relativistic-average", 0.7, (0.693147181, 0.693147181)),
        ("relativistic-hinge", 0.7, (1.0, 1.0)),
        ("relativistic-least-squares", 0.7, (1.0, 1.0)),
    ],
)
def test_ideal_values_of_a_blind_discriminator(name, at, ideal):
    d, g, *_ = evaluate(name, at, at)
    assert d == pytest.approx(ideal[0], abs=1e-9)
    assert ideal[1] is None or g == pytest.approx(ideal[1], abs=1e-9)
    stated = find("loss", name).facts["ideal"]
    assert stated == (
        pytest.approx(ideal[0], abs=1e-9),
        ideal[1] if ideal[1] is None else pytest.approx(ideal[1], abs=1e-9),
    )


@pytest.mark.parametrize(
    ("name", "r", "f", "d", "g"),
    [
        ("hinge", 2.0, -2.0, 0.0, 2.0),
        ("hinge", 0.5, 0.5, 2.0, -0.5),
        ("hinge", -1.0, 3.0, 6.0, -3.0),
        ("least-squares", 1.0, 0.0, 0.0, 0.5),
        ("least-squares", 3.0, -1.0, 2.5, 2.0),
        ("wasserstein", 1.5, -0.5, -2.0, 0.5),
        ("rpgan", 1.0, 0.0, 0.313261688, 1.313261688),
        ("relativistic-average", 1.0, 0.0, 0.313261688, 1.313261688),
        ("relativistic-hinge", 1.0, 0.0, 0.0, 2.0),
        ("relativistic-least-squares", 1.0, 0.0, 0.0, 4.0),
        ("minimax", 2.0, -1.0, math.log1p(math.exp(-2)) + math.log1p(math.exp(-1)), -math.log1p(math.exp(-1))),
        ("non-saturating", 2.0, -1.0, math.log1p(math.exp(-2)) + math.log1p(math.exp(-1)), math.log1p(math.exp(1))),
    ],
)
def test_values_by_hand(name, r, f, d, g):
    assert evaluate(name, r, f)[:2] == (pytest.approx(d, abs=1e-9), pytest.approx(g, abs=1e-9))


def test_slopes_by_hand():
    assert evaluate("minimax", 0.0, 0.0)[5] == pytest.approx(-0.5)
    assert evaluate("minimax", 0.0, -10.0)[5] == pytest.approx(-4.539787e-5, rel=1e-6)  # vanishes
    assert evaluate("non-saturating", 0.0, -10.0)[5] == pytest.approx(-0.9999546, abs=1e-7)  # stays
    assert evaluate("hinge", 2.0, -2.0)[2:4] == (0.0, 0.0)  # past the margin
    assert evaluate("hinge", 0.5, 0.5)[2:4] == (-1.0, 1.0)


@pytest.mark.parametrize("name", NAMES)
def test_the_discriminator_wants_reals_up_and_fakes_down_and_the_generator_fakes_up(name):
    _, _, d_r, d_f, g_r, g_f = evaluate(name, 0.2, 0.1)
    assert d_r < 0 <= d_f and g_f < 0 <= g_r
    assert d_f > 0 or name == "energy"  # whose part for the fakes is a term


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("r", [-100.0, -20.0, 0.0, 20.0, 100.0])
@pytest.mark.parametrize("f", [-100.0, -20.0, 0.0, 20.0, 100.0])
def test_single_precision_holds_far_from_zero(name, r, f):
    low, high = evaluate(name, r, f, torch.float32), evaluate(name, r, f, torch.float64)
    assert all(map(math.isfinite, low))
    assert low == pytest.approx(high, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("shift", [-50.0, 3.0])
@pytest.mark.parametrize("name", ["rpgan", *AVERAGES])
def test_relativistic_losses_see_differences_only(name, shift):
    assert evaluate(name, 1.25 + shift, 0.5 + shift) == pytest.approx(evaluate(name, 1.25, 0.5), rel=1e-12)
    assert evaluate("non-saturating", 1 + shift, shift)[0] != pytest.approx(evaluate("non-saturating", 1.0, 0.0)[0])


@pytest.mark.parametrize("name", ["rpgan", *AVERAGES])
def test_relativistic_losses_swap_with_their_players(name):
    d, g, *_ = evaluate(name, 1.7, -0.4)
    assert evaluate(name, -0.4, 1.7)[:2] == pytest.approx((g, d), rel=1e-12)


SHAPES = {
    "relativistic-average": lambda gap: math.log1p(math.exp(-gap)),
    "relativistic-hinge": lambda gap: max(0.0, 1 - gap),
    "relativistic-least-squares": lambda gap: (1 - gap) ** 2,
}


@pytest.mark.parametrize("name", AVERAGES)
def test_each_sample_is_compared_with_the_others_average(name):
    """Against the definition written out one logit at a time."""
    r, f, shape = [0.3, -1.2, 2.0, 0.4], [0.9, -0.5, 0.1, 1.4], SHAPES[name]
    mean_r, mean_f, pairs = sum(r) / 4, sum(f) / 4, list(zip(r, f, strict=True))
    loss = find("loss", name).part
    real, fake = (torch.tensor(x, dtype=torch.float64).reshape(4, 1, 1) for x in (r, f))
    d, g = loss.d(real, fake), loss.g(real, fake)
    assert d.flatten().tolist() == pytest.approx([(shape(a - mean_f) + shape(mean_r - b)) / 2 for a, b in pairs])
    assert g.flatten().tolist() == pytest.approx([(shape(b - mean_r) + shape(mean_f - a)) / 2 for a, b in pairs])
    twice = loss.d(real.repeat(2, 1, 1), fake.repeat(2, 1, 1))
    torch.testing.assert_close(twice, d.repeat(2, 1, 1))


@pytest.mark.parametrize("name", AVERAGES)
def test_the_gradient_flows_through_the_averages(name):
    """Against finite differences of the mean loss; a shift of all logits must have no gradient at all."""
    loss = find("loss", name).part
    real, fake = (torch.randn(5, dtype=torch.float64, generator=torch.Generator().manual_seed(s)) for s in (1, 2))
    for side in (loss.d, loss.g):
        real.requires_grad_(True), fake.requires_grad_(True)
        assert torch.autograd.gradcheck(lambda r, f, side=side: side(r, f).mean(), (real, fake))
        slopes = torch.autograd.grad(side(real, fake).mean(), (real, fake))
        assert float(slopes[0].sum() + slopes[1].sum()) == pytest.approx(0.0, abs=1e-12)


def test_a_patch_map_is_one_population():
    """Averages run over positions too, and heads are kept apart."""
    loss = find("loss", "relativistic-least-squares").part
    real, fake = torch.randn(4, 1, 2, 2).double(), torch.randn(4, 1, 2, 2).double()
    flat = loss.d(real.flatten(), fake.flatten()).reshape(4, 4).mean(1)
    turn = Turn("D", "D", real_logits=[real, real + 100], fake_logits=[fake, fake + 100])
    torch.testing.assert_close(turn.call(loss.d), flat)


@pytest.mark.parametrize("name", NAMES)
def test_losses_are_elementwise_and_leave_their_inputs_alone(name):
    loss, (real, fake) = find("loss", name).part, torch.randn(2, 3, 4, 4, dtype=torch.float64)
    fields, kept = {"real_logits": real, "fake_logits": fake}, (real.clone(), fake.clone())
    for side in (loss.d, loss.g):
        names = side.__code__.co_varnames[: side.__code__.co_argcount]
        value = side(**{n: fields[n] for n in names})
        assert value.shape == (3, 4, 4)
        alone = side(**{n: fields[n][1:2, 2:3, 3:4] for n in names})
        assert loss.couples_samples or float(value[1, 2, 3]) == pytest.approx(float(alone), rel=1e-12)
    assert torch.equal(real, kept[0]) and torch.equal(fake, kept[1])
