"""All terms and coupled losses in a whole step: no host read, the right player, precision, memory, refusals."""

import copy
import math

import pytest
import torch

from equipoise.errors import InputError
from equipoise.registry import entries, find
from equipoise.step import frozen
from equipoise.terms import fact
from plants import batch_of, changed, play, small_step, snapshot
from test_contract import turn
from test_step import fake_moves, family

TERMS = [e.name for e in entries("term") if "wants" not in e.facts]  # halves of a technique are tested with the other
COUPLED = [name for name in TERMS if fact(find("term", name).part, "couples_samples")]
MEMORY = ["lecam", "path-length", "diggan", "clc"]
AVERAGES = [entry.name for entry in entries("loss") if entry.part.couples_samples]


def test_the_terms_are_these():
    own = {"r1", "r2", "wgan-gp", "0-gp", "dragan", "approximate-r1", "label-smoothing", "lecam", "cr", "bcr"}
    assert own | {"path-length", "logit-drift"} <= set(TERMS)
    assert set(COUPLED) >= {"dragan", "lecam", "path-length"} and len(AVERAGES) == 4


@pytest.mark.parametrize("term", TERMS)
def test_no_host_read_with_classes(monkeypatch, term):
    fake_moves(monkeypatch, family("dcgan"), 3, terms={term: {"every": 2}})


@pytest.mark.parametrize("term", TERMS)
def test_it_reaches_its_own_player_only(term):
    step = play(small_step(terms={term: {}}), 1)
    part = step.objective.terms[term]
    role = fact(part, "role")
    own, other = step.networks[role], step.networks["G" if role == "D" else "D"]
    with frozen(other):
        made = step.turn(role, batch_of(step, 0)[0], None, torch.randn(8, 4).double(), step.due(role))
        value = made.call(part).mean()
    value.backward(inputs=[*own.parameters(), *other.parameters()])
    assert any(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in own.parameters())
    assert not any(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in other.parameters())


@pytest.mark.parametrize("term", TERMS)
def test_with_no_strength_it_changes_no_gradient_and_with_some_it_does(term):
    (dial,) = fact(find("term", term).part, "dials")
    plain, off, on = (small_step(terms=terms) for terms in ({}, {term: {dial: 0.0}}, {term: {}}))
    role = fact(on.objective.terms[term], "role")
    for step in (plain, off, on):
        torch.manual_seed(5)
        step.move(role, *batch_of(step, 0), step.due(role))
    seen = [step.optimisers[role].state["first"] for step in (plain, off, on)]
    torch.testing.assert_close(seen[0], seen[1], rtol=0, atol=1e-12)
    assert not torch.allclose(seen[0], seen[2], rtol=0, atol=1e-7)


@pytest.mark.parametrize("term", [name for name in TERMS if name not in COUPLED])
def test_a_term_that_treats_each_sample_by_itself_may_be_worked_off_in_parts(term):
    play(small_step(terms={term: {}}, accumulate=4), 1)


@pytest.mark.parametrize("term", COUPLED)
def test_a_coupled_term_is_not_worked_off_in_parts(term):
    with pytest.raises(InputError, match=f"accumulate=2 would change what {term} computes"):
        small_step(terms={term: {}}, accumulate=2)


@pytest.mark.parametrize("loss", AVERAGES)
def test_a_coupled_loss_is_not_worked_off_in_parts(loss):
    with pytest.raises(InputError, match=f"accumulate=2 would change what the loss {loss} computes"):
        small_step(loss=loss, accumulate=2)
    step = play(small_step(loss=loss, terms={"r1": {}}), 2)
    assert step.objective.reads("G", "real_logits") and step.meter.read()["G.loss"].n == 16


@pytest.mark.parametrize("term", MEMORY)
def test_a_memory_is_undone_with_a_skipped_update(term):
    step = play(small_step(terms={term: {}}, dtype=torch.float32), 2)
    role = fact(step.objective.terms[term], "role")
    before = snapshot(step)
    images = torch.rand(8, 1, 8, 8)
    images[0] = math.nan
    if role == "G":
        parameter = next(step.networks["D"].parameters())
        kept = parameter.detach().clone()
        parameter.data.fill_(math.nan)
    step.move(role, images, None, step.due(role))
    if role == "G":
        parameter.data.copy_(kept)
    assert changed(before, snapshot(step)) == set()
    step.move(role, *batch_of(step, 0), step.due(role))
    assert any("objective" in name for name in changed(before, snapshot(step)))


@pytest.mark.parametrize("term", MEMORY)
def test_a_memory_goes_on_where_it_stopped(term):
    """Restored from its state, the term says to the bit what it would have said."""
    shape = (12,)  # as many numbers as the turn's images have
    step = play(small_step(shape, terms={term: {}}), 3, shape=shape)
    part = step.objective.terms[term]
    other = small_step(shape, terms={term: {}}).objective
    fresh = copy.deepcopy(other.terms[term])
    other.load_state_dict(copy.deepcopy(step.objective.state_dict()))
    role = fact(part, "role")
    said = []
    for one in (part, other.terms[term], fresh):
        made = turn(role)
        torch.manual_seed(1)
        said.append(made.call(one).detach())
    assert torch.equal(said[0], said[1]) and not torch.equal(said[0], said[2])
