"""Turns: fields by name, scores on demand, heads that weigh the same."""

import functools

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from equipoise import turn as module
from equipoise.turn import Turn, parameters, per_sample, score


def hinge(real_logits):
    return F.relu(1 - real_logits)


def test_fields_are_passed_by_name_whatever_the_order():
    turn = Turn("D", "D", a=torch.tensor([1.0, 2.0]), b=torch.tensor([10.0, 20.0]), unread=object())
    assert turn.call(lambda b, a: b - a).tolist() == [9.0, 18.0]
    assert turn["a"].tolist() == [1.0, 2.0] and "a" in turn and "c" not in turn


def test_a_missing_field_names_itself_unless_it_has_a_default():
    turn = Turn("critic of texture", "D", real=torch.ones(2, 3))
    with pytest.raises(KeyError, match=r"critic of texture has no field 'mel'; it has real"):
        turn.call(lambda mel: mel)
    assert turn.call(lambda real, mel=None: real.mean(1) if mel is None else mel).tolist() == [1.0, 1.0]
    assert Turn("D", "D", real=torch.ones(2), mel=torch.zeros(2)).call(
        lambda real, mel=None: real if mel is None else mel
    ).tolist() == [0.0, 0.0]  # fmt: skip


def test_keyword_only_parameters_are_read_and_collectors_are_not():
    def technique(real, *args, fake, **rest):
        assert not args and not rest
        return real - fake

    assert parameters(technique) == {"real": True, "fake": True}
    assert Turn("D", "D", real=torch.ones(2), fake=torch.ones(2)).call(technique).tolist() == [0.0, 0.0]


def test_a_module_is_read_by_its_forward_and_a_partial_by_what_is_left():
    class Technique(nn.Module):
        def forward(self, fake):
            return 2 * fake

    def scaled(scale, fake):
        return scale * fake

    turn = Turn("G", "G", fake=torch.tensor([1.0]))
    assert turn.call(Technique()).tolist() == [2.0]
    assert turn.call(functools.partial(scaled, 3.0)).tolist() == [3.0]


def test_bound_methods_do_not_share_what_was_looked_up():
    class Techniques:
        def first(self, real):
            return real

        def second(self, fake):
            return fake

    turn, techniques = Turn("D", "D", real=torch.tensor([1.0]), fake=torch.tensor([2.0])), Techniques()
    assert [turn.call(m).item() for m in (techniques.first, techniques.second, techniques.first)] == [1.0, 2.0, 1.0]


def test_names_are_looked_up_once_per_technique(monkeypatch):
    def technique(real):
        return real

    calls, real = [], module.inspect.signature
    monkeypatch.setattr(module.inspect, "signature", lambda f: calls.append(f) or real(f))
    turn = Turn("D", "D", real=torch.ones(2))
    for _ in range(3):
        turn.call(technique)
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (torch.tensor(3.0), [3.0]),
        (torch.tensor([1.0, 2.0]), [1.0, 2.0]),
        (torch.tensor([[1.0, 3.0], [5.0, 7.0]]), [2.0, 6.0]),
        (torch.arange(8.0).reshape(2, 1, 2, 2), [1.5, 5.5]),
    ],
)
def test_everything_but_the_batch_is_averaged(value, expected):
    assert per_sample(value).tolist() == expected
    assert Turn("D", "D", x=value).call(lambda x: x).tolist() == expected


def test_the_function_runs_before_the_mean_over_a_patch_map():
    logits = torch.tensor([[3.0, -1.0]])  # mean 1: hinge of the mean is 0, mean of the hinges is 1
    assert Turn("D", "D", real_logits=logits).call(hinge).tolist() == [1.0]


def test_heads_of_different_sizes_weigh_the_same():
    small, large = torch.tensor([[1.0], [0.0]]), torch.zeros(2, 1, 3, 3)
    turn = Turn("D", "D", real_logits=[small, large])
    assert turn.call(hinge).tolist() == [0.5, 1.0]
    assert score([small, large]).tolist() == [0.5, 0.0]
    assert turn["real_score"].tolist() == [0.5, 0.0] and "real_score" in turn and "fake_score" not in turn


def test_heads_are_paired_with_each_other():
    turn = Turn("D", "D", real_logits=[torch.tensor([1.0]), torch.tensor([10.0])],
                fake_logits=[torch.tensor([3.0]), torch.tensor([20.0])])  # fmt: skip
    assert turn.call(lambda real_logits, fake_logits: fake_logits - real_logits).tolist() == [6.0]


def test_a_technique_that_asks_for_scores_runs_once():
    calls = []

    def technique(real_score):
        calls.append(real_score)
        return real_score

    Turn("D", "D", real_logits=[torch.ones(2), torch.ones(2)]).call(technique)
    assert len(calls) == 1


def test_a_score_is_formed_once_and_carries_the_gradient():
    logits = torch.ones(2, 4, requires_grad=True)
    turn = Turn("D", "D", fake_logits=logits)
    assert turn["fake_score"] is turn["fake_score"]
    turn["fake_score"].sum().backward()
    assert torch.equal(logits.grad, torch.full((2, 4), 0.25))
