"""How classes enter: through the latents or the batch norms of a generator, and the head of a discriminator."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from equipoise.errors import InputError
from equipoise.networks import layers
from equipoise.registry import suggest


class ConditionalBatchNorm(nn.Module):
    """Batch norm whose scale and shift belong to the class (de Vries et al. 2017, arXiv:1707.00683).

    forward: features [N, C, ...] and labels [N] (ignored when there are no classes) to the shape of the features.
    """

    def __init__(self, channels: int, num_classes: int, *, dims: int = 2) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.places = (-1, channels, *[1] * dims)  # [N, C, 1, ...]
        self.norm = layers.batch_norm(channels, dims=dims, affine=num_classes == 0)
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
        scale, shift = F.embedding(labels, self.scale), F.embedding(labels, self.shift)
        return torch.addcmul(shift.reshape(self.places), x, scale.reshape(self.places))


class ClassEmbedding(nn.Embedding):
    """A vector per class, drawn from N(0, std^2) whatever the network's initialisation."""

    def __init__(self, num_classes: int, dim: int, std: float = 1.0) -> None:
        self.std = std
        super().__init__(num_classes, dim)

    def reset_parameters(self) -> None:
        nn.init.normal_(self.weight, std=self.std)


class LatentInput(nn.Module):
    """What a generator starts from: the latents [N, latent_dim], with classes joined by a class vector as long."""

    def __init__(self, latent_dim: int, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.features = latent_dim * 2 if num_classes else latent_dim
        self.embedding = ClassEmbedding(num_classes, latent_dim) if num_classes else None

    def forward(self, latents: Tensor, labels: Tensor | None) -> Tensor:
        if self.embedding is None:
            return latents
        return torch.cat([latents, self.embedding(require_labels(labels, self.num_classes))], dim=1)


class Blended(nn.Module):
    """A conditional generator called with shares of its classes, [N, K], where it takes labels [N] otherwise.

    Its tables with a row a class are replaced by tables with a row a sample, each the mixture of that sample's shares,
    and the labels by 0 to N - 1. A share of 1 is the class itself, to the bit.
    """

    def __init__(self, generator: nn.Module) -> None:
        super().__init__()
        self.generator, self.tables = generator, class_tables(generator)
        if not self.tables:
            raise InputError(
                f"{type(generator).__name__} has no vectors of classes, so that nothing lies between its classes; ask "
                "for one class at a time"
            )

    def forward(self, latents: Tensor, shares: Tensor) -> Tensor:
        mixed = {name: shares @ self.generator.get_parameter(name) for name in self.tables}
        rows = torch.arange(len(latents), device=latents.device)
        made: Tensor = functional_call(self.generator, mixed, (latents, rows))
        return made


def class_tables(network: nn.Module) -> list[str]:
    """The names of a network's parameters that have a row for each class."""
    tables: dict[type[nn.Module], tuple[str, ...]] = {
        ClassEmbedding: ("weight",),
        ConditionalBatchNorm: ("scale", "shift"),
    }
    return [
        f"{path}.{name}" if path else name
        for path, module in network.named_modules()
        for name in tables.get(type(module), ())
        if hasattr(module, name)
    ]


class Projection(nn.Module):
    """The class's part of a logit: <embedding(label), features> (Miyato & Koyama 2018, arXiv:1802.05637).

    The embedding starts at std 1/sqrt(features), so that unit features give unit logits. Without classes it is 0.
    """

    def __init__(self, features: int, num_classes: int, *, spectral: bool = False) -> None:
        super().__init__()
        self.num_classes = num_classes
        if num_classes:
            embedding = ClassEmbedding(num_classes, features, std=features**-0.5)
            self.embedding = layers.spectral_norm(embedding) if spectral else embedding

    def forward(self, logits: Tensor, features: Tensor, labels: Tensor | None) -> Tensor:
        """logits [N], features [N, features], labels [N] to logits [N]."""
        if not self.num_classes:
            return logits
        vectors: Tensor = self.embedding(require_labels(labels, self.num_classes))
        return logits + (vectors * features).sum(1)


class ClassMargins(nn.Module):
    """A discriminator with an output for each class and one for fakes, read as two margins per sample.

    Of outputs s [N, K + 1], the last for fakes, and labels y [N] it makes logits [N, 2]: the lead of the label's output
    over all others, s_y - max_(j != y) s_j, and that of the best class over the fakes', max_(j < K) s_j - s_K. Both are
    higher for what is more real, so that scores, their gradients and the readings keep their meaning; with a single
    class both are the same number. Made for the loss multi-hinge (Kavalerov et al. 2021, arXiv:1912.04216).
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes

    def forward(self, outputs: Tensor, features: Tensor, labels: Tensor | None) -> Tensor:
        """outputs [N, K + 1], features (not read), labels [N] to logits [N, 2]."""
        places = require_labels(labels, self.num_classes)[:, None]
        own = outputs.gather(1, places).squeeze(1)
        others = outputs.scatter(1, places, -torch.inf).amax(1)
        real = outputs[:, :-1].amax(1) - outputs[:, -1]
        return torch.stack([own - others, real], dim=1)


HEADS = ("projection", "classes")


def outputs(head: str, num_classes: int) -> int:
    """How many numbers a discriminator's last layer has to give for this head."""
    if head not in HEADS:
        raise InputError(f"head={head!r} is no head of a discriminator{suggest(head, list(HEADS))}")
    if head == "classes" and not num_classes:
        raise InputError(
            "head=classes gives each class an output and there are no classes; train on labelled data with "
            "network.conditional=true, or leave head at projection"
        )
    return num_classes + 1 if head == "classes" else 1


def head(name: str, features: int, num_classes: int, *, spectral: bool = False) -> nn.Module:
    """What makes logits of the last layer's outputs, the features [N, features] before it, and the labels."""
    if name == "classes":
        return ClassMargins(num_classes)
    return Projection(features, num_classes, spectral=spectral)


def require_labels(labels: Tensor | None, num_classes: int) -> Tensor:
    """The labels, or an InputError where a conditional network got none."""
    if labels is None:
        raise InputError(
            f"this network was built for {num_classes} classes and got no labels; pass labels [N], or build it with"
            " num_classes=0."
        )
    return labels
