"""Mode seeking (Mao et al. 2019, MSGAN, https://arxiv.org/abs/1903.05628): far apart in latents and in images."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from equipoise import distributed
from equipoise.errors import InputError
from equipoise.registry import register
from equipoise.terms import Regulariser
from equipoise.turn import Role

EPSILON = 1e-5  # the authors'


def reciprocal(ratio: Tensor, limit: float) -> Tensor:
    """1 / ratio, continued by its tangent where it would exceed `limit`: at 0 it is 2 limit, with slope -limit^2."""
    inverse = 1 / ratio.clamp(min=1 / limit)
    return torch.where(ratio < 1 / limit, 2 * limit - limit**2 * ratio, inverse)


@register(
    "term",
    "mode-seeking",
    paper="arXiv:1903.05628",
    formula="weight / (mean|G(z) - G(z')| / mean|z - z'| + 1e-5), bounded",
    claim="pushes the generator's images apart where it makes the same one of different latents, class by class",
    treats="GC",
    cost="a forward and backward of the generator",
)
class ModeSeeking(Regulariser):
    """weight / (mean |G(z) - G(z')| / mean |z - z'| + 1e-5), z' drawn afresh with the same labels: one number, `[1]`.

    Means over the batch, on all ranks. The published penalty reaches 1e5 where both images are equal, with a gradient
    of 1e10; above `limit` this one goes on as its tangent, so that a collapsed generator is still pushed, by a slope of
    limit^2. Noise in the images satisfies it as well as other images do: look at samples, not at its value.
    """

    role: Role = "G"
    dials = ("weight",)
    couples_samples = True
    weight: Tensor

    def __init__(
        self,
        weight: float = 1.0,  # 0 to 1
        limit: float = 10.0,  # of the reciprocal, above which it goes on as its tangent; images of range 2 give about 2
        every: int = 1,  # moves of the generator
    ) -> None:
        super().__init__("weight", weight, every)
        if not limit > 0:
            raise InputError(f"limit={limit} bounds a positive number; give one above 0, such as 10")
        self.limit = limit

    def forward(self, fake: Tensor, latents: Tensor, generate: Callable[[Tensor], Tensor]) -> Tensor:
        others = torch.randn_like(latents)
        images = (fake - generate(others).reshape(fake.shape)).abs().mean()
        apart = distributed.mean(torch.stack([images, (latents - others).abs().mean().to(images.dtype)]))
        return self.weight * reciprocal(apart[0] / apart[1] + EPSILON, self.limit).reshape(1)
