"""CHAIN's half of the objective (Ni & Koniusz 2024, https://arxiv.org/abs/2404.00521): means to zero, and its loop."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from equipoise import distributed
from equipoise.errors import InputError
from equipoise.networks import chain
from equipoise.registry import register
from equipoise.terms import Regulariser

MEMORY = 0.9  # of the average sign, per due move: the published 0.9 e + 0.1 mean(sign)
NO_ZERO = (
    "its loop follows the sign of D(real), and this loss leaves a constant in the logits free, so that their sign means"
    " nothing; take non-saturating, hinge or least-squares"
)
FREE = (
    "rpgan",
    "relativistic-average",
    "relativistic-hinge",
    "relativistic-least-squares",
    "dual-contrastive",
    "wasserstein",
)


@register(
    "term",
    "chain",
    paper="arXiv:2404.00521",
    claim="normalises the discriminator of little data as far as it overfits; with norm_D=chain",
    formula="weight · (p + p0) · Σ mean(x_c)²;  p ← p + rate · sign(e - target),  e ← 0.9 e + 0.1 mean sign D(real)",
    treats="DF EG",
    cost="small: means and mean squares of the features",
    incompatible=dict.fromkeys(FREE, NO_ZERO),
    wants=("norm_D=chain",),
)
class Chain(Regulariser):
    """weight (p + p0) times the sum, over the layers of `norm_D='chain'` and their channels, of the squared mean.

    Reals and fakes are two passes with means of their own, and both count. The term also turns p, the probability of
    the layers' normalisation: e <- 0.9 e + 0.1 mean(sign D(real)) and p <- p + rate sign(e - target), held to [0, 1].
    The published code lets p move from iteration 5000 on (320 kimg at 64 images); here it may from the start, and waits
    below the target by itself. Raises InputError where the discriminator has no such layer.
    """

    dials = ("weight",)
    couples_samples = True
    weight: Tensor
    sign: Tensor
    seen: Tensor

    def __init__(
        self,
        weight: float = 20.0,  # of the squared means
        p0: float = 0.1,  # added to p in the weight, so that means are held while p is 0; 0 for large data sets
        target: float = 0.5,  # of the average sign of D(real), -1 to 1
        rate: float = 0.001,  # change of p per due move
        start_kimg: float = 0.0,  # thousands of real images before p moves
        every: int = 1,  # moves of the discriminator
    ) -> None:
        super().__init__("weight", weight, every)
        if not (p0 >= 0 and rate >= 0 and start_kimg >= 0) or not -1 <= target <= 1:
            raise InputError(
                f"p0={p0}, target={target}, rate={rate}, start_kimg={start_kimg}: give target between -1 and 1, and 0 "
                "or more for the others"
            )
        self.p0, self.target, self.rate, self.start_kimg = p0, target, rate, start_kimg
        self.register_buffer("sign", torch.zeros([]))  # e: running mean of the sign of D(real)
        self.register_buffer("seen", torch.zeros([]))  # thousands of real images

    def forward(self, network: nn.Module, real_score: Tensor) -> Tensor:
        layers = chain.layers_of(network)
        if not layers:
            raise InputError(
                "the term chain holds the features of layers that the discriminator does not have; set "
                "network.norm_D=chain, or chain=off"
            )
        shared = layers[0].shared
        means = shared.take()
        if not means:
            raise InputError(
                "the term chain found no means: the discriminator must judge in training mode and with gradients "
                "before the term is called, once per turn"
            )
        squares = distributed.mean(torch.cat(means)).square().sum()
        value = self.weight * (shared.p + self.p0) * squares
        self._steer(shared.p, real_score.detach())
        return value.expand(len(real_score))

    @torch.no_grad()
    def _steer(self, p: Tensor, real_score: Tensor) -> None:
        """One step of the loop, after this move's value was formed."""
        sign = distributed.mean(real_score.sign().mean()).to(self.sign.dtype)
        self.sign.lerp_(sign, 1 - MEMORY)
        self.seen += len(real_score) * distributed.world_size() / 1000
        step = self.rate * (self.sign - self.target).sign() * (self.seen >= self.start_kimg)
        p.add_(step.to(p.dtype)).clamp_(0, 1)
