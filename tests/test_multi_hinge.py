"""Multi-hinge: the margins of a discriminator with classes, against Crammer and Singer's hinge written out."""

import pytest
import torch

from equipoise.errors import InputError
from equipoise.networks import build
from equipoise.networks.conditioning import ClassMargins
from equipoise.registry import find
from equipoise.turn import Turn, score
from plants import batch_of, play, small_step
from test_step import fake_moves

LOSS, HINGE = find("loss", "multi-hinge").part, find("loss", "hinge").part
FAMILIES = ["mlp", "dcgan", "resnet"]


def classes(name, **options):
    norm = {} if name == "mlp" else {"norm_D": "none"}
    return {"name": name, "width": 4, "options": {"head": "classes", **norm, **options}}


def draw(n=7, k=3):
    source = torch.Generator().manual_seed(0)
    outputs = 2 * torch.randn(2, n, k + 1, generator=source, dtype=torch.float64)
    return outputs[0], outputs[1], torch.arange(n) % k


def crammer_singer(outputs, due):
    """relu(1 + max_{j != y} s_j - s_y), one number at a time."""
    values = []
    for row, y in zip(outputs.tolist(), due, strict=True):
        values.append(max(0.0, 1 + max(s for j, s in enumerate(row) if j != y) - row[y]))
    return values


def test_both_losses_are_crammer_and_singers():
    real, fake, labels = draw()
    judge = ClassMargins(3)
    r, f = judge(real, real, labels), judge(fake, fake, labels)
    want_real, want_fake = crammer_singer(real, labels.tolist()), crammer_singer(fake, [3] * 7)
    assert LOSS.d(r, f).tolist() == pytest.approx([a + b for a, b in zip(want_real, want_fake, strict=True)])
    assert LOSS.g(f).tolist() == pytest.approx(crammer_singer(fake, labels.tolist()))


def test_values_by_hand():
    outputs = torch.tensor([[3.0, 1.0, 2.5], [0.0, 4.0, -1.0]])
    assert ClassMargins(2)(outputs, outputs, torch.tensor([0, 0])).tolist() == [[0.5, 0.5], [-4.0, 5.0]]


def test_the_gradient_and_its_gradient_are_right():
    real, fake, labels = draw()
    judge = ClassMargins(3)

    def total(a, b):
        r, f = judge(a, a, labels), judge(b, b, labels)
        return (LOSS.d(r, f) * LOSS.g(f)).sum()

    inputs = (real.requires_grad_(True), fake.requires_grad_(True))
    assert torch.autograd.gradcheck(total, inputs) and torch.autograd.gradgradcheck(total, inputs)


def test_with_one_class_it_is_the_hinge_of_the_difference():
    real, fake, _ = draw(k=1)
    judge, labels = ClassMargins(1), torch.zeros(7, dtype=torch.int64)
    r, f = judge(real, real, labels), judge(fake, fake, labels)
    torch.testing.assert_close(r[:, 0], r[:, 1])
    torch.testing.assert_close(LOSS.d(r, f), HINGE.d(real[:, 0] - real[:, 1], fake[:, 0] - fake[:, 1]))


def test_scores_still_mean_how_real_an_image_is_of_its_class():
    """Raising the label's output raises both margins, raising the fakes' lowers both."""
    outputs, _, labels = draw()
    judge = ClassMargins(3)
    for place, sign in ((labels, 1), (torch.full_like(labels, 3), -1)):
        moved = outputs.scatter_add(1, place[:, None], torch.full((7, 1), 100.0).double())
        assert (sign * (score(judge(moved, moved, labels)) - score(judge(outputs, outputs, labels))) > 0).all()


def test_the_slopes_have_the_right_signs_and_the_ideal_is_that_of_a_blind_discriminator():
    r, f = (torch.full((1, 2), x, dtype=torch.float64, requires_grad=True) for x in (0.2, 0.1))
    assert torch.autograd.grad(LOSS.d(r, f).sum(), (r, f))[0].tolist() == [[-1.0, 0.0]]
    assert torch.autograd.grad(LOSS.d(r, f).sum(), (r, f))[1].tolist() == [[0.0, 1.0]]
    assert torch.autograd.grad(LOSS.g(f).sum(), f)[0].tolist() == [[-1.0, 0.0]]
    blind = torch.zeros(4, 2)
    ideal = find("loss", "multi-hinge").facts["ideal"]
    assert (float(LOSS.d(blind, blind).mean()), float(LOSS.g(blind).mean())) == ideal


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_that_can_has_an_output_for_each_class(name):
    torch.manual_seed(0)
    options = {"head": "classes"} | ({} if name == "mlp" else {"norm_D": "none"})
    _, discriminator = build(name, (1, 8, 8), latent_dim=4, num_classes=3, width=4, options=options)
    discriminator = discriminator.double()
    images, labels = torch.randn(5, 1, 8, 8).double(), torch.arange(5) % 3
    outputs = []
    discriminator.output.register_forward_hook(lambda layer, given, out: outputs.append(out.flatten(1)))
    logits = discriminator(images, labels)
    assert logits.shape == (5, 2) and outputs[0].shape == (5, 4)
    torch.testing.assert_close(logits, ClassMargins(3)(outputs[0], images, labels))
    assert not torch.equal(logits, discriminator(images, (labels + 1) % 3))
    with pytest.raises(InputError, match="3 classes and got no labels"):
        discriminator(images, None)


def test_what_cannot_work_is_said():
    with pytest.raises(InputError, match="there are no classes"):
        build("mlp", (1, 8, 8), latent_dim=4, options={"head": "classes"})
    with pytest.raises(InputError, match="did you mean classes"):
        build("mlp", (1, 8, 8), latent_dim=4, num_classes=2, options={"head": "class"})
    with pytest.raises(InputError, match="head=classes"):
        LOSS.d(torch.zeros(4), torch.zeros(4))
    with pytest.raises(InputError, match="head=classes"):
        play(small_step(loss="multi-hinge", classes=3), 1, classes=3)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_whole_step(name):
    step = play(small_step(loss="multi-hinge", classes=3, network=classes(name), terms={"r1": {}}), 2, classes=3)
    read = step.meter.read()
    assert read["D.skipped"].mean == 0 and read["D.real_score"].n == 16
    turn = step.turn("D", *batch_of(step, 0, classes=3), torch.randn(8, 4).double(), step.due("D"))
    assert isinstance(turn, Turn) and turn["real_logits"].shape == (8, 2) and turn["real_score"].shape == (8,)


@pytest.mark.parametrize("name", FAMILIES)
def test_no_host_read(monkeypatch, name):
    fake_moves(monkeypatch, classes(name), 3, loss="multi-hinge", terms={"r1": {"every": 2}})


def test_it_learns_classes_that_can_be_told_apart():
    """Against reals alone the label's output comes to lead by 1."""
    step = small_step((2,), classes=3, loss="multi-hinge", network=classes("mlp") | {"width": 16}, dtype=torch.float32)
    step.optimisers["D"].lr.fill_(0.01)
    labels = torch.arange(24) % 3
    centres = torch.tensor([[3.0, 0.0], [0.0, 3.0], [-3.0, -3.0]])[labels]
    for _ in range(300):
        step.move("D", centres, labels, step.due("D"))
    margins = step.networks["D"](centres, labels)
    assert (margins[:, 0] > 0.9).all()
