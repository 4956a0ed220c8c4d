"""Whether flips are told apart, on data whose answer is known."""

import numpy as np

from equipoise.data import mirror, open_dataset


def noise(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 3, 8, 8), dtype=np.uint8)


def test_symmetric_distributions_are_safe() -> None:
    safe, sentence = mirror.judge(noise(2000))
    assert safe and sentence.startswith("safe")
    palindromes = noise(500)
    palindromes[..., 4:] = palindromes[..., 3::-1]
    assert mirror.accuracy(palindromes) == 0.5  # each image is its own mirror image


def test_lit_from_the_left_is_unsafe() -> None:
    images = noise(500) // 2
    images[..., :4] += 100
    assert mirror.accuracy(images) == 1.0 and not mirror.judge(images)[0]


def test_an_asymmetry_no_linear_rule_sees() -> None:
    """The marks stand on the left, but as often dark as bright: their mean image is symmetric."""
    images = np.full((3000, 1, 8, 8), 128, np.uint8)
    images[:, :, 2:6, 1:3] = np.where(np.arange(3000) % 2, 28, 228)[:, None, None, None]
    assert np.abs(images.mean(axis=0) - 128).max() < 1
    assert mirror.accuracy(images) > 0.9


def test_digits_are_unsafe_and_few_images_say_nothing() -> None:
    digits = open_dataset("digits")
    assert not digits.mirror_safe and "unsafe" in digits.report.mirror
    safe, sentence = mirror.judge(noise(mirror.FEWEST - 1))
    assert not safe and "too few" in sentence
