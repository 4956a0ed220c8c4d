"""LeCam (Tseng et al. 2021, https://arxiv.org/abs/2104.03310): pull each batch's logits to the other's average."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from equipoise import distributed
from equipoise.errors import InputError
from equipoise.registry import register
from equipoise.terms import Regulariser


@register(
    "term",
    "lecam",
    paper="arXiv:2104.03310",
    formula="weight (relu(r - a_f)^2 + relu(a_r - f)^2), a running means",
    claim="steadies a discriminator trained on little data",
    treats="DF DO",
    cost="none",
)
class LeCam(Regulariser):
    """weight (relu(D(real) - a_fake)^2 + relu(a_real - D(fake))^2), with running averages a of the batches' means.

    The paper squares the plain distance, its code clips it at zero first; this is the code's form. The averages are
    debiased and include the batch at hand, so that the term acts from the first move on; to let it wait, schedule its
    weight. A constant added to all logits changes nothing, and with a relativistic loss, which leaves that constant
    free, the term also resists its drifting.
    """

    dials = ("weight",)
    couples_samples = True  # the averages would move once for each part of a batch
    weight: Tensor
    anchors: Tensor
    mass: Tensor

    def __init__(
        self,
        weight: float = 0.3,  # of the logits' scale squared: 0.3 suits hinge, 3e-7 was published for StyleGAN2
        decay: float = 0.99,  # of the averages, per due move of the discriminator
        every: int = 1,  # moves of the discriminator
    ) -> None:
        super().__init__("weight", weight, every)
        if not 0 <= decay < 1:
            raise InputError(f"decay={decay} makes no average; give 0 (the batch at hand alone) to below 1")
        self.decay = decay
        self.register_buffer("anchors", torch.zeros(2))  # average logit, before debiasing: [real, fake]
        self.register_buffer("mass", torch.zeros([]))  # how much of `anchors` is filled

    def forward(self, real_score: Tensor, fake_score: Tensor) -> Tensor:
        means = distributed.mean(torch.stack([real_score.detach().mean(), fake_score.detach().mean()]))
        self.anchors.lerp_(means.to(self.anchors.dtype), 1 - self.decay)
        self.mass.lerp_(torch.ones_like(self.mass), 1 - self.decay)
        real, fake = (self.anchors / self.mass).to(means.dtype).unbind()
        return self.weight * (F.relu(real_score - fake).square() + F.relu(real - fake_score).square())
