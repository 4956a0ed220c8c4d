"""Adversarial losses, each a pair of functions of logits (higher means more real), elementwise.

Both players minimise. `ideal` is the value of the discriminator's and the generator's loss when the generator matches
the data and the discriminator is optimal: what readings of a loss are measured against.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from equipoise import distributed
from equipoise.registry import add
from equipoise.terms import Loss

NO_LOG_ODDS = (  # losses whose logits are no log odds of an image being real: terms that read probabilities do not fit
    *("hinge", "least-squares", "wasserstein"),
    *("rpgan", "relativistic-average", "relativistic-hinge", "relativistic-least-squares", "dual-contrastive"),
    *("energy", "multi-hinge"),
    *("f-kl", "f-reverse-kl", "f-pearson", "f-hellinger"),
)


def minimax_d(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """-log sigmoid(real) - log(1 - sigmoid(fake)), by softplus so that nothing overflows."""
    return F.softplus(-real_logits) + F.softplus(fake_logits)


def minimax_g(fake_logits: Tensor) -> Tensor:
    """log(1 - sigmoid(fake)): its gradient vanishes where the discriminator is sure."""
    return -F.softplus(fake_logits)


def non_saturating_g(fake_logits: Tensor) -> Tensor:
    """-log sigmoid(fake): its gradient stays near -1 where the discriminator is sure."""
    return F.softplus(-fake_logits)


def hinge_d(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Only samples within the margin [-1, 1] give a gradient."""
    return F.relu(1 - real_logits) + F.relu(1 + fake_logits)


def mean_g(fake_logits: Tensor) -> Tensor:
    """-fake: unbounded, and comparable only within a run."""
    return -fake_logits


def least_squares_d(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Targets 1 for real and 0 for fake, with the factor 1/2."""
    return ((real_logits - 1).square() + fake_logits.square()) / 2


def least_squares_g(fake_logits: Tensor) -> Tensor:
    """Target 1 for fake, with the factor 1/2."""
    return (fake_logits - 1).square() / 2


def wasserstein_d(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Minus the estimate of the Wasserstein-1 distance, if the discriminator is 1-Lipschitz."""
    return fake_logits - real_logits


def rpgan_d(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Each real against its paired fake: only the difference counts, so logits have no zero."""
    return F.softplus(fake_logits - real_logits)


def rpgan_g(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """The same pairing with the roles exchanged; the generator's turn brings fresh reals."""
    return F.softplus(real_logits - fake_logits)


def relativistic_average_d(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Each real against the average fake and each fake against the average real, in the non-saturating form; halved."""
    real, fake = centred(real_logits, fake_logits)
    return (F.softplus(-real) + F.softplus(fake)) / 2


def relativistic_average_g(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """The same with the roles exchanged."""
    return relativistic_average_d(fake_logits, real_logits)


def relativistic_hinge_d(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Reals a margin of 1 above the average fake and fakes as far below the average real; halved."""
    real, fake = centred(real_logits, fake_logits)
    return (F.relu(1 - real) + F.relu(1 + fake)) / 2


def relativistic_hinge_g(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """The same with the roles exchanged."""
    return relativistic_hinge_d(fake_logits, real_logits)


def relativistic_least_squares_d(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Reals 1 above the average fake and fakes 1 below the average real; halved."""
    real, fake = centred(real_logits, fake_logits)
    return ((real - 1).square() + (fake + 1).square()) / 2


def relativistic_least_squares_g(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """The same with the roles exchanged."""
    return relativistic_least_squares_d(fake_logits, real_logits)


def centred(real_logits: Tensor, fake_logits: Tensor) -> tuple[Tensor, Tensor]:
    """Reals less the average fake, fakes less the average real: averages over the head, its positions, and all ranks.

    Gradients flow through the averages too.
    """
    real_mean, fake_mean = distributed.mean(torch.stack([real_logits.mean(), fake_logits.mean()])).unbind()
    return real_logits - fake_mean, fake_logits - real_mean


LOG2 = 0.6931471805599453

_LAZY = "relativistic pairing was shown to converge with r1 and r2 at every move (arXiv:2501.05441), not with lazy ones"

_formulas = {
    "minimax": "D: softplus(-r) + softplus(f); G: -softplus(f)",
    "non-saturating": "D: softplus(-r) + softplus(f); G: softplus(-f)",
    "hinge": "D: relu(1 - r) + relu(1 + f); G: -f",
    "least-squares": "D: ((r - 1)^2 + f^2) / 2; G: (f - 1)^2 / 2",
    "wasserstein": "D: f - r; G: -f",
    "rpgan": "D: softplus(f_i - r_i); G: softplus(r_i - f_i)",
    "relativistic-average": "D: (softplus(mean f - r) + softplus(f - mean r)) / 2; G: r and f exchanged",
    "relativistic-hinge": "D: (relu(1 - r + mean f) + relu(1 + f - mean r)) / 2; G: r and f exchanged",
    "relativistic-least-squares": "D: ((r - mean f - 1)^2 + (f - mean r + 1)^2) / 2; G: r and f exchanged",
}

COUNTED = "a forward of the discriminator over reals in the generator's turn"

for _name, _loss, _ideal, _paper, _claim, _treats, _cost in (
    (
        "minimax",
        Loss(minimax_d, minimax_g),
        (2 * LOG2, -LOG2),
        "arXiv:1406.2661",
        "the original game; the reference",
        "",
        "none",
    ),
    (
        "non-saturating",
        Loss(minimax_d, non_saturating_g),
        (2 * LOG2, LOG2),
        "arXiv:1406.2661",
        "keeps the generator's gradient alive when the discriminator wins",
        "VG",
        "none",
    ),
    (
        "hinge",
        Loss(hinge_d, mean_g),
        (2.0, 0.0),
        "arXiv:1705.02894",
        "stops the logit gap from growing: samples past the margin give no gradient",
        "DO",
        "none",
    ),
    (
        "least-squares",
        Loss(least_squares_d, least_squares_g, zero=0.5),
        (0.25, 0.125),
        "arXiv:1611.04076",
        "penalises over-confident logits; gradients do not vanish far from the target",
        "VG",
        "none",
    ),
    (
        "wasserstein",
        Loss(wasserstein_d, mean_g, zero=None),
        (0.0, None),
        "arXiv:1701.07875",
        "a loss that follows a distance; wants a Lipschitz discriminator (wgan-gp)",
        "VG GC",
        "none",
    ),
    (
        "rpgan",
        Loss(rpgan_d, rpgan_g, zero=None),
        (LOG2, LOG2),
        "arXiv:1807.00734",
        "pairs each fake with a real, against mode dropping; wants r1 and r2",
        "GC",
        COUNTED,
    ),
    (
        "relativistic-average",
        Loss(relativistic_average_d, relativistic_average_g, couples_samples=True, zero=None),
        (LOG2, LOG2),
        "arXiv:1807.00734",
        "RaSGAN: asks for less of the discriminator as the generator gets better",
        "DO VG",
        COUNTED,
    ),
    (
        "relativistic-hinge",
        Loss(relativistic_hinge_d, relativistic_hinge_g, couples_samples=True, zero=None),
        (1.0, 1.0),
        "arXiv:1807.00734",
        "RaHinge: the same with a margin, past which samples give no gradient",
        "DO VG",
        COUNTED,
    ),
    (
        "relativistic-least-squares",
        Loss(relativistic_least_squares_d, relativistic_least_squares_g, couples_samples=True, zero=None),
        (1.0, 1.0),
        "arXiv:1807.00734",
        "RaLSGAN: the same with squares, which hold the gap between the averages at 1",
        "DO VG",
        COUNTED,
    ),
):
    add("loss", _name, _loss, paper=_paper, claim=_claim, ideal=_ideal, treats=_treats, cost=_cost,
        formula=_formulas[_name], **({"cautions": {"lazy": _LAZY}} if _name == "rpgan" else {}))  # fmt: skip
