"""Copies of training data: ratios and probabilities by hand, planted copies, and real samples as a control."""

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from equipoise import data, metrics
from equipoise.errors import InputError
from equipoise.metrics.memorisation import _exceedance, memorised

SEEDS = range(3)


def test_ratios_by_hand() -> None:
    found = memorised([[0.1], [10.0], [4.0]], [[0.0], [1.0], [10.0]])
    assert found.ratios == pytest.approx([0.1 / 0.9, 0.0, 3 / 4])
    assert list(found.nearest) == [0, 2, 1]


def test_the_copy_of_a_duplicate_is_a_copy() -> None:
    training = np.array([[0.0], [0.0], [0.2], [1.0], [3.0]])
    assert memorised([[0.01]], training).ratios == pytest.approx([0.01 / 0.19])
    assert memorised([[0.01]], training, groups=[0, 0, 0, 1, 2]).ratios == pytest.approx([0.01 / 0.99])


def test_what_real_samples_do_sets_the_limit() -> None:
    points = np.random.default_rng(0).normal(size=(700, 3))
    few, many, none = (
        memorised(points[:9], points[9:209], heldout) for heldout in (points[400:450], points[300:], None)
    )
    assert (few.reference, many.reference, none.reference) == (250, 400, 200)
    assert many.chance == pytest.approx(4 / 401)
    assert (memorised(points[300:], points[9:209], points[300:]).ratios < many.limit).sum() == 3  # all below the fourth


def test_probabilities_by_hand() -> None:
    assert _exceedance(1, 3, 1, 5) == pytest.approx(3 / 8)  # the lowest of 8 is one of the 3
    assert _exceedance(2, 3, 1, 5) == pytest.approx(3 / 8 * 2 / 7)  # and the second lowest too
    assert _exceedance(1, 1, 2, 3) == pytest.approx(2 / 4)  # below the second of three: two places of four
    assert _exceedance(0, 7, 3, 9) == pytest.approx(1)


def digits() -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
    """Training, held-out and other digits."""
    training, others = data.open_dataset("digits:train").images, data.open_dataset("digits:test").images
    return training, others[:400], others[400:]


def rough(images: NDArray[np.uint8], kind: str, source: np.random.Generator) -> NDArray[np.uint8]:
    if kind == "noise":
        return np.clip(images + source.normal(0, 8, images.shape), 0, 255).astype(np.uint8)
    return np.stack([_jpeg(image[0])[None] for image in images]) if kind == "jpeg" else images


def _jpeg(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=75)
    return np.asarray(Image.open(file))


@pytest.mark.parametrize("kind", ["exact", "noise", "jpeg"])
def test_five_percent_of_planted_copies_are_found(kind: str) -> None:
    training, heldout, others = digits()
    for seed in SEEDS:
        source = np.random.default_rng(seed)
        made = source.permutation(others)[:400]
        chosen = source.choice(len(training), 20, replace=False)
        made[100:120] = rough(training[chosen], kind, source)
        found = memorised(*(metrics.extract("pixels", images) for images in (made, training, heldout)))
        assert found.found
        assert found.copies[100:120].all()
        assert list(found.nearest[100:120]) == list(chosen)
        assert found.copies.sum() <= 20 + 12  # chance takes 4 of 380
        assert found.low < 0.05 < found.high


def test_real_samples_are_no_copies() -> None:
    everything = np.concatenate(digits())
    for seed in SEEDS:
        shuffled = np.random.default_rng(seed).permutation(everything)
        made, training, heldout = shuffled[:400], shuffled[400:1300], shuffled[1300:]
        for held in (heldout, None):
            features = (None if part is None else metrics.extract("pixels", part) for part in (made, training, held))
            found = memorised(*features)
            assert not found.found, (seed, found.text())
            assert found.low == 0


def test_p_is_as_often_small_as_it_says() -> None:
    source, ps = np.random.default_rng(0), []
    for _ in range(200):
        made, training, heldout = (source.normal(size=(n, 4)) for n in (150, 60, 300))
        ps.append(memorised(made, training, heldout).p)
    for level in (0.05, 0.2):
        assert np.mean(np.array(ps) <= level) <= level + 2.6 * (level * (1 - level) / len(ps)) ** 0.5
    assert np.mean(np.array(ps) <= 0.2) >= 0.05  # and it does get small


def test_the_finding_as_a_sentence() -> None:
    training, heldout, others = (metrics.extract("pixels", part) for part in digits())
    assert memorised(others, training, heldout).text().startswith("No more copies than chance gives: ")
    copied = memorised(training[:100], training, heldout)
    assert copied.text().startswith("Training data are copied: 100 of 100 are as near")
    assert copied.share == 1


def test_what_cannot_be_told() -> None:
    points = np.random.default_rng(0).normal(size=(30, 2))
    with pytest.raises(InputError, match="fewer than three different"):
        memorised(points, points[[0, 0, 1]])
    with pytest.raises(InputError, match="groups came with 30"):
        memorised(points, points, groups=[0, 1])
    with pytest.raises(InputError, match="3 features and the training samples 2"):
        memorised(points, points, np.zeros((5, 3)))
