"""Update rules against the reference numbers of games small enough to follow by hand, played through whole steps."""

import math

import pytest
import torch
from torch import nn

from equipoise import build, optimisers
from equipoise.ema import EMA
from equipoise.errors import InputError
from equipoise.recipe import Recipe
from equipoise.registry import entries, find
from equipoise.step import Step
from equipoise.terms import Objective
from plants import batch_of, changed, small_recipe, small_step, snapshot
from test_step import family


class Point(nn.Module):
    """A generator whose every sample is theta."""

    latent_dim, num_classes = 1, 0

    def __init__(self):
        super().__init__()
        self.theta = nn.Parameter(torch.ones(1, 1, dtype=torch.float64))

    def forward(self, latents, labels=None):
        return self.theta.expand(len(latents), 1)


class Slope(nn.Module):
    """D(x) = psi x."""

    num_classes = 0

    def __init__(self):
        super().__init__()
        self.psi = nn.Parameter(torch.ones(1, dtype=torch.float64))

    def forward(self, images, labels=None):
        return (images * self.psi).squeeze(1)


def dirac(rule=None, loss="non-saturating", lr=0.1, optimiser="sgd", terms=None, rates=None):
    """The Dirac-GAN with both weights at 1 and plain gradient steps, as a whole step."""
    G, D = Point(), Slope()
    parts = {name: find("term", name).part(**own) for name, own in (terms or {}).items()}
    made = {role: optimisers.make(optimiser, net.parameters(), lr=lr, beta1=0.0) for role, net in (("D", D), ("G", G))}
    recipe = Recipe(rules=rule or {}, rates=rates or {}, loss=loss)
    objective = Objective(find("loss", loss).part, parts).double()
    held = {name: part.double() for name, part in build.rates(recipe, objective).items()}
    return Step(G, D, objective, made, EMA(G), rule=build.rule(recipe).double(), rates=held)


def norm(step, rounds):
    """The distance from the equilibrium after so many rounds on data that lie at 0."""
    real = torch.zeros(1, 1, dtype=torch.float64)
    for _ in range(rounds):
        step.round(1, lambda: (real, None))
    weights = [next(step.networks[role].parameters()).detach() for role in "DG"]
    return math.hypot(*(float(w) for w in weights))


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ({"rule": {"simultaneous": {}}}, 0.467251),
        ({}, 0.281040),
        ({"terms": {"r1": {"gamma": 0.1}}}, 0.00489783),
        ({"rule": {"extragradient": {}}}, 0.127427),
        ({"rule": {"simultaneous": {}}, "optimiser": "optimistic-sgd"}, 0.127180),
        ({"rule": {"lookahead": {"every": 5, "share": 0.5}}}, 0.136633),
        ({"rule": {"lookahead": {}, "simultaneous": {}}}, 0.215375),
        ({"rates": {"gap-aware": {}}}, 0.195220),
        ({"loss": "wasserstein"}, 1.39926),
        ({"loss": "hinge"}, 1.39926),
    ],
    ids=str,
)
def test_dirac_gan_after_a_thousand_rounds(case, expected):
    assert norm(dirac(**case), 1000) == pytest.approx(expected, rel=5e-6)


def test_consensus_on_the_dirac_gan():
    assert norm(dirac(rule={"consensus": {"weight": 1.0}}), 1000) == pytest.approx(3.7e-11, rel=0.02)


RADII = [
    ({"simultaneous": {}}, "sgd", 0.1, 1.004988), ({"simultaneous": {}}, "sgd", 0.5, 1.118034),
    ({}, "sgd", 0.5, 1.0),
    ({"extragradient": {}}, "sgd", 0.1, 0.995038), ({"extragradient": {}}, "sgd", 0.5, 0.901388),
    ({"simultaneous": {}}, "optimistic-sgd", 0.1, 0.994936),
    ({"lookahead": {}, "simultaneous": {}}, "sgd", 0.5, 0.647448**0.2),
    ({"lookahead": {}}, "sgd", 0.5, 0.302577**0.2),
    ({"consensus": {"weight": 1.0}}, "sgd", 0.1, 0.905539), ({"consensus": {"weight": 1.0}}, "sgd", 0.5, 0.707107),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "optimiser", "lr", "radius"), RADII, ids=str)
def test_the_spectral_radius_on_the_bilinear_game(rule, optimiser, lr, radius):
    """With the Wasserstein loss and data at 0 the Dirac-GAN is the game xy."""
    step = dirac(rule, "wasserstein", lr, optimiser)
    early, more = norm(step, 20), 60 if radius > 0.7 else 20
    assert (norm(step, more) / early) ** (1 / more) == pytest.approx(radius, rel=0.006)


def test_unrolling_looks_through_the_steps_of_the_discriminator():
    """psi_K = psi - K lr theta under the Wasserstein loss f - r, so dL_G / dtheta = -(psi - 2 K lr theta)."""
    step = dirac({"unrolled": {"steps": 3}}, "wasserstein", 0.1)
    step.round(0, lambda: (torch.zeros(1, 1, dtype=torch.float64), None))
    gradient = -(1.0 - 2 * 3 * 0.1 * 1.0)
    assert float(step.networks["G"].theta.detach()) == pytest.approx(1.0 - 0.1 * gradient, abs=1e-7)
    assert float(step.networks["D"].psi.detach()) == 1.0


RULES = [entry.name for entry in entries("rule")]


def whole(rule, **changes):
    return small_step(rules={rule: {}}, **{"network": family("mlp", norm_D="spectral", norm_G="batch"), **changes})


def rounds(step, count, moves=1, seed=5, classes=0):
    torch.manual_seed(seed)
    numbers = iter(range(10_000))
    for _ in range(count):
        step.round(moves, lambda: batch_of(step, next(numbers), classes=classes))
    return step


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("moves", [0, 1, 3])
def test_every_rule_counts_its_moves_and_moves_both_players(rule, moves):
    step = whole(rule)
    before = snapshot(step)
    rounds(step, 2, moves)
    assert step.moves == {"D": 2 * moves, "G": 2}
    names = changed(before, snapshot(step))
    assert any(name.startswith("G.") for name in names)
    assert any(name.startswith("D.trunk") and "original" in name for name in names) == (moves > 0)


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_takes_classes_terms_and_comparing_losses(rule):
    step = whole(rule, loss="rpgan", terms={"r1": {}, "lecam": {}}, classes=3, network=family("mlp"))
    found = rounds(step, 3, classes=3).meter.read()
    assert found["D.skipped"].mean == 0 and found["G.skipped"].mean == 0 and found["D.r1"].n > 0


def test_extragradient_advances_buffers_once_a_round():
    plain, double = whole("simultaneous"), whole("extragradient")
    for step in (plain, double):
        rounds(step, 1)
    count = "G.trunk.1.num_batches_tracked"
    assert snapshot(plain)[count] == snapshot(double)[count]


def test_the_average_follows_the_slow_weights():
    step = small_step(rules={"lookahead": {"every": 3}}, ema_kimg=0.0)
    start = [p.clone() for p in step.ema.average.parameters()]
    rounds(step, 2)
    assert all(torch.equal(a, b) for a, b in zip(start, step.ema.average.parameters(), strict=True))
    rounds(step, 1)
    pairs = zip(step.ema.average.parameters(), step.networks["G"].parameters(), strict=True)
    assert all(torch.allclose(a, b) for a, b in pairs)
    assert any(not torch.equal(a, b) for a, b in zip(start, step.ema.average.parameters(), strict=True))


@pytest.mark.parametrize("rule", ["simultaneous", "extragradient", "consensus"])
def test_a_joint_move_that_is_not_finite_leaves_the_buffers_as_they_were(rule):
    step = rounds(whole(rule, dtype=torch.float32), 2)
    before = snapshot(step)
    images = torch.full((8, 1, 8, 8), math.nan)
    step.round(1, lambda: (images, None))
    names = changed(before, snapshot(step))
    assert not any(name.startswith(("D.", "objective")) for name in names), names


def test_what_cannot_be_is_said():
    with pytest.raises(InputError, match="keep one"):
        build.rule(small_recipe(rules={"simultaneous": {}, "extragradient": {}}))
    with pytest.raises(InputError, match="set accumulate=1"):
        small_step(rules={"unrolled": {}}, accumulate=2)
    with pytest.raises(InputError, match="set accumulate=1"):
        rounds(small_step(rules={"consensus": {}}, accumulate=2), 1)
    for rule, own in (("lookahead", {"every": 0}), ("lookahead", {"share": 0.0}), ("consensus", {"weight": -1.0}),
                      ("unrolled", {"steps": 0})):  # fmt: skip
        with pytest.raises(InputError, match=rule):
            build.rule(small_recipe(rules={rule: own}))
