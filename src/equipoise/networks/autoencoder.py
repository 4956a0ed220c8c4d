"""A discriminator that is an autoencoder, for EBGAN (arXiv:1609.03126) and BEGAN (arXiv:1703.10717): loss `energy`.

It judges an image by how badly it can rebuild it. Beside it stands a plain generator: dcgan's for images, mlp's for
vectors.
"""

from __future__ import annotations

import math
from itertools import pairwise

from torch import Tensor, nn

from equipoise.errors import InputError
from equipoise.initialise import initialise
from equipoise.networks import dcgan, layers, mlp
from equipoise.registry import register


class Discriminator(nn.Module):
    """Images [N, C, H, W] or vectors [N, d] to minus their energy, [N]: the mean error per number, so 0 at best.

    `output` is the decoder's first layer, so that what enters it, D's features, is the code [N, code].
    """

    def __init__(self, shape: tuple[int, ...], width: int, code: int, depth: int, norm: str, exponent: int) -> None:
        super().__init__()
        self.shape, self.num_classes, self.exponent = shape, 0, exponent
        halves = _vector_halves(shape[0], width, depth, norm) if len(shape) == 1 else _image_halves(shape, width, norm)
        encoder, self.decoder, features = halves
        spectral = norm == "spectral"
        self.trunk = nn.Sequential(*encoder, layers.linear(features, code, spectral=spectral))
        self.output = layers.linear(code, features, spectral=spectral)

    def reconstruct(self, images: Tensor) -> Tensor:
        """What comes back through the code, of the images' shape, unbounded."""
        rebuilt: Tensor = self.decoder(self.output(self.trunk(images)))
        return rebuilt

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        error = images - self.reconstruct(images)
        return -(error.abs() if self.exponent == 1 else error.square()).flatten(1).mean(1)


def _vector_halves(d: int, width: int, depth: int, norm: str) -> tuple[list[nn.Module], nn.Sequential, int]:
    """Encoder and decoder between vectors [N, d] and features [N, width], of `depth` hidden layers each."""
    start: list[nn.Module] = [layers.normalisation(norm, width, dims=0), nn.LeakyReLU(layers.SLOPE)]
    last = layers.linear(width, d, spectral=norm == "spectral")
    middle = [] if depth == 1 else [mlp.trunk(width, width, depth - 1, norm)]
    return [mlp.trunk(d, width, depth, norm)], nn.Sequential(*start, *middle, last), width


def _image_halves(shape: tuple[int, ...], width: int, norm: str) -> tuple[list[nn.Module], nn.Sequential, int]:
    """Encoder and decoder between images and features [N, channels * 16]: dcgan's layers down to 4x4 and back up."""
    channels = dcgan.stage_channels(shape[1], width)  # at 4x4, 8x8, ...
    spectral, bias = norm == "spectral", norm in ("none", "spectral")
    down: list[nn.Module] = []
    for before, after in pairwise([shape[0], *reversed(channels)]):
        down += [layers.convolution(before, after, 4, stride=2, padding=1, bias=bias, spectral=spectral)]
        down += [layers.normalisation(norm, after), nn.LeakyReLU(layers.SLOPE)]
    up: list[nn.Module] = [nn.Unflatten(1, (channels[0], 4, 4)), nn.LeakyReLU(layers.SLOPE)]
    size = {"stride": 2, "padding": 1, "spectral": spectral, "transposed": True}
    for before, after in pairwise(channels):
        up += [layers.convolution(before, after, 4, bias=bias, **size)]  # type: ignore[arg-type]  # mixed values
        up += [layers.normalisation(norm, after), nn.LeakyReLU(layers.SLOPE)]
    up += [layers.convolution(channels[-1], shape[0], 4, **size)]  # type: ignore[arg-type]
    return [*down, nn.Flatten()], nn.Sequential(*up), channels[0] * 16


@register(
    "network",
    "autoencoder",
    paper="arXiv:1609.03126",
    claim="a discriminator that rebuilds what it is shown: for the loss energy alone, unconditional",
    conditional=False,
)
def autoencoder(
    shape: tuple[int, ...],  # (d,) or (C, H, W)
    *,
    latent_dim: int,
    num_classes: int = 0,  # 0: there is no other
    width: int = 64,  # channels at half the resolution, doubling downwards to 8 widths; of vectors, the hidden layers'
    init: str | None = None,  # default: kaiming
    code: int | None = None,  # numbers between encoder and decoder; default: a quarter of a sample's, at most 64
    depth: int = 2,  # of vectors: hidden layers of G, of the encoder and of the decoder
    exponent: int = 1,  # of the error: 1, its absolute value as in BEGAN, or 2, its square as in EBGAN
    norm_G: str = "batch",  # none, batch, layer or instance
    norm_D: str = "none",  # none, batch, layer, instance or spectral
) -> tuple[nn.Module, nn.Module]:
    """dcgan's generator (mlp's for vectors) and an autoencoder of the same kind of layers as discriminator."""
    if num_classes:
        raise InputError(
            f"the network 'autoencoder' has no place for the {num_classes} classes of this data; set "
            "network.conditional=false, or take another network"
        )
    if exponent not in (1, 2):
        raise InputError(f"exponent={exponent} is no error of an autoencoder known here; give 1 or 2")
    layers.check_norm(norm_G, "norm_G", layers.NORMS_G)
    layers.check_norm(norm_D, "norm_D")
    code = min(max(math.prod(shape) // 4, 1), 64) if code is None else code
    layers.check_positive(code=code, depth=depth)
    generator: nn.Module
    if len(shape) == 1:
        generator = mlp.Generator(shape, latent_dim, 0, width, depth, norm_G)
    else:
        generator = dcgan.Generator(shape, latent_dim, 0, width, norm_G, False)
    discriminator = Discriminator(shape, width, code, depth, norm_D, exponent)
    for network in (generator, discriminator):
        initialise(network, init or "kaiming")
    return generator, discriminator
