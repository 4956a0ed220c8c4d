"""95 % intervals: of a share that was counted, and of any number, by leaving a tenth of the samples out.

The delete-a-group jackknife (Kott 2001, J. Official Statistics 17, 521-526): the samples are divided at random into ten
groups, and what a number becomes without the first, the second, ... group tells how it varies. It also tells the part
that falls as 1/N, such as the bias of a Fréchet distance, and takes it away; Chong & Forsyth 2020 (arXiv:1911.07023)
fit a line over growing sets for this. A bootstrap would not do: samples drawn twice add to that bias.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

Z = 1.959964  # of the normal distribution, for 95 %


class Measure(NamedTuple):
    """A number and its 95 % interval; nan where there is none."""

    value: float
    low: float = math.nan
    high: float = math.nan


def jackknife(
    whole: float,  # the number of all samples
    parts: Sequence[float],  # what it is without each of the groups
    unbiased: bool = False,  # take the part that falls as 1/N away
) -> Measure:
    """The number with its interval by Student's t; nan below two groups."""
    from equipoise.studies.statistics import t_quantile  # here, since the studies use metrics

    count = len(parts)
    if count < 2:
        return Measure(math.nan if unbiased else whole)
    mean = sum(parts) / count
    half = t_quantile(count - 1) * math.sqrt((count - 1) / count * sum((part - mean) ** 2 for part in parts))
    value = count * whole - (count - 1) * mean if unbiased else whole
    return Measure(value, value - half, value + half)


def wilson(
    share: float,  # observed, 0 to 1
    n: int,  # of so many
) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927, doi:10.1080/01621459.1927.10502953)."""
    middle, half = share + Z**2 / (2 * n), Z * math.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    return max(0.0, (middle - half) / (1 + Z**2 / n)), min(1.0, (middle + half) / (1 + Z**2 / n))


def counted(
    share: Measure,
    n: int,  # samples it was counted over
) -> Measure:
    """A share whose interval is no narrower than that of counting: ten times 100 % make nothing certain."""
    if math.isnan(share.low):
        return share
    low, high = wilson(share.value, n)
    return Measure(share.value, max(0.0, min(low, share.low)), min(1.0, max(high, share.high)))
