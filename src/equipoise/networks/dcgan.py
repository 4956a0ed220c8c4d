"""Plain convolutional networks (DCGAN: Radford, Metz & Chintala 2016, arXiv:1511.06434)."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from equipoise.initialise import initialise
from equipoise.networks import conditioning, layers
from equipoise.registry import register


def stage_channels(resolution: int, width: int, cap: int = 8) -> list[int]:
    """Channels at 4x4, 8x8, ... up to half the resolution: `width` there, doubling downwards up to `cap` widths."""
    stages = resolution.bit_length() - 3  # 8: 1, 64: 4
    return [min(2**i, cap) * width for i in reversed(range(stages))]


class Generator(nn.Module):
    """Latents [N, latent_dim] to images [N, C, H, W] in [-1, 1]."""

    def __init__(
        self, shape: tuple[int, ...], latent_dim: int, num_classes: int, width: int, norm: str, spectral: bool
    ) -> None:
        super().__init__()
        self.shape, self.latent_dim, self.num_classes = shape, latent_dim, num_classes
        self.input = conditioning.LatentInput(latent_dim, num_classes)
        channels = [self.input.features, *stage_channels(shape[1], width)]
        steps: list[nn.Module] = []
        for i, (before, after) in enumerate(pairwise(channels)):
            size = {"stride": 2, "padding": 1} if i else {"stride": 1, "padding": 0}  # 1x1 to 4x4, then doubling
            steps += [
                layers.convolution(before, after, 4, **size, bias=norm == "none", spectral=spectral, transposed=True),
                layers.normalisation(norm, after),
                nn.ReLU(),
            ]
        self.trunk = nn.Sequential(*steps)
        self.output = layers.convolution(
            channels[-1], shape[0], 4, stride=2, padding=1, spectral=spectral, transposed=True
        )

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        x = self.input(latents, labels)[:, :, None, None]
        return torch.tanh(self.output(self.trunk(x)))


class Discriminator(nn.Module):
    """Images [N, C, H, W] to logits [N]; classes come in by projection on the mean of the 4x4 features.

    With head="classes" each class has an output of its own, and the logits are [N, 2]: `conditioning.ClassMargins`.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        num_classes: int,
        width: int,
        norm: str,
        minibatch_std: bool,
        head: str = "projection",
        minibatch_discrimination: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        spectral = norm == "spectral"
        self.shape, self.num_classes = shape, num_classes
        channels = [shape[0], *reversed(stage_channels(shape[1], width))]
        steps: list[nn.Module] = []
        for i, (before, after) in enumerate(pairwise(channels)):
            here = norm if i or norm == "chain" else "none"  # DCGAN leaves the first layer without
            bias = not layers.has_shift(here)
            steps += [
                layers.convolution(before, after, 4, stride=2, padding=1, bias=bias, spectral=spectral),
                layers.normalisation(here, after),
                nn.LeakyReLU(layers.SLOPE),
            ]
        self.trunk = nn.Sequential(*steps)
        self.spread = layers.MinibatchStd() if minibatch_std else nn.Identity()
        seen = channels[-1] + minibatch_std  # at each of 4x4 places
        self.compare = layers.minibatch_discrimination(seen * 16, minibatch_discrimination, spectral)
        self.drop = layers.dropout(dropout)
        seen += layers.KERNELS * minibatch_discrimination
        outputs = conditioning.outputs(head, num_classes)
        self.output = layers.convolution(seen, outputs, 4, padding=0, spectral=spectral)
        self.projection = conditioning.head(head, channels[-1], num_classes, spectral=spectral)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        features = self.trunk(images)  # [N, channels, 4, 4]
        seen = self.drop(self.compare(self.spread(features)))
        logits: Tensor = self.output(seen).flatten(1).squeeze(1)
        judged: Tensor = self.projection(logits, seen[:, : features.shape[1]].mean((2, 3)), labels)
        return judged


@register("network", "dcgan", paper="arXiv:1511.06434", claim="plain convolutions: small and quick, the usual baseline")
def dcgan(
    shape: tuple[int, ...],  # (C, H, W)
    *,
    latent_dim: int,
    num_classes: int = 0,
    width: int = 64,  # channels at half the resolution, doubling downwards to 8 widths; the paper's is 128 at 64x64
    init: str | None = None,  # default: dcgan-normal
    norm_G: str = "batch",  # none, batch, layer or instance
    norm_D: str = "batch",  # none, batch, layer, instance, spectral, gradient or chain (with the term chain)
    spectral_G: bool = False,  # spectral norm on G's weights besides norm_G
    minibatch_std: bool = False,  # let D see the spread of its batch
    minibatch_discrimination: bool = False,  # let D see how near the other samples of its batch are
    dropout: float = 0.0,  # share of D's last features left out in training: 0.1 to 0.5
    sn_multiplier: float | None = None,  # factor on D's weights under norm_D=spectral, a dial once given; 1 is neutral
    head: str = "projection",  # of D, with classes: projection, or classes, which has an output for each (multi-hinge)
) -> tuple[nn.Module, nn.Module]:
    """A generator and a discriminator of 4x4 convolutions that double or halve the image at each layer."""
    layers.check_norm(norm_G, "norm_G", layers.NORMS_G)
    layers.check_norm(norm_D, "norm_D", layers.EVERY_NORM_D)
    generator = Generator(shape, latent_dim, num_classes, width, norm_G, spectral_G)
    discriminator = Discriminator(
        shape, num_classes, width, norm_D, minibatch_std, head, minibatch_discrimination, dropout
    )
    for network in (generator, discriminator):
        initialise(network, init or "dcgan-normal")
    return generator, layers.finish_discriminator(discriminator, norm_D, sn_multiplier)
