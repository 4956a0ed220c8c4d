"""Numbers with intervals: the same as the plain metrics, and as often right on known Gaussians as they say."""

import math

import numpy as np
import pytest
import torch

from equipoise import metrics
from equipoise.errors import InputError
from equipoise.metrics.intervals import Measure, counted, jackknife, wilson
from equipoise.metrics.measures import measure


def two(n: int, m: int, d: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    source = np.random.default_rng(seed)
    return source.normal(size=(n, d)), source.normal(size=(m, d)) * 1.2 + 0.3


def test_values_are_those_of_the_plain_metrics() -> None:
    real, fake = two(61, 47)
    found = measure(real, fake)
    assert found["frechet"].value == metrics.frechet(real, fake)
    assert found["kernel"].value == pytest.approx(metrics.kernel(real, fake))
    assert found["energy"].value == pytest.approx(metrics.energy(real, fake), abs=1e-5)
    for name, share in metrics.prdc(real, fake)._asdict().items():
        assert found[name].value == pytest.approx(share)
    assert found["vendi"].value == metrics.vendi(fake)
    assert found["diversity"].value == pytest.approx(1.2, abs=0.15)


def test_leaving_out_a_group_is_the_metric_of_the_others() -> None:
    real, fake = two(31, 40)
    source = torch.Generator().manual_seed(5)
    ours, theirs = (torch.randperm(n, generator=source).remainder(3).numpy() for n in (31, 40))
    rest = [(real[ours != left], fake[theirs != left]) for left in range(3)]
    found = measure(real, fake, groups=3, seed=5)
    for name, metric in {"kernel": metrics.kernel, "energy": metrics.energy}.items():
        expected = jackknife(metric(real, fake), [metric(*part) for part in rest])
        assert found[name] == pytest.approx(expected, rel=1e-4)
    expected = jackknife(metrics.frechet(real, fake), [metrics.frechet(*part) for part in rest], unbiased=True)
    assert found["frechet_unbiased"] == pytest.approx(expected)


def test_the_jackknife_of_a_mean_is_the_textbooks_interval() -> None:
    values = [1.0, 2.0, 3.0, 6.0]
    without = [(sum(values) - value) / 3 for value in values]
    half = 3.182446 * np.std(values, ddof=1) / 2  # t of three degrees of freedom
    for unbiased in (False, True):
        assert jackknife(3.0, without, unbiased) == pytest.approx((3, 3 - half, 3 + half), rel=1e-6)


def test_the_jackknife_takes_away_what_falls_as_one_over_n() -> None:
    assert jackknife(5 + 7 / 40, [5 + 7 / 36] * 10, unbiased=True) == pytest.approx((5, 5, 5))


@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_intervals_of_known_gaussians_hold_the_truth(shift: float) -> None:
    source, held, plain, centres = np.random.default_rng(1), [], [], []
    for _ in range(50):
        real, fake = source.normal(size=(120, 8)), source.normal(size=(120, 8))
        fake[:, 0] += shift
        parts = [metrics.frechet(real[np.arange(120) % 10 != j], fake[np.arange(120) % 10 != j]) for j in range(10)]
        found = jackknife(metrics.frechet(real, fake), parts, unbiased=True)
        held.append(found.low <= shift**2 <= found.high)
        centres.append(found.value)
        plain.append(metrics.frechet(real, fake))
    assert np.mean(held) >= 0.86  # 95 % less 3 standard errors
    assert np.mean(centres) == pytest.approx(shift**2, abs=0.11)  # three standard errors
    assert np.mean(plain) > shift**2 + 0.3  # as usually computed it is far above


def test_intervals_narrow_with_more_samples() -> None:
    narrow, wide = measure(*two(1000, 1000)), measure(*two(60, 60))
    for name in ("frechet_unbiased", "kernel", "energy", "precision", "recall", "density", "coverage", "diversity"):
        assert narrow[name].high - narrow[name].low < wide[name].high - wide[name].low
        assert narrow[name].low <= narrow[name].value <= narrow[name].high


def test_the_interval_of_a_share_by_hand() -> None:
    assert wilson(0.0, 10) == pytest.approx((0, 1.959964**2 / (10 + 1.959964**2)))
    assert wilson(0.5, 4) == pytest.approx((0.1500, 0.8500), abs=1e-4)
    assert counted(Measure(1.0, 1.0, 1.0), 10) == (1.0, pytest.approx(1 - wilson(0.0, 10)[1]), 1.0)
    assert counted(Measure(0.5, 0.0, 0.9), 4) == (0.5, 0.0, 0.9)


def test_without_groups_there_are_values_and_no_intervals() -> None:
    found = measure(*two(30, 30), groups=0)
    assert math.isnan(found["frechet_unbiased"].value)
    assert all(math.isnan(one.low) for one in found.values())
    assert found["precision"].value == metrics.prdc(*two(30, 30)).precision


def test_few_samples_have_fewer_neighbours_and_groups() -> None:
    found = measure(*two(4, 5))
    assert 0 <= found["precision"].low <= found["precision"].high == 1
    with pytest.raises(InputError, match="too few"):
        measure(*two(3, 30))
