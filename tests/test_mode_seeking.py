"""Mode seeking: the published value, its tangent near a collapse, and who draws what."""

import pytest
import torch

from equipoise.errors import InputError
from equipoise.terms.mode_seeking import ModeSeeking, reciprocal
from plants import batch_of, play, small_step


@pytest.fixture
def zeros(monkeypatch):
    """The second latents are 0."""
    monkeypatch.setattr(torch, "randn_like", torch.zeros_like)


def test_values_by_hand(zeros):
    """Images 0.2 apart, latents 0.5 apart: 1 / (0.4 + 1e-5) = 2.499938."""
    latents = torch.full((3, 4), 0.5, dtype=torch.float64)
    value = ModeSeeking().double()(0.4 * latents, latents, lambda z: 0.4 * z)
    assert value.shape == (1,) and float(value) == pytest.approx(2.499938, abs=1e-6)


def test_the_means_are_over_the_batch_before_the_ratio(zeros):
    latents = torch.tensor([[1.0], [3.0]], dtype=torch.float64)
    value = ModeSeeking(limit=100.0).double()(torch.tensor([[1.0], [0.0]]).double(), latents, torch.zeros_like)
    assert float(value) == pytest.approx(1 / (0.5 / 2 + 1e-5))


def test_a_collapsed_generator_is_pushed_with_a_bounded_slope(zeros):
    scale = torch.zeros([], dtype=torch.float64, requires_grad=True)
    latents = torch.ones(3, 4, dtype=torch.float64)
    value = ModeSeeking(limit=10.0).double()(scale * latents + 0.3, latents, lambda z: torch.zeros_like(z) + 0.3)
    assert float(value.detach()) == pytest.approx(20.0, abs=2e-3)
    far = torch.tensor(1e-3, dtype=torch.float64, requires_grad=True)
    value = ModeSeeking(limit=10.0).double()(far * latents, latents, torch.zeros_like)
    (slope,) = torch.autograd.grad(value.sum(), far)
    assert float(slope) == pytest.approx(-100.0)


def test_the_reciprocal_goes_on_as_its_tangent():
    ratio = torch.tensor([0.0, 0.05, 0.1 - 1e-7, 0.1 + 1e-7, 0.5], dtype=torch.float64, requires_grad=True)
    value = reciprocal(ratio, 10.0)
    assert value.tolist() == pytest.approx([20.0, 15.0, 10.0, 10.0, 2.0], abs=1e-4)
    (slope,) = torch.autograd.grad(value.sum(), ratio)
    assert slope.tolist() == pytest.approx([-100.0, -100.0, -100.0, -100.0, -4.0], abs=1e-3)


def test_it_draws_new_latents_and_keeps_the_labels():
    step = small_step(terms={"mode-seeking": {}}, classes=3)
    images, labels = batch_of(step, 0, classes=3)
    asked = []
    step.networks["G"].register_forward_pre_hook(lambda m, args: asked.append(args))
    step.move("G", images, labels, step.due("G"))
    (first, same), (second, too) = asked
    assert torch.equal(same, too) and first.shape == second.shape and not torch.equal(first, second)


def test_a_generator_with_one_image_costs_more_than_one_that_varies():
    latents = torch.randn(64, 4)
    term = ModeSeeking()
    torch.manual_seed(0)
    costs = [float(term((s * latents).tanh(), latents, lambda z, s=s: (s * z).tanh())) for s in (1.0, 0.1, 0.0)]
    assert costs == sorted(costs) and costs[0] < 3 and costs[2] == pytest.approx(20.0, abs=2e-3)


def test_a_reading_of_a_run():
    found = play(small_step(terms={"mode-seeking": {}}), 3).meter.read()["G.mode-seeking"]
    assert found.n == 24 and 0 < found.mean <= 20


@pytest.mark.parametrize("limit", [0.0, -1.0, float("nan")])
def test_a_limit_that_bounds_nothing_is_refused(limit):
    with pytest.raises(InputError, match="give one above 0"):
        ModeSeeking(limit=limit)
