"""Runs that begin with another's networks: whose weights they have, how G's rate rises, and what does not fit."""

import dataclasses
import json

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from equipoise import build, checkpoint, fine_tune, plan, runs
from equipoise.data import open_dataset
from equipoise.errors import InputError
from equipoise.schedules import Schedule
from small_runs import after, bits, images_file, planned, run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("from")
    run(folder / "old", planned(images_file(folder / "images.npz", classes=3), kimg=0.24, seed=3))
    return folder


def asked(folder, **request):
    source = str(folder / "images.npz")
    request = fine_tune.ask(plan.Request(source, **{"kimg": 0.24, "device": "cpu"} | request), folder / "old")
    return plan.resolve(request, open_dataset(source, resolution=request.resolution))


def same(network, file):
    return all(torch.equal(value, network.state_dict()[name]) for name, value in load_file(file).items())


def test_both_networks_or_the_averaged_generator_alone(folder):
    newest = checkpoint.find(folder / "old")
    now, pair = fine_tune.begin_from(asked(folder), folder / "old")
    assert same(pair[0], newest / "G.safetensors") and same(pair[1], newest / "D.safetensors")
    assert now.config.start == str(newest) and now.config.recipe.schedules == asked(folder).config.recipe.schedules
    alone, pair = fine_tune.begin_from(asked(folder), folder / "old", only="G")
    assert same(pair[0], newest / "G_ema.safetensors") and not same(pair[0], newest / "G.safetensors")
    build.seed_everything(0)
    fresh = build.players(alone.config.recipe, alone.config.shape, 3)[1]
    assert all(torch.equal(a, b) for a, b in zip(pair[1].parameters(), fresh.parameters(), strict=True))
    assert alone.config.start == f"{newest}, G alone"


def test_the_recipe_is_the_old_run_s_and_can_be_changed(folder):
    recipe = asked(folder, settings=["D.lr=0.5"]).config.recipe
    assert (recipe.network.width, recipe.batch, recipe.D.lr, recipe.G.lr) == (8, 8, 0.5, 1e-3)


def test_the_rate_of_g_rises_and_that_of_d_does_not(folder):
    schedules = fine_tune.begin_from(asked(folder), folder / "old", "G", 0.1)[0].config.recipe.schedules
    assert {name: schedules[name].factor(50, 240) for name in ("G.lr", "D.lr")} == {"G.lr": 0.5, "D.lr": 1.0}
    assert schedules["G.lr"].factor(0, 240) == 0 and schedules["G.lr"].factor(120, 240) == 1
    assert schedules["G.lr"].factor(180, 240) == schedules["D.lr"].factor(180, 240) == 0.5  # the recipe's own decay
    plain = dataclasses.replace(asked(folder).config.recipe, schedules={"D.lr": Schedule("cosine")})
    risen = fine_tune._risen(plain, 2.0).schedules
    assert risen["G.lr"].factor(4000, 9000) == 1 and risen["G.lr"].factor(1000, 9000) == 0.5
    assert risen["D.lr"] == Schedule("cosine")


def test_a_run_begins_there_and_resumes_in_the_same_bits(folder, tmp_path):
    for name, stop in (("whole", lambda: False), ("parts", after(11))):
        now, pair = fine_tune.begin_from(asked(folder), folder / "old", "G")
        outcome = runs.begin(now, tmp_path / name, None, stop, pair)
    assert outcome.interrupted and not runs.resume(tmp_path / "parts").interrupted
    assert bits(tmp_path / "whole") == bits(tmp_path / "parts")
    config = json.loads((tmp_path / "whole" / "config.json").read_text())
    assert config["start"].endswith("G alone") and not config["own_networks"]


def test_a_generator_that_does_not_move_stays_the_old_one(folder, tmp_path):
    now, pair = fine_tune.begin_from(asked(folder, settings=["G.lr=0"]), folder / "old", "G")
    runs.begin(now, tmp_path / "still", networks=pair)
    kept = load_file(checkpoint.find(tmp_path / "still") / "G.safetensors")
    old = load_file(checkpoint.find(folder / "old") / "G_ema.safetensors")
    assert all(torch.equal(kept[name], old[name]) for name in old)


def test_what_does_not_fit_is_said(folder, tmp_path):
    old = folder / "old"
    for only, warm_up, said in (("D", None, "--only D"), ("G", -1.0, "no length"), (None, float("inf"), "no length")):
        with pytest.raises(InputError, match=said):
            fine_tune.begin_from(asked(folder), old, only, warm_up)
    sources = {
        "shape": images_file(tmp_path / "wide.npz", side=16),
        "number of classes": images_file(tmp_path / "none.npz"),
    }
    for said, source in sources.items():
        with pytest.raises(InputError, match=f"another {said}"):
            fine_tune.begin_from(planned(source), old)
    with pytest.raises(InputError, match="networks differ"):
        fine_tune.begin_from(asked(folder, settings=["network.width=16"]), old)
    (tmp_path / "own").mkdir()
    dataclasses.replace(asked(folder).config, own_networks=True).write(tmp_path / "own")
    with pytest.raises(InputError, match="networks of your own"):
        fine_tune.ask(plan.Request("digits"), tmp_path / "own")


def test_the_command_shows_where_it_begins(folder):
    from equipoise.cli import app

    words = ["train", str(folder / "images.npz"), "--from", str(folder / "old"), "--only", "G", "--dry-run"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0 and "G alone" in done.output and "schedules.G.lr.warmup_kimg" in done.output
    alone = CliRunner().invoke(app, ["train", "digits", "--only", "G", "--dry-run"])
    assert isinstance(alone.exception, InputError) and "--from" in str(alone.exception)
