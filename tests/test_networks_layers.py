"""The layers against their closed forms, in one, two and three dimensions."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from equipoise.networks import conditioning, layers


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
    (multiplier,) = layers.scale_spectral_norm(nn.Sequential(normed), 2.0)
    torch.testing.assert_close(normed.weight, torch.diag(torch.tensor([2.0, 2 / 3])), atol=1e-3, rtol=0)
    multiplier.multiplier.fill_(0.5)
    assert torch.linalg.matrix_norm(normed.weight, 2).item() == pytest.approx(0.5, abs=1e-3)


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
