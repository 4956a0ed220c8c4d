"""What the discriminator's logits say for nothing: scores, signs, and who wins the pairs."""

from __future__ import annotations

import torch
from torch import Tensor

from equipoise.sensors import sensor


@sensor("D")
def real_score(real_score: Tensor) -> Tensor:
    """Mean logit of training images."""
    return real_score


@sensor("D")
def fake_score(fake_score: Tensor) -> Tensor:
    """Mean logit of generated images."""
    return fake_score


@sensor("D", paper="arXiv:2006.06676", claim="rises towards 1 as the discriminator overfits; needs a loss with a zero")
def sign_real(real_logits: Tensor) -> Tensor:
    """Mean sign of the logits of training images, -1 to 1: ADA's r_t (Karras et al. 2020)."""
    return _sign(real_logits)


@sensor("D")
def sign_fake(fake_logits: Tensor) -> Tensor:
    """Mean sign of the logits of generated images, -1 to 1."""
    return _sign(fake_logits)


@sensor("D", claim="0.5 is balance; holds for relativistic losses too, whose logits have no zero")
def win_rate(real_score: Tensor, fake_score: Tensor) -> Tensor:
    """Share of pairs in which the discriminator scores the real image higher, 0 to 1; a tie counts half."""
    return (_sign(real_score - fake_score) + 1) / 2


@sensor("D", claim="0.5 is balance, near 1 the discriminator tells all apart, whatever its scale")
def auc(real_score: Tensor, fake_score: Tensor) -> Tensor:
    """Share of generated images that a real one's score exceeds: its mean is the area under the ROC curve.

    All pairs of a batch, where `win_rate` takes each real image with one generated one; a tie counts half. What is not
    finite among the generated ones' scores is left out here and counted in `fake_score`.
    """
    told = torch.isfinite(fake_score)
    ranked = torch.where(told, fake_score, torch.inf).sort().values
    real = real_score.contiguous()
    below, upto = (torch.searchsorted(ranked, real, right=right) for right in (False, True))
    share = (below + upto) / (2 * told.sum())
    return torch.where(torch.isfinite(real_score), share, real_score)


def _sign(x: Tensor) -> Tensor:
    """The sign, and what is not finite as it is: torch calls the sign of nan 0, which would pass for a reading."""
    return torch.where(torch.isfinite(x), x.sign(), x)
