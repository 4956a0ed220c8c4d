"""What the pulls at answers look like: clear ones, those of losses that are answers themselves, and equal ones."""

from __future__ import annotations

import torch
from torch import Tensor

from equipoise.wires.events import Pull


def clear(pull: Pull, share: float) -> bool:
    """Whether nearly all of a pull goes one way."""
    return pull.size > 0 and abs(pull.total) >= share * pull.size


def costs(pull: Pull) -> bool:
    """Whether answers look like losses, one a sample: none is below 0, and all are pulled down as hard."""
    slopes = [slope for _, slope in pull.points]
    return pull.total > 0 and max(slopes) - min(slopes) <= 1e-6 * max(slopes) and all(at >= 0 for at, _ in pull.points)


def alike(one: Pull, other: Pull) -> bool:
    """Whether two pulls go the same way and come from one and the same loss.

    Going the same way is not enough: least squares with two targets pulls answers below both of them up. So a curve is
    laid through the gradients of the one, over the answers, and must foretell those of the other.
    """
    if not (clear(one, 0.9) and clear(other, 0.9) and one.total * other.total > 0 and one.points and other.points):
        return False
    moved = [[point for point in pull.points if point[1]] for pull in (one, other)]  # a hinge passed pulls no more
    (at, slope), (elsewhere, slopes) = (torch.tensor(points, dtype=torch.float64).T for points in moved)
    for here, there in zip(_curves(at), _curves(elsewhere), strict=True):
        weights = torch.linalg.lstsq(here, slope[:, None]).solution
        fits = (here @ weights)[:, 0], (there @ weights)[:, 0]
        if all(_close(fit, given) for fit, given in zip(fits, (slope, slopes), strict=True)):
            return True
    return False


def _curves(at: Tensor) -> list[Tensor]:
    """What the gradients of the usual losses are weighted sums of, whatever the targets.

    In this order: least squares, hinge and Wasserstein; cross entropy of logits; cross entropy of probabilities.
    """
    one = torch.ones_like(at)
    pairs = [(one, at), (one, torch.sigmoid(at)), (1 / at.clamp(min=1e-6), 1 / (1 - at).clamp(min=1e-6))]
    return [torch.stack(pair, 1) for pair in pairs]


def _close(fit: Tensor, given: Tensor) -> bool:
    return bool(((fit - given).abs() <= 1e-3 * given.abs().max()).all())
