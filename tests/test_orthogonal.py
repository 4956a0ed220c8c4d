"""Orthogonal regularisation: the paper's value by hand, its gradient, and which weights it takes."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize

from equipoise.initialise import initialise
from equipoise.networks.conditioning import ClassEmbedding, ConditionalBatchNorm
from equipoise.terms.orthogonal import Orthogonal, filters, overlap
from plants import batch_of, play, small_step


def layer(rows):
    linear = nn.Linear(len(rows[0]), len(rows)).double()
    linear.weight.data = torch.tensor(rows, dtype=torch.float64)
    return linear


def test_value_and_gradient_by_hand():
    """W W^T = [[2, 1], [1, 1]]: 1e-4 * 2; the derivative is 4 (W W^T (1 - I)) W, twice what the authors' code adds."""
    linear = layer([[1.0, 1.0], [0.0, 1.0]])
    value = Orthogonal().double()(linear)
    assert value.shape == (1,) and value.tolist() == pytest.approx([2e-4], abs=1e-10)
    value.sum().backward()
    code = 2e-4 * torch.tensor([[0.0, 1.0], [1.0, 1.0]]).double()
    torch.testing.assert_close(linear.weight.grad, 2 * code)
    assert linear.bias.grad is None
    half = layer([[1.0, 1.0], [0.0, 1.0]])
    Orthogonal(5e-5).double()(half).sum().backward()
    torch.testing.assert_close(half.weight.grad, code)


def test_lengths_are_free_and_orthogonal_filters_cost_nothing():
    assert float(overlap(torch.tensor([[3.0, 0.0, 0.0], [0.0, 5.0, 0.0]]))) == 0.0
    torch.manual_seed(0)
    conv = nn.Conv2d(4, 6, 3)
    initialise(conv, "orthogonal")
    assert float(Orthogonal(1.0)(conv).detach()) < 1e-9
    matrix = torch.randn(5, 7, dtype=torch.float64)
    slow = sum(float(matrix[i] @ matrix[j]) ** 2 for i in range(5) for j in range(5) if i != j)
    assert float(overlap(matrix)) == pytest.approx(slow)


def test_layers_add_up_and_embeddings_biases_and_norms_are_left_out():
    network = nn.Sequential(
        nn.Linear(4, 3), nn.Conv2d(2, 5, 3), nn.BatchNorm2d(5), ClassEmbedding(10, 4), ConditionalBatchNorm(5, 10),
        nn.ConvTranspose2d(6, 2, 4), nn.Conv1d(3, 7, 1, bias=False),
    )  # fmt: skip
    found = list(filters(network))
    assert [tuple(matrix.shape) for matrix in found] == [(3, 4), (5, 18), (2, 96), (7, 3)]
    assert torch.equal(found[2], network[5].weight.transpose(0, 1).flatten(1))
    torch.testing.assert_close(Orthogonal(2.0)(network)[0], 2 * sum(map(overlap, found)))


def test_a_parametrised_weight_counts_as_it_is_used():
    equalised, spectral = layer([[1.0, 1.0], [0.0, 1.0]]), layer([[3.0, 0.0], [3.0, 4.0]])
    initialise(equalised, "equalised")
    used = equalised.weight.detach()
    (matrix,) = filters(equalised)
    assert torch.equal(matrix, used) and parametrize.is_parametrized(equalised)
    parametrizations.spectral_norm(spectral).eval()
    assert [torch.equal(m, spectral.weight) for m in filters(spectral)] == [True]
    Orthogonal(1.0).double()(spectral).sum().backward()
    assert spectral.parametrizations.weight.original.grad.abs().sum() > 0
    embedding = parametrizations.spectral_norm(ClassEmbedding(3, 4))
    assert not list(filters(embedding))


def test_a_network_without_weights_costs_nothing():
    assert Orthogonal()(nn.Sequential(nn.Tanh())).tolist() == [0.0]


def test_in_a_step_it_is_the_generators_whatever_the_batch_is_worked_off_in():
    steps = [play(small_step(terms={"orthogonal": {"weight": 0.1}}, accumulate=k), 1) for k in (1, 4)]
    seen = [step.meter.read()["G.orthogonal"].mean for step in steps]
    made = steps[0].turn("G", batch_of(steps[0], 0)[0], None, torch.randn(8, 4).double(), steps[0].due("G"))
    assert made["network"] is steps[0].networks["G"] and seen[0] == pytest.approx(seen[1], rel=1e-5)
    assert "orthogonal" not in steps[0].due("D")
