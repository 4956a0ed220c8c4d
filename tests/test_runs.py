"""The life of a run folder: made, resumed, loaded from, and never overwritten."""

import json
import os
import signal
import sys

import numpy as np
import pytest
import torch

from equipoise import config, runs
from equipoise.errors import InputError, Interrupted
from small_runs import TINY, after, images_file, planned, run


@pytest.fixture
def done(tmp_path):
    run(tmp_path / "run", planned(images_file(tmp_path / "images.npz"), kimg=0.08))
    return tmp_path / "run"


def test_a_complete_run_is_not_gone_on_with(done):
    assert runs.resume(done) is None


def test_changed_data_are_refused(tmp_path):
    source = images_file(tmp_path / "images.npz")
    runs.begin(planned(source), tmp_path / "run", stop=after(1))
    images_file(tmp_path / "images.npz", count=44)
    with pytest.raises(InputError, match=r"has changed since the run began.*restore it"):
        runs.resume(tmp_path / "run")
    os.unlink(source)
    with pytest.raises(InputError):
        runs.resume(tmp_path / "run")


def test_other_threads_are_said(tmp_path):
    class Ear:
        said = ""

        def say(self, text):
            self.said += text

        def tick(self, tick):
            pass

    runs.begin(planned(images_file(tmp_path / "images.npz")), tmp_path / "run", stop=after(1))
    path, ear = tmp_path / "run" / "config.json", Ear()
    path.write_text(json.dumps(json.loads(path.read_text()) | {"threads": 31}))
    runs.resume(tmp_path / "run", ear, after(1))
    assert ear.said == f"The run began with 31 threads and goes on with {torch.get_num_threads()}: bits may differ."


def test_networks_of_ones_own_need_their_code(done):
    path = done / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"own_networks": True}))
    for use in (runs.resume, runs.load_network):
        with pytest.raises(InputError, match=r"GAN\.load"):
            use(done)


def test_arrays_in_memory_are_gone(done):
    path = done / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"source": config.IN_MEMORY}))
    with pytest.raises(InputError, match="arrays in memory"):
        runs.resume(done)


def test_networks_load_in_evaluation_mode(done):
    for which in ("G", "D", "G_ema"):
        network, settings = runs.load_network(done, which)
        assert not network.training and settings.recipe.network.width == 8
    assert runs.load_network(done, at="000000")[1] == settings
    with pytest.raises(InputError, match="no checkpoint '000007'; there are 000000"):
        runs.load_network(done, at="000007")


def test_the_next_free_folder(tmp_path):
    assert runs.free_folder("ring-ring", tmp_path / "runs").name == "00000-ring-ring"
    for name in ("00000-a", "00041-b", "notes", "0009-c"):
        (tmp_path / "runs" / name).mkdir(parents=True)
    assert runs.free_folder("x", tmp_path / "runs").name == "00042-x"


def test_folders_are_made_and_taken_ones_refused(tmp_path, monkeypatch):
    runs.make_folder(tmp_path / "a" / "b")
    runs.make_folder(tmp_path / "a" / "b")  # empty still
    with pytest.raises(InputError, match="exists already"):
        runs.make_folder(tmp_path / "a")
    monkeypatch.setattr(os, "access", lambda *a: False)
    with pytest.raises(InputError, match="cannot be written to"):
        runs.make_folder(tmp_path / "c")


def test_a_recipe_that_cannot_be_built_leaves_the_folder_free(tmp_path):
    asked = planned(images_file(tmp_path / "images.npz"), (*TINY, "network.options.depth=0", "G.beta2=2"))
    with pytest.raises(InputError):
        runs.begin(asked, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows raises signals in its own way")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_and_the_second_insists(number):
    before = signal.getsignal(number)
    with runs.stoppable() as stop:
        assert not stop()
        signal.raise_signal(number)
        assert stop()
        with pytest.raises(Interrupted, match="stopped at once"):
            signal.raise_signal(number)
    assert signal.getsignal(number) == before


def test_the_data_report_is_plain(done):
    report = json.loads((done / "data.json").read_text())
    assert report["source"].endswith("images.npz") and (done / "reals.png").stat().st_size > 100
    assert np.isfinite(json.loads((done / "config.json").read_text())["kimg"])
