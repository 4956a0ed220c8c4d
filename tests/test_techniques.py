"""The page of techniques: every name in it is registered, every setting is one, and no technique is missing."""

import re
from pathlib import Path

import pytest

from equipoise.paths import parse_assignment
from equipoise.recipe import Recipe
from equipoise.registry import HOMES, entries

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "techniques.md").read_text(encoding="utf-8")
ROWS = [line.split("|")[2] for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| tech")]
PLURALS = {f"{kind}{'es' if kind == 'loss' else 's'}": kind for kind in [*HOMES, "setting"]}
TECHNIQUES = ("loss", "term", "augmentation", "weighting", "constraint", "rate", "rule", "optimiser", "preset",
              "schedule", "initialisation")  # fmt: skip


def told():
    """What the tables name, as kind and name: a word for the kind, then one or several names."""
    found = []
    for row in ROWS:
        kind = ""
        for word, name in re.findall(r"([a-z]+)|`([^`]+)`", row):
            kind = {**PLURALS, **{one: one for one in PLURALS.values()}}.get(word, kind)
            found += [(kind, name)] if name else []
    return found


def test_what_the_page_names_is_there_and_nothing_is_missing():
    named = {(kind, name) for kind, name in told() if kind != "setting"}
    there = {(entry.kind, entry.name) for entry in entries()}
    assert named - there == set()
    assert {one for one in there if one[0] in TECHNIQUES} - named == set()


def test_the_page_of_costs_names_parts_that_are_there():
    rows = re.findall(r"^\| (\w+) \| `([^`]+)`", (DOCS / "costs.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(rows) > 50 and set(rows) <= {(entry.kind, entry.name) for entry in entries()}


@pytest.mark.parametrize("setting", sorted(name for kind, name in told() if kind == "setting"))
def test_its_settings_can_be_set(setting):
    recipe = Recipe().with_values(dict([parse_assignment(setting)]))
    assert recipe != Recipe() or setting in ("ema_kimg=10.0", "ema_ramp=0.05")  # which are the defaults
