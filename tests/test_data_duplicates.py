"""Duplicates against planted ones and against every pair compared."""

import io

import numpy as np
from PIL import Image

from equipoise.data import duplicates, open_dataset


def photographs(count: int, side: int = 32, seed: int = 0) -> np.ndarray:
    """Random images, uint8 [N, 3, side, side], as smooth as photographs and with colours as strongly correlated."""
    generator = np.random.default_rng(seed)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(side) * side, np.fft.fftfreq(side) * side)) + 1
    grey, colour = generator.standard_normal((count, 1, side, side)), generator.standard_normal((count, 3, side, side))
    noise = np.fft.ifft2(np.fft.fft2(grey + 0.2 * colour) / frequency**1.5).real
    noise /= noise.std(axis=(1, 2, 3), keepdims=True)
    return np.clip(128 + 50 * noise, 0, 255).astype(np.uint8)


def recompressed(image: np.ndarray, quality: int) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(image.transpose(1, 2, 0)).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer)).transpose(2, 0, 1)


def grouped(images: np.ndarray) -> np.ndarray:
    return duplicates.near(images, duplicates.thumbnails(images), duplicates.exact(images))


def test_exact() -> None:
    images = photographs(50)
    images[[7, 31]] = images[3]
    same = duplicates.exact(images)
    assert len(np.unique(same)) == 48 and same[3] == same[7] == same[31]


def test_planted_near_duplicates_are_found_and_nothing_else() -> None:
    images = photographs(600)
    copies = [recompressed(image, 75) for image in images[:6]]
    brighter = np.clip(images[6:12].astype(int) + 4, 0, 255).astype(np.uint8)
    groups = grouped(np.concatenate([images, copies, brighter]))
    assert np.array_equal(groups[600:612], groups[:12])
    assert len(np.unique(groups)) == 600


def test_the_proposals_miss_next_to_none_of_all_pairs() -> None:
    images = photographs(300, seed=1)
    images = np.concatenate([images, [recompressed(image, 60) for image in images]])
    small = duplicates.thumbnails(images).reshape(len(images), -1)
    left, right = np.triu_indices(len(images), 1)
    difference = (small[left].astype(float) - small[right]) ** 2
    energy = small.var(axis=1) * small.shape[1]
    near = difference.sum(axis=1) <= 0.15**2 * np.minimum(energy[left], energy[right]) + 0.25 * small.shape[1]
    truth = set(zip(left[near].tolist(), right[near].tolist(), strict=True))
    found = duplicates._candidates(small, 0.15)
    proposed = set(zip(found[0].tolist(), found[1].tolist(), strict=True))
    assert proposed <= truth and len(truth) >= 250 and len(proposed) >= 0.97 * len(truth)


def test_handwritten_digits_are_not_merged() -> None:
    report = open_dataset("digits").report
    assert report.exact_duplicates == 0 and report.near_duplicates <= 5


def test_flat_images_of_different_greys_stay_apart() -> None:
    flat = np.broadcast_to(np.arange(0, 250, 10, dtype=np.uint8)[:, None, None, None], (25, 3, 16, 16)).copy()
    assert len(np.unique(grouped(flat))) == 25


def test_components_join_chains() -> None:
    groups = duplicates._components(6, np.array([0, 1, 4]), np.array([1, 2, 5]))
    assert groups.tolist() == [0, 0, 0, 1, 2, 2]


def test_pooling_is_the_mean_over_blocks() -> None:
    images = photographs(3, 16)
    slow = np.array([[[[images[n, c, 4 * i : 4 * i + 4, 4 * j : 4 * j + 4].mean() for j in range(4)] for i in range(4)]
                      for c in range(3)] for n in range(3)])  # fmt: skip
    assert np.allclose(duplicates.pool(images, 4), slow)


def test_groups_are_named() -> None:
    assert duplicates.named(np.array([0, 1, 0, 2, 1]), list("abcde")) == (("a", "c"), ("b", "e"))
    assert duplicates.named(np.array([0, 1, 0]), ()) == (("#0", "#2"),)
    assert duplicates.named(np.arange(3), ()) == ()
