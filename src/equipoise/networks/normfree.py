"""Residual networks without any normalisation (R3GAN, configuration E: Huang et al. 2024, arXiv:2501.05441).

Each resolution is a stage of residual blocks 1x1, grouped 3x3, 1x1; stages are joined by bilinear resampling; fixup
initialisation takes the place of normalisation. Written from the paper.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from equipoise.errors import InputError
from equipoise.initialise import initialise
from equipoise.networks import conditioning, layers
from equipoise.registry import register


def stage_channels(resolution: int, width: int, cap: int = 4) -> list[int]:
    """Channels at 4x4, 8x8, ... up to the resolution: `width` there, doubling downwards to at most `cap` widths."""
    stages = resolution.bit_length() - 2  # 8: 2, 64: 5
    return [min(2**i, cap) * width for i in reversed(range(stages))]


class Block(nn.Module):
    """x + 1x1(grouped 3x3(1x1(x))): wide inside, with leaky ReLUs between and none on the shortcut.

    The group size is the largest divisor of the inner channels that divides the one asked for.
    """

    def __init__(self, channels: int, expansion: int, group_size: int) -> None:
        super().__init__()
        inner = channels * expansion
        groups = inner // math.gcd(inner, group_size)
        self.expand = layers.convolution(channels, inner, 1)
        self.spatial = layers.convolution(inner, inner, 3, groups=groups)
        self.project = layers.convolution(inner, channels, 1, bias=False)
        self.activation = nn.LeakyReLU(layers.SLOPE)

    @property
    def residual_layers(self) -> list[nn.Module]:
        return [self.expand, self.spatial, self.project]

    def forward(self, x: Tensor) -> Tensor:
        h = self.activation(self.spatial(self.activation(self.expand(x))))
        branch: Tensor = self.project(h)
        return x + branch


class Basis(nn.Module):
    """A learned 4x4 pattern per channel: what each latent feature paints, or what each channel is read with."""

    def __init__(self, channels: int, std: float) -> None:
        super().__init__()
        self.std = std
        self.patterns = nn.Parameter(torch.empty(channels, 4, 4))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.normal_(self.patterns, std=self.std)

    def paint(self, features: Tensor) -> Tensor:
        """[N, channels] to [N, channels, 4, 4]."""
        return features[:, :, None, None] * self.patterns

    def read(self, x: Tensor) -> Tensor:
        """[N, channels, 4, 4] to [N, channels]."""
        return (x * self.patterns).sum((2, 3))


class Generator(nn.Module):
    """Latents [N, latent_dim] to images [N, C, H, W] in about [-1, 1]: nothing bounds them, they learn the range."""

    def __init__(
        self,
        shape: tuple[int, ...],
        latent_dim: int,
        num_classes: int,
        width: int,
        depth: int,
        expansion: int,
        group_size: int,
        patch: int,
    ) -> None:
        super().__init__()
        self.shape, self.latent_dim, self.num_classes = shape, latent_dim, num_classes
        channels = stage_channels(shape[1] // patch, width)
        self.input = conditioning.LatentInput(latent_dim, num_classes)
        self.start = layers.linear(self.input.features, channels[0], bias=False)
        self.basis = Basis(channels[0], std=1.0)
        steps: list[nn.Module] = []
        for i, here in enumerate(channels):
            if i:
                steps += [_match(channels[i - 1], here), layers.Upsample()]
            steps += [Block(here, expansion, group_size) for _ in range(depth)]
        self.stages = nn.Sequential(*steps)
        self.output = layers.convolution(channels[-1], shape[0] * patch**2, 1, bias=False)
        self.unfold = nn.PixelShuffle(patch) if patch > 1 else nn.Identity()

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        x = self.basis.paint(self.start(self.input(latents, labels)))
        images: Tensor = self.unfold(self.output(self.stages(x)))
        return images


class Discriminator(nn.Module):
    """Images [N, C, H, W] to logits [N]; classes come in by projection."""

    def __init__(
        self,
        shape: tuple[int, ...],
        num_classes: int,
        width: int,
        depth: int,
        expansion: int,
        group_size: int,
        patch: int,
        minibatch_std: bool,
        minibatch_discrimination: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.shape, self.num_classes = shape, num_classes
        channels = stage_channels(shape[1] // patch, width)[::-1]
        self.fold = nn.PixelUnshuffle(patch) if patch > 1 else nn.Identity()
        steps: list[nn.Module] = [layers.convolution(shape[0] * patch**2, channels[0], 1)]
        for i, here in enumerate(channels):
            if i:
                steps += [layers.Downsample(), _match(channels[i - 1], here)]
            steps += [Block(here, expansion, group_size) for _ in range(depth)]
        self.stages = nn.Sequential(*steps)
        self.basis = Basis(channels[-1], std=1 / 4)  # 16 places are summed
        self.spread = layers.MinibatchStd() if minibatch_std else nn.Identity()
        self.compare = layers.minibatch_discrimination(channels[-1] + minibatch_std, minibatch_discrimination)
        self.drop = layers.dropout(dropout)
        self.output = layers.linear(channels[-1] + minibatch_std + layers.KERNELS * minibatch_discrimination, 1)
        self.projection = conditioning.Projection(channels[-1], num_classes)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        features = self.basis.read(self.stages(self.fold(images)))
        seen = self.drop(self.compare(self.spread(features)))
        logits: Tensor = self.output(seen).squeeze(1)
        judged: Tensor = self.projection(logits, seen[:, : features.shape[1]], labels)
        return judged


def _match(before: int, after: int) -> nn.Module:
    return nn.Identity() if before == after else layers.convolution(before, after, 1, bias=False)


@register(
    "network",
    "normfree",
    paper="arXiv:2501.05441",
    claim="modern, no normalisation: the one for R1 and R2 at every step",
)
def normfree(
    shape: tuple[int, ...],  # (C, H, W)
    *,
    latent_dim: int,
    num_classes: int = 0,
    width: int = 64,  # channels at full resolution, doubling downwards to 4 widths
    init: str | None = None,  # default: fixup
    depth: int = 2,  # residual blocks per resolution
    expansion: int = 2,  # channels inside a block, per channel outside
    group_size: int = 16,  # channels per group of the 3x3 convolutions
    patch: int = 1,  # side in pixels read and painted at once; 2 spares the finest stage, over half the time
    norm_G: str = "none",  # there is no other
    norm_D: str = "none",  # none, or gradient (of its judgement): no layer of it is normalised
    minibatch_std: bool = False,  # let D see the spread of its batch
    minibatch_discrimination: bool = False,  # let D see how near the other samples of its batch are
    dropout: float = 0.0,  # share of D's last features left out in training: 0.1 to 0.5
) -> tuple[nn.Module, nn.Module]:
    """A mirrored pair: the generator climbs from 4x4 to the resolution, the discriminator descends the same stairs."""
    if norm_G != "none" or norm_D not in ("none", "gradient"):
        raise InputError(
            f"normfree has no normalised layers by design, so norm_G={norm_G!r} and norm_D={norm_D!r} have no place in"
            " it; leave both at 'none' (norm_D='gradient' would do), or take the network 'resnet'."
        )
    layers.check_positive(depth=depth, expansion=expansion, group_size=group_size, patch=patch)
    if patch & (patch - 1) or shape[1] // patch < 4:
        raise InputError(f"patch={patch} does not divide {shape[1]} pixels down to 4x4; take 1, 2 or 4.")
    generator = Generator(shape, latent_dim, num_classes, width, depth, expansion, group_size, patch)
    discriminator = Discriminator(
        shape,
        num_classes,
        width,
        depth,
        expansion,
        group_size,
        patch,
        minibatch_std,
        minibatch_discrimination,
        dropout,
    )
    for network in (generator, discriminator):
        initialise(network, init or "fixup")
    return generator, layers.finish_discriminator(discriminator, norm_D)
