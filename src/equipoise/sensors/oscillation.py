"""Oscillation: whether the losses repeat, how fast, how far, and which player follows which.

From the losses of each round, since averages over a tick hide what is faster. The two players' losses rotate where the
game is not damped (Mescheder et al. 2018, arXiv:1801.04406); that an autocorrelation shows it is our proposal.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from equipoise.sensors.probes import probe

Series = NDArray[np.float64]

LEAST = 64  # rounds below which nothing is said
NEAR = 0.75  # of the highest repeat, from where on an earlier one counts as the first
CYCLES = 3  # of a repeat that must fit into what is looked at


class Repeat(NamedTuple):
    """The first repeat of a series."""

    height: float  # of the autocorrelation there, 0 to 1; 0: no repeat beyond what noise gives
    period: float  # samples; nan where there is none


@probe(
    "swing",
    "swing_size",
    "swing_kimg",
    "lag",
    claim="high where generator and discriminator chase each other",
    cost="none on the device",
)
def oscillation(
    trace: Any,  # [n, 3]: D's loss, G's loss, mean score of generated samples, a row for each round
    round_kimg: float,  # thousands of real samples in a round
    ideal: float | None = None,  # D's loss at its optimum; None or 0: sizes are not told
) -> dict[str, float]:
    """Height, size, period and lag of the losses' swings; the most regular of the three series tells the period.

    A loop of one's own may not show all three: what a series alone tells is left out where it never has a number.
    """
    rows: Series = np.asarray(trace, dtype=np.float64).copy()  # which takes tensors too
    shown = np.asarray(np.isfinite(rows).any(axis=0))
    rows[:, ~shown] = 0.0
    rows = finite_end(rows)
    if len(rows) < LEAST or not shown.any():
        return {}
    series = [detrended(column) for column in neighbours(rows).T]
    best = max((repeat(one) for one in series), key=lambda found: found.height)
    found = {"swing": best.height}
    if ideal and shown[0]:
        found["swing_size"] = float(series[0].std()) / abs(ideal)
    if best.height > 0:
        found["swing_kimg"] = best.period * round_kimg
    if best.height > 0 and shown[:2].all():
        found["lag"] = lag(series[0], series[1], best.period)
    return found


def finite_end(rows: Series) -> Series:
    """The rows after the last one that is not finite: what is left out in between would shift the rest."""
    broken = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    return rows[broken[-1] + 1 :] if len(broken) else rows


def neighbours(rows: Series) -> Series:
    """The means of neighbouring rounds: what alternates from one round to the next is jitter of steps, no rotation."""
    return np.asarray((rows[1:] + rows[:-1]) / 2)


def detrended(series: Series) -> Series:
    """A series less the parabola that fits it best: a slow drift is no oscillation."""
    time = np.linspace(-1, 1, len(series))
    return np.asarray(series - np.polynomial.Polynomial.fit(time, series, 2)(time))


def autocorrelation(series: Series) -> Series:
    """Of a series of mean 0 at lags 0 to n - 1, unbiased: each lag over as many pairs as it has. All 0 if constant."""
    n = len(series)
    power = np.abs(np.fft.rfft(series, 2 * n)) ** 2
    sums = np.fft.irfft(power)[:n]
    if sums[0] <= n * np.finfo(np.float64).eps * max(1.0, float(np.abs(series).max())):
        return np.zeros(n)
    return np.asarray(sums / sums[0] * n / np.arange(n, 0, -1))


def repeat(
    series: Series,  # detrended
) -> Repeat:
    """Where a series first resembles itself again after its autocorrelation fell below 0.

    Noise gives some height too. At a lag far beyond its memory an autocorrelation has variance 1/m, where
    m = n / (1 + 2 sum of squares of the autocorrelation within the memory) (Bartlett 1946, doi:10.2307/2983611); the
    largest of m such values stays below sqrt(2 ln(10 m) / m) in all but about one of a hundred cases, by the tail of
    the normal distribution. What does not exceed it is no repeat. The memory is taken to end at the first zero. Where
    noise makes a later repeat the highest, the first that comes near it counts.
    """
    told, none = autocorrelation(series), Repeat(0.0, math.nan)
    reach, below = len(series) // CYCLES, np.flatnonzero(told < 0)
    if not len(below) or below[0] >= reach:
        return none
    memory = float(np.square(told[1 : below[0]]).sum())
    independent = len(series) / (1 + 2 * memory)
    bound = math.sqrt(2 * math.log(10 * independent) / independent)
    told[: below[0]] = -1.0  # the memory itself is no repeat
    rises = told[: reach + 1] > max(bound, NEAR * float(told[: reach + 1].max()))
    if not rises.any():
        return none
    start = int(np.argmax(rises))
    end = start + int(np.argmin([*rises[start:], False]))
    at = start + int(np.argmax(told[start:end]))
    if at == reach:  # it rises still: no peak within reach
        return none
    return Repeat(min(1.0, float(told[at])), at + _vertex(*told[at - 1 : at + 2]))


def lag(first: Series, second: Series, period: float) -> float:
    """The part of the period by which the second series trails the first, 0 to 1, by their phases at that period."""
    wave = np.exp(-2j * math.pi / period * np.arange(len(first)))
    return float(np.angle((first * wave).sum() * np.conj((second * wave).sum())) / (2 * math.pi) % 1)


def _vertex(left: float, middle: float, right: float) -> float:
    """Where the parabola through three neighbours has its vertex, -0.5 to 0.5 off the middle one."""
    bend = left - 2 * middle + right
    return 0.5 * (left - right) / bend if bend < 0 else 0.0
