"""CHAIN: its layer and its loop against closed forms, and what counts as a turn's passes."""

import copy
import math

import pytest
import torch
from torch import nn

from equipoise import build
from equipoise.errors import InputError
from equipoise.networks import build as pair
from equipoise.networks import chain
from equipoise.networks.layers import couples_samples
from equipoise.registry import find
from equipoise.terms.chain import Chain
from plants import batch_of, changed, play, small_recipe, small_step, snapshot
from test_step import fake_moves, family

NETWORK = family("dcgan", norm_D="chain")
FAMILIES = ["dcgan", "mlp", "resnet"]


def judge(name="mlp", **options):
    torch.manual_seed(0)
    return pair(name, (1, 8, 8), latent_dim=4, width=4, options={"norm_D": "chain"} | options)[1]


def shared(network):
    return chain.layers_of(network)[0].shared


# ------------------------------------------------------------------------------------------------ the layer


def test_no_probability_is_the_identity_and_one_brings_all_channels_to_the_smallest():
    layer = chain.AdaptiveRMSNorm(2).double()
    x = torch.randn(4000, 2, 3, 3).double()
    x *= torch.tensor([2.0, 1.0]).double().reshape(2, 1, 1) / x.square().mean((0, 2, 3), keepdim=True).sqrt()
    assert torch.equal(layer(x), x)
    layer.shared.p.fill_(1.0)
    root = layer(x).square().mean((0, 2, 3)).sqrt()
    assert root.tolist() == pytest.approx([1.0, 1.0], abs=1e-5)
    layer.shared.p.fill_(0.25)
    kept = (layer(x) == x).all((2, 3))  # per sample and channel
    assert kept[:, 1].all() and kept[:, 0].double().mean().item() == pytest.approx(0.75, abs=0.03)
    (halved,) = (layer(x)[:, :1] / x[:, :1]).flatten(1).amin(1).unique(sorted=True)[:1]
    assert halved.item() == pytest.approx(0.5, abs=1e-5)


def test_the_smallest_root_is_a_constant_to_the_gradient():
    layer = chain.AdaptiveRMSNorm(2).double()
    layer.shared.p.fill_(1.0)
    x = torch.tensor([[2.0, 1.0]]).double().requires_grad_()
    (gradient,) = torch.autograd.grad(layer(x)[0, 0], x)
    assert (
        gradient.abs().max() < 1e-4
    )  # of x * 1 / |x|: flat but for the epsilon, and nothing reaches the other channel


@pytest.mark.parametrize("dims", [0, 1, 2, 3])
def test_every_dimension(dims):
    layer, x = chain.AdaptiveRMSNorm(3), torch.randn(4, 3, *(5,) * dims)
    layer.shared.p.fill_(0.5)
    assert layer(x).shape == x.shape and layer.eval()(x).shape == x.shape


def test_evaluation_multiplies_by_the_expected_factor_and_judges_each_sample_by_itself():
    layer = chain.AdaptiveRMSNorm(2).double()
    layer.square.copy_(torch.tensor([4.0, 1.0]))
    layer.shared.p.fill_(0.5)
    layer.eval()
    x = torch.randn(3, 2).double()
    torch.testing.assert_close(layer(x), x * torch.tensor([0.75, 1.0]).double(), rtol=1e-5, atol=0)
    assert torch.equal(layer(x)[:1], layer(x[:1]))
    assert layer.square.tolist() == [4.0, 1.0]


def test_the_running_mean_square():
    layer = chain.AdaptiveRMSNorm(1)
    layer(torch.full((2, 1), 3.0))
    assert layer.square.item() == pytest.approx(0.9 + 0.1 * 9)


# ------------------------------------------------------------------------------------------------ which passes count


@pytest.mark.parametrize("name", FAMILIES)
def test_a_discriminator_has_one_probability_and_says_that_it_couples_samples(name):
    network = judge(name)
    layers = chain.layers_of(network)
    assert len(layers) >= 1 and all(layer.shared is layers[0].shared for layer in layers)
    assert couples_samples(network)
    x = torch.randn(4, 1, 8, 8)
    network(x), network(x + 1)
    assert [len(means) for means in shared(network).passes] == [len(layers)] * 2


def test_the_first_two_passes_of_a_training_discriminator_count():
    network, x = judge(), torch.randn(4, 1, 8, 8)
    passes = shared(network).passes
    with torch.no_grad():
        network(x)
    network.eval()(x)
    network.train()
    assert not passes
    for _ in range(3):
        network(x)
    assert len(passes) == 2
    network.requires_grad_(False)
    network(x.requires_grad_())  # the generator's turn
    assert not passes
    network.requires_grad_(True)
    network(x)
    with torch.no_grad():
        next(network.parameters()).add_(1.0)  # an update
    network(x)
    assert len(passes) == 1
    assert len(shared(network).take()) == len(chain.layers_of(network)) and not passes


def test_copies_have_passes_of_their_own():
    network, x = judge(), torch.randn(4, 1, 8, 8)
    network(x)
    twin = copy.deepcopy(network)
    assert not shared(twin).passes and shared(twin) is not shared(network)
    twin(x)
    assert len(shared(twin).passes) == len(shared(network).passes) == 1
    assert all(layer.shared is shared(twin) for layer in chain.layers_of(twin))


# ------------------------------------------------------------------------------------------------ the term


class Fixed(nn.Module):
    """A discriminator that is one layer."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones([], dtype=torch.float64))
        self.norm = chain.AdaptiveRMSNorm(2).double()

    def forward(self, x):
        return self.norm(self.weight * x).sum(1)


def test_the_penalty_by_hand():
    network = chain.join(Fixed())
    term = Chain(weight=20.0, p0=0.1).double()
    network.norm.shared.p.fill_(0.4)
    real, fake = torch.tensor([[1.0, 2.0], [3.0, 2.0]]).double(), torch.tensor([[0.0, 1.0], [0.0, -2.0]]).double()
    score = network(real)
    network(fake)
    value = term(network, score)
    squares = 2.0**2 + 2.0**2 + 0.0 + 0.5**2
    assert value.tolist() == pytest.approx([20 * 0.5 * squares] * 2, rel=1e-6)
    (gradient,) = torch.autograd.grad(value.mean(), network.weight)
    assert gradient.item() == pytest.approx(2 * 20 * 0.5 * squares, rel=1e-6)
    with pytest.raises(InputError, match="found no means"):
        term(network, score)  # a turn's means are read once


@pytest.mark.parametrize(("sign", "score", "change"), [(0.6, 1.0, 1e-3), (0.4, -1.0, -1e-3), (0.5, 0.5, 0.0)])
def test_the_loop(sign, score, change):
    network, term = chain.join(Fixed()), Chain(p0=0.0).double()
    network.norm.shared.p.fill_(0.2)
    term.sign.fill_(sign)
    scores = torch.tensor([1.0, score]).double() if change == 0 else torch.full((2,), score).double()
    if change == 0:
        term.target, scores = 0.55, torch.ones(2).double()  # 0.9 * 0.5 + 0.1: at the target
    network(torch.randn(2, 2).double())
    term(network, scores)
    assert term.sign.item() == pytest.approx(0.9 * sign + 0.1 * scores.sign().mean().item())
    assert network.norm.shared.p.item() == pytest.approx(0.2 + change, abs=1e-6)


def test_the_loop_is_held_to_probabilities_and_waits_for_its_start():
    network, term = chain.join(Fixed()), Chain(rate=0.3, start_kimg=0.006)
    found = []
    for score in [1.0] * 14 + [-1.0] * 20:
        network(torch.randn(2, 2).double())
        term(network, torch.full((2,), score).double())
        found.append(round(network.norm.shared.p.item(), 6))
    e, p, expected = 0.0, 0.0, []
    for move, score in enumerate([1.0] * 14 + [-1.0] * 20):
        e = 0.9 * e + 0.1 * score
        p = min(max(p + (0.3 * math.copysign(1, e - 0.5) if move >= 2 else 0.0), 0.0), 1.0)
        expected.append(round(p, 6))
    assert found == pytest.approx(expected, abs=1e-5)
    assert max(found) == 1.0 and found[-1] == 0.0 and found[:6] == [0.0] * 6


def test_a_step_uses_the_means_of_reals_and_fakes():
    step = small_step(network=NETWORK, loss="hinge", terms={"chain": {"weight": 3.0, "p0": 1.0}})
    seen = []
    for layer in chain.layers_of(step.networks["D"]):
        layer.register_forward_pre_hook(lambda m, inputs: seen.append(inputs[0].mean([0, 2, 3]).square().sum().item()))
    step.move("D", *batch_of(step, 0), step.due("D"))
    assert len(seen) == 2 * len(chain.layers_of(step.networks["D"]))
    assert step.meter.read()["D.chain"].mean == pytest.approx(3 * sum(seen), rel=1e-5)


def test_other_passes_of_a_turn_leave_it_alone():
    """Consistency judges again, before the term or after it; the term still says the same."""
    found = []
    for terms in ({}, {"bcr": {}}, {"cr": {}}):
        step = small_step(network=NETWORK, loss="hinge", terms={"chain": {}} | terms)
        torch.manual_seed(3)
        step.move("D", *batch_of(step, 0), step.due("D"))
        found.append(step.meter.read()["D.chain"].mean)
        play(step, 2)
        assert step.meter.read()["D.skipped"].mean == 0
    assert found == pytest.approx([found[0]] * 3, rel=1e-6)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("steps", [1, 3])
def test_both_players_move_and_the_probability_follows(name, steps):
    step = small_step(network=family(name, norm_D="chain"), loss="non-saturating",
                      terms={"chain": {"target": -1.0, "every": 2}})  # fmt: skip
    for number in range(4):
        for _ in range(steps):
            step.move("D", *batch_of(step, number), step.due("D"))
            step.moves["D"] += 1
        step.move("G", *batch_of(step, number), step.due("G"))
    due = 4 * steps // 2
    assert shared(step.networks["D"]).p.item() == pytest.approx(0.001 * due, abs=1e-6)
    found = step.meter.read()
    assert found["D.skipped"].mean == found["G.skipped"].mean == 0


def test_a_skipped_update_undoes_the_loop():
    step = play(small_step(network=NETWORK, loss="hinge", terms={"chain": {"target": -1.0}}, dtype=torch.float32), 2)
    before = snapshot(step)
    images = torch.rand(8, 1, 8, 8)
    images[0] = math.nan
    step.move("D", images, None, step.due("D"))
    assert changed(before, snapshot(step)) == set()
    step.move("D", *batch_of(step, 0), step.due("D"))
    assert any(name.endswith("shared.p") for name in changed(before, snapshot(step)))


@pytest.mark.parametrize(("name", "classes"), [("mlp", 0), ("dcgan", 3), ("resnet", 0)])
def test_no_host_read(monkeypatch, name, classes):
    fake_moves(monkeypatch, family(name, norm_D="chain"), classes, loss="hinge", terms={"chain": {"every": 2}})


def test_mixed_precision():
    step = play(small_step(network=NETWORK, loss="hinge", terms={"chain": {}}, dtype=torch.float32, mixed=True), 2)
    found = step.meter.read()
    assert found["D.skipped"].mean == 0 and math.isfinite(found["D.chain"].mean)


# ------------------------------------------------------------------------------------------------ refusals


def test_refusals():
    with pytest.raises(InputError, match=r"half of a technique; switch on network\.norm_D=chain"):
        small_step(loss="hinge", terms={"chain": {}})
    with pytest.raises(InputError, match=r"network\.norm_D=chain"):  # by hand, in anybody's loop
        Chain()(nn.Linear(2, 2), torch.zeros(2))
    with pytest.raises(InputError, match="accumulate=2"):
        small_step(network=NETWORK, loss="hinge", accumulate=2)
    with pytest.raises(InputError, match="for each image by itself"):
        small_step(network=NETWORK, loss="hinge", terms={"r1": {}})
    for settings in ({"target": 1.5}, {"p0": -1.0}, {"rate": -0.1}, {"start_kimg": -1.0}):
        with pytest.raises(InputError, match="target"):
            Chain(**settings)


@pytest.mark.parametrize("loss", ["rpgan", "relativistic-average", "wasserstein"])
def test_losses_whose_logits_have_no_zero_are_refused(loss):
    assert loss in find("term", "chain").facts["incompatible"]
    with pytest.raises(InputError, match="leaves a constant in the logits free"):
        build.objective(small_recipe(network=NETWORK, loss=loss, terms={"chain": {}}))
