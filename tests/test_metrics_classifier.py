"""The classifier: accuracy on unseen digits, seeds, files."""

from importlib import resources

import numpy as np
import pytest
import torch

from equipoise.errors import InputError
from equipoise.metrics import Classifier, fit_classifier


def bars(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Noisy images [count, 3, 12, 9] that are bright on the left, in the middle or on the right."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(3, size=count)
    images = generator.integers(0, 90, (count, 3, 12, 9))
    for image, label in zip(images, labels, strict=True):
        image[:, :, 3 * label : 3 * label + 3] += 120
    return images.astype(np.uint8), labels


def test_unseen_digits() -> None:
    with (resources.files("equipoise") / "data" / "digits.npz").open("rb") as file, np.load(file) as data:
        images, labels = data["images"], data["labels"]
    order = np.random.default_rng(0).permutation(len(images))
    train, test = order[:900], order[900:]
    classifier = fit_classifier(images[train], labels[train], num_classes=10, epochs=20)
    assert classifier.accuracy(images[test], labels[test]) >= 0.97


def test_seed_decides_everything_and_the_callers_is_left_alone() -> None:
    images, labels = bars(60, 0)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, again, other = (
        fit_classifier(images, labels, num_classes=3, epochs=2, batch=16, seed=seed).probabilities(images)
        for seed in (1, 1, 2)
    )
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(first, again)
    assert not np.allclose(first, other)
    assert np.allclose(first.sum(axis=1), 1, atol=1e-5)


def test_file_keeps_the_classifier(tmp_path) -> None:
    images, labels = bars(150, 0)
    unseen, truth = bars(60, 1)
    fitted = fit_classifier(images, torch.from_numpy(labels), num_classes=3, epochs=8, batch=16)
    assert fitted.accuracy(unseen, truth) > 0.95
    assert fitted.predict(unseen).dtype == np.int64
    fitted.save(tmp_path / "c.safetensors")
    loaded = Classifier.load(tmp_path / "c.safetensors")
    assert (loaded.shape, loaded.num_classes) == ((3, 12, 9), 3)
    assert np.array_equal(loaded.probabilities(unseen), fitted.probabilities(unseen))


def test_other_files_are_refused(tmp_path) -> None:
    (tmp_path / "c").write_bytes(b"nothing of the kind")
    for path in (tmp_path / "c", tmp_path / "missing"):
        with pytest.raises(InputError, match="not a classifier"):
            Classifier.load(path)


def test_what_does_not_fit_is_refused() -> None:
    images, labels = bars(10, 0)
    with pytest.raises(InputError, match="labels run from 0 to 2"):
        fit_classifier(images, labels, num_classes=2)
    with pytest.raises(InputError, match="9 labels came with 10 images"):
        fit_classifier(images, labels[:9], num_classes=3)
    with pytest.raises(InputError, match="uint8"):
        fit_classifier(images / 255, labels, num_classes=3)
    with pytest.raises(InputError, match="class numbers"):
        fit_classifier(images, labels / 2, num_classes=3)
    with pytest.raises(InputError, match="resize"):
        Classifier((1, 8, 8), 3).predict(images)


def test_features_are_the_last_channels_averaged_over_positions() -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 1, 16, 16), dtype=np.uint8)
    classifier = Classifier((1, 16, 16), 3)
    seen: list[torch.Tensor] = []
    classifier.network[-3].register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    classifier.probabilities(images)
    assert seen[0].dim() == 4 and (seen[0] >= 0).all()
    assert classifier.features(images, batch=2) == pytest.approx(seen[0].mean(dim=(2, 3)).numpy(), abs=1e-6)
