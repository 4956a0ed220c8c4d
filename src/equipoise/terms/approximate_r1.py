"""R1 by finite differences (Lin et al. 2025, https://arxiv.org/abs/2501.08316), which needs no second derivative.

With e standard normal, D(x + s e) - D(x) = s grad D . e + O(s^2), and E (grad D . e)^2 = |grad D|^2. So the squared
difference over s^2 has R1's squared gradient as its mean, exactly where D is linear; where D has the Hessian H, s^2/4
(2 |H|^2 + (tr H)^2) and higher powers of s join it. The paper's lambda stands for gamma / (2 s^2).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from equipoise.errors import InputError
from equipoise.registry import register
from equipoise.terms import Regulariser

REASON = "the difference of D on two nearly equal images would drown in two random changes of them; use r1"


@register(
    "term",
    "approximate-r1",
    paper="arXiv:2501.08316",
    formula="gamma / 2 ((D(x + sigma n) - D(x)) / sigma)^2 at reals",
    claim="R1 for discriminators without a second derivative: fused attention, compiled or sharded ones",
    treats="OSC DO EG",
    cost="a forward and backward over twice the reals, no double backward",
    incompatible={"augmentation": REASON},
)
class ApproximateR1(Regulariser):
    """gamma/2 ((D(x + sigma e) - D(x)) / sigma)^2 on real images, e standard normal; unbiased as sigma goes to 0.

    Both are judged in one pass, so that they meet the same weights even where each pass changes them (spectral norm's
    power iteration), and in full precision. One sample of it scatters: the standard deviation is sqrt(2) times the
    mean. Layers that draw at random (dropout) make it meaningless.
    """

    dials = ("gamma",)
    differentiates = True  # by differences: it wants full precision and samples judged apart just as well
    gamma: Tensor

    def __init__(
        self,
        gamma: float = 1.0,  # log scale, as for r1
        sigma: float = 0.01,  # of the noise, in units of the images' values; above the rounding of D's logits / slope
        every: int = 1,  # moves of the discriminator
    ) -> None:
        super().__init__("gamma", gamma, every)
        if not sigma > 0:
            raise InputError(f"sigma={sigma} leaves nothing to divide by; give a small number above 0, such as 0.01")
        self.sigma = sigma

    def forward(self, real: Tensor, judge: Callable[[Tensor], Tensor]) -> Tensor:
        real = real.detach()
        here, there = judge(torch.cat([real, real + self.sigma * torch.randn_like(real)])).chunk(2)
        return self.gamma / 2 * ((there - here) / self.sigma).square()
