"""GAN: fit, sample, score, evaluate, save and load, with arrays or tensors, with networks of one's own."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from equipoise import GAN, DiscriminatorAdapter, GeneratorAdapter, InputError, open_dataset
from equipoise.registry import entries
from equipoise.step import Step

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (60, 1, 8, 8), dtype=np.uint8)
LABELS = np.arange(60) % 3
SMALL = {"network.width": 8, "network.latent_dim": 4, "batch": 8}


@pytest.fixture(scope="module")
def plain():
    return GAN("digits", settings=SMALL).fit(IMAGES, kimg=0.1)


@pytest.fixture(scope="module")
def labelled():
    return GAN("digits", settings=SMALL).fit(IMAGES, LABELS, kimg=0.1)


def test_arrays_in_arrays_out(plain):
    made = plain.sample(5, seed=3)
    assert isinstance(made, np.ndarray) and made.dtype == np.uint8 and made.shape == (5, 1, 8, 8)
    scores = plain.score(IMAGES[:7])
    assert isinstance(scores, np.ndarray) and scores.dtype == np.float32 and scores.shape == (7,)
    assert np.isfinite(scores).all()


def test_tensors_in_tensors_out():
    gan = GAN("digits", settings=SMALL).fit(torch.from_numpy(IMAGES), kimg=0.04)
    assert isinstance(gan.sample(2), torch.Tensor) and gan.sample(2).dtype == torch.uint8
    assert isinstance(gan.score(torch.from_numpy(IMAGES[:3])), torch.Tensor)
    assert isinstance(gan.score(IMAGES[:3]), np.ndarray)


def test_the_same_seed_is_the_same_sample(plain):
    assert (plain.sample(4, seed=1) == plain.sample(4, seed=1)).all()
    assert (plain.sample(4, seed=1) != plain.sample(4, seed=2)).any()
    again = GAN("digits", settings=SMALL).fit(IMAGES, kimg=0.1)
    assert (again.sample(4) == plain.sample(4)).all()
    assert (GAN("digits", settings=SMALL, seed=1).fit(IMAGES, kimg=0.1).sample(4) != plain.sample(4)).any()


def test_layouts_and_ranges_are_understood(plain):
    expected = plain.score(IMAGES[:40])
    for same in (IMAGES[:40].transpose(0, 2, 3, 1), IMAGES[:40, 0], IMAGES[:40] / np.float32(255)):
        assert np.allclose(plain.score(same), expected, atol=1e-5)


def test_one_image_is_enough_to_score(plain):
    assert np.allclose(plain.score(IMAGES[:1]), plain.score(IMAGES[:2])[:1], atol=1e-5)


def test_a_collapsed_generator_can_be_judged():
    gan = GAN("digits", settings=SMALL).fit(IMAGES, kimg=0.04)
    with torch.no_grad():
        for parameter in gan.generator.parameters():
            parameter.zero_()
    found = gan.evaluate(IMAGES)
    assert found["recall"] == 0 and found["frechet"] > 0


def test_labels_are_kept_to(labelled):
    made = labelled.sample(6, labels=[0, 1, 2, 0, 1, 2], seed=0)
    assert made.shape == (6, 1, 8, 8) and labelled.sample(3, labels=2).shape == (3, 1, 8, 8)
    assert (labelled.sample(4, labels=1) == labelled.sample(4, labels=np.ones(4, int))).all()
    assert (labelled.sample(4, labels=1) != labelled.sample(4, labels=2)).any()
    assert (labelled.score(IMAGES[:5], LABELS[:5]) != labelled.score(IMAGES[:5], LABELS[:5] * 0)).any()
    for wrong in ([0, 1], 3, -1, [[0]]):
        with pytest.raises(InputError, match="labels"):
            labelled.sample(3, labels=wrong)
    with pytest.raises(InputError, match="needs the labels"):
        labelled.score(IMAGES)
    with pytest.raises(InputError, match="do not fit"):
        labelled.score(IMAGES, [0, 1])
    with pytest.raises(InputError, match="needs the labels"):
        labelled.evaluate(IMAGES)


def test_evaluate_tells_equal_from_unequal(labelled):
    found = labelled.evaluate(IMAGES, LABELS)
    assert {"frechet", "kernel", "energy", "precision", "recall", "density", "coverage", "loss_D", "loss_G"} < set(
        found
    )
    assert found["n"] == 60 and all(np.isfinite(v) for v in found.values())
    assert found == labelled.evaluate(torch.from_numpy(IMAGES), torch.from_numpy(LABELS))
    own = labelled.sample(60, labels=LABELS, seed=0)
    assert labelled.evaluate(own, LABELS)["frechet"] < 1e-3 * found["frechet"]


def test_save_and_load(labelled, plain, tmp_path):
    for name, gan, labels in (("a", labelled, LABELS), ("b", plain, None)):
        gan.save(tmp_path / name)
        again = GAN.load(tmp_path / name)
        assert (again.sample(6, seed=2) == gan.sample(6, seed=2)).all()
        assert (again.score(IMAGES, labels) == gan.score(IMAGES, labels)).all()
        assert again.evaluate(IMAGES, labels) == gan.evaluate(IMAGES, labels)
        again.save(tmp_path / f"{name}{name}")
        with pytest.raises(InputError, match="exists already"):
            gan.save(tmp_path / name)
    with pytest.raises(InputError, match="no run folder"):
        GAN.load(tmp_path)


def test_tensors_stay_tensors_after_loading(tmp_path):
    GAN("digits", settings=SMALL).fit(torch.from_numpy(IMAGES), kimg=0.04).save(tmp_path / "a")
    assert isinstance(GAN.load(tmp_path / "a").sample(1), torch.Tensor)


def test_fit_can_leave_a_run_folder(tmp_path):
    gan = GAN("digits", settings=SMALL).fit(IMAGES, kimg=0.1, out=tmp_path / "run")
    config = json.loads((tmp_path / "run/config.json").read_text())
    assert config["source"] == "arrays in memory" and config["origin"]["batch"] == "Python"
    assert (tmp_path / "run/reals.png").is_file() and (tmp_path / "run/data.json").is_file()
    assert (GAN.load(tmp_path / "run").sample(3) == gan.sample(3)).all()
    with pytest.raises(InputError, match="exists already"):
        gan.fit(IMAGES, kimg=0.1, out=tmp_path / "run")


def test_a_folder_in_which_nothing_was_trained_is_free_again(tmp_path, monkeypatch):
    def exhausted(self, *args):
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(Step, "move", exhausted)
        with pytest.raises(InputError, match="needs more memory"):
            GAN("digits", settings=SMALL).fit(IMAGES, kimg=0.1, out=tmp_path / "deep" / "run")
    assert not (tmp_path / "deep").exists()


def test_a_budget_will_do(capsys):
    gan = GAN("ring", settings={"network.width": 8}).fit(open_dataset("ring").images, budget="1s", progress=True)
    assert gan.sample(3).shape == (3, 2) and gan.sample(3).dtype == np.float32
    assert "A budget of 1s at" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------ one's own networks


def own(classes=0):
    class Generator(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4 + classes, 64)

        def forward(self, latents, labels=None):
            hot = [nn.functional.one_hot(labels, classes).float()] if classes else []
            return self.layer(torch.cat([latents, *hot], dim=1)).sigmoid().reshape(-1, 1, 8, 8)

    torch.manual_seed(0)
    generator = GeneratorAdapter(Generator(), lambda net, z, y: net(z, y) * 2 - 1, latent_dim=4, num_classes=classes)
    judge = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.LeakyReLU(), nn.Linear(8, 1))
    discriminator = DiscriminatorAdapter(judge, lambda net, x, y: net(x), num_classes=classes)
    return {"generator": generator, "discriminator": discriminator}


@pytest.mark.parametrize("classes", [0, 3])
def test_ones_own_networks_train_save_and_load(classes, tmp_path):
    pair = own(classes)
    before = [p.clone() for p in pair["generator"].parameters()]
    labels = LABELS if classes else None
    gan = GAN("digits", **pair, settings={"batch": 8}).fit(IMAGES, labels, kimg=0.1, out=tmp_path / "run")
    assert any((a != b).any() for a, b in zip(before, gan.generator.parameters(), strict=True))
    assert gan.sample(3, labels=1 if classes else None).shape == (3, 1, 8, 8)
    gan.save(tmp_path / "saved")
    for folder in ("run", "saved"):
        again = GAN.load(tmp_path / folder, **own(classes))
        assert (again.sample(3) == gan.sample(3)).all()
        with pytest.raises(InputError, match="networks of your own"):
            GAN.load(tmp_path / folder)


def test_ones_own_networks_without_classes_take_labelled_images():
    gan = GAN("digits", **own(), settings={"batch": 8}).fit(IMAGES, LABELS, kimg=0.04)
    assert gan.score(IMAGES).shape == (60,)


def test_networks_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="one network of your own came without the other"):
        GAN(generator=own()["generator"])
    with pytest.raises(InputError, match="generator makes images of shape"):
        GAN("digits", **own()).fit(IMAGES[:, :, :, :].repeat(2, 2).repeat(2, 3), kimg=0.1)
    with pytest.raises(InputError, match="knows 3 classes"):
        GAN("digits", **own(3)).fit(IMAGES, kimg=0.1)


# ------------------------------------------------------------------------------------------------ misuse


def test_misuse_is_one_sentence(plain):
    for use in (lambda g: g.sample(1), lambda g: g.score(IMAGES), lambda g: g.evaluate(IMAGES), lambda g: g.generator):
        with pytest.raises(InputError, match="not been fitted"):
            use(GAN())
    with pytest.raises(InputError, match="asks for nothing"):
        plain.sample(0)
    with pytest.raises(InputError, match="without labels"):
        plain.sample(2, labels=[0, 1])
    for wrong in (np.zeros((3, 2)), np.full((3, 8, 8), np.nan), np.zeros((0, 8, 8)), np.array(["a"]), 3.0):
        with pytest.raises(InputError):
            plain.score(wrong)
    with pytest.raises(InputError):
        GAN(device="tpu")
    with pytest.raises(InputError, match="kimg"):
        GAN("digits").fit(IMAGES, kimg=-1)
    with pytest.raises(InputError, match="did you mean"):
        GAN("digits", settings={"G.lrr": 1}).fit(IMAGES, kimg=0.1)
    assert {e.name for e in entries("features")} >= {"pixels"}


def test_a_verdict_after_a_fit_and_a_controller():
    gan = GAN("ring", balance="act", controller="rates-by-wins", settings={"network.width": 8})
    with pytest.raises(InputError, match="no record of a fit"):
        gan.verdict()
    gan.fit(open_dataset("ring").images[:200], kimg=1)
    assert gan.verdict().text() and gan._trained().settings.controller == "rates-by-wins"
