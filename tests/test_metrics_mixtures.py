"""Modes of a known mixture: counts by hand and closed forms."""

import math

import numpy as np
import pytest

from equipoise import metrics
from equipoise.errors import InputError

CENTRES = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0], [10.0, 10.0]])


def test_counts_by_hand() -> None:
    samples = np.array([[0.1, 0.0], [0.0, 2.9], [10.0, 0.5], [0.0, 6.9], [math.nan, 0.0]])
    found = metrics.modes(samples, CENTRES, 1.0)
    assert found.hit == 2  # the fourth is 3.1 from its mode
    assert found.high_quality == pytest.approx(3 / 5)
    half, quarter = 0.5, 0.25  # shares of the four finite samples: 2, 1, 1, 0
    expected = half * math.log(half / quarter) + 2 * quarter * math.log(quarter / quarter)
    assert found.reverse_kl == pytest.approx(expected)
    mass = 0.25 * (1 - math.exp(-4.5))
    assert found.overlap == pytest.approx(mass + 0.2)  # 2/5 is cut to the mode's mass, 1/5 is not


def test_true_samples_score_about_one() -> None:
    generator = np.random.default_rng(0)
    samples = CENTRES[generator.integers(4, size=20000)] + 0.5 * generator.normal(size=(20000, 2))
    found = metrics.modes(samples, CENTRES, 0.5)
    assert found.hit == 4
    assert found.high_quality == pytest.approx(1 - math.exp(-4.5), abs=0.003)
    assert found.reverse_kl < 1e-3
    assert 0.97 < found.overlap < 0.99


def test_uneven_shares_are_the_reference() -> None:
    samples = CENTRES[[0, 0, 0, 1]]
    even, uneven = metrics.modes(samples, CENTRES[:2], 1.0), metrics.modes(samples, CENTRES[:2], 1.0, shares=[3, 1])
    assert uneven.reverse_kl == pytest.approx(0)
    assert uneven.overlap == pytest.approx(1 - math.exp(-4.5))
    assert even.overlap < uneven.overlap


def test_nothing_finite_is_a_miss_all_over() -> None:
    assert metrics.modes(np.full((3, 2), math.nan), CENTRES, 1.0) == (0, 0.0, math.inf, 0.0)


@pytest.mark.parametrize(
    ("hit", "nats"), [(1000, 0.0), (940, 0.061875), (500, 0.693147), (99, 2.312635), (1, 6.907755)]
)
def test_reverse_kl_of_even_coverage(hit: int, nats: float) -> None:
    counts = np.where(np.arange(1000) < hit, 5, 0)
    assert metrics.reverse_kl(counts) == pytest.approx(nats, abs=1e-6)


def test_reverse_kl_where_nothing_should_be() -> None:
    assert metrics.reverse_kl([1, 1], shares=[1, 0]) == math.inf
    assert metrics.reverse_kl([0, 0]) == math.inf


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match=r"\[N, 2\]"):
        metrics.modes(np.zeros((3, 3)), CENTRES, 1.0)
    with pytest.raises(InputError, match="std is 0"):
        metrics.modes(np.zeros((3, 2)), CENTRES, 0)
    with pytest.raises(InputError, match="4 modes"):
        metrics.modes(np.zeros((3, 2)), CENTRES, 1.0, shares=[0.5, 0.5])
