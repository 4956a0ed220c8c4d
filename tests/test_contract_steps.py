"""The contract in a whole step, for every registered part: the right player, precision, a batch twice over, memory, and
no host read. On a CUDA device each is captured: test_gpu.py."""

import types

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from contract import COMPUTING, KINDS, ROUNDS, Draws, batches, classes_of, each, recipe_of, shape_of, step_of
from equipoise import build, checkpoint
from equipoise.data import from_arrays
from equipoise.errors import InputError
from equipoise.networks.layers import couples_samples
from equipoise.plan import Request, resolve
from equipoise.terms import fact
from equipoise.train import train
from plants import batch_of, changed, snapshot

RUNNING = tuple(kind for kind in KINDS if kind != "sensor")  # all of them are in every run


def play(entry, step, recipe, first, rounds):
    """So many rounds, with whatever schedules turn."""
    dials = build.dials(step, recipe)
    for number in range(first, first + rounds):
        for dial in dials.values():
            dial.turn(8 * number, 8 * ROUNDS)
        step.round(1, batches(entry, recipe, 10 * number))
    return step


# ------------------------------------------------------------------------------------------------ who moves


@each(*COMPUTING)
def test_a_move_changes_its_own_player_only(entry):
    step, recipe = step_of(entry)
    step.round(1, batches(entry, recipe))  # past layers that start at zero
    draw = batches(entry, recipe)
    for role, other in (("D", "G"), ("G", "D")):
        before = {r: [p.detach().clone() for p in net.parameters()] for r, net in step.networks.items()}
        if role == "D":
            step.move("D", *draw(), step.due("D"))
        else:
            step.round(0, draw)  # a rule's round without the discriminator
        moved = {r: [not torch.equal(a, b) for a, b in zip(before[r], step.networks[r].parameters(), strict=True)]
                 for r in before}  # fmt: skip
        assert not any(moved[other]) and sum(moved[role]) > 0.5 * len(moved[role])
        assert all(p.grad is None and p.requires_grad for net in step.networks.values() for p in net.parameters())


# ------------------------------------------------------------------------------------------------ precision


def gradients(entry, monkeypatch, dtype, **changes):
    """What the optimisers saw and did in one move of each player, flat."""
    with monkeypatch.context() as patch:
        step, recipe = step_of(entry, dtype, **changes)
        for optimiser in step.optimisers.values():
            optimiser.eps.fill_(1.0)  # else Adam's first step is a sign, and that of nearly 0 means nothing
        Draws(patch).seed(3)
        step.round(1, batches(entry, recipe))
        seen = step.meter.read()
        assert seen["D.skipped"].mean == 0 == seen["G.skipped"].mean
    found = [t.double() for role in "DG" for t in (step.optimisers[role].gradient, step.optimisers[role].update)]
    return found, step, {name: reading.mean for name, reading in seen.items()}


def apart(one, other):
    return float((one - other).norm() / other.norm())


@each(*COMPUTING)
def test_single_precision_agrees_with_double_and_mixed_with_single(entry, monkeypatch):
    double, *_ = gradients(entry, monkeypatch, torch.float64)
    single, _, plain = gradients(entry, monkeypatch, torch.float32)
    mixed, step, seen = gradients(entry, monkeypatch, torch.float32, mixed=True)
    assert max(list(map(apart, single, double))) < 2e-3
    assert max(list(map(apart, mixed[::2], single[::2]))) < 0.3  # bfloat16 has three digits, and differences fewer
    weights = [p for net in step.networks.values() for p in net.parameters()]
    assert all(p.dtype == torch.float32 and p.isfinite().all() for p in weights)
    if entry.kind == "term":  # fakes come from a generator in bfloat16, and zcr compares two that are nearly equal
        name, near = f"{fact(entry.part, 'role')}.{entry.name}", 1e-3 if entry.name in PENALTIES else 0.1
        assert seen[name] == pytest.approx(plain[name], rel=near)


PENALTIES = ("r1", "approximate-r1", "wgan-gp", "wgan-lp", "0-gp", "dragan")  # D judges in full precision


# ------------------------------------------------------------------------------------------------ batches


def couples(step):
    """Whether something in the step says that what it makes of a sample depends on the others."""
    layers = [layer for net in step.networks.values() for layer in couples_samples(net)]
    parts = [fact(part, "couples_samples") for part in step.objective.parts().values()]
    return bool(layers) or step.objective.loss.couples_samples or any(parts)


def said(entry, monkeypatch, images, latents, size=0):
    """Each player's values per sample, by name, with the same draws."""
    found = {}
    for role in ("D", "G"):
        step, recipe = step_of(entry)
        labels = torch.arange(len(images)) % 2 if classes_of(recipe) else None
        with monkeypatch.context() as patch:
            Draws(patch, size).seed(3)
            made = step.turn(role, images, labels, latents, step.due(role))
            found |= {f"{role}.{n}": v.detach() for n, v in step.objective(made, step.due(role)).items()}
    return found


PER_SAMPLE = ("loss", "term", "augmentation", "weighting", "network", "initialisation")


@each(*PER_SAMPLE)
def test_a_batch_twice_over_says_the_same_or_the_part_says_that_it_couples_samples(entry, monkeypatch):
    if couples(step_of(entry)[0]):
        with pytest.raises(InputError, match="accumulate=2 would change"):
            step_of(entry, accumulate=2)
        return
    torch.manual_seed(1)
    images, latents = torch.rand(8, 1, 8, 8).double(), torch.randn(8, 4).double()
    once = said(entry, monkeypatch, images, latents)
    twice = said(entry, monkeypatch, torch.cat([images, images]), torch.cat([latents, latents]), size=8)
    for name, values in once.items():
        torch.testing.assert_close(twice[name].mean(), values.mean(), rtol=1e-9, atol=1e-12)


ELSEWHERE = {"clc": "it judges what it drew from its buffers", "apa": "a real image gives way to the fake before it"}


@each(*PER_SAMPLE)
def test_other_samples_do_not_matter_or_the_part_says_that_it_couples_samples(entry, monkeypatch):
    """With the second half of a batch exchanged, the values of the first stay, to the rounding of their kernels."""
    if couples(step_of(entry)[0]) or entry.name in ELSEWHERE:
        return
    torch.manual_seed(1)
    images, latents = torch.rand(8, 1, 8, 8).double(), torch.randn(8, 4).double()
    before = said(entry, monkeypatch, images, latents)
    for scale in (1.0, 3.0):  # wilder ones too, which would come first in any order
        other = [torch.cat([batch[:4], scale * torch.randn_like(batch[4:])]) for batch in (images, latents)]
        after = said(entry, monkeypatch, *other)
        for name, values in before.items():
            torch.testing.assert_close(after[name][:4], values[:4], rtol=1e-9, atol=1e-12)
            assert len(values) == 1 or not torch.allclose(after[name][4:], values[4:], rtol=1e-6)


# ------------------------------------------------------------------------------------------------ runs


@each(*RUNNING)
def test_a_short_run_goes_on_from_a_checkpoint_in_the_same_bits(entry, tmp_path):
    straight, recipe = step_of(entry)
    torch.manual_seed(7)
    play(entry, straight, recipe, 0, ROUNDS)
    first, _ = step_of(entry)
    torch.manual_seed(7)
    play(entry, first, recipe, 0, 2)
    saved = checkpoint.save(tmp_path, first, 0, {})
    second, _ = step_of(entry, seed=1)
    checkpoint.load(saved, second)
    play(entry, second, recipe, 2, ROUNDS - 2)
    assert changed(everything(straight), everything(second)) == set()
    assert changed(everything(straight), everything(first)) != set()


def everything(step):
    """The bits of all that a run is made of."""
    return snapshot(step) | step.memory() | step.rule.memory()


@each(*RUNNING)
def test_the_training_loop_takes_it(entry):
    recipe, shape = recipe_of(entry), shape_of(entry)
    torch.manual_seed(0)
    images = torch.randn(40, 2).numpy() if len(shape) == 1 else torch.randint(256, (40, *shape), dtype=torch.uint8)
    classes = classes_of(recipe)
    labels = torch.arange(40).numpy() % classes if classes else None
    dataset = from_arrays(images if len(shape) == 1 else images.numpy(), labels)
    config = resolve(Request("the contract", recipe, kimg=0.03, device="cpu"), dataset).config
    outcome = train(config, dataset)
    assert outcome.samples >= 30 and outcome.step.moves["G"] > 0
    assert all(p.isfinite().all() for net in outcome.step.networks.values() for p in net.parameters())


# ------------------------------------------------------------------------------------------------ no host read


@each(*RUNNING)
def test_no_host_read(entry, monkeypatch):
    """Whole rounds on tensors that have no values, so that whatever looks at one fails."""
    recipe = recipe_of(entry)
    shape, classes = shape_of(entry), classes_of(recipe)
    monkeypatch.setattr(nn.Module, "to", lambda self, *a, **k: self)  # these tensors can neither be moved nor copied
    with FakeTensorMode():
        spare = types.SimpleNamespace(deepcopy=lambda net: build.players(recipe, shape, classes)[0])
        monkeypatch.setattr("equipoise.ema.copy", spare)
        step = build.assemble(recipe, *build.players(recipe, shape, classes), torch.device("cpu"))
        for dial in build.dials(step, recipe).values():
            dial.turn(0, 100)
            dial.tensor.constant = None  # a number just written would otherwise be remembered
        for tensor in [*step.memory().values(), *step.rule.memory().values()]:
            tensor.constant = None
        images, labels = batch_of(None, 0, shape=shape, classes=classes)
        step.round(1, lambda: (images, labels))
