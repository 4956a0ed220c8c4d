"""Residual networks of SN-GAN (Miyato et al. 2018, arXiv:1802.05957) and BigGAN (Brock et al. 2019, arXiv:1809.11096).

Classes enter G through its batch norms and D through a projection. At 32x32, widths (256, 128) give SN-GAN's CIFAR
networks: 4,276,739 and 1,053,825 parameters.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from equipoise.initialise import initialise
from equipoise.networks import conditioning, layers
from equipoise.registry import register


def channels_at(resolution: int, width: int) -> int:
    """`width` up to 32x32, then halving with each doubling of the side, but at least 4."""
    return width if resolution <= 32 else max(width * 32 // resolution, min(width, 4))


class UpBlock(nn.Module):
    """A residual block that doubles the sides: [N, before, H, W] to [N, after, 2H, 2W]."""

    def __init__(self, before: int, after: int, num_classes: int, norm: str, spectral: bool) -> None:
        super().__init__()
        self.norm_1 = _generator_norm(norm, before, num_classes)
        self.conv_1 = layers.convolution(before, after, 3, spectral=spectral)
        self.norm_2 = _generator_norm(norm, after, num_classes)
        self.conv_2 = layers.convolution(after, after, 3, spectral=spectral)
        self.shortcut = layers.convolution(before, after, 1, spectral=spectral)

    @property
    def residual_layers(self) -> list[nn.Module]:
        return [self.conv_1, self.conv_2]

    def forward(self, x: Tensor, labels: Tensor | None) -> Tensor:
        h: Tensor = self.conv_1(_double(F.relu(_normalise(self.norm_1, x, labels))))
        h = self.conv_2(F.relu(_normalise(self.norm_2, h, labels)))
        shortcut: Tensor = _double(self.shortcut(x))  # a 1x1 convolution commutes with doubling and is cheaper before
        return shortcut + h


class DownBlock(nn.Module):
    """A residual block of a discriminator: [N, before, H, W] to [N, after, H, W], the sides halved on request."""

    def __init__(self, before: int, after: int, norm: str, *, down: bool, first: bool = False) -> None:
        super().__init__()
        spectral = norm == "spectral"
        self.down, self.first = down, first
        self.norm_1 = nn.Identity() if first else layers.normalisation(norm, before)
        self.conv_1 = layers.convolution(before, after, 3, spectral=spectral)
        self.norm_2 = layers.normalisation("none" if first else norm, after)
        self.conv_2 = layers.convolution(after, after, 3, spectral=spectral)
        resized = down or before != after
        self.shortcut = layers.convolution(before, after, 1, spectral=spectral) if resized else nn.Identity()

    @property
    def residual_layers(self) -> list[nn.Module]:
        return [self.conv_1, self.conv_2]

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv_1(x if self.first else F.relu(self.norm_1(x)))  # the image itself goes in unrectified
        h = self.conv_2(F.relu(self.norm_2(h)))
        shortcut: Tensor = self.shortcut(F.avg_pool2d(x, 2) if self.down else x)  # a 1x1 convolution commutes with it
        return shortcut + (F.avg_pool2d(h, 2) if self.down else h)


class Generator(nn.Module):
    """Latents [N, latent_dim] to images [N, C, H, W] in [-1, 1]."""

    def __init__(
        self, shape: tuple[int, ...], latent_dim: int, num_classes: int, width: int, norm: str, spectral: bool
    ) -> None:
        super().__init__()
        self.shape, self.latent_dim, self.num_classes = shape, latent_dim, num_classes
        inputs = 0 if norm == "batch" else num_classes  # without batch norms to carry it, the class joins the latents
        self.input = conditioning.LatentInput(latent_dim, inputs)
        self.start = layers.linear(self.input.features, width * 16, spectral=spectral)
        sides = [8 << i for i in range(shape[1].bit_length() - 3)]  # 8, 16, ... up to the resolution
        channels = [width, *(channels_at(side, width) for side in sides)]
        self.blocks = nn.ModuleList(
            UpBlock(before, after, num_classes, norm, spectral) for before, after in pairwise(channels)
        )
        self.norm = layers.normalisation(norm, channels[-1])
        self.output = layers.convolution(channels[-1], shape[0], 3, spectral=spectral)

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        x = self.start(self.input(latents, labels)).unflatten(1, (-1, 4, 4))
        for block in self.blocks:
            x = block(x, labels)
        return torch.tanh(self.output(F.relu(self.norm(x))))


class Discriminator(nn.Module):
    """Images [N, C, H, W] to logits [N], with head="classes" [N, 2] (`conditioning.ClassMargins`).

    Places are pooled by their sum under spectral norm, as published, and by their mean otherwise, where nothing else
    keeps the first logits small.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        num_classes: int,
        width: int,
        norm: str,
        depth: int,
        minibatch_std: bool,
        head: str = "projection",
        minibatch_discrimination: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.shape, self.num_classes = shape, num_classes
        self.spectral = norm == "spectral"
        halvings = max(shape[1].bit_length() - 4, 1)  # down to 8x8, and 8x8 down to 4x4
        channels = [shape[0], *(channels_at(shape[1] >> i, width) for i in range(halvings))]
        blocks = [
            DownBlock(before, after, norm, down=True, first=i == 0)
            for i, (before, after) in enumerate(pairwise(channels))
        ]
        spread = int(minibatch_std)
        blocks += [
            DownBlock(channels[-1] + (spread if i == 0 else 0), channels[-1], norm, down=False) for i in range(depth)
        ]
        self.blocks = nn.Sequential(*blocks)
        if minibatch_std:
            self.blocks.insert(halvings, layers.MinibatchStd())
        self.compare = layers.minibatch_discrimination(channels[-1], minibatch_discrimination, self.spectral)
        self.drop = layers.dropout(dropout)
        seen = channels[-1] + layers.KERNELS * minibatch_discrimination
        self.output = layers.linear(seen, conditioning.outputs(head, num_classes), spectral=self.spectral)
        self.projection = conditioning.head(head, channels[-1], num_classes, spectral=self.spectral)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        features = F.relu(self.blocks(images))
        pooled = features.sum((2, 3)) if self.spectral else features.mean((2, 3))
        seen = self.drop(self.compare(pooled))
        judged: Tensor = self.projection(self.output(seen).squeeze(1), seen[:, : pooled.shape[1]], labels)
        return judged


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="nearest")


def _generator_norm(norm: str, channels: int, num_classes: int) -> nn.Module:
    if norm == "batch" and num_classes:
        return conditioning.ConditionalBatchNorm(channels, num_classes)
    return layers.normalisation(norm, channels)


def _normalise(norm: nn.Module, x: Tensor, labels: Tensor | None) -> Tensor:
    normalised: Tensor = norm(x, labels) if isinstance(norm, conditioning.ConditionalBatchNorm) else norm(x)
    return normalised


@register(
    "network",
    "resnet",
    paper="arXiv:1802.05957",
    claim="residual, spectrally normalised, class-conditional by projection",
)
def resnet(
    shape: tuple[int, ...],  # (C, H, W)
    *,
    latent_dim: int,
    num_classes: int = 0,
    width: int = 64,  # channels up to 32x32, halving above; SN-GAN's on CIFAR is 256 in G and 128 in D
    init: str | None = None,  # default: xavier
    depth: int = 2,  # D's blocks after the last halving
    norm_G: str = "batch",  # none, batch (the class's own when conditional), layer or instance
    norm_D: str = "spectral",  # none, batch, layer, instance, spectral, gradient or chain (with the term chain)
    spectral_G: bool = False,  # spectral norm on G's weights besides norm_G, as in BigGAN
    minibatch_std: bool = False,  # let D see the spread of its batch
    minibatch_discrimination: bool = False,  # let D see how near the other samples of its batch are
    dropout: float = 0.0,  # share of D's last features left out in training: 0.1 to 0.5
    sn_multiplier: float | None = None,  # factor on D's weights under norm_D=spectral, a dial once given; 1 is neutral
    head: str = "projection",  # of D, with classes: projection, or classes, which has an output for each (multi-hinge)
) -> tuple[nn.Module, nn.Module]:
    """A generator with a block per doubling from 4x4, and a discriminator halving to 8x8, then `depth` flat blocks."""
    layers.check_norm(norm_G, "norm_G", layers.NORMS_G)
    layers.check_norm(norm_D, "norm_D", layers.EVERY_NORM_D)
    layers.check_positive(depth=depth)
    generator = Generator(shape, latent_dim, num_classes, width, norm_G, spectral_G)
    discriminator = Discriminator(
        shape, num_classes, width, norm_D, depth, minibatch_std, head, minibatch_discrimination, dropout
    )
    for network in (generator, discriminator):
        initialise(network, init or "xavier")
    return generator, layers.finish_discriminator(discriminator, norm_D, sn_multiplier)
