"""The page that runs a generator, short of a browser: what it carries, whence, and its directions."""

import base64
import hashlib
import json
import re
import tarfile
from dataclasses import replace

import pytest
import torch
from torch import nn

from equipoise.apps import export as exporting
from equipoise.apps.export import onnx_model, runtime, web
from equipoise.apps.export.directions import directions
from equipoise.errors import InputError
from exported import subject
from small_runs import planned, run

EVIL = "</script><script>alert(1)</script>"
FAKE = runtime.Runtime("1.30.0", "var ort = 1;\n//# sourceMappingURL=ort.map\n", "export default 1", b"\0asm")


class Stretching(nn.Module):
    """Latents [N, 3] to images [N, 1, 2, 2]: the second latent counts most, then the third, the first not."""

    latent_dim, num_classes = 3, 0

    def forward(self, latents, labels=None):
        weights = torch.tensor([[0.0, 0, 0, 0], [3.0, 0, 0, 0], [0, 0, 2.0, 0]])
        return (latents @ weights).view(-1, 1, 2, 2)


def test_directions_are_those_of_the_greatest_change():
    given = replace(subject("mlp", (1, 8, 8), 0, {}), generator=Stretching())
    torch.testing.assert_close(directions(given, 2), torch.tensor([[0.0, 1, 0], [0, 0, 1]]), rtol=0, atol=1e-5)


def test_a_page_lets_nothing_run_but_its_own_two_scripts_and_shows_names_as_text():
    given = subject("mlp", (1, 8, 8), 2, {}, names=[EVIL, "1"])
    given = replace(given, config=replace(given.config, source=EVIL))
    text = web.page(b"model", given, FAKE)
    assert EVIL not in text and "sourceMappingURL" not in text
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    allowed = set(re.findall(r"sha256-([^&']+)", text.partition("<title>")[0]))
    assert len(scripts) == 2
    assert {base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts} == allowed
    assert "default-src &#39;none&#39;" in text and "http:" not in text
    spec = json.loads(re.search(r'id="spec">(.*?)</script>', text)[1])
    assert spec["classes"] == [EVIL, "1"] and torch.tensor(spec["directions"]).shape == (6, 6)


def write(folder, version="1.30.0", without=()):
    """A package's files, a few bytes each."""
    contents = {
        "package.json": json.dumps({"version": version}),
        runtime.SCRIPT: "script",
        runtime.GLUE: "glue",
        runtime.BINARY: "binary",
    }
    for name, content in contents.items():
        if name not in without:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(content)
    return folder


def test_the_runtime_is_found_where_npm_puts_it(tmp_path, monkeypatch):
    expected = runtime.Runtime("1.30.0", "script", "glue", b"binary")
    installed = write(tmp_path / "site" / "node_modules" / "onnxruntime-web")
    (tmp_path / "site" / "deep").mkdir()
    monkeypatch.chdir(tmp_path / "site" / "deep")
    assert runtime.find() == runtime.find(installed) == runtime.find(tmp_path / "site") == expected
    with tarfile.open(tmp_path / "onnxruntime-web-1.30.0.tgz", "w:gz") as archive:
        archive.add(installed, "package")
    assert runtime.find(tmp_path / "onnxruntime-web-1.30.0.tgz") == expected


def test_a_runtime_that_is_missing_or_of_another_layout_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="npm install onnxruntime-web"):
        runtime.find()
    for place in (tmp_path / "nowhere", write(tmp_path / "old", without=[runtime.GLUE])):
        with pytest.raises(InputError, match=r"1\.20 or newer"):
            runtime.find(place)
    (tmp_path / "file.tgz").write_bytes(b"no archive")
    with pytest.raises(InputError, match="npm pack"):
        runtime.find(tmp_path / "file.tgz")


def test_vectors_have_no_page(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_model, "check_packages", lambda asked: None)
    run(tmp_path / "run", planned("ring"))
    with pytest.raises(InputError, match="vectors of 2 numbers"):
        exporting.export(tmp_path / "run", tmp_path / "out", ["web"])
    assert not (tmp_path / "out").exists()
