"""The fading blur: a Gaussian with reflected borders along every axis, the identity at 0, its dial and its schedule."""

import math

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from equipoise import build
from equipoise.augmentations.blur import Blur, smoother
from equipoise.errors import InputError
from equipoise.schedules import Schedule
from plants import play, small_recipe, small_step
from test_step import fake_moves, family

f64 = torch.float64


def blurred(images, sigma, start=None):
    part = Blur(start or sigma)
    part.sigma.fill_(sigma)
    return part(images, None, True)[0]


def slow(line, width, reach):
    """The convolution of a line of pixels, one by one, reflected at the centres of its ends."""
    taps = np.exp(-((np.arange(-reach, reach + 1) / width) ** 2) / 2)
    padded = np.pad(line, reach, mode="reflect")
    return np.convolve(padded, taps / taps.sum(), mode="valid")


def test_it_is_a_gaussian_with_reflected_borders():
    line = np.random.default_rng(0).normal(size=20)
    for width, reach in ((1.0, 3), (2.5, 8), (0.4, 3)):
        found = smoother(20, torch.tensor(width, dtype=f64), reach).numpy() @ line
        assert np.abs(found - slow(line, width, reach)).max() < 1e-12


@pytest.mark.parametrize("channels", [1, 3])
def test_both_axes_of_an_image_against_the_slow_version(channels):
    images = torch.randn(2, channels, 16, 10, dtype=f64)
    expected = np.apply_along_axis(slow, 2, images.numpy(), 1.6, 5)
    expected = np.apply_along_axis(slow, 3, expected, 1.6, 5)
    assert np.abs(blurred(images, 0.1).numpy() - expected).max() < 1e-6  # the dial is in single precision


@pytest.mark.parametrize("shape", [(2, 3, 33), (2, 3, 33, 33), (2, 1, 33, 33, 33)])
def test_a_point_becomes_a_bell_in_1_2_and_3_dimensions(shape):
    images = torch.zeros(shape, dtype=f64)
    images[(..., *[16] * (len(shape) - 2))] = 1.0
    out = blurred(images, 2.0 / 33)
    assert out.shape == shape
    torch.testing.assert_close(out.flatten(2).sum(2), torch.ones(shape[:2], dtype=f64))
    place = (torch.arange(33, dtype=f64) - 16).square()
    axes = tuple(range(3, len(shape)))
    variance = (out.sum(axes) if axes else out) @ place
    torch.testing.assert_close(variance, torch.full(shape[:2], 4.0, dtype=f64), rtol=0.03, atol=0)  # cut at 3 sigma


def test_flat_images_stay():
    images = torch.full((1, 1, 12, 7), 0.3, dtype=f64)
    torch.testing.assert_close(blurred(images, 0.5), images)  # the kernel is wider than the image


@pytest.mark.parametrize("shape", [(4, 1, 9), (4, 3, 8, 8), (2, 1, 4, 4, 4)])
@pytest.mark.parametrize("dtype", [torch.float32, f64, torch.bfloat16])
@pytest.mark.parametrize("how", ["turned to 0", "made with 0"])
def test_at_sigma_0_every_bit_passes(shape, dtype, how):
    images, labels = torch.randn(shape).to(dtype), torch.arange(len(torch.empty(shape)))
    images.flatten()[0] = -0.0
    part = Blur() if how == "turned to 0" else Blur(0.0)
    part.sigma.fill_(0.0)
    out, kept = part(images, labels, False)
    assert out.dtype == dtype and kept is labels
    assert torch.equal(out.flatten().view(torch.uint8), images.flatten().view(torch.uint8))


def test_the_dial_fades_it_and_cannot_widen_it():
    images = torch.randn(2, 3, 32, 32, dtype=f64)
    spread = [float(blurred(images, sigma, 0.1).std()) for sigma in (0.1, 0.05, 0.02, 0.0)]
    assert spread == sorted(spread) and spread[0] < 0.3 * spread[-1]
    assert torch.equal(blurred(images, 0.5, 0.1), blurred(images, 0.1))


def test_a_schedule_in_kimg_fades_it():
    recipe = small_recipe(augmentations={"blur": {}}, schedules={"blur.sigma": Schedule("linear", until_kimg=0.2)})
    step = build.assemble(recipe, *build.players(recipe, (1, 8, 8), 0), torch.device("cpu"))
    dial = build.dials(step, recipe)["blur.sigma"]
    for samples, share in ((0, 1.0), (100, 0.5), (200, 0.0), (900, 0.0)):
        dial.turn(samples, 1000)
        assert float(step.parts()["blur"].sigma) == pytest.approx(0.033 * share)
    asked = small_recipe().with_values({"schedules.blur.sigma": "linear", "schedules.blur.sigma.until_kimg": 200.0})
    assert asked.schedules["blur.sigma"] == Schedule("linear", until_kimg=200.0)


@pytest.mark.parametrize("channels", [1, 3])
def test_gradients_and_their_gradients(channels):
    images = torch.randn(2, channels, 6, 5, dtype=f64, requires_grad=True)
    for sigma in (0.2, 0.0):
        assert gradcheck(lambda x, s=sigma: blurred(x, s, 0.2), images, fast_mode=True)
        assert gradgradcheck(lambda x, s=sigma: blurred(x, s, 0.2).sin(), images, fast_mode=True)


def test_memory_formats_types_and_autocast():
    images = torch.randn(4, 3, 8, 8)
    expected = blurred(images, 0.1)
    last = blurred(images.contiguous(memory_format=torch.channels_last), 0.1)
    assert last.is_contiguous(memory_format=torch.channels_last) and expected.is_contiguous()
    torch.testing.assert_close(last, expected)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(blurred(images, 0.1), expected)


@pytest.mark.parametrize(
    "data", [torch.zeros(4, 2), torch.zeros(2, 3, 8, 8, dtype=torch.uint8), torch.zeros(2, 3, 1, 8)]
)
def test_data_that_cannot_be_blurred(data):
    with pytest.raises(InputError, match="leave it out"):
        Blur()(data, None, True)


@pytest.mark.parametrize("sigma", [-0.1, 1.5, math.nan])
def test_widths_that_cannot_work_are_refused(sigma):
    with pytest.raises(InputError, match=r"blur\.sigma="):
        Blur(sigma)


def test_in_whole_steps_and_without_a_host_read(monkeypatch):
    step = play(small_step(augmentations={"blur": {"sigma": 0.2}}, terms={"r1": {}}), 2)
    assert not step.alarm["D"] and float(step.optimisers["G"].norm) > 0
    fake_moves(monkeypatch, family("dcgan"), augmentations={"blur": {}}, terms={"r1": {}})
