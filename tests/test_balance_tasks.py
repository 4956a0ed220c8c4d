"""The proving ground's larger tasks, presets as arms, references: known modes, few data, a race with known scores."""

import json
from functools import partial

import numpy as np
import pytest

from equipoise.errors import InputError
from equipoise.images import encode_png
from equipoise.registry import find
from equipoise.studies import classifiers
from equipoise.studies.balance import adapter, bench, pictures, references, settings, table, tasks
from equipoise.studies.balance.arms import ARMS
from equipoise.studies.balance.rows import Row

SMALL = {"shape": 2, "zdim": 3, "g_widths": [8, 6], "d_widths": [5], "updates": 6, "batch": 8}


@pytest.fixture
def points():
    return np.random.default_rng(0).standard_normal((64, 2)).astype(np.float32)


# ------------------------------------------------------------------------------------------------ tasks of more modes


def test_tasks_with_their_true_samples_and_without():
    grid = tasks.GRID25.material(0, "whole")
    assert grid.score(tasks.GRID25.material(1, "whole").rows) > 0.95
    assert grid.judge(grid.rows[grid.labels < 5])["modes"] == 5
    stacked = tasks.STACKED.material(0, "whole")
    assert len(stacked.rows) == 10_000 and np.bincount(stacked.labels, minlength=1000).min() > 0
    found = stacked.judge(stacked.rows[stacked.labels < 200])  # first channel 0 or 1
    assert 190 <= found["modes"] <= 300 and 0.15 < found["overlap"] < 0.25
    assert stacked.score(np.random.default_rng(0).uniform(-1, 1, (2000, 192))) < 0.1


@pytest.mark.parametrize("task", [tasks.SPIRAL, tasks.CLOUDS])
def test_shapes_are_told_from_what_only_resembles_them(task):
    one, other = task.material(0, "whole"), task.material(1, "whole")
    assert one.rows.shape == (3000, task.cfg["shape"]) and one.rows.dtype == np.float32 and one.samples == 1000
    assert one.score(other.rows[:1000]) > 0.93
    assert one.judge(other.rows[other.labels == 0][:1000])["coverage"] < 0.6  # classes are missing
    blurred = one.rows[:1000] + np.random.default_rng(0).standard_normal((1000, one.rows.shape[1])) * one.rows.std() / 3
    assert one.score(blurred) < 0.6
    assert len(task.material(0, "tiny").rows) == 100
    counts = np.bincount(task.material(0, "tail").labels)
    assert counts.max() > 10 * counts.min()


def test_a_triple_shows_its_mode():
    one = tasks.open_dataset("digits")
    row = pictures.drawn(one, np.array([307]), np.random.default_rng(0)).reshape(3, 8, 8)
    shown = [one.labels[(one.images[:, 0] == np.round((channel + 1) * 127.5)).all(axis=(1, 2))] for channel in row]
    assert [set(labels) for labels in shown] == [{3}, {0}, {7}]


def test_few_a_long_tail_and_copies_of_triples():
    assert len(tasks.STACKED.material(0, "tiny").rows) == 500
    tail = np.bincount(tasks.STACKED.material(0, "tail").labels // 100)
    assert (np.diff(tail) < 0).all() and tail[0] / tail[9] == pytest.approx(20**0.9, rel=0.3)
    _, times = np.unique(tasks.STACKED.material(0, "copies").rows, axis=0, return_counts=True)
    assert sorted(times)[-5:] == [1001] * 5


def test_photographs_are_asked_for_in_a_sentence(monkeypatch, tmp_path):
    wanted = bench.cells(["conv16"], ["healthy"], ["untouched"], [0])
    monkeypatch.delenv("EQUIPOISE_DATA", raising=False)
    with pytest.raises(InputError, match="EQUIPOISE_DATA is not set"):
        bench.bench(wanted, tmp_path, say=lambda text: None)
    monkeypatch.setenv("EQUIPOISE_DATA", str(tmp_path))
    with pytest.raises(InputError, match="EQUIPOISE_DATA has no cifar10"):
        bench.bench(wanted, tmp_path, say=lambda text: None)


def test_photographs_are_judged_by_what_a_classifier_sees(monkeypatch, tmp_path):
    monkeypatch.setenv("EQUIPOISE_DATA", str(tmp_path))
    monkeypatch.setenv("EQUIPOISE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(classifiers, "fit_classifier", partial(classifiers.fit_classifier, epochs=3))
    generator = np.random.default_rng(0)
    for part, count in (("train", 60), ("test", 20)):
        for name, middle in (("dark", 60), ("light", 190)):
            folder = tmp_path / "cifar10" / part / name
            folder.mkdir(parents=True)
            for one in range(count):
                image = generator.integers(middle - 40, middle + 40, (32, 32, 3)).astype(np.uint8)
                (folder / f"{one}.png").write_bytes(encode_png(image))
    material = tasks.CONV16.material(0, "whole")
    assert material.rows.shape == (120, 3, 16, 16) and material.samples == 40
    assert material.score(material.rows[np.r_[:20, 60:80]]) > 0.5
    assert material.score(np.full((40, 3, 16, 16), -1.0)) < 0.1
    assert material.score(np.full((40, 3, 16, 16), np.nan)) == 0
    tail = np.bincount(tasks.CONV16.material(0, "tail").labels)
    assert tail.tolist() == [60, 3]


# ------------------------------------------------------------------------------------------------ presets, references


@pytest.mark.parametrize("name", [arm for arm in ARMS if arm.startswith("preset ")])
def test_a_preset_steers_with_the_part_that_it_turns(name, points):
    arm, images = ARMS[name], not ARMS[name].fits(SMALL)
    cfg = SMALL | ({"shape": [1, 8, 8], "g_widths": [4, 3], "d_widths": [4, 3]} if images else {})
    rows = np.random.default_rng(0).standard_normal((64, 1, 8, 8)) if images else points
    full = settings.check(arm.applied(cfg))
    config = adapter.configured(full, adapter.as_dataset(rows, rows.shape[1:]), 0, controller=arm.controller)
    part, _, dial = find("controller", arm.controller).facts["turns"].partition(".")
    assert config.controller == arm.controller and config.balance == "act"
    assert part in "GD" or dial in (config.recipe.terms | config.recipe.augmentations)[part]
    made, _ = adapter.steered(full, rows, 0, 3, controller=arm.controller)
    assert made.shape == (3, *rows.shape[1:]) and np.isfinite(made).all()


def test_only_the_autopilot_has_a_penalty_at_rest(points):
    dataset = adapter.as_dataset(points, (2,))
    full = settings.check(SMALL | {"balance": "act"})
    assert adapter.configured(full, dataset, 0).recipe.terms == {"r1": {"gamma": 0.0}}
    assert adapter.configured(full, dataset, 0, controller="gap-aware-loop").recipe.terms == {}


def test_vectors_are_not_augmented_as_images_are():
    with pytest.raises(InputError, match="ring8 has vectors"):
        bench.cells(["conv16", "ring8"], ["healthy"], ["preset ada"], [0])
    assert len(bench.cells(["conv16"], ["healthy"], ["preset ada"], [0])) == 1


def test_references_are_a_race_of_static_settings(monkeypatch, tmp_path):
    worth = {"untouched": 0.5, "static": 0.8, "r1 0.5": 0.7, "r1 2": 0.9, "augmentation": 0.1}
    ran = []

    def work(cells, *_):
        for cell in cells:
            ran.append(cell)
            score = worth[cell.arm] - (0.3 if cell.arm == "r1 2" and cell.seed else 0)  # lucky with the first seed
            yield Row(cell.task, cell.scenario, cell.arm, cell.seed, score, 1.0)

    monkeypatch.setattr(bench, "_work", work)
    references.measure(["ring8"], [0, 1, 2], tmp_path, 1, lambda text: None, lambda: False)
    assert len(ran) == 4 * (5 + 2 * 2) and {cell.arm for cell in ran if cell.seed} == {"static", "r1 2"}
    found = json.loads((tmp_path / "references.json").read_text())["ring8"]
    assert found["tail"] == {"score": 0.8, "setting": "static", "seeds": 3}


def test_a_cell_without_a_reference_is_left_out_of_the_table():
    rows = [Row("ring8", name, "untouched", 0, 0.4, 1.0) for name in ("healthy", "copies")]
    assert table.shares(rows, {"ring8": {"whole": 0.8}}) == {("ring8", "healthy", "untouched"): {0: 0.5}}
