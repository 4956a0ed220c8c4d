"""What the networks are made of: convolutions in 1, 2 or 3 dimensions, normalisation by name, class conditioning."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils import parametrizations, parametrize

from equipoise.errors import InputError
from equipoise.initialise import is_spectral
from equipoise.registry import suggest

NORMS_G = ("none", "batch", "layer", "instance")
NORMS_D = (*NORMS_G, "spectral")
SLOPE = 0.2  # of every leaky ReLU here

_CONVOLUTIONS: dict[tuple[int, bool], type[nn.Module]] = {
    (1, False): nn.Conv1d,
    (2, False): nn.Conv2d,
    (3, False): nn.Conv3d,
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


def scale_spectral_norm(module: nn.Module, multiplier: float = 1.0) -> list[Multiplier]:
    """Give every spectrally normalised layer of a network a multiplier, and return these in the network's order.

    The network's Lipschitz bound is the product of all of them, so that even one is an actuator.
    """
    added = []
    for layer in list(module.modules()):
        if is_spectral(layer):
            added.append(Multiplier(multiplier))
            parametrize.register_parametrization(layer, "weight", added[-1])
    return added


def check_norm(name: str, option: str, known: tuple[str, ...] = NORMS_D) -> None:
    """Raise an InputError unless `name` is one of the known normalisations."""
    if name not in known:
        raise InputError(f"{option}={name!r} is no normalisation known here{suggest(str(name), list(known))}")


def normalisation(name: str, channels: int, *, dims: int = 2) -> nn.Module:
    """The normalisation layer of this name; "none" and "spectral" (which is on the weights) give the identity.

    dims: spatial dimensions of what is normalised, 0 for vectors [N, channels].
    """
    if name == "batch":
        return _BATCH_NORMS[dims](channels)
    if name == "layer":
        return nn.GroupNorm(1, channels)  # over channels and places of one sample, affine per channel
    if name == "instance":
        if dims == 0:
            raise InputError(
                "instance normalisation needs places to average over and a vector has none; use 'layer' or 'batch'."
            )
        return nn.GroupNorm(channels, channels)
    return nn.Identity()


class ConditionalBatchNorm(nn.Module):
    """Batch norm whose scale and shift belong to the class (de Vries et al. 2017, arXiv:1707.00683).

    forward: features [N, C, ...] and labels [N] (ignored when there are no classes) to the shape of the features.
    """

    def __init__(self, channels: int, num_classes: int, *, dims: int = 2) -> None:
        super().__init__()
        kind: Any = _BATCH_NORMS[dims]
        self.num_classes = num_classes
        self.norm = kind(channels, affine=num_classes == 0)
        if num_classes:
            self.scale = nn.Parameter(torch.empty(num_classes, channels))
            self.shift = nn.Parameter(torch.empty(num_classes, channels))
            self.reset_parameters()

    def reset_parameters(self) -> None:
        if self.num_classes:
            nn.init.ones_(self.scale)
            nn.init.zeros_(self.shift)

    def forward(self, x: Tensor, labels: Tensor | None) -> Tensor:
        x = self.norm(x)
        if not self.num_classes:
            return x
        labels = require_labels(labels, self.num_classes)
        places = [-1, x.shape[1]] + [1] * (x.ndim - 2)  # [N, C, 1, ...]
        scale, shift = F.embedding(labels, self.scale), F.embedding(labels, self.shift)
        return torch.addcmul(shift.reshape(places), x, scale.reshape(places))


class ClassEmbedding(nn.Embedding):
    """A vector per class, drawn from N(0, std^2) whatever the network's initialisation."""

    def __init__(self, num_classes: int, dim: int, std: float = 1.0) -> None:
        self.std = std
        super().__init__(num_classes, dim)

    def reset_parameters(self) -> None:
        nn.init.normal_(self.weight, std=self.std)


class LatentInput(nn.Module):
    """What a generator starts from: the latents [N, latent_dim], joined by a class vector as long if there are classes."""

    def __init__(self, latent_dim: int, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.features = latent_dim * 2 if num_classes else latent_dim
        self.embedding = ClassEmbedding(num_classes, latent_dim) if num_classes else None

    def forward(self, latents: Tensor, labels: Tensor | None) -> Tensor:
        if self.embedding is None:
            return latents
        return torch.cat([latents, self.embedding(require_labels(labels, self.num_classes))], dim=1)


class Projection(nn.Module):
    """The class's part of a logit: <embedding(label), features> (Miyato & Koyama 2018, arXiv:1802.05637).

    The embedding starts at std 1/sqrt(features), so that unit features give unit logits. Without classes it is 0.
    """

    def __init__(self, features: int, num_classes: int, *, spectral: bool = False) -> None:
        super().__init__()
        self.num_classes = num_classes
        if num_classes:
            embedding = ClassEmbedding(num_classes, features, std=features**-0.5)
            self.embedding = spectral_norm(embedding) if spectral else embedding

    def forward(self, logits: Tensor, features: Tensor, labels: Tensor | None) -> Tensor:
        """logits [N], features [N, features], labels [N] to logits [N]."""
        if not self.num_classes:
            return logits
        vectors: Tensor = self.embedding(require_labels(labels, self.num_classes))
        return logits + (vectors * features).sum(1)


class Upsample(nn.Module):
    """Double every side by bilinear interpolation (linear, trilinear): [N, C, ...] to [N, C, 2x ...].

    A new value is 3/4 its nearest old one and 1/4 the next, the border repeated. torch's own kernel is the quickest on
    the CPU; on CUDA its backward adds in no fixed order, so that a run could not be repeated: there it is spelt out.
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type == "cpu" and x.ndim == 4:
            return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
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


class MinibatchStd(nn.Module):
    """Append the spread within groups of the batch as a channel (Karras et al. 2018, arXiv:1710.10196).

    Features [N, C, ...] to [N, C + 1, ...]. A group takes every (N / group)-th sample; where N does not divide by
    `group`, the largest divisor below it serves. The logit of one sample then depends on the others.
    """

    couples_samples = True

    def __init__(self, group: int = 4) -> None:  # samples
        super().__init__()
        self.group = group

    def forward(self, x: Tensor) -> Tensor:
        size = next(g for g in range(min(self.group, len(x)), 0, -1) if len(x) % g == 0)
        groups = x.reshape(size, -1, *x.shape[1:])  # [size, N / size, C, ...]
        variance = (groups - groups.mean(0)).square().mean(0)
        spread = (variance + 1e-8).sqrt().flatten(1).mean(1)  # [N / size]
        channel = spread.repeat(size).reshape(-1, *(1,) * (x.ndim - 1)).expand(-1, 1, *x.shape[2:])
        return torch.cat([x, channel], dim=1)


def require_labels(labels: Tensor | None, num_classes: int) -> Tensor:
    """The labels, or an InputError where a conditional network got none."""
    if labels is None:
        raise InputError(
            f"this network was built for {num_classes} classes and got no labels; pass labels [N], or build it with"
            " num_classes=0."
        )
    return labels


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
