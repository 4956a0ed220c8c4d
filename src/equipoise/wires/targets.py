"""Where a loss pulls a discriminator's answers to, read off the gradients at them."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from equipoise.wires.events import Pull
from equipoise.wires.relative import differences

FEWEST = 4  # answers in one batch that a line is laid through
SURE = 0.05  # of the distance between two targets: how well they have to be known
SAME = 0.15  # the same: how near a target is to another that is meant to be it, smoothed labels included
STEADY = 4  # standard errors that the targets of several batches differ by at most
ROUNDING = 1e-4  # of the answers' spread: what a target is uncertain by at least
BEYOND = 0.4  # the same: how far from generated samples' a generator's own target is at least, as (-1, 1, 0) has it
EXACT = 0.01  # of the gradients: what rounding alone may leave unexplained
LEVEL = 0.05  # of their mean: how far gradients that are the same everywhere differ; those of targets differ by more
INSIDE = 0.02  # of a probability: how far from 0 and 1 a target is that answers can be beyond


FIXED, MOVING = (0, 1, 2), (3, 4)  # which of the `_lines`


class Target(NamedTuple):
    """What answers are pulled to."""

    value: float  # on the scale of one of the `_lines`
    error: float  # its standard error
    misfit: float  # what the line leaves unexplained, as a share of the gradients


def share(real: list[Pull], fake: list[Pull], pulled: list[Pull]) -> float | None:
    """How far a generator pulls from D's target for generated samples (0) to that for real ones (1).

    None where there are no such targets: losses that pull on for ever (Wasserstein), that compare answers with each
    other (relativistic) and so have targets that move, or that have one target for both kinds.
    """
    known = _known(real, fake, pulled)
    return None if known is None else (known[2] - known[1]) / (known[0] - known[1])


def upward(real: list[Pull], fake: list[Pull]) -> bool | None:
    """Whether D's target for real samples is above that for generated ones; None where it has no two targets."""
    known = _known(real, fake)
    return None if known is None else known[0] > known[1]


def _known(*kinds: list[Pull]) -> list[float] | None:
    """The targets of several kinds on one scale, the first two apart and all of them well known; else None."""
    moving = all(pull.against for pulls in kinds for pull in pulls if pull.size)
    fits = [[_targets(number, pulls) for pulls in kinds] for number in (MOVING if moving else FIXED)]
    best = min((groups for groups in fits if all(groups)), key=_misfit, default=None)
    if best is None:
        return None
    values = [sum(one.value for one in group) / len(group) for group in best]
    errors = [max(one.error for one in group) for group in best]
    same = all(max(g).value - min(g).value <= STEADY * error for g, error in zip(best, errors, strict=True))
    apart = abs(values[0] - values[1])
    return values if same and apart and max(errors) <= SURE * apart else None


def turns(pulls: list[Pull]) -> bool:
    """Whether a loss has a least value at a target, beyond which it pulls back."""
    if _steady_against(pulls):
        return False
    fits = [(number, group) for number in FIXED if (group := _targets(number, pulls))]
    if not fits:
        return False
    number, group = min(fits, key=lambda fit: _misfit([fit[1]]))
    return number == 0 or all(INSIDE < one.value < 1 - INSIDE for one in group)


def steady(pulls: list[Pull]) -> bool:
    """Whether a loss is known to pull the same way for ever: as hard everywhere, or to an end that is never reached."""
    return _steady_against(pulls) or all(
        _level(pull) or any(map(_endless, _lines(pull)[1:3])) for pull in pulls if pull.size
    )


def _steady_against(pulls: list[Pull]) -> bool:
    """The same for a loss that compares answers with the other kind's."""
    seen = [pull for pull in pulls if pull.size]
    ways = zip(
        *([_endless((torch.sigmoid(at), slope)) for at, slope in differences(pull)] for pull in seen), strict=False
    )
    return any(all(way) for way in ways)


def _level(pull: Pull) -> bool:
    slopes = [slope for _, slope in pull.points if slope] or [0.0]  # a hinge that is passed does not pull back
    return max(slopes) - min(slopes) <= LEVEL * abs(sum(slopes)) / len(slopes)


def _endless(line: tuple[Tensor, Tensor]) -> bool:
    """Whether a line is exact, and is 0 where a probability ends, or falls, so that it leads away from its 0."""
    (at, slope), up = line, _target(*line)
    if up is not None:
        return up.misfit < EXACT and not INSIDE < up.value < 1 - INSIDE
    down = _target(at, -slope)
    return down is not None and down.misfit < EXACT


def _misfit(groups: list[list[Target]]) -> float:
    return max(one.misfit for group in groups for one in group)


def _targets(number: int, pulls: list[Pull]) -> list[Target]:
    """The target of each batch on one scale; nothing if one of them has none."""
    lines = [_lines(pull)[number : number + 1] for pull in pulls if pull.size]
    found = [_target(*line[0]) if line else None for line in lines]
    return [one for one in found if one is not None] if all(found) else []


def _lines(pull: Pull) -> list[tuple[Tensor, Tensor]]:
    """Pairs of which the usual losses with a target make a rising line that is 0 at the target.

    In this order: least squares; cross entropy of logits; cross entropy of probabilities; and where answers are
    compared with the other kind's: least squares over the distance of the means, and over that in each pair. Averages
    of the two kinds pull on both terms of such a loss, so that the zero of the one kind's gradients is twice as far.
    """
    at, slope = torch.tensor(pull.points, dtype=torch.float64).T
    inside = bool(((at > 0) & (at < 1)).all())
    fixed = [(at, slope), (torch.sigmoid(at), slope), (at if inside else 0 * at, slope * at * (1 - at))]
    moving = differences(pull)
    return fixed + [((one + one.mean()) / 2, slope) for one, slope in moving[:1]] + moving[1:]


def _target(at: Tensor, slope: Tensor) -> Target | None:
    """Where the line through some points is 0, by ordinary least squares."""
    centred, spread = at - at.mean(), float((at - at.mean()).square().sum())
    if len(at) < FEWEST or not spread:
        return None
    rise = float((centred * slope).sum()) / spread
    rest = float((slope - slope.mean() - rise * centred).square().sum() / (len(at) - 2))
    if rise <= 4 * math.sqrt(rest / spread):  # level or falling, as far as can be told
        return None
    value = float(at.mean() - slope.mean() / rise)
    error = math.sqrt(rest * (1 / len(at) + float(at.mean() - value) ** 2 / spread)) / rise
    error += ROUNDING * math.sqrt(spread / len(at))
    return Target(value, error, math.sqrt(rest / float(slope.square().mean())))
