"""Each initialisation against its closed form, and on layers with parametrisations."""

import math

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from equipoise.errors import InputError
from equipoise.initialise import Scale, fans, fixup_factor, initialise, leaky_gain, projections
from equipoise.networks import build, conditioning, layers
from equipoise.recipe import Player
from equipoise.registry import entries
from plants import play, small_step

NAMES = ["dcgan-normal", "equalised", "fixup", "kaiming", "magnitude-preserving", "orthogonal", "xavier",
         "zero-residual"]  # fmt: skip


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def test_the_names_are_these():
    assert [entry.name for entry in entries("initialisation")] == NAMES


def test_dcgan_normal():
    net = nn.Sequential(nn.Conv2d(64, 64, 4), nn.BatchNorm2d(2000))
    initialise(net, "dcgan-normal")
    assert net[0].weight.std().item() == pytest.approx(0.02, rel=0.02)
    assert net[0].weight.mean().item() == pytest.approx(0, abs=5e-4)
    assert not net[0].bias.any()
    assert net[1].weight.mean().item() == pytest.approx(1, abs=0.002)
    assert net[1].weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert not net[1].bias.any()


def test_xavier():
    layer = nn.Linear(100, 100)
    initialise(layer, "xavier")
    assert layer.weight.std().item() == pytest.approx(0.1, rel=0.03)
    assert layer.weight.abs().max().item() <= math.sqrt(6 / 200)


def test_kaiming():
    assert leaky_gain(0.2) == pytest.approx(1.386750, abs=1e-6)
    layer = nn.Conv2d(64, 128, 3, groups=4)  # fan_in 16 x 9
    initialise(layer, "kaiming")
    assert layer.weight.std().item() == pytest.approx(1.386750 / 12, rel=0.03)
    net = nn.Sequential(*(step for _ in range(8) for step in (nn.Linear(256, 256), nn.LeakyReLU(0.2))))
    initialise(net, "kaiming")
    assert net(torch.randn(256, 256)).square().mean().item() == pytest.approx(1, rel=0.3)


def test_fans():
    assert fans(nn.Conv2d(8, 12, 3, groups=4)) == (18, 27)
    assert fans(nn.Conv1d(8, 12, 5, stride=2)) == (40, 60)
    assert fans(nn.Linear(3, 7)) == (3, 7)
    assert fans(nn.ConvTranspose2d(8, 4, 4, stride=2, padding=1)) == (32, 64)  # each output meets 2 x 2 of the cells


def test_the_variance_survives_a_transposed_convolution():
    layer = nn.ConvTranspose2d(64, 64, 4, stride=2, padding=1, bias=False)
    initialise(layer, "kaiming", slope=1.0)  # gain 1
    out = layer(torch.randn(8, 64, 16, 16))[:, :, 2:-2, 2:-2]
    assert out.var().item() == pytest.approx(1, rel=0.05)


@pytest.mark.parametrize(
    "layer",
    [nn.Linear(50, 20), nn.Conv2d(8, 16, 3), nn.ConvTranspose2d(32, 8, 3), layers.linear(50, 20, spectral=True)],
)
def test_orthogonal(layer):
    initialise(layer, "orthogonal")
    weight = layer.weight.transpose(0, 1) if isinstance(layer, nn.ConvTranspose2d) else layer.weight
    matrix = weight.flatten(1)
    assert (matrix @ matrix.T - torch.eye(len(matrix))).abs().max() < 1e-5


def test_equalised():
    layer = nn.Conv2d(64, 128, 3, padding=1)
    initialise(layer, "equalised", gain=1.0)
    stored = layer.parametrizations.weight.original
    assert stored.std().item() == pytest.approx(1, rel=0.01)
    torch.testing.assert_close(layer.weight, stored / 24)  # fan_in 576
    assert layer(torch.randn(8, 64, 16, 16))[:, :, 1:-1, 1:-1].var().item() == pytest.approx(1, rel=0.05)
    before = layer.weight[0, 0, 0, 0].item()
    with torch.no_grad():
        stored[0, 0, 0, 0] += 1
    assert layer.weight[0, 0, 0, 0].item() - before == pytest.approx(1 / 24, rel=1e-4)


def test_equalised_can_be_repeated_and_undone():
    layer = nn.Linear(16, 4)
    for _ in range(2):
        initialise(layer, "equalised")
    assert [type(step) for step in layer.parametrizations.weight] == [Scale]
    initialise(layer, "orthogonal")
    assert list(layer.state_dict()) == ["bias", "weight"]
    assert (layer.weight @ layer.weight.T - torch.eye(4)).abs().max() < 1e-5


def test_equalised_leaves_spectral_norm_alone():
    layer = layers.linear(16, 4, spectral=True)
    initialise(layer, "equalised")
    assert layer.parametrizations.weight.original.std().item() == pytest.approx(1, rel=0.2)
    assert torch.linalg.matrix_norm(layer.weight, 2).item() == pytest.approx(1, abs=1e-2)


class Residual(nn.Module):
    def __init__(self, width, depth):
        super().__init__()
        self.branch = nn.Sequential(*(nn.Linear(width, width) for _ in range(depth)))

    @property
    def residual_layers(self):
        return list(self.branch)

    def forward(self, x):
        return x + self.branch(x)


def test_fixup():
    assert fixup_factor(8, 3) == pytest.approx(0.594604, abs=1e-6)
    assert leaky_gain(0.2) * fixup_factor(8, 3) == pytest.approx(0.824567, abs=1e-6)
    assert fixup_factor(8, 1) == 1
    net = nn.Sequential(nn.Linear(64, 64), *(Residual(64, 3) for _ in range(8)))
    initialise(net, "fixup")
    for block in net[1:]:
        first, second, last = block.residual_layers
        assert not last.weight.any()
        for layer in (first, second):
            assert layer.weight.std().item() == pytest.approx(0.103071, rel=0.05)
    assert net[0].weight.std().item() == pytest.approx(1 / 8, rel=0.05)  # linear, outside the branches
    x = torch.randn(4, 64)
    assert torch.equal(net(x), net[0](x))


@pytest.mark.parametrize("name", ["resnet", "normfree"])
def test_zero_residual_blocks_start_as_their_shortcuts(name):
    options = {"norm_D": "none"}
    networks = build(name, (3, 16, 16), latent_dim=4, width=4, init="orthogonal+zero-residual", options=options)
    for network in networks:
        branches = [block.residual_layers for block in network.modules() if hasattr(block, "residual_layers")]
        assert branches
        for branch in branches:
            assert not branch[-1].weight.any()
            assert all(layer.weight.any() for layer in branch[:-1])


def test_zero_residual_leaves_the_rest():
    block = Residual(8, 2)
    before = block.residual_layers[0].weight.clone()
    initialise(block, "zero-residual")
    assert torch.equal(block.residual_layers[0].weight, before)


def test_refusals():
    with pytest.raises(InputError, match="did you mean kaiming"):
        initialise(nn.Linear(2, 2), "kaming")
    with pytest.raises(InputError, match="no option 'sloop'; did you mean slope"):
        initialise(nn.Linear(2, 2), "kaiming", sloop=1)
    with pytest.raises(InputError, match="call each by itself"):
        initialise(nn.Linear(2, 2), "kaiming+xavier", slope=1)
    with pytest.raises(InputError, match="residual_layers"):
        initialise(nn.Linear(2, 2), "fixup")
    with pytest.raises(InputError, match="largest singular value, which is 0"):
        build("resnet", (3, 8, 8), latent_dim=4, width=4, init="zero-residual")


def test_class_vectors_keep_their_own_scale():
    for spectral in (False, True):
        projection = conditioning.Projection(64, 500, spectral=spectral)
        initialise(projection, "dcgan-normal")
        embedding = projection.embedding
        stored = embedding.parametrizations.weight.original if spectral else embedding.weight
        assert stored.std().item() == pytest.approx(1 / 8, rel=0.03)


def test_spectral_vectors_follow_the_new_weight():
    layer = layers.convolution(8, 8, 3, spectral=True)
    initialise(layer, "kaiming")
    layer.eval()
    assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("init", NAMES)
@pytest.mark.parametrize("name", ["mlp", "dcgan", "resnet", "normfree"])
def test_every_network_takes_every_initialisation(name, init):
    residual = name in ("resnet", "normfree")
    if init in ("fixup", "zero-residual") and not residual:
        with pytest.raises(InputError, match="has none"):
            build(name, (3, 16, 16), latent_dim=4, width=4, init=init, options={"norm_D": "none"})
        return
    generator, discriminator = build(
        name, (3, 16, 16), latent_dim=4, num_classes=3, width=4, init=init, options={"norm_D": "none"}
    )
    labels = torch.arange(4) % 3
    images = generator(torch.randn(4, 4), labels)
    slope, *_ = torch.autograd.grad(discriminator(images, labels).sum(), images, create_graph=True)
    slope.square().sum().backward()
    gradients = [p.grad for p in discriminator.parameters() if p.grad is not None]
    assert all(g.isfinite().all() for g in gradients)
    assert sum(g.abs().sum() for g in gradients) > 0


# ------------------------------------------------------------------------------------------------ magnitude preserving


@pytest.mark.parametrize("name", ["mlp", "dcgan", "resnet", "normfree"])
def test_magnitude_preserving_weights_have_a_size_that_no_update_can_change(name):
    options = {"norm_D": "none"} if name == "resnet" else {}
    for network in build(name, (3, 8, 8), latent_dim=6, width=8, init="magnitude-preserving", options=options):
        layers = [m for m in network.modules() if parametrize.is_parametrized(m, "weight")]
        assert layers
        before = [layer.weight.detach().clone() for layer in layers]
        with torch.no_grad():
            for layer in layers:
                layer.parametrizations["weight"].original.mul_(10.0)
        for layer, old in zip(layers, before, strict=True):  # a factor on what is stored changes nothing
            torch.testing.assert_close(layer.weight, old, rtol=1e-3, atol=1e-6)
        for project in projections(network):
            project()
        for layer in layers:
            unit, stored = layer.parametrizations["weight"][0], layer.parametrizations["weight"].original
            filters = stored.transpose(0, unit.axis).flatten(1)
            norms = torch.linalg.vector_norm(filters, dim=1)
            torch.testing.assert_close(norms, torch.full_like(norms, filters.shape[1] ** 0.5), rtol=1e-3, atol=0)
            used = torch.linalg.vector_norm(layer.weight.transpose(0, unit.axis).flatten(1), dim=1)
            torch.testing.assert_close(used, torch.full_like(used, unit.gain), rtol=1e-3, atol=0)


def test_a_step_projects_magnitude_preserving_weights_back():
    step = play(small_step(network={"init": "magnitude-preserving"}, G=Player(lr=0.1), D=Player(lr=0.1)), 3)
    for network in step.networks.values():
        for layer in (m for m in network.modules() if parametrize.is_parametrized(m, "weight")):
            stored = layer.parametrizations["weight"].original
            norms = torch.linalg.vector_norm(stored.flatten(1), dim=1)
            torch.testing.assert_close(norms, torch.full_like(norms, stored[0].numel() ** 0.5), rtol=1e-3, atol=0)


def test_the_two_gains_of_a_leaky_relu():
    """One keeps the second moment, the other the standard deviation where the mean is taken away."""
    x = torch.randn(2_000_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y = torch.nn.functional.leaky_relu(x, 0.2)
    assert float((1.386750 * y).square().mean().sqrt()) == pytest.approx(1.0, abs=2e-3)
    assert float((1.546460 * y).std()) == pytest.approx(1.0, abs=2e-3)


def test_only_the_last_layer_of_a_magnitude_preserving_network_learns_its_size():
    _, network = build("normfree", (3, 8, 8), latent_dim=6, width=8, init="magnitude-preserving")
    learned = [name for name, _ in network.named_parameters() if name.endswith("strength")]
    assert learned == ["output.parametrizations.weight.0.strength"]
    x = torch.randn(4, 3, 8, 8)
    before = network(x) - network.output.bias
    with torch.no_grad():
        network.output.parametrizations.weight[0].strength.fill_(5.0)
    torch.testing.assert_close(network(x) - network.output.bias, 5 * before)
    initialise(network, "kaiming")
    assert not [name for name, _ in network.named_parameters() if name.endswith("strength")]


def test_a_magnitude_preserving_transposed_convolution_keeps_the_variance():
    layer = nn.ConvTranspose2d(32, 64, 4, stride=2, padding=1, bias=False)
    initialise(layer, "magnitude-preserving", gain=1.0)
    norms = layer.weight.transpose(0, 1).flatten(1).norm(dim=1)  # per output channel, which is the second axis
    torch.testing.assert_close(norms, torch.full_like(norms, 2.0), rtol=1e-3, atol=0)
    assert layer(torch.randn(8, 32, 16, 16))[:, :, 2:-2, 2:-2].var().item() == pytest.approx(1, rel=0.05)


def test_magnitude_preserving_filters_cannot_be_zero():
    with pytest.raises(InputError, match="take one of them"):
        build("normfree", (3, 8, 8), latent_dim=6, width=8, init="magnitude-preserving+zero-residual")
