"""config.json: what is written is what is read back, and what cannot be read is one sentence."""

import dataclasses
import json

import pytest

from equipoise import config
from equipoise.config import Config
from equipoise.errors import InputError
from equipoise.recipe import Recipe
from equipoise.schedules import Schedule


def test_what_is_written_is_read_back(tmp_path):
    recipe = Recipe(terms={"r1": {"gamma": 0.5}}, schedules={"lr": Schedule("cosine", start=0.5)}, batch=24)
    written = Config("photos", recipe, (3, 16, 16), ("cat", "dog"), kimg=12.5, seed=2**40, origin={"kimg": "budget"})
    written.write(tmp_path)
    assert config.read(tmp_path) == written
    assert written.classes == 2 and Config("ring", recipe, (2,)).classes == 0


@pytest.mark.parametrize(("kimg", "total"), [(1.0, 1008), (0.001, 24), (0.035, 24), (0.037, 48)])
def test_a_run_is_whole_batches(kimg, total):
    assert Config("ring", Recipe(batch=24), (2,), kimg=kimg).total == total


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("40s", 40), ("5min", 300), ("2h", 7200), ("1.5h", 5400), (" 3 m ", 180), ("10sec", 10)],
)
def test_budgets(text, seconds):
    assert config.parse_budget(text) == seconds


@pytest.mark.parametrize("text", ["", "40", "s", "-4s", "0s", "1e3s", "nans", "4 days"])
def test_bad_budgets(text):
    with pytest.raises(InputError, match="40s, 5min or 2h"):
        config.parse_budget(text)


@pytest.mark.parametrize("change", ["{", "[]", "{}", None, {"later": 1}, {"recipe": {"later": 1}}, {"shape": 3},
    {"shape": [1, "a"]}, {"kimg": float("nan")}, {"kimg": "long"}, {"device": 3}, {"origin": []}, {"source": None},
    {"recipe": {"batch": "x"}}, {"recipe": {"G": []}}, {"recipe": {"terms": {"r1": 3}}}])  # fmt: skip
def test_what_cannot_be_read_is_one_sentence(change, tmp_path):
    Config("ring", Recipe(), (2,)).write(tmp_path)
    path = tmp_path / "config.json"
    if isinstance(change, dict):
        change = json.dumps(dataclasses.asdict(Config("ring", Recipe(), (2,))) | change)
    path.write_bytes(b"\xff" if change is None else change.encode())
    with pytest.raises(InputError):
        config.read(tmp_path)


def test_no_run_folder(tmp_path):
    for place in (tmp_path, tmp_path / "none"):
        with pytest.raises(InputError, match="no run folder"):
            config.read(place)
