"""The contract's effects: in a linear case a part that is switched on moves the weights by what its formula says.

The formulas are written out here in plain tensors, apart from the package's own; autograd differentiates them. The
discriminator is w.x, the generator V z, and a move is one plain step. A part wired in without effect would be found.
Update rules have theirs in test_contract_values.py, a whole round of a bilinear game.
"""

import copy
import math

import pytest
import torch
from torch import nn

from contract import PARTS, named, recipe_of
from equipoise import build
from equipoise.networks import chain
from equipoise.registry import find
from formulas import (
    AUGMENTATIONS,
    EFFECTS,
    LOSSES,
    OPTIMISERS,
    PRESETS,
    SCHEDULES,
    SENSORS,
    SHARE,
    TERMS,
    best_half,
    flat,
    slowed,
)

KINDS = ("loss", "term", "augmentation", "weighting", "constraint", "rate", "optimiser", "preset", "schedule", "sensor")
LR = 0.1  # of plain steps
VECTOR, IMAGE = (2,), (1, 4, 4)


# ------------------------------------------------------------------------------------------------ the linear pair


class Maker(nn.Module):
    """G(z) = V z."""

    num_classes, latent_dim = 0, 3

    def __init__(self, shape):
        super().__init__()
        self.shape, self.map = shape, nn.Linear(3, math.prod(shape), bias=False).double()

    def forward(self, latents, labels=None):
        return self.map(latents).reshape(-1, *self.shape)


class Judge(nn.Module):
    """D(x) = w.x, with two such outputs for margins; curved, s + s^2 / 2 of it; or with CHAIN's layer in between."""

    num_classes = 0

    def __init__(self, shape, outputs=1, curved=False, chained=False):
        super().__init__()
        self.curved, size = curved, math.prod(shape)
        self.trunk = (
            nn.Sequential(nn.Linear(size, 2, bias=False), chain.AdaptiveRMSNorm(2)) if chained else nn.Identity()
        )
        self.output = nn.Linear(2 if chained else size, outputs, bias=False)
        self.double()
        if chained:
            chain.join(self)

    def forward(self, images, labels=None):
        s = self.output(self.trunk(images.flatten(1))).squeeze(1)
        return s + s.square() / 2 if self.curved else s


class World:
    """What a formula may look at: weights to differentiate by, images, latents, and normal draws in their order."""

    def __init__(self, networks, images, drawn, role):
        self.D, self.G = (copy.deepcopy(networks[r]).requires_grad_(r == role) for r in ("D", "G"))
        self.weights = list((self.D if role == "D" else self.G).parameters())
        self.V, self.role = self.G.map.weight, role
        self.z, *rest = drawn
        self.x, self.y, self.normal = images, self.G(self.z), iter(rest)

    def shown(self, augmentations):
        """The logits of both, fakes first."""
        for change in augmentations:
            self.y = change(self, self.y, False)
            self.x = change(self, self.x, True) if self.role == "D" else self.x
        self.r, self.f = self.D(self.x), self.D(self.y)

    def slope(self, points):
        """|grad D|^2 at points, per sample."""
        points = points.detach().requires_grad_(True)
        (gradient,) = torch.autograd.grad(self.D(points).sum(), points, create_graph=True)
        return gradient.square().flatten(1).sum(1)


def test_every_part_that_moves_weights_has_its_effect_here():
    found = {f"{kind}:{name}" for kind, table in EFFECTS.items() for name in table}
    assert found == {named(entry) for entry in PARTS if entry.kind in KINDS}


# ------------------------------------------------------------------------------------------------ the moves


def recipe_for(entry):
    """The part, what it wants beside it, the settings above, and plain steps unless it says how to step."""
    recipe = recipe_of(entry)
    own = {"term": TERMS, "augmentation": AUGMENTATIONS}.get(entry.kind, {}).get(entry.name, ())[-1:]
    for name, value in (own[0] if own and isinstance(own[0], dict) else {}).items():
        recipe = recipe.with_values({f"{entry.name}.{name}": value})
    if entry.kind == "preset":
        return recipe
    plain = {f"{role}.{key}": value for role in "GD" for key, value in (("lr", LR), ("beta1", 0.5))}
    if entry.kind != "optimiser":
        plain |= {f"{role}.{key}": value for role in "GD" for key, value in (("optimiser", "sgd"), ("beta1", 0.0))}
    return recipe.with_values(plain)


def linear_step(entry, recipe):
    needs_image = entry.kind == "augmentation" and entry.name not in ("instance-noise", "diffusion", "apa")
    shape = IMAGE if needs_image or entry.name in ("cr", "bcr", "path-length") else VECTOR
    torch.manual_seed(2)
    pair = Maker(shape), Judge(shape, 2 if recipe.loss == "multi-hinge" else 1, entry.name == "diggan",
                               entry.name == "chain")  # fmt: skip
    for parameter in (p for net in pair for p in net.parameters()):
        parameter.data = torch.randn_like(parameter) + 0.5  # slopes above 1
    return build.assemble(recipe, *pair, torch.device("cpu")), torch.randn(6, *shape).double()


def patched(patch):
    """Uniform draws are three quarters, whole numbers lie as far up; normal ones are remembered."""
    drawn, source = [], torch.Generator().manual_seed(3)

    def normal(shape):
        drawn.append(torch.empty(*shape, dtype=torch.float64).normal_(generator=source))
        return drawn[-1]

    patch.setattr(torch, "randn", lambda *n, **_: normal(n))
    patch.setattr(torch, "randn_like", lambda x: normal(x.shape))
    patch.setattr(torch, "rand", lambda *n, dtype=None, **_: torch.full(
        n if isinstance(n[0], int) else tuple(n[0]), SHARE, dtype=dtype or torch.float32))  # fmt: skip
    patch.setattr(torch, "rand_like", lambda x: torch.full_like(x, SHARE))
    patch.setattr(torch, "randint", lambda low, high, shape, **_: torch.full(
        tuple(shape), low + int(SHARE * (high - low))))  # fmt: skip
    return drawn


def said(world, recipe, without=""):
    """The value of a player's objective by the formulas above."""
    world.shown([AUGMENTATIONS[name][0] for name in recipe.augmentations if name != without])
    value = LOSSES[recipe.loss][world.role == "G"](world.r, world.f)
    if world.role == "G" and "top-k" in recipe.weightings and without != "top-k":
        value = best_half(value, world.f)
    value = value.mean()
    for name in sorted(recipe.terms):
        if TERMS[name][0] == world.role and name != without:
            value = value + TERMS[name][1](world).mean()
    return value


def gradient(world, recipe, without=""):
    return torch.autograd.grad(said(world, recipe, without), world.weights, allow_unused=True)


def move(step, role, images, monkeypatch):
    """What one move changed, and the world before it, twice."""
    before = copy.deepcopy(step.networks)
    with monkeypatch.context() as patch:
        drawn = patched(patch)
        step.move(role, images, None, step.due(role))
    pairs = zip(step.networks[role].parameters(), before[role].parameters(), strict=True)
    return [p.detach() - q.detach() for p, q in pairs], *(World(before, images, drawn, role) for _ in range(2))


def agree(found, expected):
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other.detach(), rtol=2e-5, atol=1e-8)  # some memories are float32


@pytest.mark.parametrize("role", ["D", "G"])
@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in ("loss", "term", "augmentation", "weighting")
                                            for name in EFFECTS[kind]])  # fmt: skip
def test_a_plain_step_follows_the_formula(kind, name, role, monkeypatch):
    recipe = recipe_for(find(kind, name))
    step, images = linear_step(find(kind, name), recipe)
    change, world, again = move(step, role, images, monkeypatch)
    agree(change, [-LR * (torch.zeros_like(p) if g is None else g)
                   for p, g in zip(world.weights, gradient(world, recipe), strict=True)])  # fmt: skip
    concerned = {"term": TERMS.get(name, ("D",))[0] == role, "weighting": role == "G", "loss": False}
    if concerned.get(kind, name != "apa" or role == "D"):  # switched off, the formula says something else
        without = gradient(again, recipe, without=name)
        assert (
            max(float((c + LR * g).abs().max()) for c, g in zip(change, without, strict=True) if g is not None) > 1e-6
        )


def walk(step, recipe, role, images, monkeypatch, moves=2):
    """What the player did in some moves, and its gradients by the formulas; each flat."""
    changes, gradients, losses = [], [], []
    for _ in range(moves):
        change, world, _ = move(step, role, images, monkeypatch)
        value = said(world, recipe)
        found = torch.autograd.grad(value, world.weights)
        changes.append(flat(change))
        gradients.append(flat(found))
        losses.append(float(value.detach()))
    return changes, gradients, losses


@pytest.mark.parametrize("role", ["D", "G"])
@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in ("optimiser", "preset") for name in EFFECTS[kind]])
def test_two_steps_follow_the_optimiser(kind, name, role, monkeypatch):
    recipe = recipe_for(find(kind, name))
    step, images = linear_step(find(kind, name), recipe)
    changes, gradients, _ = walk(step, recipe, role, images, monkeypatch)
    optimiser, beta1, beta2, *rates = PRESETS[name] if kind == "preset" else (name, 0.5, 0.99, LR, LR)
    for number, change in enumerate(changes):
        expected = OPTIMISERS[optimiser](gradients[: number + 1], beta1=beta1, beta2=beta2)
        torch.testing.assert_close(change, -rates[role == "D"] * expected, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_scales_the_step(name, monkeypatch):
    recipe = recipe_for(find("schedule", name))
    step, images = linear_step(find("schedule", name), recipe)
    for dial in build.dials(step, recipe).values():
        dial.turn(250, 1000)
    (change,), (slope,), _ = walk(step, recipe, "D", images, monkeypatch, moves=1)
    torch.testing.assert_close(change, -LR * SCHEDULES[name] * slope, rtol=1e-6, atol=0)


def test_the_rate_scales_the_step_by_the_loss(monkeypatch):
    recipe = recipe_for(find("rate", "gap-aware"))
    step, images = linear_step(find("rate", "gap-aware"), recipe)
    (change,), (slope,), (loss,) = walk(step, recipe, "D", images, monkeypatch, moves=1)
    assert abs(slowed(loss) - 1) > 0.05
    torch.testing.assert_close(change, -LR * slowed(loss) * slope, rtol=1e-6, atol=0)


def test_the_constraint_bounds_what_the_step_leaves(monkeypatch):
    entry = find("constraint", "weight-clipping")
    step, images = linear_step(entry, recipe_for(entry))
    free, _ = linear_step(entry, recipe_for(find("loss", "non-saturating")))
    for one in (step, free):
        move(one, "D", images, monkeypatch)
    weights = [flat(p.detach() for p in one.networks["D"].parameters()) for one in (step, free)]
    assert (weights[1].abs() > 0.01).any()
    torch.testing.assert_close(weights[0], EFFECTS["constraint"][entry.name](weights[1]), rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", SENSORS)
def test_a_reading_is_of_this_move(name, monkeypatch):
    recipe = recipe_for(find("sensor", name))
    step, images = linear_step(find("sensor", name), recipe)
    _, world, _ = move(step, name[0], images, monkeypatch)
    world.shown([])
    expected = float(SENSORS[name](world).mean().detach())
    assert step.meter.read()[name].mean == pytest.approx(expected, rel=1e-6)
