"""Triples of grey images: distinct, always the same, and refused where they make no sense."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from equipoise.data import open_dataset
from equipoise.data.stacked import FEW, singles, stacked, triples
from equipoise.errors import InputError


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EQUIPOISE_CACHE", str(tmp_path / "cache"))
    return tmp_path


def grey_file(path: Path, count: int = 6, side: int = 8, labels: bool = True, channels: int = 1) -> str:
    images = np.random.default_rng(0).integers(0, 256, (count, side, side, channels), dtype=np.uint8)
    np.savez(path, images=images, **({"labels": np.arange(count) % 2} if labels else {}))
    return str(path)


def test_digits_become_ten_thousand_triples() -> None:
    dataset, digits = open_dataset("stacked:digits"), open_dataset("digits")
    assert dataset.images.shape == (10_000, 3, 8, 8) and dataset.images.dtype == np.uint8
    assert dataset.labels is None and dataset.classes == () and not dataset.mirror_safe
    assert np.array_equal(dataset.groups, np.arange(10_000)) and dataset.name == "stacked-digits"
    rows = triples(len(digits), FEW)
    for channel in range(3):
        assert np.array_equal(dataset.images[:, channel], digits.images[rows[:, channel], 0])
    assert "1,000 modes" in dataset.report.text()
    assert open_dataset("stacked-digits").fingerprint == dataset.fingerprint


def test_triples_are_distinct_uniform_and_always_the_same() -> None:
    rows = triples(20, 5000)
    assert len(np.unique(rows, axis=0)) == 5000 and np.array_equal(rows, triples(20, 5000))
    counts = np.stack([np.bincount(rows[:, channel], minlength=20) for channel in range(3)])
    assert counts.min() > 180 and counts.max() < 320  # 250 expected
    assert len(np.unique(triples(2, 8), axis=0)) == 8  # all there are
    assert triples(10**9, 10).max() < 2**20


def test_the_same_source_has_the_same_fingerprint_and_other_options_another(place: Path) -> None:
    source = "stacked:" + grey_file(place / "a.npz")
    first = open_dataset(source)
    assert first.fingerprint == open_dataset(source).fingerprint
    assert len(first) == 6**3  # never more than there are
    larger = open_dataset(source, resolution=16)
    assert larger.shape == (3, 16, 16) and larger.fingerprint != first.fingerprint


def test_sub_folders_are_classes_and_28_pixels_become_32(place: Path) -> None:
    for number in range(6):
        pixels = np.random.default_rng(number).integers(0, 256, (28, 28), dtype=np.uint8)
        (place / "images" / "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place / "images" / "ab"[number % 2] / f"{number}.png")
    source = f"stacked:{place / 'images'}"
    one = singles(source)
    assert one.classes == ("a", "b") and one.shape == (1, 32, 32)
    dataset = open_dataset(source)
    assert dataset.shape == (3, 32, 32) and len(dataset) == 216
    assert np.array_equal(dataset.images[:, 0], one.images[triples(6, 216)[:, 0], 0])


def test_few_enough_to_fit_in_memory(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("equipoise.data.stacked.BYTES", 3 * 8 * 8 * 50)
    assert len(stacked("stacked:digits")) == 50


@pytest.mark.parametrize("source", ["stacked:ring", "stacked:stacked:digits", "stacked:", "stacked:digit"])
def test_other_sources_are_refused(source: str) -> None:
    with pytest.raises(InputError) as caught:
        open_dataset(source)
    assert "\n" not in str(caught.value)


def test_what_is_missing_is_named(place: Path) -> None:
    with pytest.raises(InputError, match="has no labels; give some by --labels"):
        open_dataset("stacked:" + grey_file(place / "plain.npz", labels=False))
    with pytest.raises(InputError, match="the colour images of"):
        open_dataset("stacked:" + grey_file(place / "colour.npz", channels=3))
    with pytest.raises(InputError, match="the vectors of ring"):
        open_dataset("stacked:ring")
    with pytest.raises(InputError, match="three channels, one for each image, not 1"):
        open_dataset("stacked:digits", channels=1)
