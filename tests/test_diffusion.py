"""Diffusion-GAN's noise: horizon, schedule, the law of t, clean images to the bit, gradients, the published loop."""

import math

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from equipoise import compatibility
from equipoise.augmentations.diffusion import Diffusion, adapted
from equipoise.errors import InputError
from plants import batch_of, play, small_recipe, small_step
from test_step import fake_moves, family

f64 = torch.float64


@pytest.mark.parametrize(("p", "last"), [(0.0, 10), (1.0, 1000), (0.5, 505), (0.1, 109), (0.2, 208)])
def test_the_horizon(p, last):
    assert int(Diffusion(p).horizon()) == last
    part = Diffusion()
    part.p.fill_(7.0)
    assert int(part.horizon()) == 1000


@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
def test_the_schedule_against_a_slow_version(p):
    part, last = Diffusion(p), 10 + round(p * 990)
    rates = np.linspace(1e-4, 2e-2, last)
    expected = np.concatenate([[1.0], np.cumprod(1 - rates)])
    kept = part.kept().numpy()
    assert kept[0] == 1.0 and kept.shape == (1001,)
    assert np.abs(kept[: last + 1] - expected).max() < 2e-6


@pytest.mark.parametrize("draw", ["priority", "uniform"])
@pytest.mark.parametrize("p", [0.0, 1.0])
def test_the_law_of_the_steps(draw, p):
    torch.manual_seed(0)
    part, count = Diffusion(p, draw=draw), 200_000
    times, last = part.times(torch.empty(count, 1)), int(part.horizon())
    assert times.dtype == torch.int64 and int(times.min()) == 0 and int(times.max()) <= last
    assert float((times == 0).double().mean()) == pytest.approx(0.5, abs=3 * 0.5 / math.sqrt(count))
    noisy = times[times > 0]
    weights = np.arange(1, last + 1) if draw == "priority" else np.ones(last)
    expected = weights / weights.sum()
    if last == 10:
        for t, share in enumerate(expected, 1):
            seen = float((noisy == t).double().mean())
            assert seen == pytest.approx(share, abs=4 * math.sqrt(share * (1 - share) / len(noisy)))
    mean, square = (float((expected * np.arange(1, last + 1) ** k).sum()) for k in (1, 2))
    assert float(noisy.double().mean()) == pytest.approx(mean, abs=3 * math.sqrt((square - mean**2) / len(noisy)))


@pytest.mark.parametrize("shape", [(16, 2), (16, 1, 8), (16, 1, 8, 8), (16, 3, 8, 8), (16, 1, 2, 4, 4)])
@pytest.mark.parametrize("dtype", [torch.float32, f64, torch.bfloat16])
def test_at_step_0_every_bit_passes(shape, dtype):
    images = torch.randn(shape).to(dtype)
    images.flatten()[0] = -0.0
    out = Diffusion(1.0).change(images, torch.zeros(16, dtype=torch.int64), torch.randn_like(images))
    assert out.dtype == dtype and torch.equal(out.flatten().view(torch.uint8), images.flatten().view(torch.uint8))
    shown, labels = Diffusion(1.0)(images, torch.arange(16), False)
    assert shown.shape == images.shape and torch.equal(labels, torch.arange(16))
    assert 0 < sum(torch.equal(a, b) for a, b in zip(shown, images, strict=True)) < 16


def test_signal_and_noise_have_their_shares():
    torch.manual_seed(0)
    part, images = Diffusion(1.0, std=0.5), torch.full((200, 3, 16, 16), 0.25, dtype=f64)
    for t in (1, 300, 1000):
        out = part.change(images, torch.full((200,), t), torch.randn_like(images))
        kept = float(part.kept()[t])
        width = 0.5 * math.sqrt(1 - kept)
        assert float(out.mean()) == pytest.approx(0.25 * math.sqrt(kept), abs=4 * width / math.sqrt(out.numel()))
        assert float(out.std()) == pytest.approx(width, rel=0.02)


@pytest.mark.parametrize("channels", [1, 3])
def test_gradients_and_their_gradients(channels):
    torch.manual_seed(0)
    part, images = Diffusion(1.0), torch.randn(4, channels, 4, 4, dtype=f64, requires_grad=True)
    times, noise = torch.tensor([0, 5, 200, 900]), torch.randn(4, channels, 4, 4, dtype=f64)
    assert gradcheck(lambda x: part.change(x, times, noise), images, fast_mode=True)
    assert gradgradcheck(lambda x: part.change(x, times, noise).sin(), images, fast_mode=True)
    (slope,) = torch.autograd.grad(part.change(images, times, noise).sum(), images)
    torch.testing.assert_close(slope[:, 0, 0, 0], part.kept()[times].sqrt().double())


def test_the_published_loop():
    assert adapted(0.2, 0.7, 4 * 64) == pytest.approx(0.20256) and adapted(0.2, 0.5, 4 * 64) == pytest.approx(0.19744)
    assert adapted(0.2, 0.6, 256) == 0.2 and adapted(0.0, -1.0, 256) == 0.0 and adapted(1.0, 1.0, 256) == 1.0
    assert adapted(1.0, 1.0, 256, kimg=500.0, most=math.inf) == pytest.approx(1.000512)  # ADA and APA
    p = 0.0
    for _ in range(391):
        p = adapted(p, 1.0, 256)
    assert p == 1.0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"p": 1.5}, "p=1.5"), ({"std": -1.0}, "std="), ({"std": math.nan}, "std="), ({"draw": "normal"}, "uniform"),
     ({"steps_min": 1}, "steps 1"), ({"steps_max": 5}, "steps 10"), ({"beta_max": 1.0}, "rates")],
)  # fmt: skip
def test_settings_that_cannot_work_are_refused(wrong, message):
    with pytest.raises(InputError, match=message):
        Diffusion(**wrong)


def test_in_whole_steps():
    step = play(small_step(augmentations={"diffusion": {"p": 1.0}}, terms={"r1": {}, "r2": {}}), 2)
    assert not step.alarm["D"] and not step.alarm["G"] and not [n for n in step.memory() if "diffusion" in n]
    seen = []
    step.networks["D"].register_forward_pre_hook(lambda m, args: seen.append(args[0].detach()))
    turn = step.turn("D", batch_of(step, 0)[0], None, torch.randn(8, 4).double(), frozenset())
    both = torch.cat([turn["real"], turn["fake"]]).detach()
    clean = (seen[0] == both).flatten(1).all(1)
    assert 0 < int(clean.sum()) < 16


def test_beside_instance_noise_it_says_that_one_is_enough():
    (said,) = compatibility.cautions(small_recipe(augmentations={"diffusion": {}, "instance-noise": {}}))
    assert "one of them is enough" in said


@pytest.mark.parametrize("draw", ["priority", "uniform"])
def test_no_host_read(monkeypatch, draw):
    fake_moves(monkeypatch, family("dcgan"), augmentations={"diffusion": {"draw": draw}}, terms={"r1": {}})
