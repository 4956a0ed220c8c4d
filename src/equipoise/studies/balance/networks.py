"""The pairs of the proving ground: layers of given widths, at He's initialisation times a factor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from equipoise.errors import InputError
from equipoise.initialise import initialise
from equipoise.networks.layers import SLOPE

Activation = Callable[[], nn.Module]
ACTIVATIONS: dict[str, Activation] = {
    "leaky_relu": partial(nn.LeakyReLU, SLOPE), "relu": nn.ReLU, "elu": nn.ELU, "silu": nn.SiLU, "gelu": nn.GELU,
    "tanh": nn.Tanh,
}  # fmt: skip


def pair(
    shape: tuple[int, ...],  # (d,) or (C, H, W)
    zdim: int,
    g_widths: Sequence[int],
    d_widths: Sequence[int],
    tanh: bool,  # at the generator's end
    std_g: float = 1.0,  # of the weights, in units of He's
    std_d: float = 1.0,
    activation: str = "leaky_relu",
) -> tuple[nn.Module, nn.Module]:
    """Generator and discriminator: MLPs for vectors, convolutions of 3x3 for images; biases start at 0."""
    act = ACTIVATIONS[activation]
    if len(shape) == 1:
        generator = Chain(*_dense([zdim, *g_widths, *shape], act))
        discriminator = Chain(*_dense([*shape, *d_widths, 1], act), nn.Flatten(0))
    else:
        for name, widths in (("g_widths", g_widths), ("d_widths", d_widths)):
            stages(shape, widths, name)
        generator, discriminator = _grow(shape, zdim, list(g_widths), act), _shrink(shape, list(d_widths), act)
    if tanh:
        generator.append(nn.Tanh())
    for network, std in ((generator, std_g), (discriminator, std_d)):
        initialise(network, "kaiming")
        for parameter in network.parameters():
            parameter.data.mul_(std)
    generator.latent_dim = zdim
    return generator, discriminator


def stages(shape: tuple[int, ...], widths: Sequence[int], name: str) -> None:
    """Refuse images and widths that do not fit: 4x4, 8x8, ... up to the image, one width each."""
    if shape[1] != shape[2] or shape[1] != 4 * 2 ** (len(widths) - 1):
        raise InputError(
            f"{len(widths)} widths in {name} make images of {4 * 2 ** (len(widths) - 1)} pixels a side, one width for "
            f"4x4 and one for each doubling, and the data is shaped {list(shape)}; give as many widths as it takes"
        )


class Chain(nn.Sequential):
    """Layers one after the other, called as any of the package's networks; labels do not matter."""

    num_classes = 0
    latent_dim: int  # of a generator

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        for layer in self:
            x = layer(x)
        return x


class Upsample(nn.Module):
    """Twice the height and width, each pixel repeated."""

    def forward(self, images: Tensor) -> Tensor:
        return F.interpolate(images, scale_factor=2.0, mode="nearest")


def _dense(sizes: list[int], act: Activation) -> list[nn.Module]:
    """Linear layers with activations between."""
    steps: list[nn.Module] = []
    for before, after in pairwise(sizes):
        steps += [nn.Linear(before, after), act()]
    return steps[:-1]


def _grow(shape: tuple[int, ...], zdim: int, widths: list[int], act: Activation) -> Chain:
    """Latents to 4x4, doubled up to the image."""
    steps: list[nn.Module] = [nn.Linear(zdim, widths[0] * 16), nn.Unflatten(1, (widths[0], 4, 4)), act()]
    for before, after in pairwise(widths):
        steps += [Upsample(), nn.Conv2d(before, after, 3, padding=1), act()]
    return Chain(*steps, nn.Conv2d(widths[-1], shape[0], 3, padding=1))


def _shrink(shape: tuple[int, ...], widths: list[int], act: Activation) -> Chain:
    """Images halved down to 4x4, and one logit."""
    steps: list[nn.Module] = [nn.Conv2d(shape[0], widths[-1], 3, padding=1), act()]
    for before, after in pairwise(widths[::-1]):
        steps += [nn.Conv2d(before, after, 3, padding=1), act(), nn.AvgPool2d(2)]
    return Chain(*steps, nn.Flatten(1), nn.Linear(widths[0] * 16, 1), nn.Flatten(0))
