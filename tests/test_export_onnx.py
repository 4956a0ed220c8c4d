"""Export as ONNX, where its packages are installed: what onnxruntime gives is what PyTorch gives."""

import json
import sys

import pytest
import torch

from equipoise.apps import export as exporting
from equipoise.apps.export import onnx_model, torch_files
from equipoise.errors import InputError
from exported import subject

FAMILIES = [
    pytest.param("normfree", (1, 16, 16), 3, {"patch": 2}, id="normfree"),
    pytest.param("dcgan", (3, 16, 16), 0, {}, id="dcgan"),
    pytest.param("resnet", (3, 16, 16), 3, {}, id="resnet", marks=pytest.mark.slow),
    pytest.param("mlp", (1, 8, 8), 3, {}, id="mlp", marks=pytest.mark.slow),
]


def test_a_missing_package_is_named_with_its_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    monkeypatch.setitem(sys.modules, "onnx", sys)  # whether it is there or not
    with pytest.raises(InputError, match=r"onnxscript.*equipoise\[onnx\]"):
        exporting.export(tmp_path, tmp_path / "out", ["onnx"])


@pytest.mark.parametrize(("name", "shape", "classes", "options"), FAMILIES)
def test_every_family_gives_the_same_samples_in_any_batch(name, shape, classes, options, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (extra: onnx)")
    pytest.importorskip("onnxscript", reason="onnxscript is not installed (extra: onnx)")
    given = subject(name, shape, classes, options)
    content = onnx_model.convert(torch_files.write(tmp_path, given), given)
    session = onnxruntime.InferenceSession(content)
    for count in (1, 5):
        latents = torch.randn(count, 6, generator=torch.Generator().manual_seed(7))
        labels = torch.arange(count) % 3 if classes else None
        feed = {"latents": latents.numpy()} | ({} if labels is None else {"labels": labels.numpy()})
        (got,) = session.run(["samples"], feed)
        assert got.shape == (count, *shape)
        torch.testing.assert_close(torch.from_numpy(got), given.generator(latents, labels), rtol=1e-4, atol=1e-4)
    facts = session.get_modelmeta().custom_metadata_map
    assert facts["latent_dim"] == "6" and json.loads(facts["classes"]) == [str(k) for k in range(classes)]
    assert str(tmp_path).encode() not in content and b"site-packages" not in content  # nothing of this machine


def test_a_model_that_gives_other_samples_is_not_written(tmp_path):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (extra: onnx)")
    pytest.importorskip("onnxscript", reason="onnxscript is not installed (extra: onnx)")
    given = subject("mlp", (2,), 0, {})
    network = torch_files.write(tmp_path, given)
    with torch.no_grad():
        network.output.bias.add_(0.01)
    with pytest.raises(InputError, match="off by"):
        onnx_model.convert(network, given)
