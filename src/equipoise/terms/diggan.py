"""DigGAN (Fang et al. 2022, https://arxiv.org/abs/2211.14694): as steep at generated images as at real ones.

A discriminator that learns a small data set by heart flattens out at the images it knows; the gap between the two
slopes shows it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from equipoise.errors import InputError
from equipoise.registry import register
from equipoise.terms import Regulariser
from equipoise.terms.gradient_penalty import EPSILON, squared_norm


@register(
    "term",
    "diggan",
    paper="arXiv:2211.14694",
    formula="weight (|∇D(G(z))| - |∇D(x)|)², paired by index",
    claim="holds the discriminator's slopes at reals and fakes together where there is little data",
    treats="DF",
    cost="a double backward over reals and fakes",
)
class DigGAN(Regulariser):
    """weight (|grad D(G(z))| - |grad D(x)|)^2, each norm joined with what stood in its place of the batch before.

    As in the authors' BigGAN code, a norm counts half and the detached memory of its place half, and what is remembered
    is the joint number; the first batch has no memory. Unlike there, the gradient is taken at the image before
    augmentation, as by all penalties here. The authors penalise the first of each four discriminator moves by 1000;
    `every=4` with `weight=250` is the same. The root is kept differentiable where a slope is 0.

    The memory is laid out by `prepare` or, where nobody calls it, by the first batch; later batches may be smaller.
    """

    dials = ("weight",)
    differentiates = True
    couples_samples = True  # the memory would move once for each part of a batch
    weight: Tensor
    norms: Tensor
    started: Tensor

    def __init__(
        self,
        weight: float = 1000.0,  # 10 to 10000, log scale; for a penalty in every move a quarter of the published
        memory: float = 0.5,  # share of the norms that is remembered, 0 to below 1
        every: int = 1,  # moves of the discriminator
    ) -> None:
        super().__init__("weight", weight, every)
        if not 0 <= memory < 1:
            raise InputError(f"memory={memory} leaves no room for the batch at hand; give 0 (no memory) to below 1")
        self.memory = memory
        self.register_buffer("norms", torch.zeros(2, 0))  # [reals and fakes, places of a batch]
        self.register_buffer("started", torch.zeros([]))  # 1 once there is a memory

    def prepare(self, shape: tuple[int, ...], batch: int, classes: int) -> None:
        """Lay out the memory for so many samples of a pass."""
        self.norms = self.norms.new_zeros(2, batch)

    def forward(self, real_gradient: Tensor, fake_gradient: Tensor) -> Tensor:
        size = len(real_gradient)
        if self.norms.shape[1] == 0:
            self.norms = real_gradient.new_zeros(2, size)
        now = (torch.stack([squared_norm(g) for g in (real_gradient, fake_gradient)]) + EPSILON).sqrt()
        share = self.memory * self.started.to(now.dtype)
        joint = (1 - share) * now + share * self.norms[:, :size].to(now.dtype)
        with torch.no_grad():
            self.norms[:, :size] = joint.to(self.norms.dtype)
            self.started.fill_(1.0)
        return self.weight * (joint[1] - joint[0]).square()
