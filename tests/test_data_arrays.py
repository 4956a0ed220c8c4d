"""Layouts and ranges of arrays, and what is refused."""

from pathlib import Path

import numpy as np
import pytest

from equipoise.data import from_arrays, open_dataset
from equipoise.errors import InputError

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 3, 8, 8), dtype=np.uint8)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (PIXELS, ""),
        (PIXELS.transpose(0, 2, 3, 1), ""),
        (PIXELS / 255, "floats in [0, 1]"),
        (PIXELS / 127.5 - 1, "floats in [-1, 1]"),
        (PIXELS.astype(np.float32), "in 0..255"),
        (PIXELS.astype(np.int64), "in 0..255"),
        (PIXELS.astype(np.uint16) * 257, "16 bits"),
    ],
)
def test_every_range_and_layout_gives_the_same_pixels(given: np.ndarray, said: str) -> None:
    dataset = from_arrays(given)
    assert dataset.images.dtype == np.uint8 and np.array_equal(dataset.images, PIXELS)
    assert any(said in what for what in dataset.report.converted) or not said
    assert dataset.shape == (3, 8, 8)


def test_grey_without_a_channel_axis_and_booleans() -> None:
    assert from_arrays(PIXELS[:, 0]).shape == (1, 8, 8)
    black_and_white = from_arrays(PIXELS[:, 0] > 127)
    assert set(np.unique(black_and_white.images)) == {0, 255}


def test_crop_scale_and_channels() -> None:
    wide = np.zeros((20, 8, 24), np.uint8)
    wide[:, :, 8:16] = PIXELS[:, 0]
    cropped = from_arrays(wide)
    assert np.array_equal(cropped.images[:, 0], PIXELS[:, 0])
    assert cropped.report.converted == {"centre-cropped to a square": 20}
    assert from_arrays(PIXELS, resolution=16, channels=1).shape == (1, 16, 16)
    rgba = np.concatenate([PIXELS, np.zeros((20, 1, 8, 8), np.uint8)], axis=1)
    rgba[:10, 3] = 255
    on_white = from_arrays(rgba[:11])
    assert np.array_equal(on_white.images[:10], PIXELS[:10]) and (on_white.images[10] == 255).all()


def test_vectors_keep_their_values() -> None:
    values = np.random.default_rng(0).normal(size=(30, 5))
    dataset = from_arrays(values)
    assert dataset.images.dtype == np.float32 and np.array_equal(dataset.images, values.astype(np.float32))
    assert dataset.shape == (5,) and not dataset.mirror_safe


def test_labels_are_numbered_by_value() -> None:
    dataset = from_arrays(PIXELS, [10, 2] * 10)
    assert dataset.classes == ("2", "10") and dataset.labels is not None
    assert dataset.labels.tolist() == [1, 0] * 10
    named = from_arrays(PIXELS, [0, 1] * 10, classes=("cat", "dog"))
    assert named.classes == ("cat", "dog") and named.report.classes == {"cat": 10, "dog": 10}


def test_the_fingerprint_follows_content_options_and_labels() -> None:
    same = [from_arrays(PIXELS).fingerprint for _ in range(2)]
    changed = PIXELS.copy()
    changed[0, 0, 0, 0] ^= 1
    others = [
        from_arrays(changed).fingerprint,
        from_arrays(PIXELS, resolution=16).fingerprint,
        from_arrays(PIXELS, [0, 1] * 10).fingerprint,
        from_arrays(PIXELS, [1, 0] * 10).fingerprint,
    ]
    assert same[0] == same[1] and len({same[0], *others}) == 5


@pytest.mark.parametrize(
    ("given", "labels", "sentence"),
    [
        (np.full((20, 8, 8), np.nan), None, "NaN or infinity, first in sample 0"),
        (np.array([[1.0, np.inf], [0, 0]]), None, "NaN or infinity"),
        (np.array([[1.0, 2.0], [0, 1e300]]), None, "as float32, holds NaN or infinity, first in sample 1"),
        (PIXELS * 1000.0, None, "fit no known range"),
        (np.zeros((2, 2, 2, 2, 2)), None, "neither images"),
        (np.zeros((0, 3, 8, 8)), None, "no samples"),
        (np.zeros(7), None, "no samples"),
        (np.array(["a", "b"]), None, "not plain numbers"),
        (np.array([{}, 1]), None, "not plain numbers"),
        ([[1.0, 2.0], [3.0]], None, "cannot be made an array"),
        (PIXELS[:1], None, "only one usable sample"),
        (np.zeros((1000, 8, 8), np.uint8), None, "identical"),
        (PIXELS, [0] * 19, "one label each"),
        (PIXELS, [0] * 20, "only one class"),
        (PIXELS, [0.5] * 20, "not class numbers"),
    ],
)
def test_what_cannot_be_trained_on_is_one_sentence(given: object, labels: object, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence) as caught:
        from_arrays(given, labels)
    assert "\n" not in str(caught.value)


def test_files_of_arrays(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    np.save(tmp_path / "plain.npy", PIXELS)
    np.savez(tmp_path / "named.npz", images=PIXELS, labels=np.arange(20) % 2)
    np.savez_compressed(tmp_path / "short.npz", x=PIXELS / 255, y=np.arange(20) % 4)
    np.save(tmp_path / "vectors.npy", np.random.default_rng(0).normal(size=(30, 5)))
    np.save(tmp_path / "labels.npy", np.arange(20) % 5)
    plain = open_dataset(str(tmp_path / "plain.npy"), cache=cache)
    assert np.array_equal(plain.images, PIXELS) and plain.labels is None and isinstance(plain.images, np.memmap)
    assert open_dataset(str(tmp_path / "named.npz"), cache=cache).classes == ("0", "1")
    assert len(open_dataset(str(tmp_path / "short.npz"), cache=cache).classes) == 4
    assert open_dataset(str(tmp_path / "vectors.npy"), cache=cache).shape == (5,)
    labels = str(tmp_path / "labels.npy")
    assert len(open_dataset(str(tmp_path / "plain.npy"), labels=labels, cache=cache).classes) == 5
    again = open_dataset(str(tmp_path / "plain.npy"), cache=cache)
    assert again.fingerprint == plain.fingerprint


def test_broken_files_of_arrays(tmp_path: Path) -> None:
    def refused(name: str, sentence: str, **options: str) -> None:
        with pytest.raises(InputError, match=sentence):
            open_dataset(str(tmp_path / name), cache=tmp_path / "cache", **options)

    np.save(tmp_path / "object.npy", np.array([{}, 1]), allow_pickle=True)
    np.savez(tmp_path / "object.npz", images=np.array([{}, 1]))
    np.savez(tmp_path / "names.npz", a=PIXELS, b=PIXELS)
    (tmp_path / "pickle.npy").write_bytes(b"\x80\x04K\x01.")
    (tmp_path / "junk.npz").write_bytes(b"junk")
    np.save(tmp_path / "whole.npy", PIXELS)
    (tmp_path / "cut.npy").write_bytes((tmp_path / "whole.npy").read_bytes()[:-100])
    refused("object.npy", "object array")
    refused("object.npz", "object array")
    refused("names.npz", "named images or x")
    refused("pickle.npy", "neither NumPy's format nor safe")
    refused("junk.npz", "neither NumPy's format nor safe")
    refused("cut.npy", "cannot be read")
    refused("whole.npy", "no file names", labels="folders")
    refused("whole.npy", "no labels file", labels="nowhere.npy")
