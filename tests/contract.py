"""How the tests of the contract switch on whatever is registered, in a step of a few hundred weights.

A part that is registered later needs no line here: what it wants beside it is in its facts.
"""

import dataclasses

import pytest
import torch

from equipoise import build, compatibility, networks
from equipoise.registry import entries
from plants import batch_of, small_recipe

KINDS = ("loss", "term", "augmentation", "weighting", "constraint", "rate", "rule", "optimiser", "preset", "schedule",
         "network", "initialisation", "sensor", "recipe")  # fmt: skip
SETTINGS = ("preset", "schedule", "sensor", "recipe")  # numbers and readings: they compute nothing of their own
COMPUTING = tuple(kind for kind in KINDS if kind not in SETTINGS)
PARTS = [entry for kind in KINDS for entry in entries(kind)]
ROUNDS = 5  # of the longest play: lookahead goes back in the fifth


def named(entry):
    return f"{entry.kind}:{entry.name}"


def each(*kinds):
    """Run the test for every registered part of these kinds."""
    return pytest.mark.parametrize("entry", [e for e in PARTS if e.kind in (kinds or KINDS)], ids=named)


def shape_of(entry):
    return (2,) if entry.kind == "recipe" and entry.name in ("ring", "grid") else (1, 8, 8)


def recipe_of(entry, **changes):
    """The smallest recipe with this part switched on, what it wants beside it included."""
    if entry.kind == "recipe":
        recipe = entry.part(shape_of(entry), 100).with_values({"batch": 8, "network.latent_dim": 4, "mixed": False})
    else:
        network = {"name": "resnet", "options": {"norm_D": "none"}} if entry.kind == "initialisation" else {}
        recipe = small_recipe(network=network).with_values(compatibility.switched_on(entry.kind, entry.name))
        recipe = compatibility.completed(recipe)
    net = recipe.network
    known = networks.options_of(net.name)
    options = {key: value for key, value in net.options.items() if key in known}
    if net.name in ("resnet", "normfree"):
        options["depth"] = 1
    small = dataclasses.replace(net, width=min(net.width, 4 if net.name != "mlp" else 8), options=options)
    return dataclasses.replace(recipe, network=small, **changes)


def classes_of(recipe):
    """Classes only where something asks for them."""
    return 3 if recipe.network.options.get("head") == "classes" else 0


def step_of(entry, dtype=torch.float64, device="cpu", seed=0, **changes):
    """A whole step with this part."""
    recipe = recipe_of(entry, **changes)
    torch.manual_seed(seed)
    pair = [net.to(dtype) for net in build.players(recipe, shape_of(entry), classes_of(recipe))]
    return build.assemble(recipe, *pair, torch.device(device)), recipe


def batches(entry, recipe, start=0):
    """What a rule draws its batches from: a function of their number alone."""
    numbers = iter(range(start, 10_000))
    return lambda: batch_of(None, next(numbers), shape=shape_of(entry), classes=classes_of(recipe))


class Draws:
    """While it lasts, torch's random numbers are the same in every precision.

    With `size` an axis of twice that length repeats its first half: what is drawn for a batch shown twice over.
    """

    def __init__(self, monkeypatch, size=0):
        self.source, self.size, self.whole = torch.Generator(), size, torch.randint
        for name, fill in (("rand", torch.Tensor.uniform_), ("randn", torch.Tensor.normal_)):
            monkeypatch.setattr(torch, f"{name}_like", lambda x, fill=fill, **_: self.drawn(fill, x.shape, x.dtype))
            monkeypatch.setattr(torch, name, lambda *n, fill=fill, dtype=None, **_: self.drawn(fill, n, dtype))
        monkeypatch.setattr(torch, "randint", self.integers)

    def seed(self, seed):
        self.source.manual_seed(seed)

    def drawn(self, fill, shape, dtype):
        shape = shape[0] if len(shape) == 1 and not isinstance(shape[0], int) else shape
        return self.repeated(
            lambda half: fill(torch.empty(half, dtype=torch.float64), generator=self.source), shape
        ).to(dtype or torch.get_default_dtype())

    def integers(self, *bounds, generator=None, dtype=None, **_):
        *bounds, shape = bounds
        source = self.source if generator is None else generator
        return self.repeated(lambda half: self.whole(*bounds, half, generator=source, dtype=dtype), shape)

    def repeated(self, draw, shape):
        twice = [axis for axis, length in enumerate(shape) if self.size and length == 2 * self.size]
        made = draw([length // 2 if axis in twice else length for axis, length in enumerate(shape)])
        for axis in twice:
            made = torch.cat([made, made], axis)
        return made
