"""Recognising: features as slow code pools them, the K + 1 loss by hand, a probe with a known answer, and the rows."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import small_runs
from equipoise import networks
from equipoise.apps.judge import gather
from equipoise.apps.recognise import ARMS, compare, comparison, door
from equipoise.apps.recognise.arms import Task, _best, _supervised
from equipoise.apps.recognise.classes import unsupervised, widened
from equipoise.apps.recognise.comparison import Comparison, Row, drawn
from equipoise.apps.recognise.features import normal, penultimate, pooled
from equipoise.apps.recognise.probe import Standard, probe, softmax_regression
from equipoise.errors import InputError
from equipoise.report.console import ProgressLine

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    """A short run on half of the digits without their labels."""
    run = tmp_path_factory.mktemp("recognise") / "run"
    asked = ("network.width=32", "network.conditional=false")
    small_runs.run(run, small_runs.planned("digits:train", asked, kimg=0.5, balance="off"))
    return gather(run, "digits:test", whole=True)


def test_features_are_the_largest_of_each_channel_in_each_place():
    torch.manual_seed(0)
    images = torch.from_numpy(RNG.integers(0, 256, (5, 1, 16, 16), dtype=np.uint8))
    network = networks.build("dcgan", (1, 16, 16), latent_dim=4, width=4, options={"norm_D": "none"})[1]
    x, slow = normal(images), []
    for layer in network.trunk:
        x = layer(x)
        if isinstance(layer, nn.LeakyReLU):
            side = x.shape[2] // 4
            slow.append(x.unflatten(3, (4, side)).unflatten(2, (4, side)).amax((3, 5)).flatten(1))
    assert len(slow) == 2 and slow[0].shape == (5, 4 * 16)
    assert torch.allclose(pooled(network, images), torch.cat(slow, dim=1))


@pytest.mark.parametrize("name", ["mlp", "dcgan", "resnet", "normfree"])
def test_every_network_has_features_and_can_name_classes(name):
    images = torch.from_numpy(RNG.integers(0, 256, (6, 1, 8, 8), dtype=np.uint8))
    network = networks.build(name, (1, 8, 8), latent_dim=4, width=8)[1]
    assert len(pooled(network, images)) == 6
    named = widened(network, 5)
    with penultimate(named) as found:
        assert named(normal(images)).shape == (6, 5)
    assert found[0].shape[0] == 6 and network(normal(images)).shape == (6,)  # the original is as it was


def test_networks_without_such_layers_are_refused():
    with pytest.raises(InputError, match="no last layer that could name classes"):
        widened(networks.build("mlp", (1, 8, 8), latent_dim=4, width=8, pack=2)[1], 5)
    with pytest.raises(InputError, match="no chain of layers"):
        pooled(nn.Linear(64, 1), torch.zeros(1, 64, dtype=torch.uint8))


def test_the_loss_of_k_plus_one_classes_is_that_of_a_softmax_with_a_logit_of_zero():
    real, fake = torch.randn(4, 3), torch.randn(4, 3)
    whole = [F.pad(x, (0, 1)) for x in (real, fake)]  # a last logit, 0, for fakes
    is_real = 1 - whole[0].softmax(1)[:, -1]
    is_fake = whole[1].softmax(1)[:, -1]
    assert torch.allclose(unsupervised(real, fake), -is_real.log() - is_fake.log(), atol=1e-6)


def test_softmax_regression_is_at_its_minimum():
    x, y = torch.randn(30, 4), torch.arange(30) % 3
    weight, offset = softmax_regression(x, y, 3, 0.01)
    weight.requires_grad_(True)
    loss = F.cross_entropy(x @ weight.T + offset, y) + 0.01 * weight.square().sum() / 2
    (gradient,) = torch.autograd.grad(loss, weight)
    assert gradient.abs().max() < 1e-3


def test_a_probe_finds_what_is_there_and_nothing_where_there_is_nothing():
    labels = torch.arange(300) % 3
    told = F.one_hot(labels, 3).float() * 3 + torch.randn(300, 3, generator=torch.Generator().manual_seed(0))
    parts = [slice(0, 100), slice(100, 200), slice(200, 300)]

    def found(features):
        scaled = Standard.of(features)(features)
        return probe(tuple(scaled[p] for p in parts), tuple(labels[p] for p in parts), 3).test

    assert found(told) > 0.9
    assert found(torch.randn(300, 3, generator=torch.Generator().manual_seed(1))) < 0.5


def test_draws_are_balanced_and_differ():
    labels = np.repeat(np.arange(3), [50, 20, 30])
    pool = np.arange(0, 100, 2)
    one, other = (drawn(labels, pool, 10, draw) for draw in (0, 1))
    assert sorted(np.bincount(labels[one])) == [3, 3, 4] and set(one) <= set(pool) and set(one) != set(other)
    assert np.array_equal(one, drawn(labels, pool, 10, 0))
    with pytest.raises(InputError, match="cannot be spread evenly"):
        drawn(labels, pool, 90, 0)


def test_the_moment_reported_is_the_best_on_validation_images():
    labels = torch.arange(20) % 2
    images = (labels * 255).to(torch.uint8)[:, None, None, None].expand(-1, 1, 8, 8)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))

    def spoilt():
        for right in (False, True, False):
            with torch.no_grad():
                network[1].weight.copy_(torch.tensor([[-1.0], [1.0]]).expand(2, 64) * (1 if right else -1))
                network[1].bias.zero_()
            yield

    task = Task(2, (images, labels), (images, labels), (images, labels), images, network, lambda: None, 3, 0)
    assert _best(task, network, spoilt()) == (1.0, 1.0)


def test_estimates_and_words_by_hand():
    shares = {"scratch": (0.5, 0.6, 0.7), "features": (0.6, 0.71, 0.79), "semi": (0.4, 0.7, 0.7)}
    rows = tuple(Row(10, i, arm, 0, x, 0) for arm, many in shares.items() for i, x in enumerate(many))
    made = Comparison(rows, 100, 20, 500, "somewhere")
    gain = made.estimate(10, "features", "scratch")
    assert gain.mean == pytest.approx(0.1) and gain.high - gain.mean == pytest.approx(
        4.302653 * 0.01 / 3**0.5, rel=1e-4
    )
    text = made.text()
    assert "| 10 | 3 | 70.0% (" in text and "features help (+10.0 points, +7.5 to +12.5)" in text
    assert "K + 1 classes make no difference that these draws would show (+0.0 points" in text
    alone = Comparison(tuple(row for row in rows if row.arm == "features"), 100, 20, 500, "somewhere").text()
    assert "70.0%" in alone and "against a network trained from scratch" not in alone


def test_a_comparison_on_the_digits_goes_on_where_it_was(known, tmp_path, monkeypatch):
    few = compare(known, [10], draws=1, updates=80, out=tmp_path, arms=["pixels", "semi"])
    assert [row.arm for row in few.rows] == ["pixels", "semi"] and few.test == 898 and few.validation == 89
    done = []
    monkeypatch.setattr(comparison, "_task", lambda *a, **k: done.append(a) or real(*a, **k))
    more = compare(known, [10], draws=1, updates=80, out=tmp_path)
    assert len(done) == 3 and set(row.arm for row in more.rows) == set(ARMS)
    assert all(row.test > 0.2 for row in more.rows), more.rows  # 0.1 by chance
    lines = (tmp_path / "rows.jsonl").read_text().splitlines()
    assert len(lines) == 6 and json.loads(lines[1])["arm"] == "pixels"
    with pytest.raises(InputError, match="of another comparison"):
        compare(known, [10], draws=1, updates=81, out=tmp_path)


real = comparison._task


def test_a_network_learns_the_labels_it_is_given(known):
    rows = np.arange(200)
    task = comparison._task(known, rows, np.arange(200, 300), 10, 150, 0)
    torch.manual_seed(0)
    assert _best(task, *_supervised(task, 1e-3)).test > 0.8


def test_what_cannot_be_compared_is_refused(known, tmp_path):
    line = ProgressLine(quiet=True)
    for change, why in [
        ({"numbers": [5]}, "cannot show 10 classes"),
        ({"arms": ["magic"]}, "there is no arm 'magic'"),
        ({"draws": 0}, "compare nothing"),
    ]:
        with pytest.raises(InputError, match=why):
            compare(known, **{"numbers": [10]} | change)
    with pytest.raises(InputError, match="cannot be read; write for example"):
        door.recognise("digits:train", "ten", None, 1, "pixels", 10, tmp_path / "a", door.Training(), line)
    np.savez(tmp_path / "bare.npz", images=RNG.integers(0, 256, (40, 8, 8, 1), dtype=np.uint8))
    for asked, why in [((0, "pixels", 10), "compare nothing"), ((1, "pixels", 10**30), "compare nothing"),
                       ((1, "magic", 10), "there is no arm")]:  # fmt: skip
        with pytest.raises(InputError, match=why):  # before anything is trained
            door.recognise("digits:train", "10", None, *asked, tmp_path / "a", door.Training(), line)
    assert not (tmp_path / "a").exists()
    with pytest.raises(InputError, match="has no labels"):
        door.recognise(str(tmp_path / "bare.npz"), "10", None, 1, "pixels", 10, tmp_path / "b", door.Training(), line)
    small_runs.run(tmp_path / "run", small_runs.planned("digits:train", kimg=0.1, balance="off"))
    with pytest.raises(InputError, match="was told the labels"):
        door.recognise(str(tmp_path / "run"), "10", None, 1, "pixels", 10, tmp_path / "c", door.Training(), line)


def test_from_a_source_to_the_table(tmp_path):
    asked = door.Training(kimg=0.2, settings=("network.width=8",))
    line = ProgressLine(quiet=True)
    text = door.recognise("digits:train", "20", "digits:test", 1, "pixels,features", 10, tmp_path / "o", asked, line)
    assert "| 20 | 1 | " in text and (tmp_path / "o" / "table.md").read_text() in text + "\n"
    config = json.loads((tmp_path / "o" / "run" / "config.json").read_text())
    assert config["class_names"] == [] and config["source"] == "digits:train"
    with pytest.raises(InputError, match="are too few to test by"):
        door.recognise(str(tmp_path / "o" / "run"), "20", None, 1, "pixels", 10, tmp_path / "p", door.Training(), line)
