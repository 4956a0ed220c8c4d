"""The judge: ranks that slow code finds too, uniform on held-out digits, whatever else is asked; and what is said."""

import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import small_runs
from equipoise import networks, open_dataset
from equipoise.apps.judge import Opinion, door, gather, given, limits
from equipoise.apps.judge.answer import answers, verdict
from equipoise.data import Holdout
from equipoise.errors import InputError

RNG = np.random.default_rng(0)


class Brightness(nn.Module):
    """A planted judge: the mean of the image, plus its class."""

    def __init__(self, num_classes=0):
        super().__init__()
        self.num_classes = num_classes

    def forward(self, images, labels=None):
        return images.flatten(1).mean(1) + (labels if self.num_classes else 0)


def flat(*levels):
    """Images of one brightness each."""
    return np.array(levels, np.uint8)[:, None, None, None] * np.ones((1, 1, 8, 8), np.uint8)


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A short conditional run on half of the digits."""
    run = tmp_path_factory.mktemp("judge") / "run"
    small_runs.run(run, small_runs.planned("digits:train", ("network.width=64",), kimg=1.5))
    return run


@pytest.fixture(scope="module")
def witnesses(digits):
    return gather(digits, "digits:test")


def test_percentiles_by_hand():
    opinion = Opinion(Brightness(), flat(10, 20, 30))  # three held-out images: steps of a quarter
    assert opinion.percentiles(flat(5, 15, 25, 99)) == pytest.approx([12.5, 37.5, 62.5, 87.5])
    assert opinion.percentiles(flat(20)) == pytest.approx([50])  # a tie stands in its middle
    assert opinion.separates(flat(5, 15, 20, 99)) == pytest.approx((1 + 2 / 3 + 1 / 2 + 0) / 4)


def test_images_without_labels_are_judged_as_the_real_ones_then_are():
    real, labels = flat(0, 10, 200, 210), np.array([0, 0, 1, 1])
    training, theirs = flat(5, 205), np.array([1, 0])  # labelled the wrong way round, so that guesses differ
    opinion = Opinion(Brightness(2), real, labels, training, theirs)
    assert opinion.guess(flat(0, 255)).tolist() == [1, 0]
    image = flat(100)

    def slow(own, guessed):
        brightness = [x / 127.5 - 1 for x in (0, 10, 200, 210)]
        return 100 * (sum(b + c < 100 / 127.5 - 1 + own for b, c in zip(brightness, guessed, strict=True)) + 0.5) / 5

    assert opinion.percentiles(image, np.array([1])) == pytest.approx([slow(1, labels)])
    assert opinion.percentiles(image) == pytest.approx([slow(1, [1, 1, 0, 0])])
    assert slow(1, labels) != slow(1, [1, 1, 0, 0])


def test_percentiles_of_held_out_digits_are_uniform(witnesses):
    order = np.random.default_rng(1).permutation(len(witnesses.real))
    half, other = order[:449], order[449:]
    real, labels = witnesses.real, witnesses.real_labels
    opinion = Opinion(witnesses.discriminator, real[half], labels[half], witnesses.training, witnesses.training_labels)
    for asked in (labels[other], None):
        found = np.sort(opinion.percentiles(real[other], asked)) / 100
        apart = np.abs(found - (np.arange(len(found)) + 0.5) / len(found)).max()
        assert apart < 1.95 * np.sqrt(2 / 449)  # Kolmogorov and Smirnov for two samples: one in a thousand
    noise = RNG.integers(0, 256, (200, 1, 8, 8), dtype=np.uint8)
    assert np.median(opinion.percentiles(noise, labels[:200])) < 20 and opinion.separates(noise, labels[:200]) > 0.8


@pytest.mark.parametrize("options", [{"minibatch_std": True}, {"minibatch_discrimination": True}, {"pack": 3}])
def test_an_opinion_does_not_depend_on_what_else_is_asked(options):
    torch.manual_seed(0)
    pack = options.pop("pack", 1)
    pair = networks.build("mlp", (1, 8, 8), latent_dim=4, width=16, options=options, pack=pack)
    images = RNG.integers(0, 256, (20, 1, 8, 8), dtype=np.uint8)
    opinion = Opinion(pair[1], images[:10])
    together = opinion.scores(images[10:])
    alone = [opinion.scores(images[i : i + 1])[0] for i in range(10, 20)]
    assert together == pytest.approx(alone, abs=1e-6) and len(set(together)) == 10


def test_held_out_images_are_those_of_the_run(digits):
    dataset, known = open_dataset("digits:train"), gather(digits)
    rows = Holdout(dataset, 0).heldout(1500)
    assert np.array_equal(known.real, dataset.images[rows]) and np.array_equal(known.real_labels, dataset.labels[rows])
    assert known.origin == "held out of training from the start"
    assert known.trained == len(known.training) == len(dataset) - len(rows)
    assert not {image.tobytes() for image in known.real} & {image.tobytes() for image in known.training}
    fakes, labels = known.fakes(20)
    assert fakes.shape == (20, 1, 8, 8) and fakes.dtype == np.uint8
    assert np.array_equal(labels, known.real_labels[np.linspace(0, len(rows) - 1, 20).astype(int)])
    assert known.fakes(100)[1].shape == (100,)  # more than are held out


def test_where_folds_take_turns_it_is_said(tmp_path):
    source = small_runs.images_file(tmp_path / "data.npz", count=20)
    small_runs.run(tmp_path / "run", small_runs.planned(source, kimg=0.6))  # of 20 images: turns of 0.4 kimg
    assert "held out for the last 0.2 kimg and trained on before" in gather(tmp_path / "run").origin


def test_what_cannot_be_judged_is_refused(digits, tmp_path):
    small_runs.run(tmp_path / "ring", small_runs.planned("ring", (), recipe="ring", kimg=0.2))
    with pytest.raises(InputError, match="trained on vectors"):
        gather(tmp_path / "ring")
    with pytest.raises(InputError, match="are among those"):
        gather(digits, "digits:train")
    np.savez(tmp_path / "bare.npz", images=open_dataset("digits:test").images)
    with pytest.raises(InputError, match="has no labels"):
        gather(digits, str(tmp_path / "bare.npz"))
    copy = tmp_path / "memory"
    copy.mkdir()
    (copy / "checkpoints").symlink_to((digits / "checkpoints").resolve())
    config = json.loads((digits / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"source": "arrays in memory"}))
    with pytest.raises(InputError, match="arrays in memory, which are gone"):
        gather(copy)
    with pytest.raises(InputError, match="knows 10 classes"):
        Opinion(gather(digits).discriminator, flat(1, 2))


def test_images_are_converted_as_the_data_were(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    Image.new("RGB", (30, 20), (255, 0, 0)).save(folder / "wide.png")
    Image.new("L", (4, 4), 9).save(folder / "small.png")
    (folder / "broken.png").write_text("no image")
    (folder / "notes.txt").write_text("no image either")
    found = given.opened([folder, folder / "small.png"], (1, 8, 8))
    assert found.names == (f"{folder}/small.png", f"{folder}/wide.png", str(folder / "small.png"))
    assert found.images.shape == (3, 1, 8, 8) and found.images.dtype == np.uint8
    assert found.converted[0] == ("enlarged to 8",)
    assert found.converted[1] == ("colour made grey", "centre-cropped to a square", "scaled down to 8")
    assert list(found.refused) == [f"{folder}/broken.png"]
    for path, why in [
        (folder / "broken.png", "cannot be judged"),
        (folder / "notes.txt", "cannot be judged"),
        (tmp_path / "nowhere.png", "there is no"),
        (Path(os.devnull), "neither a file nor a folder"),
    ]:
        with pytest.raises(InputError, match=why):
            given.opened([path], (1, 8, 8))


def test_verdicts_by_hand():
    assert verdict(50, 50, 0.1) == verdict(2.5, 97.5, 0.1) == verdict(99.9, 1, 0.1) == "like the real ones"
    assert verdict(2.4, 50, 0.1).startswith("not like the real ones: the discriminator")
    assert verdict(50, 97.6, 0.1).startswith("not like the real ones: it is farther")
    assert "and it is farther" in verdict(1, 99, 0.1)
    assert verdict(50, 1, 0.0).startswith("a copy")


def test_at_most_five_per_cent_of_real_images_are_called_unlike(witnesses):
    half = dataclasses.replace(witnesses, real=witnesses.real[::2], real_labels=witnesses.real_labels[::2])
    others = witnesses.real[1::2]
    asked = given.Given(tuple(map(str, range(len(others)))), others, ((),) * len(others), {})
    found, _ = answers(Opinion.of(half), half, asked)
    unlike = sum(one.verdict.startswith("not like") for one in found)
    assert 0 < unlike < 0.05 * len(others) + 3 * np.sqrt(0.05 * len(others)) * np.sqrt(2)  # both halves are drawn


def test_what_is_compared_with_real_images():
    images = np.arange(2 * 16, dtype=np.uint8).reshape(2, 1, 4, 4)
    joined = limits._joined(images)
    assert np.array_equal(joined[0, :, :, :2], images[0, :, :, :2])
    assert np.array_equal(joined[0, :, :, 2:], images[1, :, :, 2:])
    assert np.array_equal(limits._joined(np.concatenate([images] * 2))[1, :, :, 2:], images[1, :, :, 2:])
    rough = RNG.integers(0, 256, (4, 1, 16, 16), dtype=np.uint8)
    assert limits._blurred(rough).std() < 0.6 * rough.std()
    words = [limits.Separation("x", auc, 1).text().split("   ")[-1] for auc in (0.95, 0.7, 0.5, 0.2)]
    assert words == ["told apart", "told apart now and then", "not told apart", "taken for more real than real images"]


def test_the_answer_in_words_as_json_and_as_a_picture(digits, tmp_path):
    training, test = (open_dataset(f"digits:{part}") for part in ("train", "test"))
    shown = {"copy": training.images[5, 0], "real": test.images[0, 0], "white": np.full((8, 8), 255, np.uint8)}
    for name, pixels in shown.items():
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    paths = [tmp_path / f"{name}.png" for name in shown]
    sheet = tmp_path / "sheet.png"
    text = door.judge(digits, paths, against="digits:test", grid=sheet)
    assert "Judged by 898 real images, digits:test, which was never trained on." in text
    assert "copy.png, as 0: a copy of a training image" in text and "real.png, as 0: like the real ones" in text
    assert "white.png" in text and "not like the real ones" in text and "images of digits" not in text
    with Image.open(sheet) as picture:
        assert picture.mode == "RGB" and picture.width > 500 and picture.height > 3 * 48
        corner = np.asarray(picture)[22 + 2 : 22 + 50 : 6, 8 + 2 : 8 + 50 : 6, 0]  # the first image, enlarged sixfold
        assert np.array_equal(corner, shown["copy"])
    with pytest.raises(InputError, match="be new"):
        door.judge(digits, paths, grid=sheet)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="could not be written"):
        door.judge(digits, paths[:1], grid=tmp_path / "file" / "sheet.png")
    said = json.loads(door.judge(digits, paths, label="3", as_json=True))
    assert [one["label"] for one in said["images"]] == ["3", "3", "3"]
    assert said["real"]["count"] == len(gather(digits).real) and 0 <= said["separates"]["noise"] <= 1


def test_few_held_out_images_are_said_to_be_few(digits, tmp_path):
    Image.new("L", (8, 8), 255).save(tmp_path / "white.png")
    lines = door.judge(digits, [tmp_path / "white.png"])
    assert "Steps are 2.9 wide" in lines and "So few images cannot show what fewer than 2.9 % of real images" in lines
