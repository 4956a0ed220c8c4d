"""A closer look at a generator: classes, and the nearest training images, which are found as slow code finds them."""

import base64
import io
import itertools
import json

import numpy as np
import pytest
from PIL import Image

import small_runs
from equipoise.report import page, page_closer


def pixels(picture):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(picture.uri.partition(",")[2]))).convert("L"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run on random images of three classes."""
    folder = tmp_path_factory.mktemp("closer")
    source = small_runs.images_file(folder / "data.npz", count=40, classes=3)
    conditional = (*small_runs.TINY, "network.conditional=true")
    small_runs.run(folder / "run", small_runs.planned(source, conditional, kimg=0.1))
    return folder


def test_neighbours_are_those_that_slow_code_finds():
    rng = np.random.default_rng(0)
    pool = rng.integers(0, 256, (30, 1, 8, 8), dtype=np.uint8)
    made = np.concatenate([pool[7:8], rng.integers(0, 256, (1, 1, 8, 8), dtype=np.uint8)])

    def far(a, b):
        return float(np.sqrt(np.mean((a / 255 - b / 255) ** 2)))

    rows, usual = page_closer._neighbours(made, pool)
    assert rows[0].label == "0.000"  # a copy
    distances = [far(made[1], other) for other in pool]
    assert rows[1].label == f"{min(distances):.3f}"
    nearest = [min(far(one, other) for j, other in enumerate(pool) if i != j) for i, one in enumerate(pool)]
    assert usual == pytest.approx(np.median(nearest), abs=1e-6)
    shown = pixels(rows[1].picture)[2:-2:6, 2:]  # the first row of each cell, enlarged sixfold
    order = np.argsort(distances)[: page_closer.NEIGHBOURS]
    widths = 8 * 6 + 2
    for place, index in enumerate([None, *order]):
        left = place * widths + (0 if place == 0 else (shown.shape[1] + 4 - 6 * widths - 2))
        cell = shown[:8, left : left + 48 : 6]
        assert (cell == (made[1, 0] if index is None else pool[index, 0])).all(), place


def test_classes_and_neighbours_of_a_run(trained):
    found = page_closer.look(trained / "run")
    assert [row.label for row in found.classes] == ["0", "1", "2"]
    assert len(found.neighbours) == page_closer.SHOWN and found.usual > 0 and found.without == ()
    text = page.write([trained / "run"], trained / "page.html").read_text()
    assert "Class by class" in text and "Nearest training images" in text
    quick = page.write([trained / "run"], trained / "quick.html", closer=False).read_text()
    assert "Class by class" not in quick


def test_data_that_have_changed_or_are_gone_are_said_to_be(trained):
    source = trained / "data.npz"
    kept = source.read_bytes()
    small_runs.images_file(source, count=39, classes=3)
    assert "has changed since the run began" in page_closer.look(trained / "run").without[0]
    source.unlink()
    found = page_closer.look(trained / "run")
    assert "did not open" in found.without[0] and len(found.classes) == 3 and found.neighbours == ()
    source.write_bytes(kept)


def test_what_is_not_on_this_disk_is_not_fetched(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(page_closer.runs, "load_data", lambda *a, **k: pytest.fail("it was opened"))
    config = json.loads((trained / "run" / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"source": "hf:somebody/something"}))
    (tmp_path / "checkpoints").symlink_to((trained / "run" / "checkpoints").resolve())
    assert "are not on this disk" in page_closer.look(tmp_path).without[0]


def test_arrays_that_were_in_memory_are_said_to_be_gone(trained, tmp_path):
    config = json.loads((trained / "run" / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"source": "arrays in memory"}))
    (tmp_path / "checkpoints").symlink_to((trained / "run" / "checkpoints").resolve())
    assert "arrays in memory, which are gone" in page_closer.look(tmp_path).without[0]


def test_more_images_than_are_searched_are_said_to_be(trained, monkeypatch):
    monkeypatch.setattr(page_closer, "MOST", 10)
    assert "40 are more than the 10 that are searched" in page_closer.look(trained / "run").without[0]


def test_vectors_and_runs_without_a_generator(tmp_path):
    small_runs.run(tmp_path / "ring", small_runs.planned("ring", (), recipe="ring", kimg=0.2))
    assert "The samples are vectors" in page_closer.look(tmp_path / "ring").without[0]
    for file in itertools.chain(*((tmp_path / "ring" / "checkpoints").glob(p) for p in ("*/*", "latest"))):
        file.unlink()
    assert "The generator could not be loaded" in page_closer.look(tmp_path / "ring").without[0]
