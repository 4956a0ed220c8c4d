"""A reading: what a sensor said over a window. Plain numbers, so that logs can be judged where there is no PyTorch."""

from __future__ import annotations

import math
from typing import NamedTuple


class Reading(NamedTuple):
    """What a sensor said over a window."""

    mean: float  # over the finite samples; nan if there was none
    std: float
    n: int  # finite samples
    nonfinite: int  # samples left out because they were not finite


def reading(n: float, total: float, squares: float, nonfinite: float) -> Reading:
    """A reading from its moments."""
    if not n:
        return Reading(math.nan, math.nan, 0, int(nonfinite))
    mean = total / n
    return Reading(mean, math.sqrt(max(squares / n - mean * mean, 0.0)), int(n), int(nonfinite))


def pooled_gap(real: Reading, fake: Reading) -> float:
    """The distance of two readings' means in units of their pooled standard deviation; nan where both are constant."""
    pooled = math.sqrt((real.std**2 + fake.std**2) / 2)
    return (real.mean - fake.mean) / pooled if pooled > 0 else math.nan
