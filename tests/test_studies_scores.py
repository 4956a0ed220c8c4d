"""Scores of runs and of real data: known answers, misses, determinism."""

import json
import math

import numpy as np
import pytest
import torch

from equipoise import metrics, runs
from equipoise.data import open_dataset
from equipoise.data.builtin import BUILTIN
from equipoise.data.stacked import singles
from equipoise.errors import InputError
from equipoise.studies import classifiers, scores
from small_runs import images_file, planned, run


@pytest.fixture(scope="module", autouse=True)
def quickly():
    """Classifiers of one pass, and fewer triples."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(classifiers, "fit_classifier", lambda *a, **k: metrics.fit_classifier(*a, **k, epochs=1))
        patch.setattr(scores, "TRIPLES", 2000)
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A tiny run of each kind of source."""
    place = tmp_path_factory.mktemp("scores")
    file = images_file(place / "few.npz", count=80, classes=2)
    wanted = {"ring": ("ring", "ring"), "few": (file, "digits"), "stacked": (f"stacked:{file}", "stacked")}
    for name, (source, recipe) in wanted.items():
        run(place / name, planned(source, recipe=recipe))
    return place


@pytest.mark.parametrize(
    ("name", "primary", "others"),
    [
        ("ring", "overlap", {"modes", "high_quality", "reverse_kl"}),
        ("few", "F", {"precision", "coverage", "recall", "density", "frechet", "classes"}),
        ("stacked", "overlap", {"modes", "reverse_kl", "confidence"}),
    ],
)
def test_a_run_is_scored_by_what_is_known_of_its_source(finished, name, primary, others):
    found = scores.score(finished / name)
    assert (found.primary, found.higher_is_better) == (primary, True)
    assert set(found.values) == {primary, *others}
    assert all(type(value) is float and math.isfinite(value) for value in found.values.values())
    assert 0 <= found.values[primary] <= 1


@pytest.mark.parametrize("name", ["ring", "few", "stacked"])
def test_the_same_seed_gives_the_same_scores(finished, name):
    state = torch.get_rng_state()
    first = scores.score(finished / name, seed=3)
    assert torch.equal(state, torch.get_rng_state())
    torch.manual_seed(99)
    assert scores.score(finished / name, seed=3) == first
    assert name == "stacked" or scores.score(finished / name, seed=4) != first


@pytest.mark.parametrize("name", ["ring", "few", "stacked"])
def test_samples_that_are_not_finite_are_misses(finished, name, monkeypatch):
    load = runs.load_network

    def broken(folder):
        generator, settings = load(folder)
        for parameter in generator.parameters():
            torch.nn.init.constant_(parameter.data, math.nan)
        return generator, settings

    monkeypatch.setattr(runs, "load_network", broken)
    found = scores.score(finished / name)
    assert found.values[found.primary] == 0.0
    assert found.values.get("modes", 0.0) == 0.0 and found.values.get("confidence", 0.0) == 0.0


def test_half_the_samples_lost_is_half_the_overlap():
    one = BUILTIN["digits"]()
    made = np.random.default_rng(0).integers(len(one), size=(2000, 3))
    whole = one.images[made, 0].astype(np.float32) / 127.5 - 1
    lost = np.concatenate([whole, np.full_like(whole, np.nan)])
    full, half = (scores.by_classes(one, part).values for part in (whole, lost))
    assert half["confidence"] == pytest.approx(full["confidence"] / 2)
    assert half["modes"] == full["modes"] and half["reverse_kl"] == full["reverse_kl"]
    assert half["overlap"] < full["overlap"]
    precise, less = (scores._draw(part[:200], part[200:400]) for part in (whole, whole))
    made = np.concatenate([whole[200:300], np.full_like(whole[:100], np.inf)])
    less = scores._draw(whole[:200], made)
    assert less["precision"] <= 0.5 and less["F"] < precise["F"]


def test_triples_with_known_classes(monkeypatch):
    """Three classes, shares 1/2, 1/4, 1/4; a classifier that reads the class off the first pixel."""

    class Oracle:
        def probabilities(self, images):
            return np.eye(3, dtype=np.float32)[images[:, 0, 0, 0] // 100]

    one = BUILTIN["digits"]()
    object.__setattr__(one, "labels", np.array([0, 0, 1, 2]))
    object.__setattr__(one, "classes", ("a", "b", "c"))
    object.__setattr__(one, "images", one.images[:4])
    monkeypatch.setattr(scores, "classifier", lambda dataset: Oracle())
    made = np.zeros((10, 3, 8, 8), np.uint8)
    found = scores.by_classes(one, made).values  # all of them 000, whose share is 1/8
    assert found == pytest.approx({"overlap": 1 / 8, "modes": 1, "reverse_kl": math.log(8), "confidence": 1})
    made[5:, 2] = 250  # and half of them 002, whose share is 1/16
    found = scores.by_classes(one, made).values
    assert found["overlap"] == pytest.approx(3 / 16) and found["modes"] == 2
    assert found["reverse_kl"] == pytest.approx(0.5 * math.log(0.5 * 8) + 0.5 * math.log(0.5 * 16))


def test_what_real_samples_score():
    ring = scores.reference("ring").values
    assert ring["overlap"] > 0.95 and ring["modes"] == 8 and ring["high_quality"] > 0.98
    assert scores.reference("digits").values["F"] == pytest.approx(0.96, abs=0.02)
    assert scores.reference("ring") == scores.reference("ring") != scores.reference("ring", seed=1)


def test_the_classifier_is_fitted_once_and_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("EQUIPOISE_CACHE", str(tmp_path / "cache"))
    one = singles("stacked:" + images_file(tmp_path / "few.npz", count=80, classes=2))
    calls = []
    monkeypatch.setattr(
        classifiers, "fit_classifier", lambda *a, **k: (calls.append(1), metrics.fit_classifier(*a, **k, epochs=1))[1]
    )
    first = classifiers.classifier(one)
    kept = next((tmp_path / "cache" / "classifiers").glob("*.safetensors"))
    assert one.fingerprint in kept.name and classifiers.classifier(one) is first
    classifiers._known.clear()  # as in another process
    again = classifiers.classifier(one)
    assert len(calls) == 1 and np.array_equal(again.predict(one.images), first.predict(one.images))
    kept.write_bytes(b"damaged")
    classifiers._known.clear()
    assert classifiers.classifier(one).num_classes == 2 and len(calls) == 2
    assert [path.name for path in kept.parent.iterdir()] == [kept.name]


def test_a_source_that_changed_or_is_gone_is_refused(tmp_path):
    file = images_file(tmp_path / "few.npz")
    run(tmp_path / "run", planned(file))
    images_file(tmp_path / "few.npz", count=44)
    with pytest.raises(InputError, match="has changed since"):
        scores.score(tmp_path / "run")
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    (tmp_path / "run" / "config.json").write_text(json.dumps(config | {"source": "arrays in memory"}))
    with pytest.raises(InputError, match="arrays in memory, which are gone"):
        scores.score(tmp_path / "run")
    with pytest.raises(InputError, match="no run folder"):
        scores.score(tmp_path)


def test_as_many_samples_and_such_features_as_are_asked_for(finished, monkeypatch):
    few = scores.score(finished / "ring", samples=4).values
    assert few["high_quality"] in (0, 0.25, 0.5, 0.75, 1)
    asked = []

    def extract(name, part):
        asked.append((name, len(part)))
        return part.reshape(len(part), -1)[:, : 2 if name == "lite0" else None].astype(np.float32)

    monkeypatch.setattr(scores, "extract", extract)
    pixels, others = (scores.score(finished / "few", samples=90, features=name).values for name in ("pixels", "lite0"))
    assert [name for name, _ in asked].count("lite0") == 2 * 3 and {number for _, number in asked} == {40}
    assert pixels["frechet"] != others["frechet"]
    assert {**pixels, "frechet": 0} == {**others, "frechet": 0}
    with pytest.raises(InputError, match="0 samples show nothing"):
        scores.score(finished / "ring", samples=0)


def test_classes_that_are_hardly_there_are_not_counted(monkeypatch):
    dataset = open_dataset("digits")
    monkeypatch.setattr(scores, "classifier", lambda one: type("", (), {"predict": lambda self, x: x[:, 0, 0, 0]})())
    made = np.zeros((1000, 1, 8, 8), np.uint8)
    made[:400] = 1
    made[:16] = 2  # 1.1 % remain, of about 10 % due
    made[:5] = 3  # 0.5 %
    assert scores._classes(dataset, made) == 0.3
    assert scores._classes(dataset, np.full(made.shape, np.nan, np.float32)) == 0.0


def test_a_run_is_judged_by_data_that_it_was_not_trained_on(finished, tmp_path, monkeypatch):
    others = np.random.default_rng(5).integers(0, 256, (60, 8, 8, 1), dtype=np.uint8)
    np.savez(tmp_path / "others.npz", images=others)
    seen, judge = [], scores._draw
    monkeypatch.setattr(scores, "_draw", lambda real, *rest: (seen.append(real), judge(real, *rest))[1])
    found = scores.score(finished / "few", against=str(tmp_path / "others.npz"))
    assert len(seen) == 17  # draws of sixty make a thousand
    assert all(np.array_equal(real[:, 0], others[..., 0]) for real in seen)
    assert found != scores.score(finished / "few") and "classes" not in found.values  # these others have no labels


def test_memorising_shows_against_others_only():
    """A generator that repeats its training digits: every one is precise among them, not all are among others."""
    own, others = open_dataset("digits:train"), open_dataset("digits:test")
    assert scores.reference("digits:train", against="digits:test").values["F"] == pytest.approx(0.96, abs=0.02)
    made = own.images[np.arange(len(own)) % 300]
    assert scores._draw(own.images, made)["precision"] == 1.0
    assert scores._draw(others.images, made)["precision"] < 0.98
