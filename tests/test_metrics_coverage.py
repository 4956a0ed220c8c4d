"""Precision, recall, density, coverage and the Vendi score, against brute force and closed forms."""

import numpy as np
import pytest

from equipoise import metrics
from equipoise.errors import InputError


def brute(real: np.ndarray, fake: np.ndarray, k: int) -> metrics.PRDC:
    def radius(points: np.ndarray, index: int) -> float:
        others = [np.linalg.norm(points[index] - other) for i, other in enumerate(points) if i != index]
        return float(sorted(others)[k - 1])

    real_radii = [radius(real, i) for i in range(len(real))]
    fake_radii = [radius(fake, j) for j in range(len(fake))]
    near = np.array([[np.linalg.norm(x - y) for y in fake] for x in real])
    in_real = near < np.array(real_radii)[:, None]
    in_fake = near < np.array(fake_radii)[None]
    return metrics.PRDC(
        precision=np.mean([in_real[:, j].any() for j in range(len(fake))]),
        recall=np.mean([in_fake[i].any() for i in range(len(real))]),
        density=in_real.sum() / (k * len(fake)),
        coverage=np.mean([in_real[i].any() for i in range(len(real))]),
    )


@pytest.mark.parametrize("k", [1, 3, 5])
def test_prdc_agrees_with_brute_force(k: int) -> None:
    generator = np.random.default_rng(k)
    real, fake = generator.normal(size=(40, 3)), generator.normal(size=(31, 3)) * 0.8 + 0.5
    found = metrics.prdc(real, fake, k=k)
    assert found == pytest.approx(brute(real, fake, k))
    assert all(0 < share < 1.5 for share in found)


def test_prdc_of_identical_sets_is_one() -> None:
    points = np.random.default_rng(0).normal(size=(50, 4)) + 100
    for k in (1, 5):
        found = metrics.prdc(points, points, k=k)
        assert (found.precision, found.recall, found.coverage) == (1.0, 1.0, 1.0)


def test_prdc_of_sets_far_apart_is_zero() -> None:
    points = np.random.default_rng(0).normal(size=(30, 2))
    assert metrics.prdc(points, points + 1e4) == (0, 0, 0, 0)


def test_a_balls_surface_is_outside() -> None:
    real, fake = np.array([[0.0], [1.0], [10.0], [11.0]]), np.array([[2.0], [12.0], [9.5]])  # real radii are 1
    found = metrics.prdc(real, fake, k=1)
    assert found.precision == pytest.approx(1 / 3)
    assert found.coverage == pytest.approx(1 / 4)


def test_a_collapsed_generator_is_precise_and_covers_nothing() -> None:
    real = np.random.default_rng(0).normal(size=(200, 2))
    found = metrics.prdc(real, np.tile(real.mean(0), (200, 1)) + 1e-3)
    assert found.precision == 1
    assert found.recall == 0  # a point's balls have no inside
    assert found.coverage < 0.1


def test_k_must_leave_neighbours() -> None:
    points = np.zeros((5, 2))
    with pytest.raises(InputError, match="give at least 6"):
        metrics.prdc(points, points, k=5)
    with pytest.raises(InputError, match="k is 0"):
        metrics.prdc(points, points, k=0)


def test_harmonic_mean() -> None:
    assert metrics.harmonic_mean(0.5, 1.0) == pytest.approx(2 / 3)
    assert metrics.harmonic_mean(0.0, 0.0) == 0


def test_vendi_counts_what_differs() -> None:
    axes = np.eye(4)
    assert metrics.vendi(np.tile(axes[0], (4, 1))) == pytest.approx(1)
    assert metrics.vendi(axes * 7) == pytest.approx(4)
    assert metrics.vendi(axes[[0, 0, 1, 1]]) == pytest.approx(2)
    assert metrics.vendi(axes[[0, 0, 1, 1]][:, :2]) == pytest.approx(2)  # fewer features than samples
    assert metrics.vendi(np.array([[1.0, 0.0], [0.0, 0.0], [0.0, 0.0], [2.0, 0.0]])) == pytest.approx(2)


def test_vendi_agrees_with_the_similarity_matrix() -> None:
    features = np.random.default_rng(0).normal(size=(30, 6))
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    values = np.linalg.eigvalsh(unit @ unit.T / 30).clip(1e-300)
    assert metrics.vendi(features) == pytest.approx(np.exp(-(values * np.log(values)).sum()))
