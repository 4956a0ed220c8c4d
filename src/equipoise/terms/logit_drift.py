"""The drift penalty (Karras et al. 2018, https://arxiv.org/abs/1710.10196): hold the logits of reals near zero."""

from __future__ import annotations

from torch import Tensor

from equipoise.registry import register
from equipoise.terms import Regulariser


@register(
    "term",
    "logit-drift",
    paper="arXiv:1710.10196",
    formula="weight r^2",
    claim="gives a zero to losses that fix differences only: wasserstein and the relativistic ones",
    treats="EG",
    cost="none",
)
class LogitDrift(Regulariser):
    """weight * D(x)^2 on real images, as ProGAN has it."""

    dials = ("weight",)
    weight: Tensor

    def __init__(
        self,
        weight: float = 0.001,  # the paper's
        every: int = 1,  # moves of the discriminator
    ) -> None:
        super().__init__("weight", weight, every)

    def forward(self, real_logits: Tensor) -> Tensor:
        return self.weight * real_logits.square()
