"""The best snapshot: what is measured, that it stays, that nothing of the run changes, that it resumes."""

import json
import math
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from equipoise import checkpoint, metrics, runs
from equipoise.best import Best
from equipoise.data import Batches, Holdout, from_arrays
from equipoise.errors import InputError
from equipoise.sensors.samples import both_ways
from small_runs import after, bits, images_file, journal, planned, run

APART = {"kimg": 0.4, "snapshot_kimg": 0.08}  # a snapshot every ten updates


def told(folder):
    return [line for line in journal(folder) if line["event"] == "snapshot"]


def moment(folder):
    return checkpoint.verify(folder)["samples"]


@pytest.fixture
def values(monkeypatch):
    """Measurements as a list says, in order of the snapshots."""

    def given(*numbers):
        left = iter(numbers)
        monkeypatch.setattr(Best, "measure", lambda self, step: next(left))

    return given


# ------------------------------------------------------------------------------------------------ what is measured


def test_the_distance_both_ways_by_hand():
    made, real = torch.tensor([[0.0], [3.0], [9.0]]), torch.tensor([[1.0], [5.0]])
    assert both_ways(made, real) == pytest.approx((1 + 2 + 4) / 3 + (1 + 2) / 2)
    assert both_ways(torch.tensor([[1.0], [math.nan]]), real) == math.inf


class Player(torch.nn.Module):
    """A generator of one thing: its value, plus noise."""

    latent_dim, num_classes = 2, 0

    def __init__(self, value, noise):
        super().__init__()
        self.value, self.noise = torch.nn.Parameter(torch.tensor(float(value))), noise

    def forward(self, latents, labels=None):
        return self.value + self.noise * latents


def judged(generator, count=3000, **settings):
    """What is measured of a generator of points, where the data are standard normal."""
    points = torch.randn(count, 2, generator=torch.Generator().manual_seed(1)).numpy()
    data = from_arrays(points)
    batches = Batches(data, Holdout(data, 0), batch=8, seed=0)
    config = SimpleNamespace(
        **{"metric": None, "metric_weights": None, "metric_kimg": 0.0, "balance": "watch", "seed": 0, "shape": (2,)}
        | settings,
        recipe=SimpleNamespace(batch=64, accumulate=1),
    )
    step = SimpleNamespace(device=torch.device("cpu"), ema=SimpleNamespace(average=generator), show=lambda x: x.float())
    return Best(config, batches).measure(step), points


@pytest.mark.parametrize("settings", [{}, {"metric": "pixels"}])
@pytest.mark.parametrize("count", [3000, 200])  # with the latter, the held-out fold rotates
def test_the_data_itself_is_best(settings, count):
    exact = judged(Player(0, 1), count, **settings)[0]
    for worse in (Player(1, 1), Player(0, 0.2), Player(0, 4), Player(0, 0)):
        assert judged(worse, count, **settings)[0] > 1.3 * exact
    assert judged(Player(math.nan, 1), count, **settings)[0] == math.inf


def test_the_full_metric_is_the_frechet_distance():
    value, points = judged(Player(1, 1), 1000, metric="pixels")  # fewer than 2,000: all of them are compared with
    latents = torch.randn(1000, 2, generator=torch.Generator().manual_seed(0))
    assert value == pytest.approx(metrics.frechet(points, latents + 1), rel=1e-6)


def test_when_it_is_due():
    best = Best.__new__(Best)
    best.last, best.config = 0, SimpleNamespace(metric=None, balance="watch", metric_kimg=0.0, total=9000)
    assert best.due(8)
    best.config.balance = "off"
    assert not best.due(9000)
    best.config.metric, best.config.metric_kimg = "pixels", 2.0
    assert [best.due(seen) for seen in (8, 1999, 2000, 9000)] == [False, False, True, True]
    best.last = 2000
    assert [best.due(seen) for seen in (3000, 4000)] == [False, True]


# ------------------------------------------------------------------------------------------------ what stays


def test_the_best_stays_beside_the_last_three(tmp_path, values):
    values(3.0, 1.0, 2.0, math.nan, 1.0, 2.0)
    asked = planned(images_file(tmp_path / "images.npz"), **APART)
    outcome = run(tmp_path / "run", asked, stops=[16])  # 128 images: right after the second snapshot
    where = tmp_path / "run" / "checkpoints"
    assert outcome.samples == 400
    best = [line["best"] for line in told(tmp_path / "run")]
    assert best == [0.008, 0.088, 0.088, 0.088, 0.088]  # the first of equals; what is nan is not told
    assert moment(where / "best") == 88
    assert checkpoint.find(tmp_path / "run", "best") == where / "best"
    assert moment(checkpoint.find(tmp_path / "run")) == 400
    at, _ = runs.load_network(tmp_path / "run", "G", "best")
    now, _ = runs.load_network(tmp_path / "run", "G")
    assert not torch.equal(next(at.parameters()), next(now.parameters()))
    with pytest.raises(InputError, match=r"holds no checkpoint '7'; there are .*best"):
        checkpoint.find(tmp_path / "run", "7")


def test_nothing_of_the_run_changes(tmp_path, monkeypatch):
    source = images_file(tmp_path / "images.npz")
    run(tmp_path / "with", planned(source, metric="pixels", **APART))
    assert len(told(tmp_path / "with")) == 6
    monkeypatch.setattr(Best, "due", lambda self, seen: False)
    run(tmp_path / "without", planned(source, **APART))
    assert bits(tmp_path / "with") == bits(tmp_path / "without")
    assert not (tmp_path / "without" / "checkpoints" / "best").exists()


@pytest.mark.parametrize("metric", [None, "pixels"])
def test_a_resumed_run_finds_the_same(tmp_path, metric):
    source = images_file(tmp_path / "images.npz", classes=2)
    for name, stops in (("whole", ()), ("parts", (3, 9, 20))):
        run(tmp_path / name, planned(source, metric=metric, metric_kimg=0.1 if metric else 0.0, **APART), stops)
    whole, parts = (told(tmp_path / name) for name in ("whole", "parts"))
    assert whole == parts
    assert len(whole) == (3 if metric else 6)
    ends = [checkpoint.verify(checkpoint.find(tmp_path / name))["best"] for name in ("whole", "parts")]
    assert ends[0] == ends[1]
    assert ends[0]["found"]["samples"] == round(1000 * whole[-1]["best"])
    assert moment(tmp_path / "parts" / "checkpoints" / "best") == ends[0]["found"]["samples"]


def test_a_crash_before_it_was_kept_is_made_good(tmp_path, values):
    values(2.0, 1.0, 3.0, 3.0, 3.0, 3.0)
    runs.begin(planned(images_file(tmp_path / "images.npz"), **APART), tmp_path / "run", stop=after(11))
    where = tmp_path / "run" / "checkpoints"
    assert moment(where / "best") == 88 == moment(checkpoint.find(tmp_path / "run"))
    shutil.rmtree(where / "best")
    runs.resume(tmp_path / "run")
    assert moment(where / "best") == 88


def test_a_disk_without_links_gets_copies(tmp_path, monkeypatch, values):
    values(2.0, 1.0)
    monkeypatch.setattr("os.link", lambda *_: (_ for _ in ()).throw(OSError("no links here")))
    run(tmp_path / "run", planned(images_file(tmp_path / "images.npz"), kimg=0.08))
    where = tmp_path / "run" / "checkpoints"
    assert checkpoint.verify(where / "best")["samples"] == 80
    files = {file.name: file.read_bytes() for file in (where / "best").iterdir()}
    assert files == {file.name: file.read_bytes() for file in checkpoint.find(tmp_path / "run").iterdir()}
    monkeypatch.setattr("shutil.copyfile", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(checkpoint.Unwritable, match=r"could not be kept as best \(disk full\)"):
        checkpoint.stay(checkpoint.find(tmp_path / "run"))
    assert checkpoint.verify(where / "best")["samples"] == 80


# ------------------------------------------------------------------------------------------------ what is refused


def test_a_metric_that_cannot_be_measured_is_refused_before_the_first_step(tmp_path):
    np.save(tmp_path / "points.npy", np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32))
    asked = planned(
        str(tmp_path / "points.npy"), ("network.name=mlp", "network.width=8"), recipe="ring", metric="lite0"
    )
    with pytest.raises(InputError, match="lite0 sees grey or RGB images"):
        runs.begin(asked, tmp_path / "run")
    assert not (tmp_path / "run" / "config.json").exists()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"metric": "pixel"}, "did you mean pixels"),
        ({"metric": "pixels", "metric_kimg": -1.0}, "--metric-kimg -1.0 is no distance"),
        ({"metric_kimg": 5.0}, "belong to a feature network"),
        ({"metric_weights": "w.pth"}, "belong to a feature network"),
    ],
)
def test_settings_that_cannot_work(tmp_path, wrong, said):
    with pytest.raises(InputError, match=said):
        planned(images_file(tmp_path / "images.npz"), **wrong)


def test_it_is_said_at_the_end_where_an_earlier_one_is_best(tmp_path, values):
    class Ear:
        def __init__(self):
            self.said = []

        def say(self, text):
            self.said.append(text)

        def tick(self, tick):
            pass

    ear = Ear()
    values(2.0, 1.0)
    run(tmp_path / "run", planned(images_file(tmp_path / "images.npz"), kimg=0.08), watcher=ear)
    assert not [text for text in ear.said if "best snapshot" in text]
    values(1.0, 2.0)
    run(tmp_path / "late", planned(images_file(tmp_path / "images.npz"), kimg=0.08), watcher=ear)
    assert "is that of 0.008 kimg: checkpoints/best" in ear.said[-1]
    assert json.loads((tmp_path / "late" / "checkpoints" / "best" / "state.json").read_text())["samples"] == 8
