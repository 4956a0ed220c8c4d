"""Resolving: what was left open is chosen, what was asked for is kept, and each value knows where it came from."""

import numpy as np
import pytest

from equipoise import plan
from equipoise.data import from_arrays, open_dataset
from equipoise.errors import InputError
from equipoise.plan import Request, resolve
from equipoise.recipe import Network, Recipe

RNG = np.random.default_rng(0)


def images(side=8, count=40, labels=None, channels=1):
    return from_arrays(RNG.integers(0, 256, (count, side, side, channels), dtype=np.uint8), labels)


@pytest.mark.parametrize(("side", "recipe"), [(8, "digits"), (16, "baseline")])
def test_the_recipe_follows_from_the_data(side, recipe):
    planned = resolve(Request("x", device="cpu"), images(side))
    assert planned.config.recipe.name == recipe and planned.remarks[0].startswith(f"Recipe {recipe}, for ")
    assert planned.config.origin["recipe"] == "by the data"
    assert planned.config.kimg == planned.config.recipe.kimg and planned.config.origin["kimg"] == f"recipe {recipe}"
    assert planned.config.shape == (1, side, side) and planned.config.device == "cpu"


def test_labels_make_it_conditional_unless_it_should_not_be():
    labelled = images(labels=np.arange(40) % 3)
    assert resolve(Request("x"), labelled).config.classes == 3
    plain = resolve(Request("x", settings=["network.conditional=false"]), labelled).config
    assert plain.classes == 0 and plain.origin["network.conditional"] == "command line"
    assert resolve(Request("x"), images()).config.origin["network.conditional"] == "the data has no labels"
    with pytest.raises(InputError, match="has no labels"):
        resolve(Request("x", settings=["network.conditional=true"]), images())


def test_later_wins_file_then_settings_then_changes_then_batch(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('recipe = "digits"\nbatch = 12\nkimg = 5\n[G]\nlr = 0.1\n[r1]\ngamma = 3\n[D]\nlr = 0.5\n')
    asked = Request("x", str(path), settings=["G.lr=0.2"], changes={"r1.gamma": 4.0}, batch=16)
    found = resolve(asked, images()).config
    recipe, origin = found.recipe, found.origin
    assert (recipe.name, recipe.batch, recipe.G.lr, recipe.D.lr) == ("digits", 16, 0.2, 0.5)
    assert recipe.terms["r1"] == {"gamma": 4.0, "every": 8} and found.kimg == 5.0
    assert origin["G.lr"] == origin["batch"] == origin["terms.r1.gamma"] == "command line"
    assert origin["D.lr"] == origin["kimg"] == f"file {path}" and origin["terms.r1.every"] == "recipe digits"


def test_a_file_of_a_recipes_name_does_not_hide_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").write_text("not TOML")
    assert resolve(Request("x", "digits"), images()).config.recipe.name == "digits"


def test_a_recipe_of_ones_own():
    own = Recipe("mine", Network("mlp", width=8), kimg=3.0)
    found = resolve(Request("x", own, seed=4, whence="Python"), images()).config
    assert found.recipe.name == "mine" and found.kimg == 3.0
    assert found.origin["seed"] == found.origin["recipe"] == "Python" and found.origin["G.lr"] == "recipe mine"


def test_switching_a_term_on_is_remembered():
    found = resolve(Request("x", settings=["r2.every=4", "r1=off", "schedules.lr=cosine"]), images()).config
    assert found.recipe.terms == {"r2": {"every": 4}}
    assert found.origin["terms.r2.every"] == found.origin["schedules.lr.shape"] == "command line"


def test_mirroring_and_mixed_precision_are_decided():
    config = resolve(Request("ring", device="cpu"), open_dataset("ring")).config
    assert config.recipe.mirror is False and config.recipe.mixed is False
    asked = resolve(Request("x", settings=["mirror=true", "mixed=true"], device="cpu"), images()).config
    assert asked.recipe.mirror and asked.recipe.mixed and asked.origin["mixed"] == "command line"


def test_devices(monkeypatch):
    assert plan.choose_device("cpu") == "cpu"
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert plan.choose_device("auto") == "cuda" and plan.choose_device("cuda:1") == "cuda:1"
    with pytest.raises(InputError, match="2 CUDA device"):
        plan.choose_device("cuda:2")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    assert plan.choose_device("auto") == "cpu"
    with pytest.raises(InputError, match="no usable cuda device"):
        plan.choose_device("cuda")
    for name in ("gpu", "cuda:", "cuda:x", "", "cpu 1"):
        with pytest.raises(InputError, match="no device called"):
            plan.choose_device(name)


def test_a_budget_becomes_kimg_less_what_measuring_took():
    asked = resolve(Request("ring", budget="100s"), open_dataset("ring")).config
    assert asked.kimg == 0.0 and "measured when training starts" in asked.origin["kimg"]
    settled = plan.with_length(asked, images_per_second=1000.0, spent=10.0)
    assert settled.kimg == pytest.approx(90 * plan.SHARE, rel=1e-3)
    assert settled.origin["kimg"] == "budget 100s at 1000 images/s"
    assert plan.with_length(asked, 0.001, 99.99).total == asked.recipe.batch


@pytest.mark.parametrize(
    "request_",
    [{"kimg": 1.0, "budget": "1s"}, {"kimg": float("nan")}, {"seed": 2**63}, {"workers": 65}, {"balance": ""},
     {"snapshot_kimg": float("nan")}, {"settings": ["wgan-gp.weight"]}, {"changes": {"network": "mlp"}}],
)  # fmt: skip
def test_what_cannot_work_is_refused_before_anything_is_built(request_):
    with pytest.raises(InputError):
        resolve(Request("ring", **request_), open_dataset("ring"))
