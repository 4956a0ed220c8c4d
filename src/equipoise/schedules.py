"""Schedules over the course of a run, and the dials they turn.

A dial is a number that the step reads from the device. Its value is a base, which a person or a controller sets, times
a factor, which a schedule sets: the two never fight over it. The clock is the number of real images seen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from equipoise.errors import InputError
from equipoise.registry import find, register


@register("schedule", claim="stays where it is")
def constant(share: float) -> float:
    """No decay: 0 throughout, so that the factor stays at `start`."""
    return 0.0


@register("schedule", claim="straight from start to end")
def linear(share: float) -> float:
    """A straight line."""
    return share


@register("schedule", paper="arXiv:1608.03983", claim="slow, fast, slow from start to end")
def cosine(share: float) -> float:
    """Half a cosine: SGDR (Loshchilov & Hutter 2017), and R3GAN's burn-in (Huang et al. 2024, arXiv:2501.05441)."""
    return (1 - math.cos(math.pi * share)) / 2


@dataclass(frozen=True)
class Schedule:
    """A factor from `start` to `end` between two shares of the run, after a linear warm-up from 0 counted in kimg.

    Raises InputError for a shape that is not registered and for times that cannot be.
    """

    shape: str = "constant"  # constant | linear | cosine
    start: float = 1.0  # factor before `begin`
    end: float = 0.0  # factor from `until` on
    begin: float = 0.0  # share of the run, 0 to 1
    until: float = 1.0  # share of the run, above `begin`
    until_kimg: float = 0.0  # the same in thousands of images, which does not follow the run's length; 0: unused
    warmup_kimg: float = 0.0  # thousands of images over which the factor rises from 0

    def __post_init__(self) -> None:
        find("schedule", self.shape)
        if not 0 <= self.begin < self.until or min(self.until_kimg, self.warmup_kimg) < 0:
            raise InputError(
                f"a schedule from {self.begin} to {self.until} of the run with warm-up {self.warmup_kimg} kimg cannot "
                "work: begin must lie from 0 to below until, and times must not be negative"
            )

    def factor(self, samples: float, total: float) -> float:
        """The factor after `samples` of `total` real images."""
        until = self.until_kimg * 1000 if self.until_kimg else self.until * total
        begin = self.begin * (until / self.until if self.until_kimg else total)
        share = min(1.0, max(0.0, (samples - begin) / max(until - begin, 1.0)))
        value = self.start + (self.end - self.start) * float(find("schedule", self.shape).part(share))
        return value * min(1.0, samples / (self.warmup_kimg * 1000)) if self.warmup_kimg else value


class Dial:
    """A named number that the step reads from the device: `base`, which may be set, times the factor of a schedule.

    The tensor always holds `value`, so that it is written when that moves and left alone otherwise: most dials of a run
    stand still, and each write is a launch on the device.
    """

    def __init__(
        self,
        tensor: Tensor,  # 0-d, read inside the step
        schedule: Schedule | None = None,
    ) -> None:
        self.tensor = tensor
        self.base = float(tensor)
        self.schedule = schedule
        self.factor = 1.0

    @property
    def value(self) -> float:
        """The number now in force, without asking the device."""
        return self.base * self.factor

    def turn(self, samples: int, total: int) -> None:
        """Bring the value of this moment of the run to the device."""
        before = self.value
        self.factor = 1.0 if self.schedule is None else self.schedule.factor(samples, total)
        if self.value != before:
            self.tensor.fill_(self.value)

    def set(self, base: float) -> None:
        """Set the base and write the value to the device."""
        self.base = float(base)
        self.tensor.fill_(self.value)


def attach(dials: dict[str, Dial], schedules: dict[str, Schedule]) -> None:
    """Give each named schedule to its dial; `lr`, `beta1`, `beta2` mean both players'."""
    for name, schedule in schedules.items():
        targets = [name] if name in dials else [f"{player}.{name}" for player in "GD" if f"{player}.{name}" in dials]
        if not targets:
            raise InputError(
                f"there is nothing called {name!r} to schedule; there are: lr, {', '.join(sorted(dials))}."
            )
        for target in targets:
            if dials[target].schedule is not None:
                raise InputError(f"two schedules turn {target}; keep one of them")
            dials[target].schedule = schedule
