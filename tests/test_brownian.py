"""Brownian motion control: value and gradient by hand, one draw per move, and what random factors do to a number."""

import math

import numpy as np
import pytest
import torch

from equipoise.errors import InputError
from equipoise.terms.brownian import Brownian
from plants import play, small_step


@pytest.fixture
def ones(monkeypatch):
    """Both draws are 1."""
    monkeypatch.setattr(torch, "randn", lambda *shape, **kinds: torch.ones(*shape, **kinds))


def numbers(*values):
    return torch.tensor(values, dtype=torch.float64)


def test_values_by_hand(ones):
    """D = 1 on both, q1 = 0.1, q2 = 0.01: 0.05 + 0.0025 + 0.005 = 0.0575."""
    value = Brownian().double()(numbers(1.0, 2.0, 0.0), numbers(1.0, 3.0, 5.0))
    assert value.tolist() == pytest.approx([0.0575, 0.05 * 4 + 0.01 * (16 / 4 + 9 * 4 / 2), 0.0], abs=1e-12)
    assert Brownian(0.5, q1=0.0).double()(numbers(1.0), numbers(1.0)).tolist() == pytest.approx([0.00375])


def test_the_derivative_is_the_controllers(ones):
    """q1 r xi1 + q2 (r^3 + f^2 r) xi2 by the real's logit, q2 f r^2 xi2 by the fake's."""
    real, fake = numbers(2.0).requires_grad_(True), numbers(3.0).requires_grad_(True)
    Brownian().double()(real, fake).sum().backward()
    assert float(real.grad) == pytest.approx(0.1 * 2 + 0.01 * (8 + 9 * 2))
    assert float(fake.grad) == pytest.approx(0.01 * 3 * 4)


def test_large_logits_are_bounded(ones):
    real = numbers(1e6, -1e6, 9.0).requires_grad_(True)
    value = Brownian().double()(real, numbers(1e9, 0.0, 0.0))
    value.sum().backward()
    assert value[0] == 0.05 * 100 + 0.01 * (2500 + 5000) and real.grad[:2].tolist() == [0.0, 0.0] and real.grad[2] > 0


def test_one_draw_for_the_whole_batch_with_mean_0_and_the_right_variance():
    """var = (q1/2 r^2)^2 + (q2/4 r^4 + q2/2 f^2 r^2)^2."""
    term = Brownian().double()
    torch.manual_seed(0)
    values = torch.stack([term(numbers(1.0, 1.0, 2.0), numbers(1.0, 1.0, 3.0)) for _ in range(2000)])
    assert torch.equal(values[:, 0], values[:, 1])
    for place, parts in ((0, (0.05, 0.0075)), (2, (0.2, 0.22))):
        assert float(values[:, place].std()) == pytest.approx(math.hypot(*parts), rel=0.06)
        assert abs(float(values[:, place].mean())) < 4 * math.hypot(*parts) / 2000**0.5
    assert float(torch.corrcoef(values[:, ::2].T)[0, 1]) < 0.95  # two draws, not one


def test_random_factors_of_mean_1_shrink_a_number(monkeypatch):
    """Plain steps on D = psi at data at 1: psi's logarithm falls by s^2/2 + 3 s^4/4 + 5 s^6/2 + ... per step in the
    mean, s = lr q1: integrated over the draw by 40 points."""
    nodes, shares = np.polynomial.hermite_e.hermegauss(40)
    term, rate, fall = Brownian(q1=1.0, q2=0.0).double(), 0.1, 0.0
    for node, share in zip(nodes, shares / shares.sum(), strict=True):
        monkeypatch.setattr(torch, "randn", lambda *shape, x=node, **kinds: torch.full(shape, x, **kinds))
        psi = numbers(1.0).requires_grad_(True)
        (slope,) = torch.autograd.grad(term(psi, numbers(0.0)).sum(), psi)
        fall -= share * float((psi.detach() - rate * slope).abs().log())
    assert fall == pytest.approx(rate**2 / 2 + 3 * rate**4 / 4 + 5 * rate**6 / 2, abs=1e-6)


def test_in_a_step():
    found = play(small_step(terms={"brownian": {}}), 3).meter.read()
    assert found["D.brownian"].n == 24 and found["D.skipped"].mean == 0


@pytest.mark.parametrize("wrong", [{"q1": -0.1}, {"q2": float("nan")}, {"limit": 0.0}])
def test_sizes_out_of_range_are_refused(wrong):
    with pytest.raises(InputError, match="sizes of noise are 0 or more"):
        Brownian(**wrong)
