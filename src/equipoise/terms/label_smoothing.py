"""One-sided label smoothing (Salimans et al. 2016, https://arxiv.org/abs/1606.03498) as a term beside a logistic loss.

With alpha as the target of reals and softplus(r) - softplus(-r) = r, what is asked of a real image's logit r is

    -alpha log sigmoid(r) - (1 - alpha) log(1 - sigmoid(r)) = softplus(-r) + (1 - alpha) r,

the loss as it is and a pull on the logits of reals.
"""

from __future__ import annotations

import math

from torch import Tensor

from equipoise.errors import InputError
from equipoise.registry import register
from equipoise.terms import Regulariser
from equipoise.terms.losses import NO_LOG_ODDS

OTHERS = (*NO_LOG_ODDS, "f-jensen-shannon")  # the last is shifted: f-gan has the same gradients
REASON = "a label is the probability that an image is real, which only minimax, non-saturating and f-gan ask for"


@register(
    "term",
    "label-smoothing",
    paper="arXiv:1606.03498",
    formula="smoothing * r",
    claim="keeps the discriminator from being surer of a real image than 1 - smoothing",
    treats="DO",
    cost="none",
    incompatible=dict.fromkeys(OTHERS, REASON),
)
class LabelSmoothing(Regulariser):
    """smoothing * D(x) on real images; the targets become 1 - smoothing for reals and stay 0 for fakes.

    The optimum moves to sigmoid(D) = (1 - smoothing) / 2 where the generator matches the data, and the best logit of a
    real image alone to log((1 - smoothing) / smoothing). Fakes are never smoothed: D would then prefer regions where
    the generator already is. The value is negative where a logit is.
    """

    dials = ("smoothing",)
    adversarial = True  # part of the game's value
    smoothing: Tensor

    def __init__(
        self,
        smoothing: float = 0.1,  # 1 - alpha: 0 to below 1
        every: int = 1,  # moves of the discriminator
    ) -> None:
        super().__init__("smoothing", smoothing, every)
        if smoothing >= 1:
            raise InputError(f"smoothing={smoothing} makes fakes of the reals; give 0 to below 1")

    def ideal(self, plain: float) -> float:
        """The discriminator's loss at the optimum; `plain` is it without smoothing: 1.386294 becomes 1.376278 at 0.1.

        With labels 1 - a and 0 and equal distributions it is -(1 - a) log p - (1 + a) log(1 - p) at p = (1 - a) / 2.
        """
        a = float(self.smoothing)
        p = (1 - a) / 2
        return -(1 - a) * math.log(p) - (1 + a) * math.log(1 - p) if a else plain

    def forward(self, real_logits: Tensor) -> Tensor:
        return self.smoothing * real_logits
