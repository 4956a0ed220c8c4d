"""Consistency: how images are moved, against slow obvious code, and what it asks of whom."""

import pytest
import torch
from torch import nn

from equipoise.errors import InputError
from equipoise.terms.consistency import BCR, CR, moved
from equipoise.turn import Turn
from plants import batch_of, small_step


def reflected(row, offset, size):
    place = row + offset
    while not 0 <= place < size:
        place = -place if place < 0 else 2 * (size - 1) - place
    return place


def test_every_image_is_a_whole_move_of_itself_and_every_move_occurs():
    """Each result must equal, to the bit, one of the 5 x 5 x 2 moves written out pixel by pixel."""
    size, image = 8, torch.arange(64.0).reshape(8, 8)
    known = {}
    for dy in range(-2, 3):
        for dx in range(-2, 3):
            rows, columns = ([reflected(i, d, size) for i in range(size)] for d in (dy, dx))
            known[dy, dx, False] = image[rows][:, columns]
            known[dy, dx, True] = known[dy, dx, False].flip(1)
    torch.manual_seed(0)
    result = moved(image.expand(2000, 3, 8, 8), shift=0.25, flip=True)
    found = [[move for move, other in known.items() if torch.equal(one[0], other)] for one in result]
    assert all(len(moves) == 1 for moves in found) and {moves[0] for moves in found} == set(known)
    assert 800 < sum(flipped for ((_, _, flipped),) in found) < 1200
    assert torch.equal(result[:, 0], result[:, 1]) and torch.equal(result[:, 0], result[:, 2])


@pytest.mark.parametrize("shape", [(4, 2, 9), (4, 1, 8, 6), (4, 2, 4, 5, 6)])
def test_any_number_of_axes(shape):
    images = torch.randn(*shape)
    torch.manual_seed(1)
    result = moved(images, 0.5, False)
    assert result.shape == shape and not torch.equal(result, images)
    assert all(set(a.flatten().tolist()) <= set(b.flatten().tolist()) for a, b in zip(result, images, strict=True))
    assert torch.equal(moved(images, 0.0, False), images)
    assert moved(images, 0.99, True).shape == shape  # as far as reflection reaches


def turn(judge, real, fake):
    return Turn("D", "D", real=real, fake=fake, real_logits=judge(real), fake_logits=judge(fake), judge=judge)


def test_values_by_hand(monkeypatch):
    """D(x) = 2 x with T(x) = x + 0.5: 10 (2 * 0.5)^2 = 10 for the reals, as much again for the fakes."""
    monkeypatch.setattr("equipoise.terms.consistency.moved", lambda x, shift, flip: x + 0.5)
    real, fake = torch.randn(3, 1, 1).double(), torch.randn(3, 1, 1).double()
    made = turn(lambda x: 2 * x.flatten(), real, fake)
    torch.testing.assert_close(made.call(CR()), torch.full((3,), 10.0).double())
    torch.testing.assert_close(made.call(BCR()), torch.full((3,), 20.0).double())


@pytest.mark.parametrize("term", [CR(shift=0.0), BCR(shift=0.0)])
def test_nothing_moved_costs_nothing(term):
    judge = nn.Sequential(nn.Flatten(), nn.Linear(64, 1), nn.Flatten(0))
    assert turn(judge, torch.randn(5, 1, 8, 8), torch.randn(5, 1, 8, 8)).call(term).tolist() == [0.0] * 5


@pytest.mark.parametrize("term", [CR(flip=True, shift=0.5), BCR(flip=True, shift=0.5)])
def test_a_discriminator_that_does_not_mind_moves_costs_nothing(term):
    """On images of one colour, and one that learns the mean colour."""
    real, fake = torch.randn(5, 1, 1, 1).expand(5, 1, 8, 8), torch.randn(5, 1, 1, 1).expand(5, 1, 8, 8)
    value = turn(lambda x: 3 * x.flatten(1).mean(1), real, fake).call(term)
    torch.testing.assert_close(value, torch.zeros(5), rtol=0, atol=1e-10)


@pytest.mark.parametrize(("term", "fakes"), [(CR(0.5), False), (BCR(0.5), True)])
def test_the_weights_are_pulled_by_twice_the_difference(term, fakes):
    """D = w.x: d/dw of weight (w.(x - Tx))^2 is 2 weight w.(x - Tx) (x - Tx)."""
    layer = nn.Linear(64, 1, bias=False).double()
    judge = lambda x: layer(x.flatten(1)).flatten()  # noqa: E731
    real, fake = torch.randn(1, 1, 8, 8).double(), torch.randn(1, 1, 8, 8).double()
    torch.manual_seed(3)
    turn(judge, real, fake).call(term).mean().backward()
    torch.manual_seed(3)
    differences = [x - moved(x, term.shift, term.flip) for x in (real, fake)][: 1 + fakes]
    expected = sum(2 * 0.5 * judge(d).detach() * d.flatten(1) for d in differences)
    torch.testing.assert_close(layer.weight.grad, expected)


def test_bcr_does_not_reach_the_generator_by_the_moved_copies():
    theta = torch.ones(4, 1, 8, 8, requires_grad=True)
    judge = nn.Sequential(nn.Flatten(), nn.Linear(64, 1), nn.Flatten(0))
    made = turn(judge, torch.randn(4, 1, 8, 8), (theta * 2).detach())
    seen = []
    BCR()(made["real"], theta * 2, made["real_score"], made["fake_score"], lambda x: seen.append(x) or judge(x))
    assert len(seen) == 2 and not any(x.requires_grad for x in seen)


def test_labels_stay_with_their_images():
    step = small_step(terms={"bcr": {}}, classes=3)
    images, labels = batch_of(step, 0, classes=3)
    asked = []
    step.networks["D"].register_forward_pre_hook(lambda m, args: asked.append(args[1].tolist()))
    made = step.turn("D", images, labels, torch.randn(8, 4).double(), step.due("D"))
    made.call(step.objective.terms["bcr"])
    assert asked == [labels.tolist() * 2, labels.tolist(), labels.tolist()]


def test_vectors_cannot_be_moved():
    with pytest.raises(InputError, match="a vector of 2 numbers cannot be moved; drop cr and bcr"):
        turn(lambda x: x.sum(1), torch.randn(3, 2), torch.randn(3, 2)).call(CR())


@pytest.mark.parametrize("shift", [-0.1, 1.0, float("nan")])
def test_a_shift_that_is_no_share_is_refused(shift):
    with pytest.raises(InputError, match="shift="):
        CR(shift=shift)
