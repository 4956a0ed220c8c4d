"""Feature matching (Salimans et al. 2016, https://arxiv.org/abs/1606.03498): the same mean features as the data.

A goal that stands still while the discriminator's last layer turns.
"""

from __future__ import annotations

import torch
from torch import Tensor

from equipoise import distributed
from equipoise.registry import register
from equipoise.terms import Regulariser
from equipoise.turn import Role


@register(
    "term",
    "feature-matching",
    paper="arXiv:1606.03498",
    formula="weight mean over features of |mean h(x) - mean h(G(z))|",
    claim="gives the generator a goal that does not turn with the discriminator's last layer",
    treats="OSC GC",
    cost="a forward of the discriminator over reals in the generator's turn",
)
class FeatureMatching(Regulariser):
    """weight * mean over features of |mean h(x) - mean h(G(z))|, h what enters D's last layer: one number, `[1]`.

    Means over the batch, on all ranks. The paper squares the distance and puts it in place of the generator's loss;
    here, as in public code, it is the distance itself and stands beside the loss.
    """

    role: Role = "G"
    dials = ("weight",)
    couples_samples = True
    weight: Tensor

    def __init__(
        self,
        weight: float = 1.0,  # of the features' scale: 0.1 to 10
        every: int = 1,  # moves of the generator
    ) -> None:
        super().__init__("weight", weight, every)

    def forward(self, real_features: Tensor, fake_features: Tensor) -> Tensor:
        precise = torch.promote_types(fake_features.dtype, torch.float32)
        means = torch.stack([real_features.detach().to(precise).mean(0), fake_features.to(precise).mean(0)])
        real, fake = distributed.mean(means).unbind()
        return self.weight * (real - fake).abs().mean().reshape(1)
