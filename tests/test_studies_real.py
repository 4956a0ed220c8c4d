"""The real samples that runs are judged by: held out, a half, or another source."""

import numpy as np
import pytest

from equipoise.data import open_dataset
from equipoise.data.holdout import Holdout
from equipoise.errors import InputError
from equipoise.studies import real
from small_runs import images_file


def test_few_held_out_samples_give_way_to_halves(monkeypatch):
    dataset = open_dataset("digits")
    judges, others = real.split(dataset, 0, 0)
    assert len(judges) == 898 and not set(judges) & set(others) and len(others) == 899
    assert np.array_equal(judges, real.split(dataset, 5, 10**6)[0])  # every run is judged by the same
    monkeypatch.setattr(real, "ENOUGH", 54)
    assert np.array_equal(real.split(dataset, 3, 1000)[0], Holdout(dataset, 3).heldout(1000))


def test_as_many_of_another_source_as_are_needed(monkeypatch):
    dataset = open_dataset("digits:test")
    assert real.some(dataset).tolist() == list(range(898))
    monkeypatch.setattr(real, "MOST", 100)
    few = real.some(dataset)
    assert len(set(few)) == 100 and (np.diff(few) > 0).all() and few[-1] > 500  # from all over it, and sorted
    assert np.array_equal(few, real.some(dataset))


def test_a_source_that_is_no_judge_is_one_sentence(tmp_path):
    train = open_dataset("digits:train")
    assert real.opposite(train, "digits:train", "digits:test").fingerprint == open_dataset("digits:test").fingerprint
    for source, against, says in (
        ("digits", "digits:test", "898 of the 898 samples of digits:test .* are trained on"),
        ("digits:train", "ring", r"shape \(2,\), digits:train such of \(1, 8, 8\)"),
        ("ring", "grid", "the modes of ring are known"),
        ("stacked:digits", "digits:test", "the modes of stacked:digits are known"),
        ("digits:train", images_file(tmp_path / "two.npz", classes=2), "other classes than digits:train"),
        ("digits:train", "digits:tset", "did you mean digits:test"),
    ):
        with pytest.raises(InputError, match=says) as caught:
            real.opposite(open_dataset(source), source, against)
        assert "\n" not in str(caught.value)
