"""Dual contrastive loss (Yu et al. 2021, https://arxiv.org/abs/2103.16748): one image against the whole other batch."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from equipoise.registry import add
from equipoise.terms import Loss


def dual_contrastive_d(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """log(1 + sum_j exp(f_j - r_i)) + log(1 + sum_j exp(f_i - r_j)): pick the real among fakes, the fake among reals.

    The sums run over the samples of the batch at each position of each head, on each process by itself: a sample meets
    as many others as the process has. With a single sample both halves are rpgan's. The value grows with log(batch).
    """
    fakes = fake_logits.logsumexp(0, keepdim=True)
    reals = (-real_logits).logsumexp(0, keepdim=True)
    return F.softplus(fakes - real_logits) + F.softplus(fake_logits + reals)


def dual_contrastive_g(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Minus the discriminator's loss: a zero-sum game, as published, on fresh reals."""
    return -dual_contrastive_d(real_logits, fake_logits)


add(
    "loss",
    "dual-contrastive",
    Loss(dual_contrastive_d, dual_contrastive_g, couples_samples=True, zero=None),
    paper="arXiv:2103.16748",
    claim="each image is told from a whole batch of the other kind, against dropped modes",
    formula="L_D = meanᵢ log(1 + Σⱼ exp(fⱼ - rᵢ)) + meanⱼ log(1 + Σᵢ exp(fⱼ - rᵢ)); L_G = -L_D",
    ideal=(0.0, None),  # 2 log(1 + batch): no one number
    treats="GC",
    cost="a forward of the discriminator over reals in the generator's turn",
)
