"""The classifier's features: what its last layer sees, averaged over places."""

import numpy as np
import pytest
import torch

from equipoise.errors import InputError
from equipoise.metrics import Classifier, extract


def test_features_are_the_last_convolutions_averaged(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (5, 1, 8, 8), np.uint8)
    fitted = Classifier((1, 8, 8), 3)
    fitted.save(tmp_path / "c.safetensors")
    seen = {}
    fitted.network[-3].register_forward_pre_hook(lambda module, given: seen.update(last=given[0]))
    fitted.probabilities(images)
    found = extract("classifier", images, weights=tmp_path / "c.safetensors", batch=2)
    assert found.shape == (5, 64)
    assert torch.allclose(torch.from_numpy(found), seen["last"].mean(dim=(2, 3)), atol=1e-5)


def test_what_it_was_not_fitted_to(tmp_path):
    images = np.zeros((5, 1, 8, 8), np.uint8)
    Classifier((1, 16, 16), 3).save(tmp_path / "c.safetensors")
    with pytest.raises(InputError, match=r"fitted to images shaped \[1, 16, 16\]"):
        extract("classifier", images, weights=tmp_path / "c.safetensors")
    with pytest.raises(InputError, match="give weights=PATH"):
        extract("classifier", images)
