"""The opinion: ranks that slow code finds too, uniform on held-out digits, and the same whatever else is asked."""

import json

import numpy as np
import pytest
import torch
from torch import nn

import small_runs
from equipoise import networks, open_dataset
from equipoise.apps.judge import Opinion, gather
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
    assert fakes.shape == (20, 1, 8, 8) and fakes.dtype == np.uint8 and np.array_equal(labels, known.real_labels[:20])


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
