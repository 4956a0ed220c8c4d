"""Inception and DINOv2, offline: refusals everywhere, the networks with random weights where their packages are."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from equipoise.errors import InputError
from equipoise.metrics import features, pretrained


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No network kept from another test, none of this user's caches, and no way to the net."""
    pretrained._inception.cache_clear()
    pretrained._dinov2.cache_clear()
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("nothing was to be downloaded")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)


# ------------------------------------------------------------------------------------------------ names and refusals


def test_only_the_fids_own_weights_make_an_fid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert features.label("inception") == "FID"
    (tmp_path / "mine.pth").write_bytes(b"abc")
    assert features.label("inception", weights=tmp_path / "mine.pth") == "FD-inception (other weights)"
    assert features.label("inception", weights=tmp_path / "none.pth") == "FD-inception (other weights)"
    abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # SHA-256 of "abc", FIPS 180-2
    monkeypatch.setattr(pretrained, "FID_WEIGHTS", abc)
    assert features.label("inception", weights=tmp_path / "mine.pth") == "FID"


def test_dinov2_is_named_by_its_size(tmp_path: Path) -> None:
    assert features.label("dinov2") == "FD-dinov2 (ViT-L/14)"
    assert features.label("dinov2", size=448, download=True) == "FD-dinov2 (ViT-L/14, 448 px)"
    assert features.label("dinov2", weights=tmp_path) == "FD-dinov2 (other weights)"
    (tmp_path / "config.json").write_text(json.dumps({"hidden_size": 384}))
    assert features.label("dinov2", weights=tmp_path) == "FD-dinov2 (ViT-S/14)"
    (tmp_path / "config.json").write_text(json.dumps({"hidden_size": 16}))
    assert features.label("dinov2", weights=str(tmp_path)) == "FD-dinov2 (16 features)"


def test_resizing_is_said() -> None:
    assert features.resizing("inception") == "bilinear to 299 px as in TensorFlow 1"
    assert features.resizing("dinov2", size=448) == "bicubic to 448 px"
    assert features.resizing("lite0") == "bicubic to 224 px"
    assert features.resizing("pixels", size=8) == "areas averaged to at most 8 px"
    assert features.resizing("pixels", size=None) == "none"


@pytest.mark.parametrize("name", ["inception", "dinov2"])
def test_images_are_checked_before_anything_is_loaded(name: str) -> None:
    with pytest.raises(InputError, match=rf"{name} sees grey or RGB .* shaped \[2, 8, 8\]"):
        features.extract(name, noise(2, 2, 8, 8))


def test_dinov2_sizes() -> None:
    with pytest.raises(InputError, match="a size of 225 does not fit; try 224"):
        features.extract("dinov2", noise(2, 3, 8, 8), size=225)


@pytest.mark.parametrize(
    ("name", "module"), [("inception", "torch_fidelity.feature_extractor_inceptionv3"), ("dinov2", "transformers")]
)
def test_without_its_packages_the_extra_is_named(name: str, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError, match=rf"pip install 'equipoise\[{name}\]'"):
        features.extract(name, noise(1, 3, 8, 8))


def test_weights_that_cannot_be_read(tmp_path: Path) -> None:
    for name, content in (("a.pth", b"nonsense"), ("a.safetensors", b"nonsense"), ("empty.pth", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match="cannot be read as weights"):
            pretrained._tensors(tmp_path / name)
    with pytest.raises(InputError, match="No such file"):
        pretrained._tensors(tmp_path / "none.safetensors")


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "sprung",)

    torch.save({"a": Trap()}, tmp_path / "trap.pth")
    with pytest.raises(InputError, match="cannot be read as weights"):
        pretrained._tensors(tmp_path / "trap.pth")
    assert not (tmp_path / "sprung").exists()


def test_a_download_only_where_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url, file = "https://example.org/w-6726825d.pth", tmp_path / "hub" / "checkpoints" / "w-6726825d.pth"
    with pytest.raises(InputError, match=r"nothing is downloaded unasked.*96 MB.*weights=PATH"):
        pretrained._downloaded(url, download=False)

    def fetch(_: str, target: str, hash_prefix: str, progress: bool) -> None:
        assert hash_prefix == pretrained.FID_WEIGHTS
        Path(target).write_bytes(b"weights")

    monkeypatch.setattr(torch.hub, "download_url_to_file", fetch)
    assert pretrained._downloaded(url, download=True) == file
    monkeypatch.setattr(torch.hub, "download_url_to_file", None)
    assert pretrained._downloaded(url, download=False) == file  # it lies there now

    def fail(*_: object, **__: object) -> None:
        raise OSError("no route")

    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    with pytest.raises(InputError, match=r"could not be downloaded \(no route\)"):
        pretrained._downloaded("https://example.org/x.pth", download=True)


# ------------------------------------------------------------------------------------------------ the networks


def test_inception_is_torch_fidelitys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random weights from a path, as .safetensors and as .pth; features as torch-fidelity's extractor gives them."""
    module = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3", exc_type=(ImportError, RuntimeError))
    torch.manual_seed(0)
    with monkeypatch.context() as patch:  # the extractor wants weights; this one keeps those it is initialised with
        patch.setattr(module, "load_state_dict_from_url", lambda *_, **__: {})
        patch.setattr(module.FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        theirs = module.FeatureExtractorInceptionV3("inception-v3-compat", ["2048"])
    state = {name: value.half() if value.is_floating_point() else value for name, value in theirs.state_dict().items()}
    theirs.load_state_dict(state)
    save_file(state, tmp_path / "w.safetensors")
    images = noise(3, 3, 32, 32)
    found = features.extract("inception", images, weights=tmp_path / "w.safetensors", batch=2)
    assert found.shape == (3, 2048)
    assert found.std(axis=0).max() > 0  # the images differ
    assert np.allclose(found, theirs(torch.from_numpy(images))[0], atol=1e-5)
    grey = features.extract("inception", images[:1, :1], weights=tmp_path / "w.safetensors")
    assert np.allclose(grey, theirs(torch.from_numpy(images[:1, :1].repeat(3, axis=1)))[0], atol=1e-5)

    torch.save(state, tmp_path / "w.pth")
    assert np.array_equal(features.extract("inception", images[:1], weights=str(tmp_path / "w.pth")), found[:1])
    del state["fc.bias"]
    torch.save(state, tmp_path / "part.pth")
    with pytest.raises(InputError, match=r"part\.pth holds no weights of the FID's Inception \(.*fc\.bias"):
        features.extract("inception", images, weights=tmp_path / "part.pth")
    with pytest.raises(InputError, match="nothing is downloaded unasked"):
        features.extract("inception", images)


def test_dinov2_is_transformers(tmp_path: Path) -> None:
    """A small network with random weights from a folder; the resizing is Pillow's."""
    transformers = pytest.importorskip("transformers", reason="the extra `dinov2` is not installed")
    torch.manual_seed(0)
    settings = transformers.Dinov2Config(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, image_size=28, patch_size=14
    )
    theirs = transformers.Dinov2Model(settings).eval()
    theirs.save_pretrained(tmp_path)
    images = noise(3, 3, 32, 32)
    found = features.extract("dinov2", images, weights=tmp_path, batch=2, size=56)
    assert found.shape == (3, 16)
    big = np.stack([np.stack([_pillow(channel, 56) for channel in image]) for image in images])
    mean, std = (np.array(values, np.float32)[:, None, None] for values in features.IMAGENET)
    with torch.no_grad():
        wanted = theirs(torch.from_numpy((big / 255 - mean) / std)).last_hidden_state[:, 0]
    assert np.allclose(found, wanted, atol=1e-4)
    grey = features.extract("dinov2", images[:, :1], weights=str(tmp_path), size=56)
    assert np.allclose(
        grey, features.extract("dinov2", images[:, :1].repeat(3, 1), weights=tmp_path, size=56), atol=1e-5
    )

    with pytest.raises(InputError, match=r"no folder with config\.json"):
        features.extract("dinov2", images, weights=tmp_path / "none")
    with pytest.raises(InputError, match=r"nothing is downloaded unasked.*1\.2 GB"):
        features.extract("dinov2", images)


def test_dinov2_refuses_half_a_network(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="the extra `dinov2` is not installed")
    settings = transformers.Dinov2Config(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=28)
    network = transformers.Dinov2Model(settings)
    network.save_pretrained(tmp_path)
    part = {name: value for name, value in network.state_dict().items() if not name.startswith("layernorm")}
    save_file(part, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match=r"no weights of DINOv2 \(without layernorm\.bias"):
        features.extract("dinov2", noise(1, 3, 28, 28), weights=tmp_path, size=28)


def _pillow(channel: np.ndarray, size: int) -> np.ndarray:
    image = Image.fromarray(channel.astype(np.float32))
    return np.asarray(image.resize((size, size), Image.Resampling.BICUBIC)).clip(0, 255)
