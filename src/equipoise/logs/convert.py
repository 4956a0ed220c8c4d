"""From logged numbers to signals: how a name of somebody's log becomes one of `equipoise.signals`.

A conversion is a function of what was logged that returns a series, empty where the log does not hold it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from equipoise.errors import InputError
from equipoise.logs.tables import Series, Table
from equipoise.readings import Reading, pooled_gap

LOG2 = math.log(2.0)
# The losses' values at the optimum, D and G, as the registry has them, which needs PyTorch to be asked.
IDEAL: dict[str, tuple[float, float | None]] = {
    "minimax": (2 * LOG2, -LOG2),
    "non-saturating": (2 * LOG2, LOG2),
    "hinge": (2.0, 0.0),
    "least-squares": (0.25, 0.125),
    "wasserstein": (0.0, None),
    "rpgan": (LOG2, LOG2),
    "relativistic-average": (LOG2, LOG2),
    "relativistic-hinge": (1.0, 1.0),
    "relativistic-least-squares": (1.0, 1.0),
    "f-gan": (2 * LOG2, LOG2),
    "multi-hinge": (2.0, 1.0),
}
# Losses of which an undecided D does not say 0, so that the signs of logits say nothing: `Loss.zero`.
SIGNLESS = {
    *("wasserstein", "energy", "least-squares", "f-kl", "dual-contrastive"),
    *("rpgan", "relativistic-average", "relativistic-hinge", "relativistic-least-squares"),
}


@dataclass
class Logged:
    """A table asked by name, and the facts about the run. Names that were used are remembered."""

    table: Table
    facts: dict[str, Any]
    used: set[str] = field(default_factory=set)

    def name(self, name: str) -> str | None:
        """The full name under which this one was logged: exactly, step by step, or in a folder of its own."""
        for wanted in (name, f"{name}_step"):  # Lightning writes both `_step` and `_epoch`
            if wanted in self.table.series:
                return wanted
            found = [known for known in self.table.series if known.endswith(f"/{wanted}")]
            if len(found) > 1:
                raise InputError(
                    f"{name} was logged in several places, {' and '.join(sorted(found)[:3])}: these look like several "
                    "runs; name the folder of one"
                )
            if found:
                return found[0]
        return None

    def remark(self, text: str) -> None:
        """Say something of what is taken for granted, or left open."""
        self.facts.setdefault("remarks", []).append(text)

    def series(self, name: str) -> Series:
        """What was logged under a name; empty where nothing was."""
        full = self.name(name)
        self.used |= {full} if full else set()
        return self.logged(name)

    def logged(self, name: str) -> Series:
        """The same, which does not count as used."""
        full = self.name(name)
        return self.table.series[full] if full else []

    def spread(self, name: str) -> dict[float, float]:
        """Standard deviations by step, where the log has them."""
        full = self.name(name)
        return dict(self.table.spread.get(full, [])) if full else {}

    def names(self, stem: str) -> list[str]:
        """The names that were logged with such a beginning, perhaps in a folder of their own, from there on."""
        return sorted({name[at:] for name in self.table.series if (at := f"/{name}".find(f"/{stem}")) >= 0})

    def numbered(self, stem: str) -> list[str]:
        """The names `stem0`, `stem1`, ... that were logged."""
        found: list[str] = []
        while self.name(f"{stem}{len(found)}") is not None:
            found.append(f"{stem}{len(found)}")
        return found


Convert = Callable[[Logged], Series]


def same(*names: str) -> Convert:
    """As it was logged, under the first of these names that was."""
    return lambda log: next((found for name in names if (found := log.series(name))), [])


def only(name: str) -> Convert:
    """As it was logged under exactly this name."""

    def convert(log: Logged) -> Series:
        log.used |= {name} & log.table.series.keys()
        return log.table.series.get(name, [])

    return convert


def total(*parts: Convert) -> Convert:
    """The sum of several, where all are told."""

    def convert(log: Logged) -> Series:
        found = [dict(part(log)) for part in parts]
        steps = sorted(set.intersection(*map(set, found)))
        return [(step, sum(one[step] for one in found)) for step in steps]

    return convert


def added(*names: str) -> Convert:
    """The sum of several, where all were logged."""
    return total(*map(same, names))


def scaled(factor: float, raw: Convert) -> Convert:
    """So many times it."""
    return lambda log: [(step, factor * value) for step, value in raw(log)]


def mean(*parts: Convert) -> Convert:
    """The mean of several, where all are told."""
    return scaled(1 / len(parts), total(*parts))


def over_ideal(
    role: str,
    raw: Convert,
    factor: float | Callable[[Logged], float] = 1.0,  # by which it is larger than ours
    halved: bool = True,  # whether least squares are written with the factor 1/2, as ours are
) -> Convert:
    """A loss over its ideal value; empty where the loss is not known or its ideal value, or the factor, is 0."""

    def convert(log: Logged) -> Series:
        loss = log.facts.get("loss")
        ideal = IDEAL.get(loss, (0.0, None))["DG".index(role)] if loss else None
        if not ideal:
            return []
        ideal *= factor(log) if callable(factor) else factor
        ideal *= 2.0 if loss == "least-squares" and not halved else 1.0
        return [(step, value / ideal) for step, value in raw(log)] if ideal else []

    return convert


def losses(
    d: Convert, g: Convert, factor: float | Callable[[Logged], float] = 1.0, halved: bool = True
) -> dict[str, Convert]:
    """Both players' losses over their ideal values, as `over_ideal` has them."""
    return {"loss_D": over_ideal("D", d, factor, halved), "loss_G": over_ideal("G", g, factor, halved)}


def judges(**each: Convert) -> dict[str, Convert]:
    """D's loss by the name of each of several discriminators, and their mean under the plain name."""
    return {"loss_D": mean(*each.values()), **{f"{name}/loss_D": one for name, one in each.items()}}


def over_first(raw: Convert) -> Convert:
    """Over the median of its first three values; empty where it goes below 0, so that a ratio says nothing."""

    def convert(log: Logged) -> Series:
        found = raw(log)
        first = sorted(value for _, value in found[:3])[len(found[:3]) // 2] if found else 0.0
        told = first > 0 and min(value for _, value in found) >= 0
        return [(step, value / first) for step, value in found] if told else []

    return convert


def inverse(raw: Convert) -> Convert:
    """One over it."""
    return lambda log: [(step, 1 / value) for step, value in raw(log) if value > 0]


def over(raw: Convert, by: Convert) -> Convert:
    """One number over another, where that is above 0."""

    def convert(log: Logged) -> Series:
        divisors = dict(by(log))
        return [(step, value / divisors[step]) for step, value in raw(log) if divisors.get(step, 0.0) > 0]

    return convert


def varying(raw: Convert) -> Convert:
    """Nothing where it is the same number throughout: a setting, and no reading."""

    def convert(log: Logged) -> Series:
        found = raw(log)
        return found if len({value for _, value in found}) > 1 else []

    return convert


def where(name: str, raw: Convert) -> Convert:
    """Only while another number is above 0, if that was logged."""

    def convert(log: Logged) -> Series:
        switch = dict(log.series(name))
        return [(step, value) for step, value in raw(log) if switch.get(step, 1.0) > 0]

    return convert


def possible(points: Series) -> Series:
    """A Fréchet distance's values without those that are none: below 0 by more than rounding, or above a million."""
    return [(step, value) for step, value in points if -0.01 < value < 1e6]


def gap(real: str, fake: str) -> Convert:
    """The distance of mean logits in pooled standard deviations, where the log has these."""

    def convert(log: Logged) -> Series:
        means = dict(log.series(real)), dict(log.series(fake))
        spreads = log.spread(real), log.spread(fake)
        steps = sorted(set(means[0]) & set(means[1]) & set(spreads[0]) & set(spreads[1]))
        pairs = ([Reading(m[s], d[s], 0, 0) for m, d in zip(means, spreads, strict=True)] for s in steps)
        found = [(step, pooled_gap(*pair)) for step, pair in zip(steps, pairs, strict=True)]
        return [(step, value) for step, value in found if math.isfinite(value)]

    return convert


def gap_of_difference(name: str) -> Convert:
    """The same, where the difference of a real and a generated sample's logits was logged, of twice their variance."""

    def convert(log: Logged) -> Series:
        spreads = log.spread(name)
        return [(at, one / spreads[at] * math.sqrt(2)) for at, one in log.series(name) if spreads.get(at, 0.0) > 0]

    return convert


def wins(name: str) -> Convert:
    """The share of pairs that D ranks rightly, where the mean sign of that difference was logged."""
    return lambda log: [(step, (1 + sign) / 2) for step, sign in log.series(name)]
