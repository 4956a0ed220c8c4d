"""Path length: on a generator whose derivative is known, with a memory that is kept, and to G alone."""

import math

import pytest
import torch
from torch import nn

from equipoise.errors import InputError
from equipoise.terms.path_length import PathLength
from equipoise.turn import Turn
from plants import play, small_step


def orthonormal(rows, columns, scale=1.0):
    basis, _ = torch.linalg.qr(torch.randn(rows, columns, generator=torch.Generator().manual_seed(0)).double())
    return scale * basis  # [rows, columns]


def mean_chi(k):
    """The mean length of a normal vector of k numbers."""
    return math.sqrt(2) * math.exp(math.lgamma((k + 1) / 2) - math.lgamma(k / 2))


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
@pytest.mark.parametrize(("shape", "pixels"), [((50,), 1), ((3, 5, 4), 20)])
def test_the_length_of_a_scaled_rotation(scale, shape, pixels):
    """G(z) = c Q z with orthonormal columns: |J^T y| = c |Q^T y|, c / sqrt(pixels) times a chi variable."""
    matrix, term = orthonormal(math.prod(shape), 6, scale), PathLength(weight=1.0).double()
    torch.manual_seed(0)
    value = term(torch.randn(20_000, 6).double(), lambda z: (z @ matrix.T).reshape(-1, *shape))
    unit = scale / math.sqrt(pixels)
    assert float(term.length / term.mass) == pytest.approx(unit * mean_chi(6), rel=0.01)
    assert float(value.mean()) == pytest.approx(unit**2 * (6 - mean_chi(6) ** 2), rel=0.05)  # the variance of chi


def test_nothing_is_asked_of_a_generator_whose_every_path_is_as_long():
    """One latent and a sphere of directions: J^T y has one value but for its sign where the image is one number."""
    torch.manual_seed(0)
    signs = [1.0, -1.0, 1.0, 1.0]
    term = PathLength().double()
    generate = lambda z: 3 * z  # noqa: E731
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "randn_like", lambda x: torch.tensor(signs, dtype=x.dtype).reshape(x.shape))
        value = term(torch.randn(4, 1).double(), generate)
    torch.testing.assert_close(value, torch.zeros(4).double(), rtol=0, atol=1e-12)
    assert float(term.length / term.mass) == pytest.approx(3.0)


def test_the_gradient_by_hand_treats_the_mean_as_a_constant():
    """G(z) = s z with y = (1, 2): lengths s and 2s, a = 1.5 s; d/ds of mean (l - a)^2 is mean 2 (l - a) dl/ds."""
    scale = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "randn_like", lambda x: torch.tensor([[1.0], [2.0]], dtype=x.dtype))
        value = PathLength(weight=2.0).double()(torch.randn(2, 1).double(), lambda z: scale * z)
    assert value.detach().tolist() == pytest.approx([2 * 1.5**2] * 2)
    (slope,) = torch.autograd.grad(value.mean(), scale)
    assert float(slope) == pytest.approx(2 * (2 * (-1.5) * 1 + 2 * 1.5 * 2) / 2)


def test_a_generator_that_ignores_its_latents_has_a_finite_gradient():
    weight = torch.zeros(3, 5, requires_grad=True)
    value = PathLength()(torch.randn(4, 3), lambda z: z @ weight)
    (slope,) = torch.autograd.grad(value.mean(), weight)
    assert value.isfinite().all() and slope.isfinite().all()


def test_the_mean_follows_its_closed_form():
    term, decay, lengths = PathLength(decay=0.9).double(), 0.9, []
    for t in range(12):
        scale = 1.0 + t
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch, "randn_like", torch.ones_like)
            term(torch.randn(2, 1).double(), lambda z, scale=scale: scale * z)
        lengths.append(scale)
        weights = [decay ** (t - k) for k in range(t + 1)]
        expected = sum(w * x for w, x in zip(weights, lengths, strict=True)) / sum(weights)
        assert float(term.length / term.mass) == pytest.approx(expected, rel=1e-6)


def test_it_evens_out_a_generator_that_stretches_one_direction():
    """Descending on the term alone: the singular values of a linear generator come together."""
    torch.manual_seed(0)
    generate = nn.Linear(3, 16, bias=False).double()
    with torch.no_grad():
        generate.weight.copy_(orthonormal(16, 3) * torch.tensor([4.0, 1.0, 0.25]))
    term, optimiser = PathLength().double(), torch.optim.Adam(generate.parameters(), 0.02)
    for _ in range(400):
        optimiser.zero_grad()
        term(torch.randn(64, 3).double(), generate).mean().backward()
        optimiser.step()
    values = torch.linalg.svdvals(generate.weight.detach())
    assert float(values[0] / values[-1]) < 2.0  # from 16; y's scatter keeps it from 1


@pytest.mark.parametrize("classes", [0, 3])
def test_it_joins_the_generators_turn_and_reaches_only_the_generator(classes):
    step = small_step(terms={"path-length": {"every": 2}}, classes=classes)
    assert step.due("D") == frozenset() and step.due("G") == {"path-length"}
    play(step, 3, classes=classes)
    readings = step.meter.read()
    assert readings["G.path-length"].n == 16 and readings["G.path-length"].mean > 0  # moves 0 and 2
    images = torch.randint(256, (8, 1, 8, 8), dtype=torch.uint8)
    labels = torch.randint(classes, (8,)) if classes else None
    turn = step.turn("G", images, labels, torch.randn(8, 4).double(), step.due("G"))
    turn.call(step.objective.terms["path-length"]).mean().backward()
    assert all(p.grad is None for p in step.networks["D"].parameters())
    moved = [p.grad is not None and bool(p.grad.abs().sum() > 0) for p in step.networks["G"].parameters()]
    assert sum(moved) > len(moved) / 2 and not turn["latents"].requires_grad


def test_the_memory_is_saved():
    term, other = play(small_step(terms={"path-length": {}}), 2).objective.terms["path-length"], PathLength()
    assert set(term.state_dict()) == {"weight", "length", "mass"} and float(term.mass) == pytest.approx(1 - 0.99**2)
    other.load_state_dict(term.state_dict())
    assert torch.equal(other.length, term.length)


def test_it_can_be_called_by_hand():
    latents = torch.randn(4, 3)
    turn = Turn("G", "G", latents=latents, generate=nn.Linear(3, 7))
    assert turn.call(PathLength()).shape == (4,) and not latents.requires_grad


@pytest.mark.parametrize("decay", [1.0, -0.1, float("nan")])
def test_a_decay_that_makes_no_average_is_refused(decay):
    with pytest.raises(InputError, match="decay="):
        PathLength(decay=decay)
