"""Gradient shares: what reaches the generator's output is shared as told, whatever the losses' own scales."""

import pytest
import torch
from torch import nn

from equipoise.errors import InputError
from equipoise.gradient_shares import GradientShares


def made(a=1.0, b=1.0):
    """An output [1, 2] behind a weight, and two losses whose gradients there are (a, 0) and (0, b)."""
    weight = torch.ones(1, 2, requires_grad=True)
    output = weight * 1.0
    return weight, output, {"l1": a * output[0, 0], "adversarial": b * output[0, 1]}


@pytest.mark.parametrize(("a", "b"), [(1.0, 1.0), (1e4, 1e-3), (1e-3, 1e4)])
@pytest.mark.parametrize("way", ["backward", "weighted"])
def test_each_loss_gets_its_share_whatever_its_scale(a, b, way):
    weight, output, losses = made(a, b)
    shares = GradientShares({"l1": 3.0, "adversarial": 1.0}, total=2.0)
    if way == "backward":
        shares.backward(losses, output)
    else:
        weighted = shares(losses, output)
        sum(weighted.values()).backward()
        assert weighted["l1"] == losses["l1"]
    expected = [1.5, 0.5] if way == "backward" else [a, a / 3]
    assert weight.grad[0].tolist() == pytest.approx(expected, rel=1e-5)


def test_the_norm_is_an_average():
    shares = GradientShares({"l1": 1.0, "adversarial": 1.0}, decay=0.5)
    for a in (6.0, 3.0):
        weight, output, losses = made(a)
        shares.backward(losses, output)
    assert weight.grad[0].tolist() == pytest.approx([0.5 * 3 / 4, 0.5])  # debiased: (6 + 2 * 3) / 3 = 4


def test_no_other_network_gets_a_gradient():
    torch.manual_seed(0)
    generator, judge = nn.Linear(2, 2), nn.Linear(2, 1)
    output = generator(torch.randn(4, 2))
    shares = GradientShares({"l1": 1.0, "adversarial": 1.0})
    shares.backward({"l1": output.abs().mean(), "adversarial": -judge(output).mean()}, output)
    assert generator.weight.grad.abs().sum() > 0 and judge.weight.grad is None


def test_a_dead_loss_stays_dead_and_what_is_not_finite_is_left_out():
    shares = GradientShares({"l1": 1.0, "adversarial": 1.0})
    weight, output, losses = made(1.0, 0.0)
    shares.backward(losses, output)
    assert weight.grad[0].tolist() == [0.5, 0.0]
    _, output, losses = made(float("nan"), 2.0)
    shares(losses, output)
    assert shares.norms[0] / shares.mass[0] == pytest.approx(1.0)


@pytest.mark.parametrize("way", ["backward", "weighted"])
def test_a_loss_that_sets_in_later_starts_with_its_share(way):
    """Zeros in its average gave it three hundred times its share at its first step, and all of the sum."""
    shares = GradientShares({"adversarial": 1.0, "l1": 1.0})
    for b in [0.0] * 100 + [3.0]:
        weight, output, losses = made(2.0, b)
        if way == "backward":
            shares.backward(losses, output)
        else:
            sum(shares(losses, output).values()).backward()
        l1, adversarial = weight.grad[0].tolist()
        assert l1 == pytest.approx({"backward": 0.5, "weighted": 3.0 if b else 2.0}[way])
        assert adversarial == pytest.approx(l1 if b else 0.0)


def test_what_cannot_be():
    for wrong in ({"l1": float("inf")}, {"l1": float("nan")}, {"l1": "1"}, {}, ["l1"]):
        with pytest.raises(InputError, match="share above 0"):
            GradientShares(wrong)
    with pytest.raises(InputError, match="a total above 0"):
        GradientShares({"l1": 1.0}, total=float("inf"))
    with pytest.raises(InputError, match="share above 0"):
        GradientShares({"l1": 0.0})
    _, output, losses = made()
    with pytest.raises(InputError, match="name each"):
        GradientShares({"l1": 1.0}).backward(losses, output)
    with pytest.raises(InputError, match="not detached"):
        GradientShares({"l1": 1.0, "adversarial": 1.0}).backward(losses, output.detach())
    with pytest.raises(InputError, match="the loss 'l1' does not depend"):
        GradientShares({"l1": 1.0}).backward({"l1": torch.ones(1, requires_grad=True).sum()}, output)
    with pytest.raises(InputError, match="the loss 'l1' carries no gradient"):
        GradientShares({"l1": 1.0}).backward({"l1": torch.ones([])}, output)
