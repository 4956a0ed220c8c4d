"""Distances: closed forms, and the slow obvious versions."""

import numpy as np
import pytest
import torch

from equipoise import metrics
from equipoise.errors import InputError
from equipoise.metrics import _matrices


def sets(n: int = 40, m: int = 50, d: int = 7) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    return generator.normal(size=(n, d)), generator.normal(size=(m, d)) * 1.5 + 0.3


def test_frechet_of_known_gaussians() -> None:
    assert metrics.frechet_from_moments([0.0], [[1.0]], [1.0], [[4.0]]) == pytest.approx(2.0, abs=1e-12)
    first, second = np.diag([1.0, 4.0, 9.0]), np.diag([4.0, 4.0, 1.0])  # commuting: sum of (s1 - s2)^2
    assert metrics.frechet_from_moments(np.zeros(3), first, np.ones(3), second) == pytest.approx(3 + 1 + 0 + 4)
    assert metrics.frechet_from_moments([1.0], [[2.0]], [1.0], [[2.0]]) == pytest.approx(0.0, abs=1e-12)


def test_frechet_agrees_with_the_nuclear_norm() -> None:
    """tr (C1 C2)^(1/2) is the sum of the singular values of A B', where A'A = C1 and B'B = C2."""
    for real, fake in (sets(), sets(5, 6, 30)):  # the second with singular covariances
        a = (real - real.mean(0)) / np.sqrt(len(real) - 1)
        b = (fake - fake.mean(0)) / np.sqrt(len(fake) - 1)
        cross = np.linalg.svd(a @ b.T, compute_uv=False).sum()
        expected = ((real.mean(0) - fake.mean(0)) ** 2).sum() + (a**2).sum() + (b**2).sum() - 2 * cross
        assert metrics.frechet(real, torch.tensor(fake)) == pytest.approx(expected, rel=1e-6)


def test_frechet_of_rotated_gaussians_is_the_same() -> None:
    real, fake = sets()
    rotation, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(7, 7)))
    assert metrics.frechet(real @ rotation, fake @ rotation) == pytest.approx(metrics.frechet(real, fake))


def test_kernel_agrees_with_loops() -> None:
    real, fake = sets(8, 9, 3)

    def similar(x: np.ndarray, y: np.ndarray) -> float:
        return float((x @ y / 3 + 1) ** 3)

    within = [
        np.mean([similar(x, y) for i, x in enumerate(part) for j, y in enumerate(part) if i != j])
        for part in (real, fake)
    ]
    across = np.mean([similar(x, y) for x in real for y in fake])
    assert metrics.kernel(real, fake) == pytest.approx(sum(within) - 2 * across)


def test_kernel_over_subsets_is_near_the_whole_and_repeats() -> None:
    real, fake = sets(400, 500, 4)
    whole = metrics.kernel(real, fake)
    parts = metrics.kernel(real, fake, subsets=60, size=200)
    assert parts == pytest.approx(whole, rel=0.1)
    assert parts != whole
    assert parts == metrics.kernel(real, fake, subsets=60, size=200)


def test_energy_agrees_with_loops() -> None:
    real, fake = sets(8, 9, 3)

    def mean(left: np.ndarray, right: np.ndarray, same: bool) -> float:
        return float(
            np.mean(
                [np.linalg.norm(x - y) for i, x in enumerate(left) for j, y in enumerate(right) if not same or i != j]
            )
        )

    expected = 2 * mean(real, fake, False) - mean(real, real, True) - mean(fake, fake, True)
    assert metrics.energy(real, fake) == pytest.approx(expected)


def test_energy_of_point_masses_is_twice_their_distance() -> None:
    assert metrics.energy(np.zeros((3, 2)), np.tile([3.0, 4.0], (5, 1))) == pytest.approx(10.0)


def test_unbiased_distances_of_one_distribution_average_to_zero() -> None:
    generator = np.random.default_rng(0)
    pairs = [(generator.normal(size=(30, 2)), generator.normal(size=(30, 2))) for _ in range(60)]
    for distance in (metrics.energy, metrics.kernel):
        found = np.array([distance(real, fake) for real, fake in pairs])
        assert abs(found.mean()) < 3 * found.std() / np.sqrt(len(found))
        assert found.min() < 0


def test_blocks_join_to_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    real, fake = sets(23, 17)
    whole = metrics.energy(real, fake), metrics.prdc(real, fake, k=3)
    monkeypatch.setattr(_matrices, "BLOCK", 40)
    assert metrics.energy(real, fake) == pytest.approx(whole[0])
    assert metrics.prdc(real, fake, k=3) == pytest.approx(whole[1])


def test_equal_vectors_far_from_the_origin_are_at_distance_zero() -> None:
    points = torch.randn(20, 50, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 1e3
    (_, block), *_ = _matrices.distance_blocks(points, points)
    assert block.diagonal().abs().max() == 0
    exact = (points[:, None] - points[None]).norm(dim=2)
    assert torch.allclose(block, exact, rtol=1e-9)


@pytest.mark.parametrize("distance", [metrics.frechet, metrics.kernel, metrics.energy, metrics.prdc])
def test_what_cannot_be_compared_is_refused(distance: object) -> None:
    assert callable(distance)
    real, fake = sets()
    with pytest.raises(InputError, match="7 features and the generated ones 6"):
        distance(real, fake[:, :6])
    with pytest.raises(InputError, match="too few"):
        distance(real, fake[:1])
    with pytest.raises(InputError, match=r"\[N, d\]"):
        distance(real.reshape(-1), fake)
    fake[3, 2] = np.nan
    with pytest.raises(InputError, match="1 of the 50 generated samples"):
        distance(real, fake)


def test_moments_must_fit() -> None:
    with pytest.raises(InputError, match=r"give both as \[2, 2\]"):
        metrics.frechet_from_moments(np.zeros(2), np.eye(2), np.zeros(2), np.eye(3))
