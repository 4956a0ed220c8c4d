"""Swings of losses that were logged often enough, by the same reading as our own runs have; needs PyTorch and NumPy.

Logs are thinner than the trace of a run: what swings faster than twice the distance of two entries shows with a false
period, or not at all.
"""

from __future__ import annotations

import itertools
import statistics

from equipoise.diagnosis.history import History

LEAST = 128  # entries below which nothing is said: half of them are looked at at a time
LOOKS = 5
NAMES = ("swing", "swing_size", "swing_kimg", "lag")


def add_swings(history: History) -> None:
    """Add the swing of the losses over the half before each of the last moments; nothing where it cannot be told."""
    points = history.signals.get("loss_D", [])
    if history.has("swing") or len(points) < LEAST or not _even([kimg for kimg, _ in points]):
        return
    try:  # only now, since PyTorch takes a moment to import
        from equipoise.sensors.oscillation import oscillation
    except ImportError:  # no PyTorch
        return
    other = dict(history.signals.get("loss_G", points))
    rows = [(value, other.get(kimg, value), value) for kimg, value in points]
    apart = (points[-1][0] - points[0][0]) / (len(points) - 1)
    for look in range(LOOKS, 0, -1):
        end = len(rows) - (look - 1) * len(rows) // (4 * LOOKS)
        told = oscillation.function(rows[max(0, end - len(rows) // 2) : end], apart, 1.0)
        history.add(points[end - 1][0], {name: told[name] for name in NAMES if name in told})


def _even(times: list[float]) -> bool:
    """Whether hardly any two neighbours are further apart than others."""
    gaps = [after - before for before, after in itertools.pairwise(times)]
    return max(gaps) < 2 * statistics.median(gaps)
