"""Networks of one's own, with all sorts of signatures and outputs."""

import pytest
import torch
from torch import nn

from equipoise import adapters
from equipoise.adapters import DiscriminatorAdapter, GeneratorAdapter
from equipoise.errors import InputError

SHAPE = (3, 8, 8)


class Painter(nn.Module):
    """Takes latents [N, z, 1, 1] and a label by keyword, and paints in [0, 1]."""

    def __init__(self, classes=0):
        super().__init__()
        self.layer = nn.ConvTranspose2d(4 + classes, 3, 8)
        self.norm = nn.BatchNorm2d(3)
        self.classes = classes

    def forward(self, z, *, kind=None):
        if kind is not None:
            z = torch.cat([z, nn.functional.one_hot(kind, self.classes)[:, :, None, None].float()], 1)
        return self.norm(self.layer(z)).sigmoid()


class Judge(nn.Module):
    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 1, 4, 2)

    def forward(self, x):
        maps = self.patches(x)
        return {"maps": maps, "logits": maps.flatten(1).mean(1, keepdim=True), "all": [maps, maps.mean((1, 2, 3))]}


def painter(module, latents, labels):
    return module(latents[:, :, None, None], kind=labels) * 2 - 1


def test_generators_of_any_signature():
    generator = GeneratorAdapter(Painter(), painter, latent_dim=4)
    assert generator(torch.randn(5, 4)).shape == (5, *SHAPE)
    assert (generator.latent_dim, generator.num_classes) == (4, 0)
    conditional = GeneratorAdapter(Painter(6), painter, latent_dim=4, num_classes=6)
    latents = torch.randn(5, 4)
    one, other = (conditional(latents, torch.full((5,), label)) for label in (0, 1))
    assert not torch.equal(one, other)
    assert generator(latents, torch.zeros(5, dtype=torch.int64)).shape == (5, *SHAPE)  # labels it has no use for


def test_plain_calls_need_no_function():
    generator = GeneratorAdapter(nn.Linear(4, 2), latent_dim=4)
    discriminator = DiscriminatorAdapter(nn.Linear(2, 1))
    logits = discriminator(generator(torch.randn(3, 4)))
    assert logits.shape == (3,)
    adapters.check(generator, discriminator, (2,))
    bilinear = DiscriminatorAdapter(nn.Bilinear(2, 2, 1), num_classes=3)
    assert bilinear(torch.randn(3, 2), torch.randn(3, 2)).shape == (3,)


def test_every_kind_of_logits():
    images = torch.randn(5, *SHAPE)
    assert DiscriminatorAdapter(Judge(), lambda net, x, y: net(x)["logits"])(images).shape == (5,)
    assert DiscriminatorAdapter(Judge(), lambda net, x, y: net(x)["maps"])(images).shape == (5, 1, 3, 3)
    heads = DiscriminatorAdapter(Judge(), lambda net, x, y: net(x)["all"])(images)
    assert [head.shape for head in heads] == [(5, 1, 3, 3), (5,)]


@pytest.mark.parametrize(
    ("judge", "message"),
    [
        (lambda net, x, y: net(x), "gave a dict for 5 images"),
        (lambda net, x, y: net(x)["logits"].mean(), r"gave a tensor \[\] of float32.*without averaging"),
        (lambda net, x, y: net(x)["logits"][:2], r"gave a tensor \[2, 1\]"),
        (lambda net, x, y: net(x)["logits"] > 0, "of bool"),
        (lambda net, x, y: [net(x)["logits"], None], "gave a NoneType"),
        (lambda net, x, y: [], "gave a list"),
    ],
)
def test_wrong_logits(judge, message):
    with pytest.raises(InputError, match=message):
        DiscriminatorAdapter(Judge(), judge)(torch.randn(5, *SHAPE))


def test_wrong_images():
    for wrong in (lambda net, z, y: net(z)[0], lambda net, z, y: (net(z),), lambda net, z, y: net(z)[:, 0]):
        with pytest.raises(InputError, match="pick them out in `generate`"):
            GeneratorAdapter(nn.Linear(4, 2), wrong, latent_dim=4)(torch.randn(3, 4))


def test_missing_labels():
    with pytest.raises(InputError, match="6 classes and got no labels"):
        GeneratorAdapter(Painter(6), painter, latent_dim=4, num_classes=6)(torch.randn(3, 4))


def test_state_has_the_networks_own_keys_behind_one_prefix():
    net = Painter()
    generator = GeneratorAdapter(net, painter, latent_dim=4)
    assert list(generator.state_dict()) == [f"module.{key}" for key in net.state_dict()]
    twin = GeneratorAdapter(Painter(), painter, latent_dim=4)
    twin.load_state_dict(generator.state_dict())
    latents = torch.randn(3, 4)
    assert torch.equal(generator(latents), twin(latents))


def test_the_penalty_goes_through():
    discriminator = DiscriminatorAdapter(nn.Sequential(nn.Flatten(), nn.Linear(192, 8), nn.Softplus(), nn.Linear(8, 1)))
    images = torch.randn(5, *SHAPE, requires_grad=True)
    (slope,) = torch.autograd.grad(discriminator(images).sum(), images, create_graph=True)
    slope.square().sum().backward()
    assert discriminator.module[1].weight.grad.abs().sum() > 0


def fitting():
    return GeneratorAdapter(Painter(), painter, latent_dim=4), DiscriminatorAdapter(
        Judge(), lambda net, x, y: net(x)["logits"]
    )


def test_check_leaves_everything_as_it_was():
    generator, discriminator = fitting()
    generator.module.norm.eval()
    before = {key: value.clone() for key, value in generator.state_dict().items()}
    torch.manual_seed(3)
    expected = torch.randn(2)
    torch.manual_seed(3)
    adapters.check(generator, discriminator, SHAPE)
    assert torch.equal(torch.randn(2), expected)
    assert all(torch.equal(before[key], value) for key, value in generator.state_dict().items())
    assert (generator.training, generator.module.norm.training, discriminator.training) == (True, False, True)


def test_check_names_what_does_not_fit():
    generator, discriminator = fitting()
    with pytest.raises(InputError, match=r"images of shape \(3, 8, 8\) and the data have \(3, 16, 16\)"):
        adapters.check(generator, discriminator, (3, 16, 16))
    with pytest.raises(InputError, match=r"generator failed.*generate=\.\.\."):
        adapters.check(GeneratorAdapter(Painter(), latent_dim=5), discriminator, SHAPE)
    with pytest.raises(InputError, match=r"discriminator failed.*judge=\.\.\."):
        adapters.check(generator, DiscriminatorAdapter(nn.Linear(4, 1)), SHAPE)
