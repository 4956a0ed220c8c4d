"""R1 by differences: its mean, its bias and its scatter in closed form, and the real R1 beside it."""

import math

import pytest
import torch
from torch import nn

from equipoise import build
from equipoise.errors import InputError
from equipoise.recipe import Recipe
from equipoise.terms.approximate_r1 import ApproximateR1
from equipoise.terms.gradient_penalty import R1
from plants import DiracGAN, Linear, Quadratic, batch_of, d_turn, small_step

MANY = 100_000


def value_of(term, discriminator, point, seed=0):
    """The term's values at many copies of one point."""
    torch.manual_seed(seed)
    real = torch.tensor(point, dtype=torch.float64).expand(MANY, len(point))
    return term(real, discriminator).detach()


@pytest.mark.parametrize("sigma", [1e-4, 0.01, 1.0])
def test_its_mean_is_r1_where_the_discriminator_is_linear_whatever_sigma(sigma):
    values = value_of(ApproximateR1(2.0, sigma=sigma), Linear(), [0.3, -0.2])
    assert float(values.mean()) == pytest.approx(25.0, rel=0.015)
    assert float(values.std()) == pytest.approx(25.0 * math.sqrt(2), rel=0.03)


@pytest.mark.parametrize("sigma", [0.01, 0.5])
def test_curvature_joins_with_sigma_squared(sigma):
    """E ((D(x + s e) - D(x)) / s)^2 = |Ax|^2 + s^2/4 (2 tr A^2 + (tr A)^2) for D = x.Ax / 2."""
    matrix, point = torch.tensor([[2.0, 0.5], [0.5, 1.0]]).double(), [1.0, 2.0]
    exact = float((matrix @ torch.tensor(point).double()).square().sum())
    bias = sigma**2 / 4 * float(2 * (matrix @ matrix).trace() + matrix.trace() ** 2)
    values = value_of(ApproximateR1(2.0, sigma=sigma), Quadratic(matrix), point)
    assert float(values.mean()) == pytest.approx(exact + bias, rel=0.015)


def test_its_mean_gradient_is_r1s():
    slopes = []
    for term in (ApproximateR1(1.4), R1(1.4)):
        discriminator = Quadratic([[2.0, 0.5], [0.5, 1.0]])
        torch.manual_seed(0)
        real = torch.tensor([1.0, 2.0]).double().expand(MANY, 2)
        d_turn(discriminator, real, real).call(term).mean().backward()
        slopes.append(discriminator.matrix.grad)
    torch.testing.assert_close(*slopes, rtol=0.03, atol=0.03)


def test_each_draw_pulls_the_weights_along_its_own_noise():
    """d/dw of gamma/2 (w.e)^2 is gamma (w.e) e."""
    discriminator, real = Linear(), torch.zeros(1, 2).double()
    torch.manual_seed(4)
    d_turn(discriminator, real, real).call(ApproximateR1(0.5)).mean().backward()
    torch.manual_seed(4)
    e = torch.randn_like(real)[0]
    torch.testing.assert_close(discriminator.weight.grad, 0.5 * (3 * e[0] + 4 * e[1]) * e)


def test_a_constant_discriminator_costs_nothing_to_the_bit():
    assert value_of(ApproximateR1(), lambda x: torch.full([len(x)], 7.3), [1.0]).count_nonzero() == 0


def test_no_second_derivative_is_asked_for():
    class Once(torch.autograd.Function):
        """Squares, and refuses to be differentiated twice."""

        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x.square()

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx, gradient):
            return 2 * gradient * ctx.saved_tensors[0]

    layer, last = nn.Linear(2, 3).double(), nn.Linear(3, 1).double()
    judge = lambda x: last(Once.apply(layer(x))).flatten()  # noqa: E731
    real = torch.randn(4, 2).double()
    ApproximateR1()(real, judge).mean().backward()
    assert layer.weight.grad.abs().sum() > 0
    layer.zero_grad()
    with pytest.raises(RuntimeError, match="once_differentiable"):
        d_turn(judge, real, real).call(R1()).mean().backward()


@pytest.mark.parametrize("classes", [0, 3])
def test_both_images_meet_the_same_weights_and_labels(classes):
    """Spectral norm's power iteration changes the weights at each pass: a constant offset between two passes would be
    divided by sigma."""
    network = {"options": {"depth": 2, "norm_D": "spectral"}}
    step = small_step(terms={"approximate-r1": {"sigma": 1e-6}, "r1": {}}, network=network, classes=classes)
    images, labels = batch_of(step, 0, classes=classes)
    values = []
    for seed in range(200):
        torch.manual_seed(seed)
        turn = step.turn("D", images, labels, torch.randn(8, 4).double(), step.due("D"))
        values.append(turn.call(step.objective.terms["approximate-r1"]).detach())
    exact = turn.call(step.objective.terms["r1"]).detach()
    torch.testing.assert_close(torch.stack(values).mean(), exact.mean(), rtol=0.15, atol=0)


def test_it_calms_the_dirac_gan_on_average():
    torch.manual_seed(0)
    assert DiracGAN("non-saturating", {"approximate-r1": {"gamma": 1.0}}).play(1000).norm < 1e-9


def test_augmentations_and_batch_norm_are_refused():
    with pytest.raises(InputError, match=r"approximate-r1 cannot stand beside instance-noise: .* use r1"):
        build.objective(Recipe(terms={"approximate-r1": {}}, augmentations={"instance-noise": {}}))
    build.objective(Recipe(terms={"r1": {}}, augmentations={"instance-noise": {}}))
    with pytest.raises(InputError, match="batch normalisation"):
        small_step(network={"options": {"norm_D": "batch"}}, terms={"approximate-r1": {}})


@pytest.mark.parametrize("sigma", [0.0, -1.0, math.nan])
def test_no_noise_is_refused(sigma):
    with pytest.raises(InputError, match="sigma="):
        ApproximateR1(sigma=sigma)
