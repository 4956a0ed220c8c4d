"""The adaptive weight: values by hand, averages, the clamp, and what is not finite."""

import pytest
import torch
from torch import nn

from equipoise.adaptive_weight import AdaptiveWeight
from equipoise.errors import InputError


def losses(layer, reconstruction, adversarial):
    """Losses whose gradients at the layer's weight [1, 2] have these norms."""
    output = layer(torch.tensor([[0.6, 0.8]]))  # the gradient of the output has norm 1
    return reconstruction * output.sum(), adversarial * output.sum()


@pytest.fixture
def layer():
    return nn.Linear(2, 1, bias=False)


def test_the_ratio_of_both_gradients_at_the_last_layer(layer):
    weight = AdaptiveWeight(scale=0.5, delta=0.0)(*losses(layer, 6.0, -2.0), layer.weight)
    assert weight.dim() == 0 and not weight.requires_grad
    assert float(weight) == pytest.approx(0.5 * 3)
    assert layer.weight.grad is None


def test_delta_is_added_to_the_adversarial_norm(layer):
    assert float(AdaptiveWeight(delta=1.0)(*losses(layer, 6.0, 2.0), layer.weight)) == pytest.approx(2.0)


def test_averages_of_norms_not_of_ratios(layer):
    adaptive = AdaptiveWeight(decay=0.5, delta=0.0)
    adaptive(*losses(layer, 6.0, 2.0), layer.weight)
    second = adaptive(*losses(layer, 3.0, 8.0), layer.weight)
    # debiased with decay 0.5, the older of two weighs 1/3: (6 + 2 * 3) / 3 over (2 + 2 * 8) / 3
    assert float(second) == pytest.approx(4.0 / 6.0)


@pytest.mark.parametrize(("adversarial", "expected"), [(1e-5, 100.0), (0.0, 100.0), (1e4, 0.1)])
def test_the_clamp(layer, adversarial, expected):
    adaptive = AdaptiveWeight(low=0.1)
    assert float(adaptive(*losses(layer, 1.0, adversarial), layer.weight)) == pytest.approx(expected)


def test_what_is_not_finite_is_left_out(layer):
    adaptive = AdaptiveWeight(delta=0.0)
    assert float(adaptive(*losses(layer, 1.0, float("nan")), layer.weight)) == 0.0  # nothing known yet
    adaptive(*losses(layer, 6.0, 2.0), layer.weight)
    assert float(adaptive(*losses(layer, float("inf"), 2.0), layer.weight)) == pytest.approx(3.0)


def test_an_adversarial_loss_that_sets_in_later_gets_no_larger_weight(layer):
    """Zeros in its average made it twenty times as large at first."""
    adaptive = AdaptiveWeight(delta=0.0)
    for _ in range(50):
        assert float(adaptive(*losses(layer, 6.0, 0.0), layer.weight)) == 100.0
    assert float(adaptive(*losses(layer, 6.0, 2.0), layer.weight)) == pytest.approx(3.0)


def test_the_averages_are_saved_with_it(layer):
    first, second = AdaptiveWeight(), AdaptiveWeight()
    first(*losses(layer, 6.0, 2.0), layer.weight)
    second.load_state_dict(first.state_dict())
    once, again = (float(one(*losses(layer, 1.0, 5.0), layer.weight)) for one in (first, second))
    fresh = float(AdaptiveWeight()(*losses(layer, 1.0, 5.0), layer.weight))
    assert once == again != pytest.approx(fresh)


def test_what_cannot_be():
    for wrong in ({"decay": 1.0}, {"scale": float("inf")}, {"delta": -1.0}, {"delta": float("nan")}):
        with pytest.raises(InputError, match="decay must"):
            AdaptiveWeight(**wrong)
    layer = nn.Linear(2, 1, bias=False)
    held, other = losses(layer, 1.0, 1.0)
    for losses_and_at, text in (
        ((held, torch.zeros([]), layer.weight), "the adversarial loss carries no gradient"),
        ((held, torch.ones(1, requires_grad=True).sum(), layer.weight), "the adversarial loss does not depend"),
        ((held, other, layer), "a Linear came"),
        ((layer(torch.ones(3, 2)), other, layer.weight), r"the reconstruction has the shape \[3, 1\]"),
    ):
        with pytest.raises(InputError, match=text):
            AdaptiveWeight()(*losses_and_at)
