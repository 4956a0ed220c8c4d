"""Every family at every size: shapes, the double backward of a gradient penalty, no host reads, clear refusals."""

import copy
from itertools import product

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call, grad
from torch.nn.utils import parametrize

from equipoise.errors import InputError
from equipoise.networks import build, options_of
from equipoise.networks.layers import count_parameters, couples_samples
from equipoise.registry import entries

FAMILIES = [entry.name for entry in entries("network") if entry.name != "autoencoder"]  # which has tests of its own
LATENT = 8
SAMPLES = 2


def pair(name, shape, classes=0, width=None, **options):
    torch.manual_seed(0)
    if name != "normfree":
        options.setdefault("norm_D", "none")
    return build(name, shape, latent_dim=LATENT, num_classes=classes, width=width or 4, options=options)


def draw(shape, classes):
    images = torch.rand(SAMPLES, *shape) * 2 - 1
    return torch.randn(SAMPLES, LATENT), images, torch.arange(SAMPLES) % classes if classes else None


def penalty(discriminator, images, labels):
    images = images.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(discriminator(images, labels).sum(), images, create_graph=True)
    return gradient.square().flatten(1).sum(1).mean()


def test_the_families_are_these():
    assert FAMILIES == ["dcgan", "mlp", "normfree", "resnet"]


@pytest.mark.parametrize(
    ("name", "side", "channels", "classes"), list(product(FAMILIES, (8, 32, 64, 256), (1, 3), (0, 3)))
)
def test_forward_and_double_backward(name, side, channels, classes):
    shape = (channels, side, side)
    generator, discriminator = pair(name, shape, classes)
    latents, _, labels = draw(shape, classes)
    assert (generator.latent_dim, generator.num_classes, discriminator.num_classes) == (LATENT, classes, classes)

    images = generator(latents, labels)
    assert images.shape == (SAMPLES, *shape)
    assert 0.01 < images.std() < 3
    logits = discriminator(images, labels)
    assert logits.shape == (SAMPLES,)
    logits.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in generator.parameters())
    assert sum(p.grad.abs().sum() for p in generator.parameters()) > 0

    discriminator.zero_grad()
    penalty(discriminator, images, labels).backward()
    gradients = [p.grad for p in discriminator.parameters() if p.grad is not None]
    assert all(g.isfinite().all() for g in gradients)
    assert sum(g.abs().sum() for g in gradients) > 0


@pytest.mark.parametrize("name", FAMILIES)
def test_double_backward_is_right(name):
    """The penalty's derivative along a direction of the weights equals its finite difference, in double precision."""
    options = {"group_size": 4} if name == "normfree" else {}
    _, discriminator = pair(name, (1, 8, 8), 2, **options)
    discriminator = discriminator.double()
    with torch.no_grad():
        for p in discriminator.parameters():
            p.add_(0.1 * torch.randn_like(p))  # off the zeros of fixup
    _, images, labels = draw((1, 8, 8), 2)
    images = images.double()
    weights = list(discriminator.parameters())
    gradients = torch.autograd.grad(penalty(discriminator, images, labels), weights, allow_unused=True)
    direction = [torch.randn_like(p) for p in weights]
    exact = sum((g * d).sum() for g, d in zip(gradients, direction, strict=True) if g is not None)

    def moved(step):
        with torch.no_grad():
            for p, d in zip(weights, direction, strict=True):
                p.add_(d, alpha=step)
        value = penalty(discriminator, images, labels).item()
        with torch.no_grad():
            for p, d in zip(weights, direction, strict=True):
                p.sub_(d, alpha=step)
        return value

    step = 1e-7
    assert (moved(step) - moved(-step)) / (2 * step) == pytest.approx(float(exact), rel=1e-4)


@pytest.mark.parametrize("norm", ["batch", "layer", "instance", "spectral"])
@pytest.mark.parametrize("name", ["mlp", "dcgan", "resnet"])
def test_normalised_discriminators(name, norm):
    if (name, norm) == ("mlp", "instance"):
        with pytest.raises(InputError, match="vector has none"):
            pair(name, (3, 16, 16), norm_D=norm)
        return
    _, discriminator = pair(name, (3, 16, 16), 3, norm_D=norm, minibatch_std=False)
    _, images, labels = draw((3, 16, 16), 3)
    penalty(discriminator, images, labels).backward()
    assert sum(p.grad.abs().sum() for p in discriminator.parameters() if p.grad is not None) > 0
    assert bool(couples_samples(discriminator)) == (norm == "batch")


@pytest.mark.parametrize("norm", ["none", "batch", "layer", "instance"])
@pytest.mark.parametrize("name", ["mlp", "dcgan", "resnet"])
def test_normalised_generators(name, norm):
    if (name, norm) == ("mlp", "instance"):
        with pytest.raises(InputError, match="vector has none"):
            pair(name, (3, 16, 16), norm_G=norm)
        return
    generator, _ = pair(name, (3, 16, 16), 3, norm_G=norm)
    with torch.no_grad():
        for p in generator.parameters():
            p.add_(0.1 * torch.randn_like(p))  # the classes' batch norms start equal
    latents, _, labels = draw((3, 16, 16), 3)
    assert generator(latents, labels).isfinite().all()
    assert not torch.equal(generator(latents, labels), generator(latents, (labels + 1) % 3))


@pytest.mark.parametrize("name", FAMILIES)
def test_every_sample_is_judged_alone_unless_said_otherwise(name):
    _, images, _ = draw((3, 16, 16), 0)
    for spread in (False, True):
        _, discriminator = pair(name, (3, 16, 16), minibatch_std=spread)
        other = torch.cat([images[:1], -3 * images[1:]])
        with torch.no_grad():
            alone = torch.equal(discriminator(images)[0], discriminator(other)[0])
        assert alone is not spread
        assert bool(couples_samples(discriminator)) is spread


def test_coupling_layers_are_named():
    _, discriminator = build("dcgan", (3, 16, 16), latent_dim=4, width=4, options={"minibatch_std": True})
    assert couples_samples(discriminator) == ["trunk.4 (BatchNorm2d)", "spread (MinibatchStd)"]
    assert couples_samples(torch.nn.BatchNorm1d(2)) == ["the network itself (BatchNorm1d)"]


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("classes", [0, 3])
def test_no_value_is_read_on_the_way(name, classes):
    """Fake tensors have shapes and no values, so that any look at a value raises."""
    options = {} if name == "normfree" else {"norm_D": "spectral"}
    with FakeTensorMode():
        generator, discriminator = build(
            name,
            (3, 32, 32),
            latent_dim=LATENT,
            num_classes=classes,
            width=4,
            options={"minibatch_std": True, **options},
        )
        latents, images, labels = draw((3, 32, 32), classes)
        assert generator(latents, labels).shape == images.shape
        penalty(discriminator, images, labels).backward()


@pytest.mark.parametrize("name", FAMILIES)
def test_functional_gradients(name):
    _, discriminator = pair(name, (3, 8, 8), 3)
    _, images, labels = draw((3, 8, 8), 3)
    weights = {key: p.detach() for key, p in discriminator.named_parameters()}

    def squared_slope(weights):
        slope = grad(lambda x: functional_call(discriminator, weights, (x, labels)).sum())(images)
        return slope.square().flatten(1).sum(1).mean()

    gradients = grad(squared_slope)(weights)
    penalty(discriminator, images, labels).backward()
    for key, p in discriminator.named_parameters():
        expected = torch.zeros_like(p) if p.grad is None else p.grad
        torch.testing.assert_close(gradients[key], expected)


@pytest.mark.parametrize("name", FAMILIES)
def test_same_seed_same_networks_and_copies_agree(name):
    first, second = (pair(name, (3, 16, 16), 3) for _ in range(2))
    _, images, labels = draw((3, 16, 16), 3)
    for one, other in zip(first, second, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
        twin = copy.deepcopy(one)
        twin.load_state_dict(other.state_dict())
    with torch.no_grad():
        kept = images.clone()
        assert torch.equal(first[1](images, labels), twin(images, labels))
    assert torch.equal(images, kept)


def test_vectors():
    generator, discriminator = build("mlp", (2,), latent_dim=3, num_classes=4, width=8, options={"depth": 2})
    points = generator(torch.randn(5, 3), torch.arange(5) % 4)
    assert points.shape == (5, 2)
    assert discriminator(points, torch.arange(5) % 4).shape == (5,)
    # G: (3 + 3) x 8 + 8, 8 x 8 + 8, 8 x 2 + 2, and a class vector of 3; D: 2 x 8 + 8, 8 x 8 + 8, 8 + 1, 4 of 8
    assert count_parameters(generator) == 56 + 72 + 18 + 12
    assert count_parameters(discriminator) == 24 + 72 + 9 + 32


def test_published_sizes():
    """SN-GAN on CIFAR-10 with (256, 128) channels, and DCGAN at 64x64 with 64; both counted by hand."""
    generator, discriminator = build("resnet", (3, 32, 32), latent_dim=128, width=(256, 128))
    assert (count_parameters(generator), count_parameters(discriminator)) == (4_276_739, 1_053_825)
    generator, discriminator = build("dcgan", (3, 64, 64), latent_dim=100)
    convolutions_g = (100 * 512 + 512 * 256 + 256 * 128 + 128 * 64 + 64 * 3) * 16
    assert count_parameters(generator) == convolutions_g + 2 * (512 + 256 + 128 + 64) + 3
    convolutions_d = (3 * 64 + 64 * 128 + 128 * 256 + 256 * 512 + 512) * 16
    assert count_parameters(discriminator) == convolutions_d + 2 * (128 + 256 + 512) + 64 + 1


def test_normfree_size_and_stages():
    generator, discriminator = build("normfree", (3, 32, 32), latent_dim=64, width=64)
    blocks = {c: 4 * c * c + 2 * c * 16 * 9 + 4 * c for c in (64, 128, 256)}  # 1x1, grouped 3x3, 1x1; two biases
    body = 2 * (2 * blocks[256] + blocks[128] + blocks[64]) + 256 * 128 + 128 * 64
    assert count_parameters(generator) == body + 64 * 256 + 256 * 16 + 64 * 3
    assert count_parameters(discriminator) == body + (3 * 64 + 64) + 256 * 16 + 257


def test_patches_spare_the_finest_stage():
    generator, discriminator = pair("normfree", (3, 32, 32), 0, 8, patch=2)
    whole, _ = pair("normfree", (3, 16, 16), 0, 8)
    assert count_parameters(generator) == count_parameters(whole) + 8 * 9  # 12 outputs in place of 3
    images = generator(torch.randn(SAMPLES, LATENT))
    assert images.shape == (SAMPLES, 3, 32, 32)
    penalty(discriminator, images, None).backward()


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("compared", [False, True])
def test_first_logits_are_small(name, compared):
    """A last layer that starts too large starts the run with a discriminator too sure of itself."""
    torch.manual_seed(1)
    options = {"norm_D": "none"} if name == "resnet" else {}  # its published sum over places gives several units
    options = options | {"minibatch_discrimination": compared}
    _, discriminator = build(name, (3, 32, 32), latent_dim=8, num_classes=10, width=32, options=options)
    with torch.no_grad():
        logits = discriminator(torch.rand(16, 3, 32, 32) * 2 - 1, torch.arange(16) % 10)
    assert logits.abs().mean() < 1.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "dcgann"}, "did you mean dcgan"),
        ({"shape": (3, 32, 64)}, "square side"),
        ({"shape": (3, 48, 48)}, "128 or 256 pixels"),
        ({"shape": (2, 32, 32)}, "1 or 3 channels"),
        ({"shape": (5,)}, "use 'mlp'"),
        ({"latent_dim": 0}, "give a latent_dim from 1"),
        ({"latent_dim": 10**30}, "give a latent_dim from 1 to 1,000,000"),
        ({"width": 10**18}, "no number of channels"),
        ({"width": 0}, "width=0"),
        ({"options": {"norm_d": "batch"}}, "did you mean norm_G or norm_D"),
        ({"options": {"norm_D": "bach"}}, "did you mean batch"),
        ({"options": {"norm_G": "spectral"}}, "norm_G='spectral'"),
        ({"init": "dcgan"}, "did you mean dcgan-normal"),
        ({"name": "normfree", "options": {"norm_D": "batch"}}, "by design"),
        ({"name": "normfree", "options": {"patch": 3}}, "patch=3"),
        ({"name": "normfree", "options": {"patch": 16}}, "patch=16"),
        ({"name": "resnet", "options": {"depth": 0}}, "depth=0"),
    ],
)
def test_refusals(arguments, message):
    given = {"name": "dcgan", "shape": (3, 32, 32), "latent_dim": 8, "width": 4} | arguments
    with pytest.raises(InputError, match=message):
        build(given.pop("name"), given.pop("shape"), **given)


@pytest.mark.parametrize("name", FAMILIES)
def test_labels_are_asked_for(name):
    generator, discriminator = pair(name, (3, 8, 8), 3)
    latents, images, _ = draw((3, 8, 8), 0)
    with pytest.raises(InputError, match="3 classes and got no labels"):
        generator(latents, None)
    with pytest.raises(InputError, match="3 classes and got no labels"):
        discriminator(images, None)


def test_options_are_listed():
    assert options_of("dcgan") == {
        "norm_G": "batch",
        "norm_D": "batch",
        "spectral_G": False,
        "minibatch_std": False,
        "minibatch_discrimination": False,
        "dropout": 0.0,
        "sn_multiplier": None,
        "head": "projection",
    }


# ------------------------------------------------------------------------------------------------ what else D may have


@pytest.mark.parametrize(
    "options",
    [
        {"norm_D": "gradient"},
        {"norm_D": "chain"},
        {"norm_D": "spectral", "sn_multiplier": 2.0},
        {"minibatch_discrimination": True},
        {"minibatch_discrimination": True, "minibatch_std": True, "dropout": 0.3},
        {"minibatch_discrimination": True, "dropout": 0.3, "norm_D": "gradient"},
        {"minibatch_discrimination": True, "norm_D": "spectral", "sn_multiplier": 0.5},
    ],
    ids=str,
)
@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_with_every_option(name, classes, options):
    if name == "normfree" and options.get("norm_D", "gradient") != "gradient":
        with pytest.raises(InputError, match=r"by design|no option 'sn_multiplier'"):
            pair(name, (3, 16, 16), classes, **options)
        return
    _, discriminator = pair(name, (3, 16, 16), classes, **options)
    _, images, labels = draw((3, 16, 16), classes)
    assert discriminator(images, labels).shape == (SAMPLES,)
    with torch.no_grad():
        for p in discriminator.parameters():
            p.add_(0.1 * torch.randn_like(p))
    penalty(discriminator, images, labels).backward()
    gradients = [p.grad for p in discriminator.parameters() if p.grad is not None]
    assert all(g.isfinite().all() for g in gradients) and sum(g.abs().sum() for g in gradients) > 0
    coupled = options.keys() & {"minibatch_discrimination", "minibatch_std"} or options.get("norm_D") == "chain"
    assert bool(couples_samples(discriminator)) is bool(coupled)


@pytest.mark.parametrize("name", FAMILIES)
def test_dropout_is_drawn_in_training_alone(name):
    _, discriminator = pair(name, (3, 16, 16), 3, dropout=0.5, width=8)
    _, images, labels = draw((3, 16, 16), 3)
    with torch.no_grad():
        assert not torch.equal(discriminator(images, labels), discriminator(images, labels))
        discriminator.eval()
        _, plain = pair(name, (3, 16, 16), 3, width=8)
        assert torch.equal(discriminator(images, labels), plain.eval()(images, labels))


@pytest.mark.parametrize("name", ["mlp", "dcgan", "resnet"])
def test_a_multiplier_of_spectral_norm_is_one_dial(name):
    _, plain = pair(name, (3, 16, 16), 3, norm_D="spectral")
    _, scaled = pair(name, (3, 16, 16), 3, norm_D="spectral", sn_multiplier=1.0)
    assert not any(hasattr(module, "dials") for module in plain.modules())
    (dial,) = [module for module in scaled.modules() if hasattr(module, "dials")]
    assert dial.dials == ("multiplier",) and dial.multiplier.dim() == 0
    scaled.eval()
    layers = [module for module in scaled.modules() if parametrize.is_parametrized(module, "weight")]
    before = [layer.weight.detach().clone() for layer in layers]
    assert torch.linalg.matrix_norm(scaled.output.weight.flatten(1), 2).item() == pytest.approx(1, abs=1e-3)
    dial.multiplier.fill_(2.0)
    for layer, old in zip(layers, before, strict=True):
        assert torch.equal(layer.weight, 2 * old)
    with pytest.raises(InputError, match="set norm_D='spectral'"):
        pair(name, (3, 16, 16), sn_multiplier=2.0)


@pytest.mark.parametrize("name", FAMILIES)
def test_no_value_is_read_by_the_options(name):
    with FakeTensorMode():
        _, discriminator = pair(name, (3, 16, 16), 3, minibatch_discrimination=True, dropout=0.2, norm_D="gradient")
        _, images, labels = draw((3, 16, 16), 3)
        penalty(discriminator, images, labels).backward()
