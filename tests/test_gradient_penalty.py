"""Penalties on discriminators whose gradient is known, and the Dirac-GAN that they must calm."""

import pytest
import torch

from equipoise.errors import InputError
from equipoise.registry import entries, find
from equipoise.terms.gradient_penalty import DRAGAN, R1, R2, WGANGP, ZeroGP
from equipoise.turn import Turn, input_gradient
from plants import DiracGAN, Linear, Quadratic, d_turn

PENALTIES = [entry.part for entry in entries("term") if getattr(entry.part, "differentiates", False)]


def points(n=5, d=2, seed=0):
    return torch.randn(n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def turn_of(discriminator, n=5, d=2):
    return d_turn(discriminator, points(n, d), points(n, d, seed=1) + 2)


def test_the_penalties_are_these():
    own = {"R1", "R2", "WGANGP", "WGANLP", "ZeroGP", "DRAGAN", "ApproximateR1", "Roth", "DigGAN"}
    assert {p.__name__ for p in PENALTIES} == own


@pytest.mark.parametrize(
    ("penalty", "weight", "expected"),
    [
        (R1(gamma=2.0), (3.0, 4.0), 25.0),
        (R2(gamma=2.0), (3.0, 4.0), 25.0),
        (WGANGP(weight=10.0), (3.0, 4.0), 160.0),
        (WGANGP(weight=10.0), (0.6, 0.8), 0.0),
        (WGANGP(weight=10.0), (0.3, 0.4), 2.5),
        (R1(gamma=0.0), (3.0, 4.0), 0.0),
        (ZeroGP(weight=10.0), (3.0, 4.0), 250.0),
        (DRAGAN(weight=10.0), (3.0, 4.0), 160.0),
        (DRAGAN(weight=10.0), (0.6, 0.8), 0.0),
        (DRAGAN(weight=10.0), (0.3, 0.4), 2.5),
    ],
)
def test_linear_discriminator(penalty, weight, expected):
    value = turn_of(Linear(weight)).call(penalty)
    assert value.shape == (5,)
    torch.testing.assert_close(value, torch.full((5,), expected, dtype=torch.float64), atol=1e-9, rtol=1e-7)


def test_r1_and_r2_together():
    turn = turn_of(Linear())
    assert float((turn.call(R1(2.0)) + turn.call(R2(2.0))).detach().mean()) == pytest.approx(50.0)


def test_quadratic_discriminator_by_hand():
    discriminator = Quadratic([[1.0, 0.0], [0.0, 1.0]])
    turn = d_turn(discriminator, torch.tensor([[1.0, 2.0]]).double(), torch.tensor([[3.0, 0.0]]).double())
    assert turn.call(R1(1.0)).tolist() == [2.5]
    assert turn.call(R2(1.0)).tolist() == [4.5]


def test_quadratic_discriminator_over_a_normal_distribution():
    matrix = torch.tensor([[1.0, 0.5, 0.0], [0.5, -2.0, 0.3], [0.0, 0.3, 0.7]]).double()
    turn = d_turn(Quadratic(matrix), points(100_000, 3), points(1, 3).expand(100_000, 3))
    assert float(turn.call(R1(3.0)).detach().mean()) == pytest.approx(1.5 * float(matrix.square().sum()), rel=0.01)


def test_the_sum_runs_over_pixels_and_never_over_the_batch():
    weight = torch.ones(3, 4, 4).double()  # |grad|^2 = 48 for every image
    real = torch.randn(7, 3, 4, 4).double()
    value = d_turn(lambda x: (x * weight).sum((1, 2, 3)), real, real).call(R1(2.0))
    torch.testing.assert_close(value, torch.full((7,), 48.0).double())


def test_patches_are_averaged_before_the_gradient():
    real = points(3, 4)
    patched = d_turn(lambda x: 2 * x.reshape(3, 2, 2), real, real)  # score: half the sum of the patches
    torch.testing.assert_close(patched.call(R1(2.0)), torch.full((3,), 4 * 0.25).double())


@pytest.mark.parametrize("penalty", [R1(2.0), R2(2.0), ZeroGP(2.0)])
def test_a_constant_discriminator_costs_nothing(penalty):
    assert turn_of(Linear((0.0, 0.0))).call(penalty).tolist() == [0.0] * 5


@pytest.mark.parametrize("penalty", [WGANGP(10.0), DRAGAN(10.0)])
def test_the_one_centred_penalty_of_a_constant_discriminator_has_a_finite_gradient(penalty):
    discriminator = Linear((0.0, 0.0))
    value = turn_of(discriminator).call(penalty)
    torch.testing.assert_close(value, torch.full((5,), 10.0).double(), atol=1e-4, rtol=0)
    value.mean().backward()
    assert discriminator.weight.grad.isfinite().all()


@pytest.mark.parametrize("penalty", [R1(2.0), R2(2.0), WGANGP(2.0), DRAGAN(2.0), ZeroGP(1.0)])
def test_the_gradient_reaches_the_discriminator_with_the_right_size(penalty):
    """d/dw: gamma w of gamma/2 |w|^2, 2 weight w of weight |w|^2, 2 weight (|w| - 1) w / |w| of weight (|w| - 1)^2."""
    discriminator = Linear()
    turn_of(discriminator).call(penalty).mean().backward()
    w = torch.tensor([3.0, 4.0]).double()
    expected = 2 * 2 * 4 * w / 5 if isinstance(penalty, (WGANGP, DRAGAN)) else 2 * w
    torch.testing.assert_close(discriminator.weight.grad, expected)


@pytest.mark.parametrize("penalty", [R1(2.0), R2(2.0), WGANGP(2.0), ZeroGP(2.0)])
def test_no_gradient_reaches_the_generator(penalty):
    """Where the fakes hang on the generator's graph, interpolates are cut off from it; R2's turn brings leaves."""
    theta = torch.ones(5, 2, dtype=torch.float64, requires_grad=True)
    discriminator = Quadratic([[1.0, 0.0], [0.0, 3.0]])
    turn = d_turn(discriminator, points(), theta * 2)
    turn.call(penalty).mean().backward()
    assert theta.grad is None
    if isinstance(penalty, (WGANGP, ZeroGP)):
        penalty(points(), theta * 2, discriminator).mean().backward()
        assert theta.grad is None


@pytest.mark.parametrize("penalty", [R1(2.0), R2(2.0)])
def test_a_batch_twice_over_gives_the_same_value(penalty):
    discriminator = Quadratic([[1.0, 0.5], [0.5, 3.0]])
    once = d_turn(discriminator, points(), points(seed=1)).call(penalty)
    twice = d_turn(discriminator, points().repeat(2, 1), points(seed=1).repeat(2, 1)).call(penalty)
    torch.testing.assert_close(twice, once.repeat(2))


def test_both_gradients_come_from_one_backward_pass_and_only_those_tracked():
    discriminator = Quadratic([[1.0, 0.5], [0.5, 3.0]])
    turn = d_turn(discriminator, points(), points(seed=1))
    torch.testing.assert_close(turn["real_gradient"], points() @ discriminator.matrix)
    torch.testing.assert_close(turn["fake_gradient"], points(seed=1) @ discriminator.matrix)
    fake = points(seed=1)
    real = points().requires_grad_(True)
    alone = Turn("D", "D", real=real, fake=fake, real_logits=discriminator(real), fake_logits=discriminator(fake))
    torch.testing.assert_close(alone["real_gradient"], turn["real_gradient"])


def test_swapping_real_and_fake_swaps_r1_and_r2():
    discriminator = Quadratic([[1.0, 0.5], [0.5, 3.0]])
    here, there = d_turn(discriminator, points(), points(seed=1)), d_turn(discriminator, points(seed=1), points())
    torch.testing.assert_close(here.call(R1(1.0)), there.call(R2(1.0)))
    assert not torch.allclose(here.call(R1(1.0)), here.call(R2(1.0)))


@pytest.mark.parametrize("penalty", [WGANGP(1.0), ZeroGP(1.0)])
def test_interpolates_lie_between_with_one_share_per_sample(penalty):
    seen = []

    def judge(x):
        seen.append(x.detach().clone())
        return x.flatten(1).sum(1)

    real, fake = torch.zeros(400, 3, 2, 2).double(), torch.ones(400, 3, 2, 2).double()
    penalty(real, fake, judge)
    shares = seen[0].flatten(1)
    assert torch.equal(shares, shares[:, :1].expand_as(shares))
    assert 0 <= shares.min() < 0.05 and 0.95 < shares.max() <= 1 and abs(shares.mean() - 0.5) < 0.08


def test_the_zero_centred_penalty_between_two_points_has_a_known_mean():
    """D(x) = |x|^2 / 2 from 0 to (3, 4): |grad|^2 = 25 share^2, a third of 25 in the mean."""
    real, fake = torch.zeros(20_000, 2).double(), torch.tensor([3.0, 4.0]).double().expand(20_000, 2)
    torch.manual_seed(0)
    value = d_turn(Quadratic([[1.0, 0.0], [0.0, 1.0]]), real, fake).call(ZeroGP(6.0))
    assert float(value.detach().mean()) == pytest.approx(50.0, rel=0.02)


def test_dragan_looks_around_the_real_images_by_half_a_deviation():
    seen = []

    def judge(x):
        seen.append(x.detach().clone())
        return x.flatten(1).sum(1)

    real = 3 + 2 * torch.randn(200, 3, 4, 4).double()
    torch.manual_seed(0)
    DRAGAN(1.0, spread=0.5)(real, judge)
    noise = (seen[0] - real) / real.std(unbiased=False)
    assert float(noise.abs().max()) <= 0.5 + 1e-9 and float(noise.abs().max()) > 0.499
    assert abs(float(noise.mean())) < 0.01 and float(noise.std()) == pytest.approx(1 / 12**0.5, rel=0.02)
    DRAGAN(1.0, spread=0.0)(real, judge)
    assert torch.equal(seen[1], real)


@pytest.mark.parametrize("spread", [-0.5, float("nan")])
def test_a_negative_spread_is_refused(spread):
    with pytest.raises(InputError, match="give 0 or more standard deviations"):
        DRAGAN(1.0, spread=spread)


def test_images_without_a_gradient_are_an_error_that_says_what_to_do():
    real, discriminator = points(), Linear()
    turn = Turn("D", "D", real=real, real_logits=discriminator(real))
    with pytest.raises(InputError, match=r"the real images carry no gradient.*call real.requires_grad_\(\) before"):
        turn.call(R1(1.0))


def test_half_precision_gradients_are_squared_in_single():
    images = torch.randn(2, 3, dtype=torch.bfloat16).requires_grad_(True)
    assert input_gradient(images.sum(1), images)[0].dtype == torch.float32


@pytest.mark.parametrize("part", PENALTIES)
@pytest.mark.parametrize("wrong", [{"strength": -1.0}, {"strength": float("nan")}, {"every": 0}])
def test_settings_out_of_range_are_refused(part, wrong):
    name = part.dials[0]
    with pytest.raises(InputError, match=f"{name} must be 0 or more"):
        part(**{{"strength": name}.get(key, key): value for key, value in wrong.items()})


@pytest.mark.parametrize("part", PENALTIES)
def test_the_strength_is_a_0d_buffer_that_acts_at_once(part):
    penalty, name = part(1.0), part.dials[0]
    buffer = dict(penalty.named_buffers())[name]
    torch.manual_seed(0)
    before = turn_of(Linear()).call(penalty)
    buffer.fill_(3.0)
    assert buffer.dim() == 0
    torch.manual_seed(0)
    torch.testing.assert_close(turn_of(Linear()).call(penalty), 3 * before)


# ------------------------------------------------------------------------------------------------ Dirac-GAN


@pytest.mark.parametrize(
    ("loss", "terms", "lr_D", "simultaneous", "steps", "expected"),
    [
        ("non-saturating", {}, 0.1, True, 1000, 0.467251),
        ("non-saturating", {}, 0.1, False, 1000, 0.281040),
        ("non-saturating", {}, 0.4, False, 1000, 0.217094),
        ("non-saturating", {"r1": {"gamma": 0.1}}, 0.1, False, 1000, 0.00489783),
        ("non-saturating", {"r1": {"gamma": 1.0}}, 0.1, False, 100, 0.0935222),
        ("non-saturating", {"r1": {"gamma": 10.0}}, 0.1, False, 1000, 0.0818426),
        ("wasserstein", {}, 0.1, False, 1000, 1.39926),
        ("hinge", {}, 0.1, False, 1000, 1.39926),
        ("wasserstein", {"wgan-gp": {"weight": 1.0}}, 0.1, False, 1000, 2.0),
        ("wasserstein", {"r1": {"gamma": 1.0}}, 0.1, False, 1000, 1.9e-23),
        ("non-saturating", {"0-gp": {"weight": 0.5}}, 0.1, False, 100, 0.0935222),
        ("wasserstein", {"dragan": {"weight": 1.0}}, 0.1, False, 1000, 2.0),
        ("relativistic-average", {}, 0.1, False, 1000, 0.281040),
    ],
)
def test_dirac_gan_ends_where_it_must(loss, terms, lr_D, simultaneous, steps, expected):
    norm = DiracGAN(loss, terms, lr_D=lr_D).play(steps, simultaneous).norm
    digits = 0.04 if expected < 1e-10 else 3e-6 if expected != 2.0 else 0.02
    assert norm == pytest.approx(expected, rel=digits, abs=0)


def test_dirac_gan_r1_and_r2_share_the_damping():
    both = DiracGAN("non-saturating", {"r1": {"gamma": 0.5}, "r2": {"gamma": 0.5}}).play(100)
    one = DiracGAN("non-saturating", {"r1": {"gamma": 1.0}}).play(100)
    assert both.norm == pytest.approx(one.norm, rel=1e-12) == pytest.approx(0.0935222, rel=1e-6)
    assert one.play(900).norm < 1e-15


def test_a_lazy_penalty_damps_as_much_in_the_long_run():
    """R1 every 4 moves, weighted by 4, decays at nearly the rate of R1 at each move."""
    lazy = DiracGAN("non-saturating", {"r1": {"gamma": 0.1, "every": 4}}).play(1000).norm
    assert lazy == pytest.approx(0.00489783, rel=0.2)


def test_find_gives_the_penalties_under_their_names():
    names = ("r1", "r2", "wgan-gp", "0-gp", "dragan")
    assert [find("term", name).part for name in names] == [R1, R2, WGANGP, ZeroGP, DRAGAN]
