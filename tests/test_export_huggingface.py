"""The folder for the Hugging Face Hub: what the card says, and that nobody is contacted unless asked."""

import json
import sys
import types
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from equipoise.apps import export as exporting
from equipoise.apps.export import card
from equipoise.errors import InputError
from exported import subject
from small_runs import images_file, planned, run


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("huggingface")
    run(folder / "run", planned(images_file(folder / "faces.npz", classes=3)))
    return folder / "run"


@pytest.fixture
def hub(monkeypatch):
    """The Hub's client, without the Hub: what was asked of it, in order."""
    asked = []

    class HfApi:
        def create_repo(self, repo_id, *, private, exist_ok):
            asked.append(("create", repo_id, private, exist_ok))
            if repo_id == "me/taken":
                raise OSError("409: there is one of this name")
            return f"address of {repo_id}"

        def upload_folder(self, *, repo_id, folder_path, commit_message):
            asked.append(("upload", repo_id, sorted(path.name for path in folder_path.iterdir())))

    monkeypatch.setitem(sys.modules, "huggingface_hub", types.SimpleNamespace(HfApi=HfApi))
    return asked


def header(text):
    """The lines between the first two rules."""
    start, lines, _ = text.split("---\n", 2)
    assert start == ""
    return lines.splitlines()


def test_the_folder_has_what_the_hub_looks_for_and_nobody_is_contacted(trained, tmp_path, hub):
    exporting.export(trained, tmp_path / "out", ["huggingface"])
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["README.md", "config.json", "generator.py", "model.safetensors", "samples.png"]
    text = (tmp_path / "out" / "README.md").read_text()
    assert header(text)[:2] == ["library_name: pytorch", "license: unknown"] and "- gan" in header(text)
    assert "faces.npz, 40 samples" in text and str(trained.parent) not in text  # the name, and not the place
    assert "It was not evaluated" in text and "recipe digits, on 0.4 thousand images" in text
    facts = json.loads((tmp_path / "out" / "config.json").read_text())
    assert (facts["network"], facts["latent_dim"], facts["classes"]) == ("mlp", 4, ["0", "1", "2"])
    picture = np.asarray(Image.open(tmp_path / "out" / "samples.png"))
    assert picture.shape[1] == 3 * (32 + 2) + 2  # a column for each of three classes
    assert hub == []


def test_the_card_tells_the_numbers_of_an_evaluation(tmp_path):
    given = replace(subject("mlp", (1, 8, 8), 0, {}), run=tmp_path)
    given.config.write(tmp_path)
    measures = {"frechet": [12.5, 10.0, 15.0], "kernel": [0.0025, None, None], "recall": [None, None, None]}
    (tmp_path / "evaluation.json").write_text(
        json.dumps(
            {
                "generated": {"name": "run", "count": 5000},
                "real": {"name": "photos/held-out", "count": 400},
                "features": {"name": "pixels", "called": "FD-pixels"},
                "numbers": measures,
                "floor": {"numbers": {**measures, "frechet": [1.5, 1.0, 2.0]}},
                "memorisation": {"found": True, "samples": 500},
            }
        )
    )
    card.write(tmp_path, given)
    text = (tmp_path / "README.md").read_text()
    assert "5,000 generated against 400 real samples (held-out)" in text
    assert "| FD-pixels, as usually computed | 12.5 [10, 15] | 1.5 [1, 2] |" in text
    assert "| kernel distance x 1000 | 2.5 | 2.5 |" in text and "| recall | - | - |" in text
    assert "Copies of training samples were found" in text
    assert "pipeline_tag: unconditional-image-generation" in header(text)


def test_names_stay_within_their_line_of_the_card(tmp_path):
    given = replace(subject("mlp", (1, 8, 8), 2, {}, names=["a|b", "c\n---\n# d"]), run=tmp_path)
    given = replace(given, config=replace(given.config, source="hf:me/faces"))
    given.config.write(tmp_path)
    card.write(tmp_path, given)
    text = (tmp_path / "README.md").read_text()
    assert r"| classes | a\|b, c --- \# d |" in text
    assert header(text)[-2:] == ["datasets:", '- "me/faces"']


def test_a_push_makes_a_new_private_repository_of_the_folder(trained, tmp_path, hub):
    said = exporting.export(trained, tmp_path / "out", push="me/faces")
    files = ["README.md", "config.json", "generator.py", "model.safetensors", "samples.png"]
    assert hub == [("create", "me/faces", True, False), ("upload", "me/faces", files)]
    assert said[-1] == "Uploaded, for you alone to see: address of me/faces"


def test_a_push_that_fails_leaves_the_folder_and_writes_over_nothing(trained, tmp_path, hub):
    with pytest.raises(InputError, match=r"is written, and was not uploaded to me/taken \(409"):
        exporting.export(trained, tmp_path / "out", push="me/taken")
    assert (tmp_path / "out" / "README.md").is_file() and [kind for kind, *_ in hub] == ["create"]


def test_a_push_that_cannot_be_is_refused_before_anything_is_written(trained, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(InputError, match=r"equipoise\[hub\]"):
        exporting.export(trained, tmp_path / "out", push="me/faces")
    with pytest.raises(InputError, match="no name of a repository"):
        exporting.export(trained, tmp_path / "out", push="https://me/faces")
    assert not (tmp_path / "out").exists()
