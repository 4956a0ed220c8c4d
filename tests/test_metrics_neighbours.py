"""The nearest images, as slow code finds them."""

import numpy as np
import pytest

from equipoise.metrics.neighbours import nearest


def test_neighbours_are_those_that_slow_code_finds():
    rng = np.random.default_rng(0)
    pool = rng.integers(0, 256, (30, 1, 8, 8), dtype=np.uint8)
    images = np.concatenate([rng.integers(0, 256, (2, 1, 8, 8), dtype=np.uint8), pool[4:5]])
    slow = np.array([[np.sqrt(np.mean((a / 255 - b / 255) ** 2)) for b in pool] for a in images])
    distance, places = nearest(images, pool, 3)
    assert np.array_equal(places, slow.argsort(1)[:, :3]) and distance == pytest.approx(np.sort(slow, 1)[:, :3])
    assert distance[2, 0] == 0 and places[2, 0] == 4  # a copy
    assert nearest(pool[:2], pool, 99, own=np.arange(2))[0].shape == (2, 29)
    own, which = nearest(pool[3:5], pool, own=np.array([3, 4]))
    assert own.min() > 0.1 and not set(which[:, 0]) & {3, 4}  # not itself
