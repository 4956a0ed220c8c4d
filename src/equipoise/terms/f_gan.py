"""f-GAN (Nowozin et al. 2016, https://arxiv.org/abs/1606.00709): a loss for each f-divergence of data and generator.

With v a logit, T = g_f(v) the variational function (g_f keeps it where the convex conjugate f* is finite), the bound is

    F = E_real[T] - E_fake[f*(T)]  <=  the divergence of P (data) from Q (generator), sum over q f(p / q).

The discriminator minimises -F (equation 4). The generator minimises -T(fake), the paper's alternative of section 3.2,
which generalises the non-saturating loss, and not -f*(T(fake)), whose slope vanishes for some divergences.

f*(T) is written out as a function of the logit, so that it meets neither a logarithm nor a quotient near its pole:

    divergence           f(u)                               T = g_f(v)          f*(t)             f*(T) of the logit
    KL                   u log u                            v                   exp(t - 1)        exp(v - 1)
    reverse KL           -log u                             -exp(-v)            -1 - log(-t)      v - 1
    Pearson chi^2        (u - 1)^2                          v                   t^2 / 4 + t       v^2 / 4 + v
    squared Hellinger    (sqrt u - 1)^2                     1 - exp(-v)         t / (1 - t)       exp(v) - 1
    Jensen-Shannon       u log u - (u+1) log((u+1)/2)       log 2 - softplus(-v)  -log(2 - e^t)   softplus(v) - log 2
    GAN                  u log u - (u+1) log(u+1)           -softplus(-v)       -log(1 - e^t)     softplus(v)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor

from equipoise.registry import add
from equipoise.terms import Loss

LOG2 = math.log(2)
STEEPEST = 10.0  # where exponentials go on as straight lines: slopes end at exp(10), about 22,000


def tame_exp(x: Tensor) -> Tensor:
    """exp(x) up to x = 10 and from there its tangent: convex, once differentiable, finite in float32 at any logit.

    Beyond it (a density ratio of exp(10)) the bound F is no longer one; the direction of the gradient stays right.
    """
    return x.clamp(max=STEEPEST).exp() * (1 + F.relu(x - STEEPEST))


class Divergence(NamedTuple):
    """An f-divergence by what its losses need, both functions of the logit."""

    value: Callable[[Tensor], Tensor]  # T = g_f(v)
    conjugate: Callable[[Tensor], Tensor]  # f*(g_f(v))
    zero: float = 0.0  # the logit at which data and samples are as likely: T = f'(1)


DIVERGENCES = {
    "f-kl": Divergence(lambda v: v, lambda v: tame_exp(v - 1), zero=1.0),
    "f-reverse-kl": Divergence(lambda v: -tame_exp(-v), lambda v: v - 1),
    "f-pearson": Divergence(lambda v: v, lambda v: v.square() / 4 + v),
    "f-hellinger": Divergence(lambda v: 1 - tame_exp(-v), lambda v: tame_exp(v) - 1),
    "f-jensen-shannon": Divergence(lambda v: LOG2 - F.softplus(-v), lambda v: F.softplus(v) - LOG2),
    "f-gan": Divergence(lambda v: -F.softplus(-v), F.softplus),
}


def f_loss(divergence: Divergence) -> Loss:
    """The two players' sides for a divergence; for one of your own give T and f*(T) as functions of the logit."""

    def d(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """-T(real) + f*(T(fake)): minus the bound on the divergence."""
        return divergence.conjugate(fake_logits) - divergence.value(real_logits)

    def g(fake_logits: Tensor) -> Tensor:
        """-T(fake): the non-saturating side."""
        return -divergence.value(fake_logits)

    return Loss(d, g, zero=divergence.zero)


for _name, _ideal, _formula, _treats, _claim in (
    (
        "f-kl",
        (0.0, -1.0),
        "L_D = mean -r + mean exp(f - 1); L_G = mean -f",
        "GC",
        "KL(data, generator): covers modes; exponential on fakes, so it wants a penalty or small learning rates",
    ),
    (
        "f-reverse-kl",
        (0.0, 1.0),
        "L_D = mean exp(-r) + mean (f - 1); L_G = mean exp(-f)",
        "",
        "KL(generator, data): seeks modes, sharp and less diverse; exponential on reals and in the generator's loss",
    ),
    (
        "f-pearson",
        (0.0, 0.0),
        "L_D = mean -r + mean (f²/4 + f); L_G = mean -f",
        "VG",
        "chi-squared divergence: quadratic on fakes, linear on reals",
    ),
    (
        "f-hellinger",
        (0.0, 0.0),
        "L_D = mean (exp(-r) - 1) + mean (exp(f) - 1); L_G = mean (exp(-f) - 1)",
        "",
        "squared Hellinger distance, the same both ways round; exponential on reals and fakes",
    ),
    (
        "f-jensen-shannon",
        (0.0, 0.0),
        "L_D = mean softplus(-r) + mean softplus(f) - 2 log 2; L_G = mean softplus(-f) - log 2",
        "VG",
        "Jensen-Shannon: the gradients of non-saturating, with a loss that is zero at balance",
    ),
    (
        "f-gan",
        (2 * LOG2, LOG2),
        "L_D = mean softplus(-r) + mean softplus(f); L_G = mean softplus(-f)",
        "VG",
        "the original game written as an f-divergence: the same numbers as non-saturating",
    ),
):
    add(
        "loss",
        _name,
        f_loss(DIVERGENCES[_name]),
        paper="arXiv:1606.00709",
        claim=_claim,
        formula=_formula,
        ideal=_ideal,
        treats=_treats,
        cost="none",
    )
