"""The built-in sources."""

import numpy as np
import pytest

from equipoise.data import open_dataset
from equipoise.errors import InputError


def test_digits() -> None:
    digits = open_dataset("digits")
    assert digits.images.shape == (1797, 1, 8, 8) and digits.images.dtype == np.uint8
    assert digits.images.min() == 0 and digits.images.max() == 255
    assert len(np.unique(digits.images)) == 17  # the original's levels
    assert digits.classes == tuple("0123456789") and digits.labels is not None
    assert np.bincount(digits.labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert "CC BY 4.0" in digits.report.text()
    assert open_dataset("digits", resolution=16, channels=3).shape == (3, 16, 16)


@pytest.mark.parametrize(("name", "count", "modes"), [("ring", 4096, 8), ("grid", 8192, 25)])
def test_mixtures(name: str, count: int, modes: int) -> None:
    points = open_dataset(name)
    assert points.images.shape == (count, 2) and points.images.dtype == np.float32
    assert points.modes is not None and points.modes.shape == (modes, 2) and points.mode_std == 0.05
    distance = np.linalg.norm(points.images[:, None] - points.modes[None], axis=-1)
    nearest = distance.argmin(axis=1)
    assert np.abs(np.bincount(nearest) / count - 1 / modes).max() < 0.002
    assert abs((points.images - points.modes[nearest]).std() - 0.05) < 0.001
    assert points.labels is None and points.fingerprint == open_dataset(name).fingerprint


def test_modes_lie_where_they_are_said_to() -> None:
    ring, grid = open_dataset("ring").modes, open_dataset("grid").modes
    assert ring is not None and grid is not None
    assert np.allclose(np.linalg.norm(ring, axis=1), 1)
    assert sorted(set(grid.ravel().tolist())) == [-1, -0.5, 0, 0.5, 1] and len(np.unique(grid, axis=0)) == 25


def test_options_that_make_no_sense() -> None:
    with pytest.raises(InputError, match="neither resolution"):
        open_dataset("ring", resolution=32)
    with pytest.raises(InputError, match="takes no labels"):
        open_dataset("digits", labels="folders")


def test_the_halves_of_the_digits_divide_every_class_and_share_no_image() -> None:
    train, test, every = (open_dataset(name) for name in ("digits:train", "digits:test", "digits"))
    assert train.shape == test.shape == (1, 8, 8) and (len(train), len(test)) == (899, 898)
    assert train.labels is not None and test.labels is not None and train.classes == every.classes
    counts = [np.bincount(half.labels) for half in (train, test)]
    assert np.abs(counts[0] - counts[1]).max() <= 1
    both = np.concatenate([train.images, test.images])  # each digit once: all 1,797 differ
    assert {one.tobytes() for one in both} == {one.tobytes() for one in every.images}
    assert len({train.fingerprint, test.fingerprint, every.fingerprint}) == 3
    assert train.fingerprint == open_dataset("digits:train").fingerprint
    assert open_dataset("digits:test", resolution=16).shape == (1, 16, 16)
    with pytest.raises(InputError, match="did you mean digits:test"):
        open_dataset("digits:tset")
