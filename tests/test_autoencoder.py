"""The discriminator that is an autoencoder: its energy, its code, sizes, and what it cannot take."""

import pytest
import torch

from equipoise.build import players
from equipoise.errors import InputError
from equipoise.networks import build
from equipoise.networks.layers import count_parameters, couples_samples
from plants import batch_of, small_step
from small_runs import TINY, images_file, planned


def pair(shape, **options):
    torch.manual_seed(0)
    return build("autoencoder", shape, latent_dim=4, width=4, options={"code": 8, **options})


@pytest.mark.parametrize("shape", [(2,), (5,), (1, 8, 8), (3, 32, 32), (1, 128, 128)])
@pytest.mark.parametrize("norm_D", ["none", "layer", "spectral", "batch"])
def test_shapes_and_gradients(shape, norm_D):
    generator, discriminator = pair(shape, norm_D=norm_D)
    images = generator(torch.randn(6, 4))
    assert images.shape == (6, *shape) and discriminator.reconstruct(images).shape == images.shape
    logits = discriminator(images)
    assert logits.shape == (6,) and (logits <= 0).all() and bool(couples_samples(discriminator)) is (norm_D == "batch")
    logits.sum().backward()
    assert all(p.grad.isfinite().all() for net in (generator, discriminator) for p in net.parameters())
    assert sum(float(p.grad.abs().sum()) for p in generator.parameters()) > 0
    assert all(p.grad.abs().sum() > 0 for p in discriminator.parameters() if p.dim() > 1)


@pytest.mark.parametrize(("exponent", "expected"), [(1, 1.5), (2, 2.5)])
def test_the_logit_is_minus_the_mean_error(exponent, expected):
    _, discriminator = pair((1, 8, 8), exponent=exponent)
    for p in discriminator.parameters():
        p.data.zero_()  # so that everything is rebuilt as zeros
    images = torch.ones(3, 1, 8, 8)
    images[:, :, 4:] = -2
    assert discriminator(images).tolist() == [-expected] * 3


@pytest.mark.parametrize("shape", [(5,), (1, 8, 8)])
def test_its_features_are_the_code(shape):
    _, discriminator = pair(shape)
    seen = []
    discriminator.output.register_forward_pre_hook(lambda layer, inputs: seen.append(inputs[0]))
    images = torch.randn(3, *shape)
    discriminator(images)
    assert seen[0].shape == (3, 8) and torch.equal(seen[0], discriminator.trunk(images))


def test_what_passes_is_bounded_by_the_code():
    """A linear picture of it: the reconstructions of many images span no more dimensions than the code has."""
    _, discriminator = pair((20,), code=3, depth=1)
    for layer in discriminator.modules():
        if isinstance(layer, torch.nn.LeakyReLU):
            layer.negative_slope = 1.0
    rebuilt = discriminator.double().reconstruct(torch.randn(50, 20).double()).detach()
    assert torch.linalg.matrix_rank(rebuilt - rebuilt[:1], atol=1e-9) == 3


@pytest.mark.parametrize("exponent", [1, 2])
def test_the_double_backward_is_right(exponent):
    """The penalty's slope along a direction of the weights against its finite difference."""
    _, discriminator = pair((1, 8, 8), exponent=exponent)
    discriminator = discriminator.double()
    weights, images = list(discriminator.parameters()), torch.randn(2, 1, 8, 8).double().requires_grad_(True)
    direction = [torch.randn_like(p) for p in weights]

    def penalty(step):
        for p, d in zip(weights, direction, strict=True):
            p.data.add_(d, alpha=step)
        (slope,) = torch.autograd.grad(discriminator(images).sum(), images, create_graph=True)
        for p, d in zip(weights, direction, strict=True):
            p.data.sub_(d, alpha=step)
        return slope.square().sum()

    gradients = torch.autograd.grad(penalty(0.0), weights, allow_unused=True)
    exact = sum(float((g * d).sum()) for g, d in zip(gradients, direction, strict=True) if g is not None)
    near = float((penalty(1e-7) - penalty(-1e-7)).detach()) / 2e-7
    assert near == pytest.approx(exact, rel=1e-4)


@pytest.mark.parametrize(("shape", "code"), [((2,), 1), ((40,), 10), ((1, 8, 8), 16), ((3, 32, 32), 64)])
def test_the_code_is_narrow_unless_said_otherwise(shape, code):
    _, discriminator = build("autoencoder", shape, latent_dim=4, width=4)
    assert discriminator.trunk(torch.zeros(2, *shape)).shape == (2, code)


def test_sizes():
    generator, discriminator = build("autoencoder", (1, 8, 8), latent_dim=4, width=4, options={"code": 8})
    assert count_parameters(generator) == 4 * 4 * 16 + 8 + 4 * 16 + 1  # the first without bias before batch norm
    halves = (16 * 4 + 4) + (64 * 8 + 8) + (8 * 64 + 64) + (4 * 16 + 1)
    assert count_parameters(discriminator) == halves


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_classes": 3}, "network.conditional=false"),
        ({"options": {"exponent": 3}}, "exponent=3"),
        ({"options": {"code": 0}}, "code=0"),
        ({"options": {"norm_D": "bach"}}, "did you mean batch"),
        ({"options": {"norm_G": "spectral"}}, "norm_G='spectral'"),
        ({"shape": (5,), "options": {"norm_G": "instance"}}, "vector has none"),
    ],
)
def test_refusals(changes, message):
    given = {"shape": (1, 8, 8), "latent_dim": 4, "width": 4} | changes
    with pytest.raises(InputError, match=message):
        build("autoencoder", given.pop("shape"), **given)


def test_labels_are_left_aside_unless_they_were_asked_for(tmp_path):
    source = images_file(tmp_path / "labelled.npz", classes=3)
    wanted = ("network.name=autoencoder", "loss=energy", "ebgan=on", "batch=8", "r1=off")
    made = planned(source, wanted)
    assert made.config.classes == 0 and "no place for classes" in made.config.origin["network.conditional"]
    assert any("Trained without the data's labels" in remark for remark in made.remarks)
    with pytest.raises(InputError, match=r"network\.conditional=false"):
        config = planned(source, (*wanted, "network.conditional=true")).config
        players(config.recipe, config.shape, config.classes)
    assert planned(source, TINY).config.classes == 3


def test_it_learns_to_tell_data_from_what_it_has_not_seen():
    """Trained on reals alone (a margin of 0), it gives them less energy than noise of the same range."""
    network = {"name": "autoencoder", "width": 8, "options": {"code": 4}}
    step = small_step(loss="energy", terms={"ebgan": {"margin": 0.0}}, network=network, dtype=torch.float32)
    ramp = torch.linspace(-1, 1, 8).expand(8, 1, 8, 8) * torch.linspace(-1, 1, 8).reshape(8, 1, 1, 1)
    for _ in range(150):
        step.move("D", ramp, None, step.due("D"))
    noise = step.show(batch_of(step, 0)[0])
    with torch.no_grad():
        data, other = (-step.networks["D"](x).mean() for x in (ramp, noise))
    assert data < other / 2
