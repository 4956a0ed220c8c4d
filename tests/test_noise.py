"""Instance noise: its distribution, alike for real and fake, and the Dirac-GAN that it calms."""

import math

import numpy as np
import pytest
import torch

from equipoise.augmentations.noise import InstanceNoise
from equipoise.errors import InputError
from equipoise.turn import Turn
from plants import DiracGAN, batch_of, small_step


def test_the_noise_is_normal_of_the_given_width_and_the_same_for_both_kinds():
    torch.manual_seed(0)
    part, images = InstanceNoise(0.3), torch.full((100, 3, 16, 16), 0.25)
    for is_real in (True, False):
        shown, labels = part(images, torch.arange(100), is_real)
        noise = shown - images
        assert abs(float(noise.mean())) < 5e-3 and float(noise.std()) == pytest.approx(0.3, rel=0.01)
        assert float((noise / 0.3).pow(4).mean()) == pytest.approx(3.0, rel=0.05)
        assert float((noise[:, 0] * noise[:, 1]).mean()) == pytest.approx(0.0, abs=2e-3)
        assert torch.equal(labels, torch.arange(100))


@pytest.mark.parametrize("shape", [(4, 2), (4, 1, 8), (4, 1, 8, 8)])
def test_without_width_it_is_the_identity_to_the_bit(shape):
    images = torch.randn(shape)
    assert torch.equal(InstanceNoise(0.0)(images, None, True)[0], images)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_types_stay(dtype):
    assert InstanceNoise()(torch.zeros(2, 3, dtype=dtype), None, True)[0].dtype == dtype


def test_gradients_pass_unchanged():
    images = torch.randn(4, 2, requires_grad=True)
    (slope,) = torch.autograd.grad(InstanceNoise()(images, None, False)[0].square().sum() / 2, images)
    torch.manual_seed(0)
    assert not torch.equal(slope, images)  # the noisy image itself
    (slope,) = torch.autograd.grad(InstanceNoise()(images, None, False)[0].sum(), images)
    assert torch.equal(slope, torch.ones(4, 2))


class Blurred(DiracGAN):
    """The Dirac-GAN with expectations over the noise by 40 nodes of Gauss-Hermite quadrature."""

    def __init__(self, std):
        super().__init__("non-saturating")
        nodes, weights = np.polynomial.hermite.hermgauss(40)
        self.nodes = torch.tensor(math.sqrt(2) * nodes)[:, None]
        self.weights = torch.tensor(weights / math.sqrt(math.pi))
        self.noise = InstanceNoise(std).double()

    def gradient(self, role, move):
        fake = (self.theta if role == "G" else self.theta.detach()).expand(40, 1)
        judged = [self.psi * self.noise(x, None, True)[0].flatten() for x in (torch.zeros_like(fake), fake)]
        values = self.objective(Turn(role, role, real_logits=judged[0], fake_logits=judged[1]), frozenset())["loss"]
        (gradient,) = torch.autograd.grad((self.weights * values).sum(), self.psi if role == "D" else self.theta)
        return gradient


@pytest.mark.parametrize(("std", "expected", "digits"), [(0.5, 0.00153709, 3e-6), (1.0, 9.31e-12, 1e-3)])
def test_it_calms_the_dirac_gan(monkeypatch, std, expected, digits):
    game = Blurred(std)
    monkeypatch.setattr(torch, "randn_like", lambda images: game.nodes)
    assert game.play(1000).norm == pytest.approx(expected, rel=digits, abs=0)


def test_in_a_step_it_shows_both_players_noisy_images_and_its_width_is_a_dial():
    step = small_step(augmentations={"instance-noise": {"std": 0.2}}, terms={"r1": {}})
    seen = []
    step.networks["D"].register_forward_pre_hook(lambda m, args: seen.append(args[0].detach()))
    turn = step.turn("D", batch_of(step, 0)[0], None, torch.randn(8, 4).double(), step.due("D"))
    noise = seen[0] - torch.cat([turn["real"], turn["fake"]]).detach()
    assert [float(kind.std()) for kind in noise.chunk(2)] == pytest.approx([0.2, 0.2], rel=0.15)
    step.parts()["instance-noise"].std.fill_(0.0)
    turn = step.turn("G", batch_of(step, 0)[0], None, torch.randn(8, 4).double(), frozenset())
    assert torch.equal(seen[1], turn["fake"].detach())


@pytest.mark.parametrize("std", [-0.1, math.nan])
def test_a_width_that_is_none_is_refused(std):
    with pytest.raises(InputError, match="std="):
        InstanceNoise(std)
