"""The layers against their closed forms, in one, two and three dimensions."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from equipoise.errors import InputError
from equipoise.initialise import initialise
from equipoise.networks import conditioning, layers
from equipoise.networks.convolution import Conv2d, Layout, convolve


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_layers_serve_every_dimension(dims):
    x = torch.randn(4, 6, *(8,) * dims)
    assert layers.convolution(6, 4, 3, groups=2, dims=dims)(x).shape == (4, 4, *(8,) * dims)
    up = layers.convolution(6, 4, 4, stride=2, padding=1, transposed=True, spectral=True, dims=dims)
    assert up(x).shape == (4, 4, *(16,) * dims)
    for name in ("batch", "layer", "instance", "none", "spectral"):
        assert layers.normalisation(name, 6, dims=dims)(x).shape == x.shape
    assert conditioning.ConditionalBatchNorm(6, 3, dims=dims)(x, torch.tensor([0, 1, 2, 0])).shape == x.shape
    assert layers.MinibatchStd()(x).shape == (4, 7, *(8,) * dims)
    assert layers.Upsample()(x).shape == (4, 6, *(16,) * dims)
    assert layers.Downsample()(x).shape == (4, 6, *(4,) * dims)


@pytest.mark.parametrize(("dims", "mode"), [(1, "linear"), (2, "bilinear"), (3, "trilinear")])
def test_resampling_is_linear_interpolation(dims, mode):
    x = torch.randn(2, 3, *(4,) * dims)
    halved = F.interpolate(x, scale_factor=0.5, mode=mode, align_corners=False)
    torch.testing.assert_close(layers.Downsample()(x), halved)
    doubled = F.interpolate(x, scale_factor=2, mode=mode, align_corners=False)
    torch.testing.assert_close(layers.linear_double(x), doubled)
    torch.testing.assert_close(layers.Upsample()(x), doubled)


def test_upsampling_weights():
    doubled = layers.linear_double(torch.tensor([[[0.0, 4.0]]]))
    assert doubled.tolist() == [[[0.0, 1.0, 3.0, 4.0]]]


def test_spread_of_two_constant_images():
    x = torch.tensor([0.0, 2.0]).reshape(2, 1, 1, 1).expand(2, 3, 4, 4)
    out = layers.MinibatchStd(group=2)(x.double())
    assert out[:, 3].flatten().tolist() == pytest.approx([1.000000005] * 32, rel=1e-12)
    same = layers.MinibatchStd(group=4)(torch.ones(4, 3, 2, 2))
    assert same[:, 3].flatten().tolist() == pytest.approx([1e-4] * 16)


def test_spread_takes_every_nth_sample():
    x = torch.tensor([0.0, 5.0, 2.0, 5.0]).reshape(4, 1)  # groups of two: (0, 2) and (5, 5)
    out = layers.MinibatchStd(group=2)(x)[:, 1]
    assert out.tolist() == pytest.approx([1.0, 1e-4, 1.0, 1e-4], rel=1e-5)
    assert layers.MinibatchStd(group=4)(torch.randn(6, 2)).shape == (6, 3)  # 3 divides 6
    assert layers.MinibatchStd(group=4)(torch.randn(5, 2))[:, 2].tolist() == pytest.approx([1e-4] * 5)  # nothing does


def test_nearness_of_a_batch():
    layer = layers.MinibatchDiscrimination(6, kernels=3, dims=2).double()
    same = torch.ones(5, 6).double()
    assert layer.near(same).flatten().tolist() == pytest.approx([4.0] * 15, abs=1e-12)  # N - 1, self excluded
    assert layer(same)[:, 6:].flatten().tolist() == pytest.approx([1.0] * 15, abs=1e-12)
    assert torch.equal(layer(same)[:, :6], same)
    x = torch.randn(4, 6).double()
    points = (x @ layer.weight.T).reshape(4, 3, 2)
    by_hand = [[sum(torch.exp(-(points[i, b] - points[j, b]).abs().sum()) for j in range(4) if j != i).item()
                for b in range(3)] for i in range(4)]  # fmt: skip
    torch.testing.assert_close(layer.near(x), torch.tensor(by_hand).double())
    assert layer(x[:1])[:, 6:].abs().max() < 1e-12  # alone
    assert torch.autograd.gradcheck(layer, x.requires_grad_())


def test_nearness_is_the_same_at_all_places():
    x = torch.randn(4, 2, 3, 3)
    layer = layers.minibatch_discrimination(18, True, spectral=True)
    out = layer(x)
    assert out.shape == (4, 2 + layers.KERNELS, 3, 3)
    assert torch.equal(out[:, 2:], out[:, 2:, :1, :1].expand(-1, -1, 3, 3))
    assert layers.couples_samples(layer) and not layers.couples_samples(layers.minibatch_discrimination(18, False))


@pytest.mark.parametrize("spectral", [False, True])
def test_the_tensor_of_minibatch_discrimination_keeps_its_own_scale(spectral):
    layer = layers.minibatch_discrimination(400, True, spectral)
    stored = layer.parametrizations.weight.original if spectral else layer.weight
    before = stored.detach().clone()
    for init in ("dcgan-normal", "orthogonal", "equalised", "magnitude-preserving"):
        initialise(nn.Sequential(layer), init)
        assert stored.std().item() == pytest.approx(1 / 20, rel=0.03)
        assert not torch.equal(stored, before)


def test_dropout_rests_in_evaluation_and_at_none():
    assert isinstance(layers.dropout(0.0), nn.Identity)
    layer, x = layers.dropout(0.5), torch.ones(1000)
    assert set(layer(x).tolist()) == {0.0, 2.0}
    assert torch.equal(layer.eval()(x), x)
    for share in (-0.1, 1.0):
        with pytest.raises(InputError, match=f"dropout={share}"):
            layers.dropout(share)


def test_conditional_batch_norm_is_batch_norm_times_the_class():
    norm = conditioning.ConditionalBatchNorm(3, 2)
    x, labels = torch.randn(4, 3, 5, 5), torch.tensor([0, 1, 1, 0])
    plain = F.batch_norm(x, None, None, training=True)
    torch.testing.assert_close(norm(x, labels), plain)
    with torch.no_grad():
        norm.scale[1], norm.shift[1] = 2.0, -1.0
    expected = plain.clone()
    expected[1:3] = 2 * plain[1:3] - 1
    torch.testing.assert_close(norm(x, labels), expected)


def test_projection_starts_at_unit_scale():
    torch.manual_seed(0)
    projection = conditioning.Projection(256, 1000)
    logits = projection(torch.zeros(1000), torch.randn(1000, 256), torch.arange(1000))
    assert logits.std().item() == pytest.approx(1, rel=0.1)
    weight = projection.embedding.weight
    features = torch.randn(2, 256)
    one = projection(torch.tensor([3.0, 4.0]), features, torch.tensor([7, 9]))
    torch.testing.assert_close(one, torch.stack([3 + weight[7] @ features[0], 4 + weight[9] @ features[1]]))


def test_spectral_norm_divides_by_the_largest_singular_value():
    layer = nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.diag(torch.tensor([3.0, 1.0])))
    normed = layers.spectral_norm(layer)
    for _ in range(20):
        weight = normed.weight
    torch.testing.assert_close(weight, torch.diag(torch.tensor([1.0, 1 / 3])), atol=1e-3, rtol=0)
    shared = layers.scale_spectral_norm(nn.Sequential(normed), 2.0)
    torch.testing.assert_close(normed.weight, torch.diag(torch.tensor([2.0, 2 / 3])), atol=1e-3, rtol=0)
    shared.multiplier.fill_(0.5)
    assert torch.linalg.matrix_norm(normed.weight, 2).item() == pytest.approx(0.5, abs=1e-3)


def test_one_multiplier_turns_every_layer_and_the_bound_is_its_power():
    net = nn.Sequential(*(layers.linear(6, 6, bias=False, spectral=True) for _ in range(3)), nn.Linear(6, 6))
    net(torch.randn(4, 6))
    net.eval()
    before = [layer.weight.detach().clone() for layer in net]
    shared = layers.scale_spectral_norm(net, 1.0)
    assert [layers.Multiplier] == [type(m) for m in net.modules() if getattr(m, "dials", ())]
    for layer, old in zip(net, before, strict=True):
        assert torch.equal(layer.weight, old)
    product = torch.linalg.multi_dot([layer.weight for layer in net[:3]])
    shared.multiplier.fill_(2.0)
    scaled = torch.linalg.multi_dot([layer.weight for layer in net[:3]])
    torch.testing.assert_close(scaled, 8 * product)
    assert torch.equal(net[3].weight, before[3])  # which has no spectral norm


@pytest.mark.parametrize(("module", "multiplier"), [(nn.Linear(2, 2), 2.0), (layers.linear(2, 2, spectral=True), 0.0)])
def test_a_multiplier_wants_spectral_norm_and_a_positive_number(module, multiplier):
    with pytest.raises(InputError, match="sn_multiplier="):
        layers.scale_spectral_norm(module, multiplier)


def test_spectral_norm_of_a_convolution_rests_in_evaluation():
    torch.manual_seed(0)
    layer = layers.convolution(8, 16, 3, spectral=True)
    for _ in range(100):
        layer(torch.randn(1, 8, 4, 4))
    assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() == pytest.approx(1, abs=1e-3)
    layer.eval()
    before = {key: value.clone() for key, value in layer.state_dict().items()}
    layer(torch.randn(1, 8, 4, 4))
    assert all(torch.equal(before[key], value) for key, value in layer.state_dict().items())


def test_parameters_are_counted_frozen_or_not():
    layer = nn.Linear(3, 2)
    assert layers.count_parameters(layer) == 8
    assert layers.count_parameters(layer.requires_grad_(False)) == 8


@pytest.mark.parametrize(
    ("side", "stride", "padding", "dilation", "groups"),
    [((7,), 1, 1, 1, 1), ((5, 6), 1, 1, 1, 4), ((6, 6), 2, 1, 1, 2), ((6, 5), 2, 0, 1, 1), ((9, 8), 3, 1, 2, 2),
     ((4, 3, 5), 2, 1, 1, 1)],
)  # fmt: skip
def test_derivatives_of_a_convolution_are_right_to_the_second(side, stride, padding, dilation, groups):
    torch.manual_seed(0)
    dims = len(side)
    layout = Layout(*((value,) * dims for value in (stride, padding, dilation)), groups)
    x = torch.randn(2, 4, *side, dtype=torch.float64, requires_grad=True)
    w = torch.randn(8, 4 // groups, *(3,) * dims, dtype=torch.float64, requires_grad=True)
    b = torch.randn(8, dtype=torch.float64, requires_grad=True)
    theirs = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[dims](x, w, b, stride, padding, dilation, groups)
    torch.testing.assert_close(convolve(x, w, b, layout), theirs)
    assert torch.autograd.gradcheck(lambda *given: convolve(*given, layout), (x, w, b))
    assert torch.autograd.gradgradcheck(lambda *given: convolve(*given, layout), (x, w, b))


def test_a_penalty_through_convolutions_is_torchs_own():
    """The way taken on CUDA, beside the layer as it is elsewhere: the same penalty, and the same gradients of it."""
    torch.manual_seed(0)
    layer = layers.convolution(6, 8, 3, stride=2, groups=2)
    found = []
    for judge in (layer, lambda x: convolve(x, layer.weight, layer.bias, Layout((2, 2), (1, 1), (1, 1), 2))):
        x = torch.ones(3, 6, 8, 8).requires_grad_()
        gradient = torch.autograd.grad(judge(x).square().sum(), x, create_graph=True)[0]
        penalty = gradient.square().sum()
        found.append([penalty.detach(), *torch.autograd.grad(penalty, [layer.weight, layer.bias])])
    torch.testing.assert_close(*found)


def test_where_a_layer_takes_the_quick_way(monkeypatch):
    with FakeTensorMode():
        there, here = torch.empty(1, 4, 8, 8, device="cuda"), torch.empty(1, 4, 8, 8)
    layer = Conv2d(4, 4, 3, padding=1)
    assert layer.quick(there) and not layer.quick(here)
    assert not Conv2d(4, 4, 3, padding=1, padding_mode="reflect").quick(there)
    assert not Conv2d(4, 4, 3, padding="same").quick(there)
    with torch.no_grad():
        assert not layer.quick(there)
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda device: device == "cuda")
    assert not layer.quick(there)


def test_a_convolution_is_differentiated_by_torch_func_and_a_sample_at_a_time():
    torch.manual_seed(0)
    layout, w = Layout((1, 1), (1, 1), (1, 1), 1), torch.randn(2, 3, 3, 3, dtype=torch.float64)
    x = torch.randn(4, 1, 3, 5, 5, dtype=torch.float64)
    ours = torch.vmap(torch.func.grad(lambda one: convolve(one, w, None, layout).sin().sum()))(x)
    theirs = torch.vmap(torch.func.grad(lambda one: F.conv2d(one, w, None, 1, 1).sin().sum()))(x)
    torch.testing.assert_close(ours, theirs)
