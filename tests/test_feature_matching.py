"""Feature matching: distances of means by hand, and that it reaches the generator through the discriminator."""

import pytest
import torch

from equipoise.terms.feature_matching import FeatureMatching
from plants import batch_of, play, small_step
from test_step import family


def test_values_by_hand():
    """Means (2, 0) and (1, 3): (1 + 3) / 2 = 2."""
    real = torch.tensor([[1.0, 1.0], [3.0, -1.0]], dtype=torch.float64)
    fake = torch.tensor([[0.0, 3.0], [2.0, 3.0], [1.0, 3.0]], dtype=torch.float64)
    value = FeatureMatching(0.5).double()(real, fake)
    assert value.shape == (1,) and value.tolist() == [1.0]
    assert FeatureMatching()(fake.float(), fake.float().flip(0)).tolist() == pytest.approx([0.0], abs=1e-6)


def test_the_gradient_is_a_sign_for_each_feature_and_stops_at_the_reals():
    real = torch.zeros(3, 2, dtype=torch.float64, requires_grad=True)
    fake = torch.tensor([[1.0, -2.0]] * 4, dtype=torch.float64, requires_grad=True)
    FeatureMatching(1.0).double()(real, fake).sum().backward()
    assert real.grad is None
    torch.testing.assert_close(fake.grad, torch.tensor([[1.0, -1.0]] * 4).double() / 4 / 2)


def test_half_precision_is_averaged_in_single():
    """256 in bfloat16 plus 1 is 256 again: a sum of ones would stop there."""
    ones = torch.ones(1000, 3, dtype=torch.bfloat16)
    value = FeatureMatching()(torch.zeros_like(ones), ones)
    assert value.dtype == torch.float32 and value.tolist() == [1.0]


@pytest.mark.parametrize("network", ["mlp", "dcgan", "resnet"])
def test_in_a_step_it_judges_reals_in_the_generators_turn(network):
    step = small_step(terms={"feature-matching": {}}, network=family(network), sensing=False)
    images, _ = batch_of(step, 0)
    latents = torch.randn(8, 4, dtype=torch.float64)
    made = step.turn("G", images, None, latents, step.due("G"))
    assert made["real_features"].shape == made["fake_features"].shape and made["real_features"].dim() == 2
    kept = []
    handle = step.networks["D"].output.register_forward_pre_hook(lambda m, args: kept.append(args[0].flatten(1)))
    step.networks["D"](made["fake"], None)
    handle.remove()
    torch.testing.assert_close(made["fake_features"], kept[0])
    assert made.call(step.objective.terms["feature-matching"]).requires_grad
    assert play(step, 2).meter.read()["G.feature-matching"].n == 16


def test_it_pulls_the_generators_mean_to_the_datas():
    """A generator of one number, and features that are the images: it settles where the means agree."""
    place = torch.tensor([5.0], dtype=torch.float64, requires_grad=True)
    real, term = torch.randn(64, 1, dtype=torch.float64) + 1, FeatureMatching().double()
    for _ in range(500):
        (slope,) = torch.autograd.grad(term(real, place.expand(64, 1)).sum(), place)
        place.data -= 0.02 * slope
    assert float(place.detach()) == pytest.approx(float(real.mean()), abs=0.03)
