"""Fully connected networks, for vectors and for small images (Goodfellow et al. 2014, arXiv:1406.2661)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from equipoise.initialise import initialise
from equipoise.networks import conditioning, layers
from equipoise.registry import register


class Generator(nn.Module):
    """Latents [N, latent_dim] to vectors [N, d], unbounded, or to images [N, C, H, W] in [-1, 1] by tanh."""

    def __init__(
        self, shape: tuple[int, ...], latent_dim: int, num_classes: int, width: int, depth: int, norm: str
    ) -> None:
        super().__init__()
        self.shape, self.latent_dim, self.num_classes = shape, latent_dim, num_classes
        self.input = conditioning.LatentInput(latent_dim, num_classes)
        self.trunk = trunk(self.input.features, width, depth, norm)
        self.output = nn.Linear(width, math.prod(shape))

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        x: Tensor = self.output(self.trunk(self.input(latents, labels)))
        return x if len(self.shape) == 1 else torch.tanh(x).reshape(-1, *self.shape)


class Discriminator(nn.Module):
    """Vectors or images, flattened, to logits [N]; classes come in by projection.

    With head="classes" each class has an output of its own, and the logits are [N, 2]: `conditioning.ClassMargins`.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        num_classes: int,
        width: int,
        depth: int,
        norm: str,
        minibatch_std: bool,
        head: str = "projection",
        minibatch_discrimination: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        spectral = norm == "spectral"
        self.shape, self.num_classes = shape, num_classes
        self.trunk = trunk(math.prod(shape), width, depth, norm)
        self.spread = layers.MinibatchStd() if minibatch_std else nn.Identity()
        self.compare = layers.minibatch_discrimination(width + minibatch_std, minibatch_discrimination, spectral)
        self.drop = layers.dropout(dropout)
        seen = width + minibatch_std + layers.KERNELS * minibatch_discrimination
        self.output = layers.linear(seen, conditioning.outputs(head, num_classes), spectral=spectral)
        self.projection = conditioning.head(head, width, num_classes, spectral=spectral)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        features = self.trunk(images.flatten(1))
        seen = self.drop(self.compare(self.spread(features)))
        logits: Tensor = self.output(seen).squeeze(1)
        judged: Tensor = self.projection(logits, seen[:, : features.shape[1]], labels)
        return judged


def trunk(features: int, width: int, depth: int, norm: str) -> nn.Sequential:
    """`depth` hidden layers from `features` to `width`, the last one's slope included."""
    steps: list[nn.Module] = []
    for i in range(depth):
        steps += [
            layers.linear(width if i else features, width, spectral=norm == "spectral"),
            layers.normalisation(norm, width, dims=0),
            nn.LeakyReLU(layers.SLOPE),
        ]
    return nn.Sequential(*steps)


@register("network", "mlp", paper="arXiv:1406.2661", claim="fully connected: vectors, toy distributions, small images")
def mlp(
    shape: tuple[int, ...],  # (d,) or (C, H, W)
    *,
    latent_dim: int,
    num_classes: int = 0,
    width: int = 256,  # of every hidden layer
    init: str | None = None,  # default: kaiming
    depth: int = 3,  # hidden layers
    norm_G: str = "none",  # none, batch or layer
    norm_D: str = "none",  # none, batch, layer, spectral, gradient (of its judgement) or chain (with the term chain)
    minibatch_std: bool = False,  # let D see the spread of its batch
    minibatch_discrimination: bool = False,  # let D see how near the other samples of its batch are
    dropout: float = 0.0,  # share of D's last features left out in training: 0.1 to 0.5
    sn_multiplier: float | None = None,  # factor on D's weights under norm_D=spectral, a dial once given; 1 is neutral
    head: str = "projection",  # of D, with classes: projection, or classes, which has an output for each (multi-hinge)
) -> tuple[nn.Module, nn.Module]:
    """A generator and a discriminator of `depth` hidden layers of `width` leaky ReLUs."""
    layers.check_norm(norm_G, "norm_G", layers.NORMS_G)
    layers.check_norm(norm_D, "norm_D", layers.EVERY_NORM_D)
    layers.check_positive(depth=depth)
    generator = Generator(shape, latent_dim, num_classes, width, depth, norm_G)
    discriminator = Discriminator(
        shape, num_classes, width, depth, norm_D, minibatch_std, head, minibatch_discrimination, dropout
    )
    for network in (generator, discriminator):
        initialise(network, init or "kaiming")
    return generator, layers.finish_discriminator(discriminator, norm_D, sn_multiplier)
