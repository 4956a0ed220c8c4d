"""What the networks are made of: convolutions in 1, 2 or 3 dimensions, normalisation by name, resampling."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils import parametrizations, parametrize

from equipoise.errors import InputError
from equipoise.initialise import is_spectral
from equipoise.networks import chain
from equipoise.networks.convolution import Conv1d, Conv2d, Conv3d
from equipoise.networks.gradient_normalisation import GradientNormalised
from equipoise.networks.minibatch import KERNELS as KERNELS
from equipoise.networks.minibatch import MinibatchDiscrimination as MinibatchDiscrimination
from equipoise.networks.minibatch import MinibatchStd as MinibatchStd
from equipoise.registry import suggest

NORMS_G = ("none", "batch", "layer", "instance")
NORMS_D = (*NORMS_G, "spectral")
EVERY_NORM_D = (*NORMS_D, "gradient", "chain")  # the last two want `finish_discriminator`
SLOPE = 0.2  # of every leaky ReLU here

_CONVOLUTIONS: dict[tuple[int, bool], type[nn.Module]] = {
    (1, False): Conv1d,
    (2, False): Conv2d,
    (3, False): Conv3d,
    (1, True): nn.ConvTranspose1d,
    (2, True): nn.ConvTranspose2d,
    (3, True): nn.ConvTranspose3d,
}
_BATCH_NORMS: dict[int, type[nn.Module]] = {0: nn.BatchNorm1d, 1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


def convolution(
    channels_in: int,
    channels_out: int,
    kernel: int,  # cells along each axis
    *,
    stride: int = 1,
    padding: int | None = None,  # cells; None keeps the size of an odd kernel at stride 1
    groups: int = 1,
    bias: bool = True,
    spectral: bool = False,  # divide the kernel by its largest singular value
    transposed: bool = False,
    dims: int = 2,  # spatial dimensions: 1, 2 or 3
) -> nn.Module:
    """A convolution over `dims` spatial dimensions, spectrally normalised on request."""
    padding = kernel // 2 if padding is None else padding
    kind: Any = _CONVOLUTIONS[dims, transposed]
    layer = kind(channels_in, channels_out, kernel, stride=stride, padding=padding, groups=groups, bias=bias)
    return spectral_norm(layer) if spectral else layer


def linear(features_in: int, features_out: int, *, bias: bool = True, spectral: bool = False) -> nn.Module:
    """A linear layer, spectrally normalised on request."""
    layer = nn.Linear(features_in, features_out, bias=bias)
    return spectral_norm(layer) if spectral else layer


class Multiplier(nn.Module):
    """Scale a weight by a 0-d buffer, which a controller may turn (Lin et al. 2021, arXiv:2009.02773)."""

    dials = ("multiplier",)
    multiplier: Tensor

    def __init__(self, multiplier: float = 1.0) -> None:
        super().__init__()
        self.register_buffer("multiplier", torch.tensor(float(multiplier)))

    def forward(self, weight: Tensor) -> Tensor:
        return self.multiplier * weight


def spectral_norm(layer: nn.Module) -> nn.Module:
    """Divide the layer's weight by its largest singular value (Miyato et al. 2018, arXiv:1802.05957), in place.

    A kernel counts as the matrix (out, in * cells); one power iteration per forward in training mode.
    """
    return parametrizations.spectral_norm(layer, n_power_iterations=1, eps=1e-12)


def scale_spectral_norm(module: nn.Module, multiplier: float = 1.0) -> Multiplier:
    """Multiply the weight of every spectrally normalised layer of a network by one shared number, and return that.

    Each such weight then has this norm, so that with L of them in a row the bound on the network's slope is the L-th
    power of it. A layer outside this network keeps its own.
    """
    spectral = [layer for layer in module.modules() if is_spectral(layer)]
    if not spectral or not multiplier > 0:
        raise InputError(
            f"sn_multiplier={multiplier} is to be a positive factor on spectrally normalised weights, of which this"
            f" network has {len(spectral)}; set norm_D='spectral', or leave sn_multiplier out."
        )
    shared = Multiplier(multiplier)
    for layer in spectral:
        parametrize.register_parametrization(layer, "weight", shared)
    return shared


def finish_discriminator(discriminator: nn.Module, norm: str, sn_multiplier: float | None = None) -> nn.Module:
    """What a normalisation asks of the whole discriminator, once its weights are initialised; returns it, or a wrapper.

    "gradient" wraps it, "chain" joins its layers, and "spectral" may have a multiplier.
    """
    if sn_multiplier is not None:
        scale_spectral_norm(discriminator, sn_multiplier)
    if norm == "gradient":
        return GradientNormalised(discriminator)
    return chain.join(discriminator) if norm == "chain" else discriminator


def check_norm(name: str, option: str, known: tuple[str, ...] = NORMS_D) -> None:
    """Raise an InputError unless `name` is one of the known normalisations."""
    if name not in known:
        raise InputError(f"{option}={name!r} is no normalisation known here{suggest(str(name), list(known))}")


def check_positive(**numbers: int) -> None:
    """Raise an InputError that names the first number below 1."""
    for name, number in numbers.items():
        if number < 1:
            raise InputError(f"{name}={number} makes no network; give a positive whole number.")


def batch_norm(channels: int, *, dims: int = 2, affine: bool = True) -> nn.Module:
    """Batch norm over `dims` spatial dimensions, 0 for vectors."""
    kind: Any = _BATCH_NORMS[dims]
    layer: nn.Module = kind(channels, affine=affine)
    return layer


def normalisation(name: str, channels: int, *, dims: int = 2) -> nn.Module:
    """The normalisation layer of this name; "none", "spectral" (on the weights) and "gradient" give the identity.

    dims: spatial dimensions of what is normalised, 0 for vectors [N, channels].
    """
    if name == "batch":
        return batch_norm(channels, dims=dims)
    if name == "layer":
        return nn.GroupNorm(1, channels)  # over channels and places of one sample, affine per channel
    if name == "instance":
        if dims == 0:
            raise InputError(
                "instance normalisation needs places to average over and a vector has none; use 'layer' or 'batch'."
            )
        return nn.GroupNorm(channels, channels)
    return chain.AdaptiveRMSNorm(channels) if name == "chain" else nn.Identity()


def has_shift(norm: str) -> bool:
    """Whether the normalisation of this name adds a learned shift, so that the layer before it needs no bias."""
    return norm in ("batch", "layer", "instance")


def dropout(share: float) -> nn.Module:
    """Dropout with this probability, 0 to below 1; 0 gives the identity."""
    if not 0 <= share < 1:
        raise InputError(f"dropout={share} is no share of features to leave out; give 0 to below 1.")
    return nn.Dropout(share) if share else nn.Identity()


class Upsample(nn.Module):
    """Double every side by bilinear interpolation (linear, trilinear): [N, C, ...] to [N, C, 2x ...].

    torch's own kernel is the quickest on the CPU; on CUDA its backward adds in no fixed order, so that a run could not
    be repeated, and the same is spelt out there.
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type == "cpu" and x.ndim == 4:
            return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        return linear_double(x)


def linear_double(x: Tensor) -> Tensor:
    """Twice the cells along every spatial axis: 3/4 of the nearest and 1/4 of the next, the border repeated."""
    for axis in range(2, x.ndim):
        size = x.shape[axis]
        before = torch.cat([x.narrow(axis, 0, 1), x.narrow(axis, 0, size - 1)], axis)
        after = torch.cat([x.narrow(axis, 1, size - 1), x.narrow(axis, size - 1, 1)], axis)
        pair = torch.stack([torch.lerp(x, before, 0.25), torch.lerp(x, after, 0.25)], axis + 1)
        x = pair.flatten(axis, axis + 1)
    return x


class Downsample(nn.Module):
    """Halve every side by bilinear interpolation, which at this factor is the mean of each 2x2 (2, 2x2x2) cell."""

    def forward(self, x: Tensor) -> Tensor:
        pool = {3: F.avg_pool1d, 4: F.avg_pool2d, 5: F.avg_pool3d}[x.ndim]
        return pool(x, 2)


def minibatch_discrimination(features: int, wanted: bool, spectral: bool = False) -> nn.Module:
    """The layer for this many features of a sample, spectrally normalised on request; the identity if not wanted."""
    if not wanted:
        return nn.Identity()
    layer = MinibatchDiscrimination(features)
    return spectral_norm(layer) if spectral else layer


def couples_samples(module: nn.Module) -> list[str]:
    """The layers that make the output for one sample depend on the others of its batch, as "path (Type)".

    Batch norms, and any module with a true attribute `couples_samples`. A per-sample gradient penalty is not well
    defined on a discriminator for which this list is not empty.
    """
    return [
        f"{name or 'the network itself'} ({type(layer).__name__})"
        for name, layer in module.named_modules()
        if isinstance(layer, _BatchNorm) or getattr(layer, "couples_samples", False) is True
    ]


def count_parameters(module: nn.Module) -> int:
    """How many numbers the module learns, frozen at the moment or not."""
    return sum(p.numel() for p in module.parameters())
