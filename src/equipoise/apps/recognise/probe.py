"""A linear probe: softmax regression on features, as strongly held back as suits the validation images."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1)  # of the penalty on the weights' squares
ROUNDS = 60  # of L-BFGS


class Fitted(NamedTuple):
    """Shares of images recognised."""

    validation: float
    test: float


class Standard(NamedTuple):
    """What brings features to one scale: learnt from images without labels, since that is what there is plenty of."""

    mean: Tensor  # [F]
    std: Tensor  # [F]

    @classmethod
    def of(cls, features: Tensor) -> Standard:
        return cls(features.mean(0), features.std(0).clamp_min(1e-4))

    def __call__(self, features: Tensor) -> Tensor:
        """Unit variance, then unit length on average, so that a penalty means the same for any number of features."""
        return ((features - self.mean) / self.std).div(features.shape[1] ** 0.5)


def probe(
    features: tuple[Tensor, Tensor, Tensor],  # [N, F] each: of labelled, validation and test images
    labels: tuple[Tensor, Tensor, Tensor],
    classes: int,
) -> Fitted:
    """Fit one for each strength of the penalty, and report the one that recognises most validation images."""
    made = [softmax_regression(features[0], labels[0], classes, strength) for strength in STRENGTHS]
    shares = [[_share(x, y, *one) for x, y in zip(features[1:], labels[1:], strict=True)] for one in made]
    return Fitted(*max(shares, key=lambda share: share[0]))


def softmax_regression(features: Tensor, labels: Tensor, classes: int, strength: float) -> tuple[Tensor, Tensor]:
    """Weights [classes, F] and offsets [classes] of the least cross-entropy + strength * |weights|^2 / 2."""
    weight = torch.zeros(classes, features.shape[1], requires_grad=True)
    offset = torch.zeros(classes, requires_grad=True)
    optimiser = torch.optim.LBFGS([weight, offset], max_iter=ROUNDS, line_search_fn="strong_wolfe")

    def value() -> Tensor:
        optimiser.zero_grad()
        penalty = strength * weight.square().sum() / 2
        loss = F.cross_entropy(features @ weight.T + offset, labels) + penalty
        torch.autograd.backward(loss)
        return loss

    optimiser.step(value)
    return weight.detach(), offset.detach()


def _share(features: Tensor, labels: Tensor, weight: Tensor, offset: Tensor) -> float:
    return float(((features @ weight.T + offset).argmax(1) == labels).float().mean())
