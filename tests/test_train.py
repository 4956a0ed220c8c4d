"""The loop: a run stopped anywhere and resumed ends in the same bits; sensors change none of them."""

import collections
import dataclasses
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import equipoise
from equipoise import checkpoint, runs, ticks, train
from equipoise.errors import InputError, TrainingFailed
from equipoise.report.console import ProgressLine
from equipoise.schedules import Dial
from equipoise.seen import Seen
from equipoise.step import Step
from small_runs import TINY, after, bits, images_file, journal, planned, run, strict, ticks_of

# What makes resuming hard: (settings, request, classes). 40 images rotate their held-out fold after 800.
HARD = {
    "lazy penalty, D.steps 2.5, rotating split": (
        (*TINY, "r1.gamma=1.0", "r1.every=3", "D.steps=2.5", "schedules.lr=cosine"),
        {"kimg": 1.0},
        0,
    ),
    "half a D step": ((*TINY, "D.steps=0.5", "G.beta1=0.5", "G.clip=1.0"), {}, 0),
    "conditional, mirrored": ((*TINY, "mirror=true", "r1=off"), {}, 3),
    "batch norm": (("network.name=dcgan", "network.width=4", "batch=8", "r1=off"), {"kimg": 0.2}, 0),
    "comparing loss, accumulated": ((*TINY, "loss=rpgan", "accumulate=2", "r2.gamma=0.1"), {}, 0),
    "spectral norm, workers": (
        ("network.width=4", "batch=8", "r1.gamma=0.1", "r1.every=4"),
        {"recipe": "sngan", "workers": 1, "kimg": 0.2},
        2,
    ),
}


@pytest.mark.parametrize("what", HARD)
def test_stopped_and_resumed_ends_in_the_same_bits(what, tmp_path):
    settings, request, classes = HARD[what]
    asked = planned(images_file(tmp_path / "images.npz", classes=classes), settings, **request, snapshot_kimg=0.1)
    run(tmp_path / "whole", asked)
    run(tmp_path / "parts", asked, stops=[1, 3, 4, 2])
    assert bits(tmp_path / "parts") == bits(tmp_path / "whole")
    assert journal(tmp_path / "parts") == journal(tmp_path / "whole")
    pictures = [sorted((tmp_path / name / "samples").iterdir()) for name in ("whole", "parts")]
    assert [p.read_bytes() for p in pictures[0]] == [p.read_bytes() for p in pictures[1]]


def test_the_comparison_can_fail(tmp_path):
    source = images_file(tmp_path / "images.npz")
    run(tmp_path / "a", planned(source, kimg=0.08))
    run(tmp_path / "b", planned(source, kimg=0.08, seed=1))
    assert bits(tmp_path / "a") != bits(tmp_path / "b")


def test_an_older_checkpoint_ends_in_the_same_bits_too(tmp_path):
    asked = planned(images_file(tmp_path / "images.npz"), (*TINY, "batch=40"), kimg=4.0, snapshot_kimg=1.0)
    run(tmp_path / "run", asked)
    whole, lines = bits(tmp_path / "run"), journal(tmp_path / "run")
    folder = tmp_path / "run" / "checkpoints"
    (folder / "000004" / "G.safetensors").write_bytes(b"half")
    (folder / "latest").write_text("000003\n")
    resumed = runs.resume(tmp_path / "run")
    assert resumed.samples == 4000
    assert bits(tmp_path / "run") == whole
    assert journal(tmp_path / "run") == lines


READ = ("state.meter", "state.trace", "state.looks")  # what only a watched run has


WATCHED = {  # source, settings, request
    "conditional digits, D.steps 1.5": (None, (*TINY, "r1.gamma=1.0", "D.steps=1.5"), {}),
    "ring": ("ring", (), {"recipe": "ring", "kimg": 1.6}),
    "digits": ("digits", ("r1.every=2",), {"kimg": 0.64}),
    "batch norm, spectral norm, augmentation, mirrored": (
        None,
        ("network.name=dcgan", "network.width=4", "network.norm_D=spectral", "batch=8", "r1=off", "ada.p=0.5",
         "mirror=true"),
        {"kimg": 0.3},
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", WATCHED)
def test_watching_changes_no_bit_of_the_networks(what, tmp_path):
    source, settings, request = WATCHED[what]
    source = source or images_file(tmp_path / "images.npz", classes=2)
    for balance in ("watch", "off"):
        run(tmp_path / balance, planned(source, settings, balance=balance, **request))
    watch, off = (bits(tmp_path / balance) for balance in ("watch", "off"))
    assert {k: v for k, v in watch.items() if not k.startswith(READ)} == {
        k: v for k, v in off.items() if not k.startswith(READ)
    }
    looked = [ticks_of(tmp_path / balance) for balance in ("watch", "off")]
    read = [set(line[-1]["readings"]) for line in looked]
    assert {"D.win_rate", "D.heldout_score"} <= read[0] and not {"D.win_rate", "D.heldout_score"} & read[1]
    told = [set().union(*(line["balance"] for line in lines)) for lines in looked]
    wanted = {"diversity", "precision", "slope_fake", "spectrum_G", "pull"}
    assert wanted <= told[0] and not wanted & told[1]


class Reads(TorchDispatchMode):
    """Counts what would wait for a device: values that the host reads, and shapes that depend on values."""

    WAITING = ("_local_scalar_dense", "equal", "nonzero", "masked_select", "_unique2", "unique_consecutive")

    def __init__(self, monkeypatch):
        super().__init__()
        self.found, self.where = collections.Counter(), "ticks"
        for name in ("tolist", "numpy", "cpu"):  # which do not pass by here on a CPU
            monkeypatch.setattr(Tensor, name, self.noted(getattr(Tensor, name)))

    def noted(self, function):
        def noting(*args, **settings):
            self.found[self.where] += 1
            return function(*args, **settings)

        return noting

    def during(self, function):
        """The function, whose reads are counted apart."""

        def counted(*args):
            self.where = "updates"
            try:
                return function(*args)
            finally:
                self.where = "ticks"

        return counted

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        masks = name in ("index", "index_put_") and any(i is not None and i.dtype == torch.bool for i in args[1])
        self.found[self.where] += name in self.WAITING or masks
        return function(*args, **(kwargs or {}))


def reads_of(monkeypatch, tmp_path, **request):
    """How often the host reads: in the updates of a run with the schedules before them, and at its ticks."""
    asked = planned(images_file(tmp_path / "images.npz"), (*TINY, "r1.gamma=1.0", "r1.every=2"), **request)
    reads = Reads(monkeypatch)
    monkeypatch.setattr(train, "both_move", reads.during(train.both_move))
    monkeypatch.setattr(Dial, "turn", reads.during(Dial.turn))
    with reads:
        train.train(asked.config, asked.dataset)
    return reads.found


@pytest.mark.parametrize("balance", ["watch", "act"])
def test_the_host_reads_at_ticks_and_never_in_between(balance, monkeypatch, tmp_path):
    found = reads_of(monkeypatch, tmp_path, balance=balance, kimg=0.2)  # 25 updates, 4 ticks
    assert found["updates"] == 0 and found["ticks"] > 4


@pytest.mark.parametrize(
    "read", [float, lambda x: bool(x.sum() > 0), lambda x: x.tolist(), lambda x: x.cpu(), lambda x: x[x > 0]]
)
def test_a_read_in_an_update_would_be_noticed(read, monkeypatch, tmp_path):
    see = Seen.see
    monkeypatch.setattr(
        Seen, "see", lambda self, turn, values: (read(values["loss"].detach()[:1]), see(self, turn, values))
    )
    assert reads_of(monkeypatch, tmp_path, kimg=0.016)["updates"] == 4  # both players, twice


def test_the_clock_counts_real_images_and_ticks_begin_densely(tmp_path):
    asked = planned(images_file(tmp_path / "images.npz"), (*TINY, "D.steps=2"), kimg=1.6)
    outcome = run(tmp_path / "run", asked)
    assert outcome.samples == 1600 == asked.config.total
    assert outcome.step.moves == {"D": 200, "G": 100}
    assert {line["balance"]["tempo"] for line in ticks_of(tmp_path / "run")} == {2.0}
    kimgs = [line["kimg"] for line in ticks_of(tmp_path / "run")]
    assert kimgs[:3] == [0.016, 0.096, 0.176] and kimgs[-1] == 1.6
    watched = dataclasses.replace(asked.config, kimg=160.0)
    assert ticks.tick_length(0, watched) == 80 and ticks.tick_length(100_000, watched) == 1600  # a hundredth
    asked = dataclasses.replace(asked.config, tick_kimg=4.0, balance="off")
    assert ticks.tick_length(0, asked) == 80 and ticks.tick_length(20_000, asked) == 2000
    assert ticks.tick_length(10**7, asked) == 4000


def test_snapshots_are_a_tenth_of_the_run_and_at_most_200_kimg():
    config = planned("ring", (), recipe="ring", kimg=160.0).config
    assert ticks.snapshot_length(config) == pytest.approx(16_000, abs=8)
    assert ticks.snapshot_length(dataclasses.replace(config, kimg=10_000.0)) == 200_000
    assert ticks.snapshot_length(dataclasses.replace(config, kimg=1.0)) == 1000
    assert ticks.snapshot_length(dataclasses.replace(config, snapshot_kimg=0.5)) == 500


# ------------------------------------------------------------------------------------------------ faults


class Poisoned(nn.Module):
    """A generator whose samples are not finite from a certain call on, for so many calls."""

    def __init__(self, since, calls=10**9):
        super().__init__()
        self.layer, self.latent_dim, self.num_classes = nn.Linear(2, 2), 2, 0
        self.since, self.until = since, since + calls
        self.register_buffer("calls", torch.zeros([]))

    def forward(self, latents, labels=None):
        made = self.layer(latents)
        if self.training:
            Poisoned.count += 1
            if self.since <= Poisoned.count < self.until:
                made = made * math.nan
        return made


def points():
    return np.random.default_rng(0).normal(size=(256, 2)).astype(np.float32)


def poisoned(since, calls=10**9):
    Poisoned.count = 0
    judge = equipoise.DiscriminatorAdapter(nn.Linear(2, 1))
    return equipoise.GAN("ring", generator=Poisoned(since, calls), discriminator=judge, settings={"batch": 8})


def test_lasting_faults_end_the_run_with_its_last_good_state(tmp_path):
    with pytest.raises(TrainingFailed, match=r"not finite.*G's layer.*last good state.*lower learning rate") as failure:
        poisoned(40).fit(points(), kimg=2.0, out=tmp_path / "run")
    assert failure.value.exit_code == 3
    lines = journal(tmp_path / "run")
    assert [line["event"] for line in lines if line["event"] != "tick"][-2:] == ["skipped", "failed"]
    assert 0.1 < lines[-1]["kimg"] < 1.0
    stored = bits(tmp_path / "run")
    networks = {k: np.frombuffer(v, np.float32) for k, v in stored.items() if k.split(".")[0] in ("G", "D", "G_ema")}
    assert len(networks) >= 6 and all(np.isfinite(v).all() for v in networks.values())


def test_a_passing_fault_is_named_and_survived(tmp_path):
    poisoned(40, calls=2).fit(points(), kimg=1.0, out=tmp_path / "run")
    events = [line for line in journal(tmp_path / "run") if line["event"] == "skipped"]
    assert [event["updates"] for event in events] == [1] and events[0]["first"]
    assert journal(tmp_path / "run")[-1]["kimg"] == 1.0


def test_one_player_that_loses_every_update_is_noticed_beside_one_that_loses_some():
    class Stopped:
        def __init__(self):
            self.alarm = {role: torch.zeros([], dtype=torch.bool) for role in ("D", "G")}

    readings = {"D.skipped": equipoise.Reading(0.1, 0.3, 10, 0), "G.skipped": equipoise.Reading(1.0, 0.0, 10, 0)}
    tick = equipoise.report.Tick(3, 1000, 9000, 1.0, 1.0, readings, {}, {})
    assert ticks.examine(Stopped(), tick, 0, None, None) == 10
    with pytest.raises(TrainingFailed, match="10 of 10 updates of G"):
        ticks.examine(Stopped(), tick, 10, None, None)


def test_a_full_disk_ends_the_run_and_leaves_the_last_checkpoint(tmp_path, monkeypatch):
    asked = planned(images_file(tmp_path / "images.npz"), (*TINY, "batch=40"), kimg=4.0, snapshot_kimg=1.0)
    saved = checkpoint.save_file

    def full(tensors, path):
        if "000002" in str(path):
            raise OSError(28, "No space left on device")
        saved(tensors, path)

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(TrainingFailed, match=r"No space left.*untouched.*resume"):
        run(tmp_path / "run", asked)
    assert checkpoint.find(tmp_path / "run").name == "000001"
    assert not list((tmp_path / "run" / "checkpoints").glob(".*"))
    monkeypatch.undo()
    runs.resume(tmp_path / "run")
    run(tmp_path / "whole", asked)
    assert bits(tmp_path / "run") == bits(tmp_path / "whole")
    assert journal(tmp_path / "run") == journal(tmp_path / "whole")


def test_a_journal_that_cannot_be_written_is_a_failed_run(tmp_path, monkeypatch):
    from equipoise.report.journal import Journal

    def full(self, record):
        if record["kimg"] > 0.2:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(Journal, "_write", full)
    with pytest.raises(TrainingFailed, match="No space left"):
        run(tmp_path / "run", planned(images_file(tmp_path / "images.npz")))


def test_running_out_of_memory_says_what_to_lower(tmp_path, monkeypatch):
    def exhausted(self, *args):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Step, "move", exhausted)
    with pytest.raises(InputError, match=r"batch of 8.*network.width=8 at 8x8.*lower --batch"):
        run(tmp_path / "run", planned(images_file(tmp_path / "images.npz")))


def test_a_watcher_hears_every_tick(tmp_path):
    class Ear(ProgressLine):
        ticks = 0

        def tick(self, tick):
            self.ticks += 1

    ear = Ear(quiet=True)
    run(tmp_path / "run", planned(images_file(tmp_path / "images.npz")), watcher=ear)
    assert ear.ticks == len(ticks_of(tmp_path / "run"))


def test_without_a_folder_nothing_is_written(tmp_path, monkeypatch):
    asked = planned(images_file(tmp_path / "images.npz"), kimg=0.08)
    monkeypatch.chdir(tmp_path)
    assert train.train(asked.config, asked.dataset).samples == 80
    assert [p.name for p in tmp_path.iterdir()] == ["images.npz"]
    assert train.train(asked.config, asked.dataset, stop=after(2)).samples == 16
    assert strict(json.dumps({"a": None})) == {"a": None}


@pytest.mark.slow
def test_two_kills_end_in_the_same_bits():
    script = Path(__file__).parents[1] / "benchmarks" / "kills.py"
    done = subprocess.run([sys.executable, script, "--kills", "2"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("2 of 2 ends are the same in all bits\n")
