"""zCR (Zhao et al. 2021, https://arxiv.org/abs/2002.04724): what a small step in the latents may change.

The discriminator shall not mind the step, and the generator shall show it. With `bcr` beside both halves this is the
paper's ICR.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from equipoise.errors import InputError
from equipoise.registry import register
from equipoise.terms import Regulariser
from equipoise.turn import Role


class _LatentConsistency(Regulariser):
    """What both halves have: a weight, and a normal step in the latents."""

    dials = ("weight",)
    weight: Tensor

    def __init__(self, weight: float, radius: float, every: int) -> None:
        super().__init__("weight", weight, every)
        if not radius > 0:
            raise InputError(f"radius={radius} takes no step in the latents; give a small number above 0, such as 0.05")
        self.radius = radius

    def _neighbours(self, fake: Tensor, latents: Tensor, generate: Callable[[Tensor], Tensor]) -> Tensor:
        """The images a step away, in the shape of the fakes, which packs may have changed."""
        return generate(latents + self.radius * torch.randn_like(latents)).reshape(fake.shape)


@register(
    "term",
    "zcr-discriminator",
    paper="arXiv:2002.04724",
    formula="weight (D(G(z)) - D(G(z + dz)))²",
    claim="the discriminator judges neighbours among the fakes alike; half of zCR, and with bcr of ICR",
    treats="DF DO",
    cost="a forward of the generator, a forward and backward of the discriminator",
)
class ZCRDiscriminator(_LatentConsistency):
    """weight (D(G(z)) - D(G(z + dz)))^2 with dz = radius * N(0, 1), not reaching G.

    Published: weight 20 and radius 0.05 with `zcr-generator` at 0.5 for BigGAN on CIFAR-10; 0.2 and 0.1 with 0.02 for
    StyleGAN2. ICR is this, `zcr-generator` and `bcr` in one recipe.
    """

    def __init__(
        self,
        weight: float = 20.0,  # 0.1 to 20
        radius: float = 0.05,  # standard deviation of the step; the latents' own is 1
        every: int = 1,  # moves of the discriminator
    ) -> None:
        super().__init__(weight, radius, every)

    def forward(
        self,
        fake: Tensor,
        fake_score: Tensor,
        latents: Tensor,
        judge: Callable[[Tensor], Tensor],
        generate: Callable[[Tensor], Tensor],
    ) -> Tensor:
        with torch.no_grad():
            neighbours = self._neighbours(fake, latents, generate)
        return self.weight * (fake_score - judge(neighbours)).square()


@register(
    "term",
    "zcr-generator",
    paper="arXiv:2002.04724",
    formula="-weight mean over pixels of (G(z) - G(z + dz))²",
    claim="the generator turns small steps in the latents into changes that show; half of zCR",
    treats="GC",
    cost="a forward and backward of the generator",
    wants=("zcr-discriminator",),
)
class ZCRGenerator(_LatentConsistency):
    """-weight mean (G(z) - G(z + dz))^2 over channels and places, dz = radius * N(0, 1): negative, and without a floor.

    A mean over pixels as in public code, so that the weight does not depend on resolution. `zcr-discriminator` is what
    holds it back, as the change shall not show in D's judgement; a generator whose images have no range (no tanh) may
    run away with it, and wants a small weight.
    """

    role: Role = "G"

    def __init__(
        self,
        weight: float = 0.5,  # 0.02 to 0.5
        radius: float = 0.05,  # standard deviation of the step; the latents' own is 1
        every: int = 1,  # moves of the generator
    ) -> None:
        super().__init__(weight, radius, every)

    def forward(self, fake: Tensor, latents: Tensor, generate: Callable[[Tensor], Tensor]) -> Tensor:
        return -self.weight * (fake - self._neighbours(fake, latents, generate)).square()
