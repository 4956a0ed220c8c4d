"""Losses that compare a discriminator's answers for the two kinds of samples, in pairs or with the others' mean."""

from __future__ import annotations

import torch
from torch import Tensor

from equipoise.wires.events import Call, Differentiation, Number, Pull

EVEN = 2e-3  # of two pulls' sizes: what they differ by at most where a loss knows of differences only


def compared(calls: list[Call], event: Differentiation, number: Number, made: bool) -> list[float]:
    """The answers of the other kind that a loss compares answers with; none if it does not.

    It does if it depends on them and does not pull them, or pulls both kinds apart as hard: all answers could be
    higher by one number, and it would be the same.
    """
    seen = sorted((one for one in calls if one in event.origin), key=lambda call: call.when)
    others = [value for call in seen for value in call.answers.get((number, not made), ())]
    pulls = [
        (kind, pull) for call in calls for (one, n, kind), pull in call.pulls.items() if (one, n) == (event, number)
    ]
    total, size = sum(pull.total for _, pull in pulls), sum(pull.size for _, pull in pulls)
    apart = all(kind == made for kind, _ in pulls)
    return others if apart or abs(total) <= EVEN * size else []


def differences(pull: Pull) -> list[tuple[Tensor, Tensor]]:
    """Answers less the mean of the others, and less each its own other if there are as many; and the gradients."""
    if not pull.against or not pull.points:
        return []
    at, slope = torch.tensor(pull.points, dtype=torch.float64).T
    others = torch.tensor(pull.against, dtype=torch.float64)
    return [(at - others.mean(), slope), *([(at - others, slope)] if len(others) == len(at) else [])]
