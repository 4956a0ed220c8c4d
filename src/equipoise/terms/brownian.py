"""Brownian motion control (Luo et al. 2023, BMC, https://arxiv.org/abs/2306.10468): noise that grows with the output.

Multiplying a state by random factors of mean 1 shrinks it almost surely, as the mean of their logarithm is below 0. In
the Dirac-GAN's continuous dynamics such noise makes every start converge exponentially.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from equipoise import distributed
from equipoise.errors import InputError
from equipoise.registry import register
from equipoise.terms import Regulariser


@register(
    "term",
    "brownian",
    paper="arXiv:2306.10468",
    formula="weight (q1/2 D(x)² ξ1 + (q2/4 D(x)⁴ + q2/2 D(G(z))² D(x)²) ξ2), ξ ~ N(0, 1)",
    claim="random pushes of the discriminator in proportion to its own output, which calm the Dirac-GAN",
    treats="OSC",
    cost="none",
)
class Brownian(Regulariser):
    """weight (q1/2 r^2 xi1 + (q2/4 r^4 + q2/2 f^2 r^2) xi2), r = D(x), f = D(G(z)), of the same place in the batch.

    xi1 and xi2 are standard normal, drawn once per move for all samples and ranks: the value has mean 0 and either
    sign. The paper adds it to what D maximises, which is the same in law. This is the form with beta = 2, that of the
    paper's first version (BrGAN). Logits count up to `limit` in size: the fourth power would run away with those
    beyond, which here get no push.

    The noise acts through the gradient: a plain step of rate lr multiplies a coefficient of D by 1 + lr q1 xi1, so that
    its logarithm falls by (lr q1)^2/2 per step in the mean, where Brownian motion over a time lr would make it lr
    q1^2/2. At small rates it is therefore much weaker than in the continuous theory.
    """

    dials = ("weight",)
    couples_samples = True  # one draw for the whole batch
    weight: Tensor

    def __init__(
        self,
        weight: float = 1.0,  # of all of it, for schedules
        q1: float = 0.1,  # of the noise in proportion to the logit: 0.001 to 0.1
        q2: float = 0.01,  # of the noise in proportion to its third power: 0.001 to 0.1
        limit: float = 10.0,  # size of the logits beyond which they get no push
        every: int = 1,  # moves of the discriminator
    ) -> None:
        super().__init__("weight", weight, every)
        if not (q1 >= 0 and q2 >= 0 and limit > 0):
            raise InputError(
                f"q1={q1}, q2={q2}, limit={limit}: sizes of noise are 0 or more, and the limit of logits is above 0"
            )
        self.q1, self.q2, self.limit = q1, q2, limit

    def forward(self, real_score: Tensor, fake_score: Tensor) -> Tensor:
        real, fake = (score.clamp(-self.limit, self.limit).square() for score in (real_score, fake_score))
        draws = torch.randn(2, dtype=real.dtype, device=real.device)
        first, second = (distributed.mean(draws) * math.sqrt(distributed.world_size())).unbind()  # of variance 1 again
        noise = self.q1 / 2 * real * first + self.q2 * (real.square() / 4 + fake * real / 2) * second
        return self.weight * noise
