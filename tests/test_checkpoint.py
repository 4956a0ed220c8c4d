"""Checkpoints: what comes back is what went in, and whatever happens while one is written, the last good one stays."""

import json
import os
import random
import shutil

import numpy as np
import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from equipoise import checkpoint
from equipoise.errors import InputError, TrainingFailed
from plants import play, small_step

NETWORKS = {"G", "D", "G_ema"}


def stored(path):
    """All tensors of a checkpoint as bytes."""
    return {
        (file.name, name): tensor.numpy().tobytes()
        for file in sorted(path.glob("*.safetensors"))
        for name, tensor in load_file(file).items()
    }


@pytest.fixture
def step():
    return play(small_step(dtype=torch.float32, terms={"r1": {"gamma": 1.0}}), 3)


def test_what_goes_in_comes_back(step, tmp_path):
    path = checkpoint.save(tmp_path, step, 12_345, {"tick": 7, "owed": 0.5})
    assert path == tmp_path / "000012" and (tmp_path / "latest").read_text() == "000012\n"
    assert not (tmp_path / "latest").is_symlink()
    assert {p.stem for p in path.glob("*.safetensors")} == NETWORKS | {"state"}
    drawn = [torch.rand(3), np.random.rand(3), random.random()]
    other = play(small_step(dtype=torch.float32, seed=9, terms={"r1": {"gamma": 1.0}}), 1)
    state = checkpoint.load(path, other)
    assert (state["samples"], state["tick"], state["owed"]) == (12_345, 7, 0.5)
    assert other.moves == step.moves == {"D": 3, "G": 3}
    again = [torch.rand(3), np.random.rand(3), random.random()]
    assert torch.equal(drawn[0], again[0]) and (drawn[1] == again[1]).all() and drawn[2] == again[2]
    checkpoint.load(path, step)
    for one in (step, other):
        play(one, 2, seed=1)
    assert stored(checkpoint.save(tmp_path / "a", step, 0, {})) == stored(checkpoint.save(tmp_path / "b", other, 0, {}))


def test_random_states_stay_if_asked(step, tmp_path):
    path = checkpoint.save(tmp_path, step, 0, {})
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    checkpoint.load(path, step, randomness=False)
    assert torch.equal(torch.rand(3), expected)


def test_files_hold_no_pickles_and_load_anywhere(step, tmp_path):
    path = checkpoint.save(tmp_path, step, 0, {})
    weights = load_file(path / "G.safetensors")
    assert set(weights) == set(step.networks["G"].state_dict())
    assert all(torch.equal(weights[k], v) for k, v in step.networks["G"].state_dict().items())
    json.loads((path / "state.json").read_text())
    assert {p.suffix for p in path.iterdir()} == {".safetensors", ".json"}


def test_the_newest_few_stay(step, tmp_path):
    for kimg in (8, 9, 10, 999_999, 1_000_000):
        checkpoint.save(tmp_path / "checkpoints", step, kimg * 1000, {})
    assert {p.name for p in (tmp_path / "checkpoints").iterdir()} == {"000010", "999999", "1000000", "latest"}
    (tmp_path / "checkpoints" / "latest").unlink()
    assert checkpoint.find(tmp_path).name == "1000000"


# ------------------------------------------------------------------------------------------------ damage


@pytest.fixture
def two(step, tmp_path):
    """A run with two checkpoints, and the folder."""
    for kimg in (1, 2):
        play(step, 1)
        checkpoint.save(tmp_path / "checkpoints", step, kimg * 1000, {})
    return tmp_path / "checkpoints"


@pytest.mark.parametrize("latest", ["", "000009\n", "../..\n", "\0", "no name", None, "000002", b"\xff\xfe"])
def test_a_missing_or_senseless_latest_is_made_up_for(two, latest):
    (two / "latest").unlink()
    if latest is not None:
        (two / "latest").write_bytes(latest if isinstance(latest, bytes) else latest.encode())
    assert checkpoint.find(two.parent).name == "000002"


@pytest.mark.parametrize("file", ["G", "D", "G_ema", "state"])
def test_a_truncated_file_is_passed_over_for_the_checkpoint_before(two, file):
    path = two / "000002" / f"{file}.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    assert checkpoint.find(two.parent).name == "000001"
    with pytest.raises(InputError, match=rf"{file}.safetensors is truncated"):
        checkpoint.verify(two / "000002")


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"sizes": 3}', '{"sizes": {"G.safetensors": 1}}', "null"])
def test_a_senseless_state_is_passed_over_too(two, content):
    (two / "000002" / "state.json").write_text(content)
    assert checkpoint.find(two.parent).name == "000001"


def test_where_nothing_is_whole_one_sentence_says_so(two):
    for name in ("000001", "000002"):
        os.truncate(two / name / "G.safetensors", 10)
    with pytest.raises(InputError, match=r"000002/G\.safetensors is truncated"):
        checkpoint.find(two.parent)
    shutil.rmtree(two)
    with pytest.raises(InputError, match="holds no checkpoint"):
        checkpoint.find(two.parent)


def test_weights_of_another_network_are_refused(step, tmp_path):
    path = checkpoint.save(tmp_path, step, 0, {})
    with pytest.raises(InputError, match="another network"):
        checkpoint.load(path, small_step(dtype=torch.float32, network={"width": 16}))
    with pytest.raises(InputError, match=r"GAN\.load"):
        checkpoint.load(path, step, counters=("samples", "tick"))


# ------------------------------------------------------------------------------------------------ crashes


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), SafetensorError("I/O error")])
@pytest.mark.parametrize("call", range(4))
def test_a_full_disk_leaves_the_last_good_one(two, step, monkeypatch, call, error):
    before, real, calls = stored(two / "000002"), checkpoint.save_file, iter(range(9))

    def full(tensors, path):
        if next(calls) == call:
            path.write_bytes(b"half")
            raise error
        real(tensors, path)

    monkeypatch.setattr(checkpoint, "save_file", full)
    play(step, 1)
    for kimg in (2, 3):  # in place of the newest, and as a new one
        with pytest.raises(TrainingFailed, match=r"could not be written.*untouched"):
            checkpoint.save(two, step, kimg * 1000, {})
        calls = iter(range(9))
        assert checkpoint.find(two.parent).name == "000002" and stored(two / "000002") == before
    assert {p.name for p in two.iterdir()} == {"000001", "000002", "latest"}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="dies in a forked process, which this system lacks")
@pytest.mark.parametrize("kimg", [2, 3], ids=["in place of the newest", "as a new one"])
@pytest.mark.parametrize("killed", ["save_file 0", "save_file 3", "fsync 0", "fsync 5", "replace 0", "replace 1",
                                    "replace 2", "rmtree 0"])  # fmt: skip
def test_a_process_that_dies_anywhere_leaves_a_whole_one(two, step, kimg, killed):
    old = stored(two / "000002")
    play(step, 1)
    new = stored(checkpoint.save(two.parent / "elsewhere", step, 0, {}))
    function, call = killed.split()
    if not (child := os.fork()):
        owner = {"save_file": checkpoint, "rmtree": shutil}.get(function, os)
        real, calls = getattr(owner, function), iter(range(99))

        def dying(*args, **settings):
            if next(calls) == int(call):
                os._exit(9)
            return real(*args, **settings)

        setattr(owner, function, dying)
        checkpoint.save(two, step, kimg * 1000, {})
        os._exit(0)
    os.waitpid(child, 0)
    found = checkpoint.find(two.parent)
    assert stored(found) in (old, new)
    assert checkpoint.verify(found)["moves"]["G"] in (5, 6)
    path = checkpoint.save(two, step, kimg * 1000, {})  # whoever goes on is not hindered by what is left
    assert stored(path) == new and checkpoint.find(two.parent) == path
    assert not list(two.glob(".*"))


def test_what_is_read_is_left_as_it_is(two):
    os.rename(two / "000002", two / ".000002.old")  # as a process leaves it that dies between two renames
    assert checkpoint.find(two.parent) == two / ".000002.old"
    assert not (two / "000002").exists()
