"""One contract over everything registered: known by paper or claim, made with its defaults, callable by hand.

It goes on in test_contract_values.py (numbers worked out by hand), test_contract_steps.py (whole steps and runs),
test_contract_effects.py (what a part does to weights in a linear case) and, on a CUDA device, test_gpu.py.
"""

import inspect

import pytest
import torch
from torch import nn

from equipoise import build, networks
from equipoise.networks import chain
from equipoise.networks.layers import couples_samples
from equipoise.recipe import Recipe
from equipoise.registry import entries
from equipoise.schedules import Schedule
from equipoise.sensors import Sensor
from equipoise.sensors.probes import Probe
from equipoise.signals import SIGNALS
from equipoise.terms import DEFAULTS, Loss, Objective, fact
from equipoise.turn import Turn, parameters

FIELDS = {"labels", "latents", "judge", "generate", "network"} | {
    f"{images}{part}" for images in ("real", "fake") for part in ("", "_logits", "_score", "_gradient", "_features")
}


def each(kind):
    return pytest.mark.parametrize("entry", entries(kind), ids=lambda e: e.name)


NEGATIVE = {"label-smoothing", "zcr-generator", "brownian"}  # linear in the logits, a reward, noise of both signs


class Judge(nn.Sequential):
    """Layers that may be given labels."""

    def forward(self, images, labels=None):
        return super().forward(images)


def turn(role="D", chained=False):
    torch.manual_seed(0)
    judge = Judge(nn.Flatten(), nn.Linear(12, 4), nn.Tanh(), nn.Linear(4, 1), nn.Flatten(0)).double()
    if chained:
        judge = chain.join(judge.insert(2, chain.AdaptiveRMSNorm(4).double()))
    real, fake = (torch.randn(6, 3, 2, 2).double().requires_grad_(True) for _ in range(2))
    generate = nn.Sequential(nn.Linear(4, 12), nn.Tanh(), nn.Unflatten(1, (3, 2, 2))).double()
    return Turn(role, role, real=real, fake=fake, labels=None, latents=torch.randn(6, 4).double(),
                real_logits=judge(real), fake_logits=judge(fake), judge=judge, generate=generate, network=judge,
                real_features=judge[:3](real), fake_features=judge[:3](fake))  # fmt: skip


@pytest.mark.parametrize("entry", entries(), ids=lambda e: f"{e.kind}:{e.name}")
def test_everything_says_where_it_comes_from_and_what_it_is_good_for(entry):
    assert entry.paper or entry.claim
    assert not entry.paper or entry.paper.startswith(("arXiv:", "https://", "doi:")), entry.paper
    assert ("\n" not in entry.claim and not entry.claim.endswith(".")) or entry.kind == "sensor"
    assert entry.name == entry.name.strip() and " " not in entry.name
    about = entry.part.function if isinstance(entry.part, (Sensor, Probe)) else entry.part
    if not isinstance(about, Loss):
        assert inspect.getdoc(about)


@each("loss")
def test_losses(entry):
    loss = entry.part
    assert isinstance(loss, Loss) and len(entry.facts["ideal"]) == 2
    margins = entry.name == "multi-hinge"  # reads two logits of each sample
    for side, role in ((loss.d, "D"), (loss.g, "G")):
        assert set(parameters(side)) <= FIELDS
        made = turn(role)
        if margins:
            made._fields |= {f"{n}_logits": made[f"{n}_logits"][:, None].expand(-1, 2) for n in ("real", "fake")}
        value = made.call(side)
        assert value.shape == (6,) and value.isfinite().all() and value.requires_grad
        logits = torch.zeros(2, 2) if margins else torch.zeros(2)
        by_hand = side(**{name: logits for name in parameters(side)})  # two tensors, in anybody's loop
        assert by_hand.shape == (2,)
        assert inspect.getdoc(side)
    fakes = set() if entry.name == "energy" else {"fake_logits"}  # there they are a term's, which it wants beside it
    assert set(parameters(loss.d)) == {"real_logits"} | fakes


@each("term")
def test_terms(entry):
    term = entry.part().double()
    assert set(parameters(term)) <= FIELDS and fact(term, "role") in ("D", "G") and fact(term, "every") == 1
    buffers = dict(term.named_buffers())
    for name in fact(term, "dials"):
        assert buffers[name].dim() == 0
        assert inspect.signature(entry.part).parameters[name].default == pytest.approx(float(buffers[name]))
    value = turn(fact(term, "role"), chained=entry.name == "chain").call(term)
    assert value.shape in ((6,), (1,)) and value.isfinite().all()  # per sample, or of the batch or a network
    assert entry.name in NEGATIVE or (value >= 0).all()
    assert all(type(fact(term, name)) is type(default) for name, default in DEFAULTS.items())
    lazy = Objective(
        Loss(lambda real_logits: real_logits, lambda fake_logits: fake_logits), {"it": entry.part(every=3)}
    )
    role, other = ("D", "G") if fact(term, "role") == "D" else ("G", "D")
    assert [bool(lazy.due(role, move)) for move in range(7)] == [True, False, False, True, False, False, True]
    assert not lazy.due(other, 0)
    assert {"treats", "cost"} <= set(entry.facts)


@each("schedule")
def test_schedules(entry):
    assert entry.part(0.0) == 0.0 and 0 <= entry.part(0.37) <= 1
    assert Schedule(entry.name).factor(0, 1000) == 1.0


@each("sensor")
def test_sensors(entry):
    assert entry.name == entry.part.name == f"{entry.part.role}.{entry.part.function.__name__}"
    assert set(parameters(entry.part.function)) <= FIELDS | {"pull"}
    made = turn(entry.part.role)
    made.add(pull=torch.randn(6, 3, 2, 2))
    value = entry.part(made)
    assert value.dim() == 1 and len(value) in (1, 6) and value.isfinite().all()


@each("probe")
def test_probes(entry):
    assert entry.name == entry.part.name == entry.part.function.__name__
    assert entry.part.tells and set(entry.part.tells) <= set(SIGNALS) and entry.part.every >= 1
    assert "cost" in entry.facts


@each("network")
def test_networks(entry):
    generator, discriminator = networks.build(entry.name, (1, 8, 8), latent_dim=4, width=4)
    assert isinstance(couples_samples(discriminator), list)
    assert discriminator(generator(torch.randn(3, 4), None), None).shape == (3,)
    assert all(parameter.default is not inspect.Parameter.empty
               for name, parameter in inspect.signature(entry.part).parameters.items()
               if name not in ("shape", "latent_dim"))  # fmt: skip


@each("initialisation")
def test_initialisations(entry):
    options = {"norm_D": "none"}  # some set a weight to zero, which spectral norm would divide by
    for network in networks.build("resnet", (1, 8, 8), latent_dim=4, width=4, init=entry.name, options=options):
        assert all(p.isfinite().all() for p in network.parameters())


@each("recipe")
def test_recipes(entry):
    shape = (2,) if entry.name in ("ring", "grid") else (1, 8, 8)
    recipe = entry.part(shape, 1000)
    assert isinstance(recipe, Recipe) and recipe.name == entry.name
    small = recipe.with_values({"network.width": 4})
    assert build.assemble(small, *build.players(small, shape, 0), torch.device("cpu"))
