"""Evaluations with a known answer: real against real, planted copies, a collapse, and what cannot be compared."""

import functools
import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import small_runs
from equipoise import GAN, cli, evaluate, from_arrays, open_dataset
from equipoise.apps.evaluate import classes, pictured
from equipoise.apps.evaluate.sides import Asked, gather
from equipoise.errors import InputError
from equipoise.metrics import fit_classifier
from equipoise.studies import classifiers

ORDER = np.random.default_rng(3).permutation(898)  # of the digits, which lie as their writers wrote them


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(classes, "fit_classifier", functools.partial(fit_classifier, epochs=8))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A short conditional run on half of the digits."""
    path = tmp_path_factory.mktemp("evaluate") / "run"
    small_runs.run(path, small_runs.planned("digits:train", ("network.width=64",), kimg=0.5))
    return path


def part(source, rows, name="generated", labelled=True):
    """Some samples of a source, as somebody's generated ones."""
    data = open_dataset(source)
    return from_arrays(data.images[rows], data.labels[rows] if labelled else None, name=name)


def pngs(folder, images, labels=None):
    for number, image in enumerate(images):
        place = folder if labels is None else folder / str(labels[number])
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0)).save(place / f"{number:04d}.png")
    return folder


def test_real_images_are_as_good_as_real_ones():
    found = evaluate(part("digits:test", ORDER[:449]), part("digits:test", ORDER[449:]), training="digits:train")
    low, high = found.numbers["frechet_unbiased"][1:]
    assert low < 0.05
    assert high < 0.3
    for name in ("precision", "recall", "density", "coverage"):
        assert found.numbers[name].value == pytest.approx(found.floor[name].value, abs=0.08)
    assert not found.memorisation.found
    assert found.accuracy.generated.value == pytest.approx(found.accuracy.real.value, abs=0.06)
    assert found.accuracy.generated.value > 0.8  # of ten classes


def test_five_percent_of_planted_copies_are_found():
    made, training = part("digits:test", ORDER[:400], labelled=False), open_dataset("digits:train")
    images = made.images.copy()
    images[40:60] = training.images[100:120]
    found = evaluate(from_arrays(images), part("digits:test", ORDER[400:]), training="digits:train")
    assert found.memorisation.found
    assert set(range(40, 60)) <= set(found.as_dict()["memorisation"]["copies"])
    assert found.memorisation.low < 0.05 < found.memorisation.high
    assert "Training data are copied" in found.text()


def test_a_collapse_is_precise_and_neither_diverse_nor_covering():
    digits = open_dataset("digits")
    same = digits.images[0] + np.random.default_rng(0).integers(0, 9, (200, 1, 8, 8)).astype(np.uint8)
    found = evaluate(from_arrays(same), "digits")
    assert found.numbers["diversity"].high < 0.3
    assert found.numbers["coverage"].high < 0.3
    assert found.numbers["vendi"].high < found.floor["vendi"].low
    assert found.numbers["frechet_unbiased"].low > found.floor["frechet_unbiased"].high


def test_a_run_is_compared_with_what_it_never_saw(run, tmp_path):
    out = tmp_path / "kept" / "found.json"
    found = evaluate(run, "digits:test", count=300, out=out)
    assert (found.made[1], found.real[1], found.floor_counts) == (300, 300, (300, 300))
    assert found.real[0] == "digits:test"
    assert found.memorisation.reference == 300  # the held-out ones alone
    assert [one.name for one in found.classes] == [str(digit) for digit in range(10)]
    assert sum(one.made for one in found.classes) == 300
    assert all(abs(one.made - one.real) <= 0 for one in found.classes)  # labels in the shares of the real ones
    text = found.text()
    assert "FD-pixels" in text
    assert "areas averaged to at most 16 px" in text
    assert "300 are few" in text
    again = evaluate(run, "digits:test", count=300, out=out)  # our own file may be written over
    assert again.as_dict() == found.as_dict() == small_runs.strict(out.read_text())
    assert Image.open(pictured(out)).size[0] > 400


def test_a_run_without_other_data_says_that_it_saw_them(run):
    sides = gather(Asked(run))
    assert (len(sides.real), len(sides.made), sides.unseen, sides.twin) == (899, 899, False, None)
    assert "do not punish copying" in sides.notes[0]
    assert evaluate(run, count=100).memorisation.reference == 899  # each against all others


def test_a_gan_fitted_on_arrays_is_compared_with_what_it_is_given(tmp_path):
    settings = {"network.name": "mlp", "network.width": 8, "batch": 8}
    GAN("digits", settings=settings).fit(open_dataset("digits").images[:64], kimg=0.04).save(tmp_path / "gan")
    found = evaluate(tmp_path / "gan", "digits", count=50)
    assert found.memorisation is None
    assert any("No look for copies" in note and "arrays in memory" in note for note in found.notes)
    assert "copied" not in found.text()
    with pytest.raises(InputError, match="give real images with --against"):
        evaluate(tmp_path / "gan")
    for seed in (-1, 2**63):
        with pytest.raises(InputError, match="is no seed"):
            evaluate(tmp_path / "gan", "digits", count=50, seed=seed)


def test_training_images_given_as_real_are_noticed(run):
    assert gather(Asked(run, "digits:train")).unseen is False
    assert gather(Asked(run, "digits:test")).unseen is True


def test_folders_with_and_without_classes(tmp_path):
    digits = open_dataset("digits")
    made = pngs(tmp_path / "made", digits.images[:120], digits.labels[:120])
    plain = pngs(tmp_path / "plain", digits.images[:120])
    real = pngs(tmp_path / "real", digits.images[200:400], digits.labels[200:400])
    found = evaluate(made, real, labels="folders")
    assert [one.made for one in found.classes] == np.bincount(digits.labels[:120]).tolist()
    assert sum(one.real for one in found.classes) == found.real[1] == 120  # as many as there are generated
    assert evaluate(plain, real).classes == ()
    with pytest.raises(InputError, match="lies in no sub-folder"):
        evaluate(plain, real, labels="folders")


def test_labels_on_one_side_only_are_noted():
    found = gather(Asked(part("digits", slice(0, 100), labelled=False), "digits"))
    assert found.made.labels is None
    assert "the generated images have no labels" in found.notes[0]


def test_numbers_stand_for_the_names_of_classes():
    data = open_dataset("digits")
    named = from_arrays(data.images, data.labels, classes=tuple("abcdefghij"))
    some = np.flatnonzero(data.labels % 2 == 1)[:60]
    sides = gather(Asked(part("digits", some), named))
    assert (sides.made.labels == data.labels[some]).all()
    with pytest.raises(InputError, match="none of"):
        gather(Asked(from_arrays(data.images, data.labels, classes=tuple("klmnopqrst")), named))


def test_other_sizes_and_colours_are_brought_together(tmp_path):
    rng = np.random.default_rng(0)
    small = pngs(tmp_path / "small", rng.integers(0, 255, (40, 3, 16, 16), np.uint8))
    large = pngs(tmp_path / "large", rng.integers(0, 255, (40, 1, 32, 32), np.uint8))
    found = evaluate(small, large, options={"size": 4})
    assert found.shape == (3, 16, 16)
    assert f"{large} is grey, and is compared in colour with the other side." in found.notes
    assert f"{large}: files of 32x32 were resized to 16x16." in found.notes


def test_vectors_are_compared_as_they_are():
    found = evaluate(from_arrays(open_dataset("ring").images[:300]), "ring")
    assert (found.dimensions, found.shape, found.accuracy) == (2, (2,), None)
    assert found.numbers["coverage"].value > 0.5


def test_a_classifier_is_fitted_once_for_its_features(monkeypatch):
    monkeypatch.setattr(classifiers, "fit_classifier", functools.partial(fit_classifier, epochs=1))
    made = part("digits:test", ORDER[:200], labelled=False)
    found = evaluate(made, "digits:train", features="classifier", count=200)
    assert "classifier, not resized, 64 numbers a sample" in found.text()
    monkeypatch.setattr(classifiers, "fit_classifier", None)  # would fail if called again
    again = evaluate(made, "digits:train", features="classifier", count=200)
    assert again.numbers == found.numbers


def test_what_cannot_be_compared(tmp_path, run):
    digits = open_dataset("digits")
    with pytest.raises(InputError, match="3 generated samples, from which nothing can be said"):
        evaluate(pngs(tmp_path / "three", digits.images[:3]), "digits")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty"):
        evaluate(tmp_path / "empty", "digits")
    with pytest.raises(InputError, match="give --against as well"):
        evaluate(part("digits", slice(0, 50)))
    with pytest.raises(InputError, match="cannot be compared"):
        evaluate(part("digits", slice(0, 50)), "ring")
    with pytest.raises(InputError, match="--count 5 shows nothing"):
        evaluate(run, count=5)
    with pytest.raises(InputError, match="cannot be held at once"):
        evaluate(run, count=10**30)
    with pytest.raises(InputError, match="no option 'foo'; there are: size"):
        evaluate(run, "digits:test", options={"foo": 1})
    with pytest.raises(InputError, match="holds samples of"):
        evaluate(run, "ring")
    with pytest.raises(InputError, match="and there are none"):
        evaluate(part("digits", slice(0, 50)), from_arrays(digits.images), features="classifier")


def test_nothing_of_others_is_overwritten(tmp_path):
    out = tmp_path / "mine.json"
    out.write_text("{}")
    with pytest.raises(InputError, match="no evaluation"):
        evaluate(part("digits", slice(0, 50)), "digits", out=out)
    with pytest.raises(InputError, match=r"must end in \.json"):
        evaluate(part("digits", slice(0, 50)), "digits", out=tmp_path / "mine.txt")
    (tmp_path / "new-nearest.png").write_bytes(b"theirs")
    with pytest.raises(InputError, match="exists already"):
        evaluate(part("digits", slice(0, 50)), "digits", out=tmp_path / "new.json")


def test_the_command(run, monkeypatch):
    result = CliRunner().invoke(cli.app, ["evaluate", str(run), "--count", "60", "--option", "size=4"])
    assert result.exit_code == 0, result.output
    assert "at most 4 px, 16 numbers a sample" in result.output
    assert json.loads((run / "evaluation.json").read_text())["generated"]["count"] == 60
    assert (run / "evaluation-nearest.png").exists()
