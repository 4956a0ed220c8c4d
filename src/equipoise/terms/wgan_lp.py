"""WGAN-LP (Petzka et al. 2018, https://arxiv.org/abs/1709.08894): the discriminator's slope shall not exceed 1.

A 1-Lipschitz function has slopes up to 1; WGAN-GP asks for 1 everywhere, which the best discriminator need not have.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from equipoise.registry import register
from equipoise.terms import Regulariser
from equipoise.terms.gradient_penalty import EPSILON, between, squared_norm
from equipoise.turn import input_gradient


@register(
    "term",
    "wgan-lp",
    paper="arXiv:1709.08894",
    formula="weight max(0, |grad D(x)| - 1)^2 between reals and fakes",
    claim="WGAN-GP on one side only: flat places are left alone, and the weight matters less",
    treats="EG VG",
    cost="a forward and a double backward",
    cautions={
        "wgan-gp": "both punish slopes above 1, and wgan-gp forbids those below it, which wgan-lp is there to allow",
        "norm_D=spectral": "both bound the slope of D, and together they may hold it back too far; lower the weight",
    },
)
class WGANLP(Regulariser):
    """WGAN-LP: weight max(0, |grad D(x)| - 1)^2 on the line from real to fake, one uniform share per sample.

    Below slope 1 the value and its gradient are exactly 0. The authors' code takes 10 for images and 0.1 for points in
    the plane.
    """

    dials = ("weight",)
    differentiates = True
    weight: Tensor

    def __init__(
        self,
        weight: float = 10.0,  # 0.1 to 100
        every: int = 1,  # moves of the discriminator
    ) -> None:
        super().__init__("weight", weight, every)

    def forward(self, real: Tensor, fake: Tensor, judge: Callable[[Tensor], Tensor]) -> Tensor:
        points = between(real, fake)
        slope = (squared_norm(*input_gradient(judge(points), points)) + EPSILON).sqrt()
        return self.weight * (slope - 1).relu().square()
