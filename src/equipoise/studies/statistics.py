"""Means, intervals and paired tests over a handful of seeds: Student's t and Holm's correction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple


class Estimate(NamedTuple):
    """A mean with its 95 % interval; the interval is nan where one value says nothing of the spread."""

    mean: float
    low: float
    high: float
    n: int


def estimate(values: Sequence[float]) -> Estimate:
    """The mean of a few values and its 95 % interval by Student's t."""
    n = len(values)
    mean = sum(values) / n if n else math.nan
    if n < 2:
        return Estimate(mean, math.nan, math.nan, n)
    half = t_quantile(n - 1) * spread(values) / math.sqrt(n)
    return Estimate(mean, mean - half, mean + half, n)


def spread(values: Sequence[float]) -> float:
    """The standard deviation with n - 1."""
    mean = sum(values) / len(values)
    return math.sqrt(sum((x - mean) ** 2 for x in values) / (len(values) - 1))


def paired_p(differences: Sequence[float]) -> float:
    """The two-sided p of a paired t-test; nan below two pairs."""
    n = len(differences)
    if n < 2:
        return math.nan
    mean, deviation = sum(differences) / n, spread(differences)
    if deviation == 0:
        return 1.0 if mean == 0 else 0.0
    return outside(mean / deviation * math.sqrt(n), n - 1)


def holm(ps: Sequence[float]) -> list[float]:
    """Holm's adjusted p of several tests: below 0.05, at most one family in twenty holds a false find."""
    order = sorted((p, i) for i, p in enumerate(ps) if not math.isnan(p))
    adjusted, highest = [math.nan] * len(ps), 0.0
    for rank, (p, i) in enumerate(order):
        highest = max(highest, min(1.0, p * (len(order) - rank)))
        adjusted[i] = highest
    return adjusted


def outside(t: float, dof: int) -> float:
    """P(|T| > |t|) of Student's t with whole degrees of freedom (Abramowitz & Stegun 26.7.3 and 26.7.4)."""
    angle = math.atan(abs(t) / math.sqrt(dof))
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = dof % 2
    term, total = (cosine if odd else 1.0), 0.0
    for k in range(1 + odd, dof, 2):
        total += term
        term *= cosine**2 * k / (k + 1)
    inside = 2 / math.pi * (angle + sine * total) if odd else sine * total
    return max(0.0, 1.0 - inside)


def t_quantile(dof: int, level: float = 0.95) -> float:
    """The t that |T| stays below with this probability: 2.776445 for four degrees of freedom."""
    low, high = 0.0, 1e4
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if outside(middle, dof) > 1 - level else (low, middle)
    return high
