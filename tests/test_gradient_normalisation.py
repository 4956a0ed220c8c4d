"""Gradient normalisation: its closed forms, penalties on top, both players' moves, no host reads."""

import copy

import pytest
import torch
from torch import nn

from equipoise.errors import InputError
from equipoise.initialise import is_spectral
from equipoise.networks import build
from equipoise.networks.gradient_normalisation import GradientNormalised
from plants import Linear, Quadratic, batch_of, play, small_step
from test_step import fake_moves, family

FAMILIES = ["dcgan", "mlp", "normfree", "resnet"]


def normalised(name="mlp", classes=0, **options):
    torch.manual_seed(0)
    options = {"norm_D": "gradient"} | options
    return build(name, (1, 8, 8), latent_dim=4, num_classes=classes, width=4, options=options)[1]


def test_a_linear_discriminator():
    judge = GradientNormalised(Linear((5.0,)))
    judge.discriminator.forward = lambda images, labels=None: images @ judge.discriminator.weight
    assert judge(torch.tensor([[2.0]]).double()).item() == pytest.approx(10 / 15, abs=1e-6)
    assert judge(torch.tensor([[-2.0], [0.0]]).double()).tolist() == pytest.approx([-10 / 15, 0.0], abs=1e-6)


class Labelled(nn.Module):
    """A discriminator of vectors that takes labels, whose logits a factor scales."""

    def __init__(self, inner, factor=1.0):
        super().__init__()
        self.inner, self.factor = inner, factor

    def forward(self, images, labels=None):
        return self.factor * self.inner(images)


def test_a_quadratic_discriminator_and_a_factor():
    matrix = torch.tensor([[2.0, 1.0], [1.0, -1.0]]).double()
    x = torch.tensor([[1.0, 2.0], [0.5, -1.0]]).double()
    value, slope = (x @ matrix * x).sum(1) / 2, (x @ matrix).norm(dim=1)
    judge, larger = (GradientNormalised(Labelled(Quadratic(matrix), factor)) for factor in (1.0, 7.0))
    torch.testing.assert_close(judge(x), value / (slope + value.abs()))
    torch.testing.assert_close(larger(x), judge(x), rtol=1e-9, atol=0)
    assert (judge(100 * x).abs() < 1).all()


def test_where_all_vanishes_the_judgement_and_its_gradient_are_finite():
    judge = GradientNormalised(Labelled(Quadratic([[1.0]])))
    x = torch.zeros(1, 1).double().requires_grad_()
    (gradient,) = torch.autograd.grad(judge(x).sum(), x)
    assert judge(x).item() == 0 and gradient.isfinite().all()


def test_a_multiplier_of_the_last_layer_changes_nothing_in_a_network():
    judge = normalised()
    x = torch.randn(3, 1, 8, 8)
    before = judge(x)
    with torch.no_grad():
        judge.discriminator.output.weight.mul_(7)
        judge.discriminator.output.bias.mul_(7)
    torch.testing.assert_close(judge(x), before, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("name", FAMILIES)
def test_no_graph_is_left_without_gradients(name, classes):
    judge, x = normalised(name, classes), torch.randn(3, 1, 8, 8)
    labels = torch.arange(3) if classes else None
    tracked = judge(x, labels)
    with torch.no_grad():
        plain = judge(x, labels)
    assert tracked.requires_grad and not plain.requires_grad and not x.requires_grad
    torch.testing.assert_close(plain, tracked.detach())
    assert all(p.grad is None for p in judge.parameters())
    assert (plain.abs() < 1).all() and plain.any()


@pytest.mark.parametrize("name", FAMILIES)
def test_the_derivative_of_a_penalty_on_top_is_right(name):
    """A third derivative, against a finite difference in double precision."""
    judge = normalised(name).double()
    with torch.no_grad():
        for p in judge.parameters():
            p.add_(0.1 * torch.randn_like(p))
    x = torch.randn(2, 1, 8, 8).double()
    weights = list(judge.parameters())

    def penalty():
        points = x.clone().requires_grad_()
        (slope,) = torch.autograd.grad(judge(points).sum(), points, create_graph=True)
        return 1000 * slope.square().sum()

    gradients = torch.autograd.grad(penalty(), weights, allow_unused=True)
    direction = [torch.randn_like(p) for p in weights]
    exact = sum((g * d).sum() for g, d in zip(gradients, direction, strict=True) if g is not None)
    values = []
    for step in (1e-6, -2e-6):
        with torch.no_grad():
            torch._foreach_add_(weights, direction, alpha=step)
        values.append(penalty().item())
    assert (values[0] - values[1]) / 2e-6 == pytest.approx(float(exact.detach()), rel=1e-3)


def test_the_generator_feels_the_normalised_judgement():
    """Its gradient is that of the formula, the discriminator being frozen."""
    judge = normalised().double().requires_grad_(False)
    x = torch.randn(2, 1, 8, 8).double()

    def formula(images):
        images = images.requires_grad_() if not images.requires_grad else images
        logits = judge.discriminator(images)
        (slope,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
        return logits / (slope.flatten(1).norm(dim=1) + logits.abs())

    gradients = []
    for one in (judge, formula):
        scale = torch.tensor(1.5, dtype=torch.float64, requires_grad=True)
        gradients.append(torch.autograd.grad(one(x * scale).sum(), scale)[0])
    torch.testing.assert_close(*gradients)


def test_it_stands_in_for_the_discriminator():
    judge = normalised("dcgan", 3)
    assert (judge.shape, judge.num_classes) == ((1, 8, 8), 3)
    assert judge.output is judge.discriminator.output and judge.differentiates
    twin = copy.deepcopy(judge)
    twin.load_state_dict(judge.state_dict())
    x, labels = torch.randn(3, 1, 8, 8), torch.arange(3)
    assert torch.equal(judge(x, labels), twin(x, labels))


def test_it_never_meets_spectral_norm():
    """Both are values of one setting; a multiplier of spectral norm has nothing to turn."""
    for name in FAMILIES:
        assert not any(is_spectral(layer) for layer in normalised(name).modules())
    with pytest.raises(InputError, match="sn_multiplier"):
        normalised(sn_multiplier=2.0)


def test_one_logit_per_image_is_asked_for():
    judge = GradientNormalised(Labelled(nn.Linear(2, 2)))
    with pytest.raises(InputError, match=r"gives \(3, 2\)"):
        judge(torch.zeros(3, 2))


# ------------------------------------------------------------------------------------------------ in a step


@pytest.mark.parametrize("terms", [{}, {"r1": {}, "r2": {}, "wgan-gp": {}}, {"lecam": {}, "cr": {}}])
def test_both_players_move(terms):
    step = play(small_step(network=family("mlp", norm_D="gradient"), loss="hinge", terms=terms), 3)
    found = step.meter.read()
    for role in ("D", "G"):
        assert found[f"{role}.skipped"].mean == 0 and found[f"{role}.update"].mean > 0


def test_it_is_judged_in_full_precision():
    network = family("dcgan", norm_D="gradient")
    step = small_step(network=network, dtype=torch.float32, mixed=True)
    seen = []
    step.networks["D"].discriminator.output.register_forward_hook(lambda m, i, o: seen.append(o.dtype))
    for role in ("D", "G"):
        step.move(role, *batch_of(step, 0))
    assert seen and set(seen) == {torch.float32}


def test_packs():
    step = play(small_step(network=family("mlp", norm_D="gradient") | {"pack": 2}, terms={"r1": {}}), 2)
    assert step.networks["D"].output is not None
    assert step.meter.read()["D.skipped"].mean == 0


@pytest.mark.parametrize(("name", "classes"), [("mlp", 0), ("dcgan", 3), ("resnet", 3), ("normfree", 0)])
def test_no_host_read(monkeypatch, name, classes):
    fake_moves(monkeypatch, family(name, norm_D="gradient"), classes, terms={"r1": {"every": 2}}, rounds=1)
