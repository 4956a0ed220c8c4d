"""Faults put in on purpose: the sentence must name the player and the thing."""

import math

import pytest
import torch
from torch import nn

from equipoise import faults
from equipoise.sensors import Meter
from equipoise.terms import Loss
from plants import batch_of, changed, play, small_step, snapshot

NETWORK = {"options": {"depth": 2, "norm_D": "spectral", "norm_G": "batch"}}


def step_of(**changes):
    return small_step(dtype=torch.float32, **({"network": dict(NETWORK)} | changes))


def broken_layer(module, bad):
    """Spoil a layer's output for one sample; the hook runs in the replay too."""

    def spoil(layer, inputs, output):
        factor = torch.ones(len(output)).index_fill(0, torch.tensor([2]), bad)
        return output * factor.reshape(-1, *[1] * (output.dim() - 1))

    return module.register_forward_hook(spoil)


def skip(step, role, images=None):
    """One move that must be skipped."""
    step.move(role, *(batch_of(step, 0) if images is None else (images, None)), step.due(role))
    assert bool(step.alarm[role])
    return faults.locate(step, role)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("role", ["D", "G"])
def test_a_bad_layer_of_either_network_is_named_in_either_players_move(role, bad):
    for player, path in (("G", "trunk.3"), ("D", "trunk.3"), ("G", "output")):
        if player == "G" and bad == math.inf:
            continue  # tanh makes 1 of it, and the discriminator learns on
        step = play(step_of(loss="rpgan"), 1)
        broken_layer(step.networks[player].get_submodule(path), bad)
        assert skip(step, role) == f"the output of {player}'s layer {path}"


@pytest.mark.parametrize("role", ["D", "G"])
def test_a_bad_real_image(role):
    images = torch.rand(8, 1, 8, 8)
    images[5, 0, 0, 0] = math.nan
    step = step_of(loss="rpgan")
    assert skip(step, role, images) == "a real image of the batch"


def test_bad_weights():
    step = step_of()
    step.networks["D"].output.bias.data.fill_(math.nan)
    assert skip(step, "G") == "D's weights output.bias"


def test_a_bad_buffer():
    step = step_of()
    step.networks["G"].trunk[1].running_var.fill_(math.nan)
    step.networks["G"].eval()
    assert skip(step, "D") == "G's weights trunk.1.running_var"


class Broken(nn.Module):
    role, every, dials, differentiates, couples_samples = "D", 1, (), False, False

    def __init__(self, kind):
        super().__init__()
        self.kind = kind

    def forward(self, real_score):
        if self.kind == "value":
            return real_score * math.inf - real_score * math.inf
        return (real_score * 0).abs().sqrt()  # 0, with a slope of infinity times zero


def test_a_bad_value_of_a_term_and_of_the_loss():
    step = step_of()
    step.objective.terms["anchor"] = Broken("value")
    step.seen.meter = Meter(step.seen._names(step.objective), step.device)
    assert skip(step, "D") == "the value of D's term anchor"
    step = step_of()
    step.objective.loss = Loss(lambda real_logits: real_logits * math.nan, lambda fake_logits: fake_logits / 0)
    assert skip(step, "D") == "the value of D's loss"
    assert skip(step, "G") == "the value of G's loss"


def test_a_bad_gradient_behind_good_values():
    step = step_of(network={"options": {"depth": 2}})
    step.objective.terms["anchor"] = Broken("gradient")
    step.seen.meter = Meter(step.seen._names(step.objective), step.device)
    assert skip(step, "D") == "the gradient of D's term anchor with respect to trunk.0.weight"


def test_a_fault_in_a_penaltys_double_backward_is_the_penaltys():
    class Root(nn.Module):
        """|x|^1.5 has a slope of zero at zero, and an infinite second derivative."""

        def forward(self, x):
            return x.abs() ** 1.5

    step = small_step(dtype=torch.float32, network={"options": {"depth": 1, "norm_D": "none"}}, terms={"r1": {}})
    D = step.networks["D"]
    D.trunk[2] = Root()
    for p in (D.trunk[0].weight, D.trunk[0].bias):
        nn.init.zeros_(p)
    assert skip(step, "D").startswith("the gradient of D's term r1 with respect to trunk.0.")


def test_a_fault_that_has_passed_is_said_to_have_passed():
    step = step_of()
    hook = broken_layer(step.networks["G"].output, math.nan)
    step.move("D", *batch_of(step, 0))
    hook.remove()
    assert "did not come up again" in faults.locate(step, "D")


def test_looking_leaves_everything_as_it_was():
    step = play(step_of(loss="rpgan", network={"options": {"depth": 2, "norm_G": "batch", "norm_D": "spectral"}},
                        terms={"r1": {}, "wgan-gp": {}}), 2)  # fmt: skip
    images = torch.rand(8, 1, 8, 8)
    hook = broken_layer(step.networks["D"].output, math.nan)
    for role in ("D", "G"):
        step.move(role, images, None, step.due(role))
    before, state, moments = snapshot(step), torch.get_rng_state(), step.meter.moments.clone()
    for role in ("D", "G"):
        faults.locate(step, role)
    hook.remove()
    assert changed(before, snapshot(step)) == set()
    assert torch.equal(step.meter.moments, moments)
    assert torch.equal(torch.get_rng_state(), state)
    for net in step.networks.values():
        assert all(p.grad is None and p.requires_grad for p in net.parameters()) and net.training
        assert not any(m._forward_hooks for m in net.modules())
    assert not images.requires_grad
