"""Sizes and memory, estimated without running: against counts by hand and against the networks themselves."""

import pytest

from equipoise import build, estimate
from equipoise.config import Config
from equipoise.recipe import Network, Recipe
from equipoise.registry import entries


def test_an_mlp_by_hand():
    recipe = Recipe(network=Network("mlp", width=8, latent_dim=4, options={"depth": 1}), batch=10)
    found = estimate.describe(Config("ring", recipe, (2,)))
    generator, discriminator = 4 * 8 + 8 + 8 * 2 + 2, 2 * 8 + 8 + 8 + 1
    assert found["parameters"] == {"G": generator, "D": discriminator}
    assert found["bytes"]["weights and optimisers"] == 4 * (8 * generator + 7 * discriminator)
    assert found["bytes"]["total"] == found["bytes"]["weights and optimisers"] + found["bytes"]["activations"]
    twice = estimate.describe(Config("ring", Recipe(network=recipe.network, batch=20), (2,)))
    assert twice["bytes"]["activations"] == 2 * found["bytes"]["activations"] > 0
    parts = estimate.describe(Config("ring", Recipe(network=recipe.network, batch=20, accumulate=2), (2,)))
    assert parts["bytes"] == found["bytes"]


@pytest.mark.parametrize("name", [entry.name for entry in entries("recipe")])
def test_every_recipe_counts_what_it_builds(name):
    shape, names = ((2,), ()) if name == "ring" else ((1, 8, 8), ("a", "b"))
    recipe = next(e.part for e in entries("recipe") if e.name == name)(shape, 100, "cpu")
    found = estimate.describe(Config("x", recipe, shape, names))
    pair = build.players(recipe, shape, len(names))
    assert list(found["parameters"].values()) == [sum(p.numel() for p in net.parameters()) for net in pair]
