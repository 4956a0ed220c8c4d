"""The script that measures a run's samples, on samples whose quality is known."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from equipoise import metrics

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "quality.py"


@pytest.fixture(scope="module")
def quality() -> ModuleType:
    spec = importlib.util.spec_from_file_location("quality", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def quick_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer passes than the script's own: what is tested here is what it does with the classifier."""
    fit = metrics.fit_classifier
    monkeypatch.setattr(metrics, "fit_classifier", lambda *given, **settings: fit(*given, **settings, epochs=12))


def test_the_wilson_interval(quality: ModuleType) -> None:
    assert quality.wilson(0, 0) == (0.0, 1.0)
    assert quality.wilson(5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    assert quality.wilson(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert quality.wilson(10, 10) == pytest.approx((0.7225, 1.0), abs=1e-4)


def test_the_split_is_seeded_and_disjoint(quality: ModuleType, tmp_path: Path) -> None:
    train, labels, test, _ = quality.split_digits(0)
    assert (len(train), len(labels), len(test)) == (900, 900, 897)
    assert not np.array_equal(train, quality.split_digits(1)[0])
    assert quality.main(["split-digits", str(tmp_path / "t.npz")]) == 0
    images, written = quality.read_samples(tmp_path / "t.npz")
    assert np.array_equal(images, train)
    assert np.array_equal(written, labels)


def test_digits_tells_data_from_few_and_from_noise(quality: ModuleType, tmp_path: Path, capsys) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (897, 8, 8)).astype(np.uint8)
    np.savez(tmp_path / "s.npz", images=noise)
    assert quality.main(["digits", str(tmp_path / "s.npz"), "--json", str(tmp_path / "r.json")]) == 0
    rows = json.loads((tmp_path / "r.json").read_text())["rows"]
    assert rows["samples"]["F"] < 0.05
    assert 0.93 < rows["real digits"]["F"] < 0.99
    assert 0.5 < rows["100 real digits, repeated"]["F"] < 0.7
    assert rows["real digits"]["classes seen"] == 10
    assert "real digits" in capsys.readouterr().out


def test_larger_digits_are_averaged_down(quality: ModuleType) -> None:
    digits = quality.split_digits(0)[0][:5]
    large = digits.repeat(4, axis=2).repeat(4, axis=3).repeat(3, axis=1)
    assert np.array_equal(quality._shrink(large, (1, 8, 8)), digits)


def test_features_put_real_below_the_gaussian(quality: ModuleType, tmp_path: Path) -> None:
    digits = quality.split_digits(0)[0].transpose(0, 2, 3, 1)
    folder = tmp_path / "real" / "some"
    folder.mkdir(parents=True)
    for index, digit in enumerate(digits[:300]):
        Image.fromarray(digit[:, :, 0]).save(folder / f"{index}.png")
    np.savez(tmp_path / "s.npz", images=digits[300:600])
    np.savez(tmp_path / "h.npz", images=digits[600:])
    arguments = [
        "features",
        str(tmp_path / "s.npz"),
        "--real",
        str(folder.parent),
        "--heldout",
        str(tmp_path / "h.npz"),
    ]
    arguments += ["--features", "pixels", "--cache", str(tmp_path / "cache"), "--json", str(tmp_path / "r.json")]
    for _ in range(2):
        assert quality.main(arguments) == 0
    result = json.loads((tmp_path / "r.json").read_text())
    assert result["images of each"] == 300
    assert result["FD-pixels, samples / per-pixel Gaussian"] < 0.2
    assert result["rows"]["held-out real images"]["coverage"] > 0.8 > result["rows"]["per-pixel Gaussian"]["coverage"]
    assert len(list((tmp_path / "cache").iterdir())) == 2  # of the real and the held-out images, made once


def test_labels_counts_agreement(quality: ModuleType, tmp_path: Path) -> None:
    images, labels, test, truth = quality.split_digits(0)
    for index, (image, label) in enumerate(zip(images, labels, strict=True)):
        folder = tmp_path / "train" / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[0]).save(folder / f"{index}.png")
    wrong = truth.copy()
    wrong[::2] = (wrong[::2] + 1) % 10
    np.savez(tmp_path / "s.npz", images=test[:, 0], labels=wrong)
    arguments = ["labels", str(tmp_path / "s.npz"), "--train-folder", str(tmp_path / "train")]
    arguments += ["--classifier", str(tmp_path / "c"), "--json", str(tmp_path / "r.json")]
    assert quality.main(arguments) == 0
    everything = json.loads((tmp_path / "r.json").read_text())["rows"]["all"]
    assert everything["samples"] == 897
    assert 0.46 < everything["agree"] < 0.54
    assert everything["95 % low"] < everything["agree"] < everything["95 % high"]
    assert (tmp_path / "c").exists()


def test_a_wrong_file_is_one_sentence_and_exit_code_2(quality: ModuleType, tmp_path: Path, capsys) -> None:
    (tmp_path / "s.npz").write_bytes(b"PK nothing")
    np.savez(tmp_path / "f.npz", images=np.zeros((2, 8, 8)))
    for name in ("s.npz", "f.npz", "missing.npz"):
        assert quality.main(["digits", str(tmp_path / name)]) == 2
        assert "numpy.savez" in capsys.readouterr().err or name == "f.npz"
