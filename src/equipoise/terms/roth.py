"""Roth et al. 2017 (https://arxiv.org/abs/1705.09367): a gradient penalty where the discriminator is unsure or wrong.

It is noise on the images worked out to second order for the logistic game: what noise of variance gamma would do.
"""

from __future__ import annotations

from torch import Tensor

from equipoise.registry import register
from equipoise.terms import Regulariser
from equipoise.terms.gradient_penalty import squared_norm
from equipoise.terms.losses import NO_LOG_ODDS

UNSURE = "its weights are the probabilities that a logistic loss gives to D's mistakes, which this loss does not"


@register(
    "term",
    "roth",
    paper="arXiv:1705.09367",
    claim="the effect of noise on the images without the noise: steadies data and fakes that do not overlap",
    formula="gamma/2 ((1 - sigmoid(r))² |∇D(x)|² + sigmoid(f)² |∇D(G(z))|²)",
    treats="VG OSC",
    cost="a double backward over reals and fakes",
    cautions=dict.fromkeys(NO_LOG_ODDS, UNSURE)
    | dict.fromkeys(("r1", "r2"), "both damp the same slope, and their strengths add up"),
)
class Roth(Regulariser):
    """gamma/2 ((1 - sigmoid(r))^2 |grad D(x)|^2 + sigmoid(f)^2 |grad D(G(z))|^2), gradients of logits, not reaching G.

    The weights are differentiated too, as in the authors' code. At D = 0 everywhere it is R1 and R2 of a quarter of the
    strength. The paper keeps gamma at 0.1, or lets it fall exponentially from 2 to 0.02 over the run.
    """

    dials = ("gamma",)
    differentiates = True
    gamma: Tensor

    def __init__(
        self,
        gamma: float = 0.1,  # variance of the noise it stands for; 0.01 to 2
        every: int = 1,  # moves of the discriminator
    ) -> None:
        super().__init__("gamma", gamma, every)

    def forward(self, real_score: Tensor, fake_score: Tensor, real_gradient: Tensor, fake_gradient: Tensor) -> Tensor:
        missed = (-real_score).sigmoid().square() * squared_norm(real_gradient)  # 1 - sigmoid(r)
        fooled = fake_score.sigmoid().square() * squared_norm(fake_gradient)
        return self.gamma / 2 * (missed + fooled)
