"""Weights per sample of a player's loss: which of its samples count."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from equipoise.errors import InputError
from equipoise.registry import register
from equipoise.turn import Role


@register("weighting", "top-k", paper="arXiv:2002.06224", claim="learns from the fakes that D likes best",
          formula="L_G over the k highest D(G(z)), k = share * N", treats="GC", cost="none",
          cautions={"loss": "top-k throws away the samples that D dislikes: watch recall, since rare modes are among "
                    "them"})  # fmt: skip
class TopK(nn.Module):
    """Top-k training (Sinha et al. 2020): the generator's loss over the share of its batch with the highest scores.

    The published schedule starts from the whole batch and ends at a half: `schedules.top-k.share` with end 0.5 on a
    share of 1. Under several processes the share is taken of each one's batch. At least one sample counts.
    """

    role: Role = "G"
    couples_samples = True
    dials = ("share",)
    share: Tensor

    def __init__(
        self,
        share: float = 0.5,  # of the batch: above 0 to 1
    ) -> None:
        super().__init__()
        if not 0 < share <= 1:
            raise InputError(f"top-k.share={share} is no share of a batch; give above 0 to 1")
        self.register_buffer("share", torch.tensor(float(share)))

    def forward(self, fake_score: Tensor) -> Tensor:
        rank = fake_score.detach().argsort(descending=True).argsort()
        chosen = (rank < (self.share * len(rank)).round().clamp(min=1)).to(fake_score.dtype)
        return chosen / chosen.mean()
