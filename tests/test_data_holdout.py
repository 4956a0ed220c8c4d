"""The properties of the held-out split."""

import numpy as np
import pytest

from equipoise.data import Dataset, Holdout, from_arrays
from equipoise.data.holdout import PASSES, heldout_size


def points(count: int, labels: object = None, groups: object = None) -> Dataset:
    """Vectors with the given labels and groups."""
    import dataclasses

    plain = from_arrays(np.random.default_rng(0).normal(size=(count, 2)), labels)
    return plain if groups is None else dataclasses.replace(plain, groups=np.asarray(groups, np.int64))


@pytest.mark.parametrize(
    ("count", "size"), [(2, 1), (9, 1), (100, 10), (319, 31), (1000, 32), (1797, 54), (60_000, 1800), (10**6, 2048)]
)
def test_size(count: int, size: int) -> None:
    assert heldout_size(count) == size


@pytest.mark.parametrize("count", [2, 7, 50, 333, 1999, 2000, 5000])
def test_the_parts_complement_each_other_at_any_moment(count: int) -> None:
    holdout = Holdout(points(count), seed=1)
    for seen in (0, 1, holdout.period, 3 * holdout.period + 5, 10**9):
        out, rest = holdout.heldout(seen), holdout.training(seen)
        assert len(out) and len(rest)
        assert np.array_equal(np.sort(np.r_[out, rest]), np.arange(count))
        assert (np.diff(out) > 0).all() and out.dtype == np.int64


def test_plenty_stays_fixed_and_has_the_exact_size() -> None:
    holdout = Holdout(points(5000), seed=0)
    assert not holdout.rotates and holdout.folds == 1
    assert len(holdout.heldout(0)) == 150
    assert np.array_equal(holdout.heldout(0), holdout.heldout(10**9))


def test_scarce_data_rotate_until_every_sample_has_been_out_once() -> None:
    holdout = Holdout(points(500), seed=0)
    assert holdout.rotates and holdout.period == PASSES * 500
    turns = [holdout.heldout(turn * holdout.period) for turn in range(holdout.folds)]
    assert np.array_equal(np.sort(np.concatenate(turns)), np.arange(500))
    assert np.array_equal(holdout.heldout(holdout.period - 1), turns[0])
    assert np.array_equal(holdout.heldout(holdout.folds * holdout.period), turns[0])


@pytest.mark.parametrize("count", [600, 4000])
def test_classes_are_held_out_in_proportion(count: int) -> None:
    labels = np.random.default_rng(3).choice(4, count, p=[0.5, 0.3, 0.15, 0.05])
    holdout = Holdout(points(count, labels), seed=0)
    for turn in range(holdout.folds):
        out = holdout.heldout(turn * holdout.period)
        share = np.bincount(labels[out], minlength=4) / len(out)
        assert np.abs(share - np.bincount(labels) / count).max() <= 1.5 / len(out)
        assert (share > 0).all()


@pytest.mark.parametrize("count", [600, 4000])
def test_groups_are_never_divided(count: int) -> None:
    groups = np.random.default_rng(5).integers(0, count // 3, count)
    groups = np.unique(groups, return_inverse=True)[1]
    holdout = Holdout(points(count, groups=groups), seed=0)
    for turn in range(holdout.folds):
        out, rest = holdout.heldout(turn * holdout.period), holdout.training(turn * holdout.period)
        assert len(out) and not set(groups[out]) & set(groups[rest])
        assert 0.5 < len(out) / holdout.size < 2


def test_a_group_too_large_is_trained_on_and_all_in_one_group_is_split_all_the_same() -> None:
    groups = np.r_[np.zeros(300, int), np.arange(1, 701)]
    holdout = Holdout(points(1000, groups=groups), seed=0)
    assert all(holdout.heldout(turn * holdout.period).min() >= 300 for turn in range(holdout.folds))
    assert not holdout.divides_groups
    alike = Holdout(points(1000, groups=np.zeros(1000)), seed=0)
    assert alike.divides_groups and len(alike.heldout(0)) in (32, 33)
    few = Holdout(points(1000, groups=np.r_[np.zeros(997, int), 1, 2, 3]), seed=0)
    assert few.folds == 3 and all(len(few.heldout(turn * few.period)) == 1 for turn in range(6))


def test_the_split_is_a_function_of_the_seed() -> None:
    data = points(3000)
    first, again, other = (Holdout(data, seed).heldout(0) for seed in (0, 0, 1))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    state = np.random.get_state()[1].copy()
    Holdout(data, 0)
    assert np.array_equal(state, np.random.get_state()[1])


def test_near_duplicates_of_images_end_on_one_side() -> None:
    images = np.random.default_rng(0).integers(0, 256, (400, 1, 8, 8), dtype=np.uint8)
    dataset = from_arrays(np.concatenate([images, images]))
    holdout = Holdout(dataset, seed=0)
    assert dataset.report.exact_duplicates == 400
    for turn in range(holdout.folds):
        out = holdout.heldout(turn * holdout.period)
        assert np.array_equal(np.sort(out % 400), np.repeat(np.unique(out % 400), 2))
