"""Adaptive weight of an adversarial loss beside a reconstruction (VQGAN, Esser et al. 2021, arXiv:2012.09841, eq. 7).

`weight = |d reconstruction / d last layer| / (|d adversarial / d last layer| + delta)`, so that both pull alike at the
generator's last layer. Published per step; here both norms are averaged first, since a ratio of averages has no spikes.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from equipoise import distributed
from equipoise.errors import InputError
from equipoise.shown import gradient_at


class AdaptiveWeight(nn.Module):
    """`loss = reconstruction + adaptive(reconstruction, adversarial, last_layer.weight) * adversarial`.

    The weight is a 0-d tensor without a graph. The published clamp, [0, 1e4], lets the gradient of a dead discriminator
    be blown up until its noise weighs as much as the reconstruction, and hides its death. Ours stops at 100: beyond,
    the adversarial share falls, and that is seen. A reconstruction summed over pixels, and not averaged, wants more.
    Norms that are not finite are left out, and an adversarial one of exactly 0, as before a start: averaged in, it
    would make the first weights after it too large. The averages are buffers and are saved with the module.
    """

    scale: Tensor
    norms: Tensor
    mass: Tensor

    def __init__(
        self,
        scale: float = 1.0,  # of the result: the share that the adversarial gradient gets is scale / (1 + scale)
        decay: float = 0.95,  # of the averages of both norms, per call; 0 as published
        low: float = 0.0,  # limits of the ratio, before the scale
        high: float = 100.0,  # 1e4 as published
        delta: float = 1e-6,  # added to the adversarial norm, the paper's
    ) -> None:
        super().__init__()
        if not 0 <= decay < 1 or not 0 <= low < high or not 0 <= scale < math.inf or not 0 <= delta < math.inf:
            raise InputError(
                f"an adaptive weight with decay={decay}, low={low}, high={high}, scale={scale}, delta={delta} cannot "
                "work: decay must lie in [0, 1), low below high, and scale and delta must be 0 or more"
            )
        self.decay, self.low, self.high, self.delta = decay, low, high, delta
        self.register_buffer("scale", torch.tensor(float(scale)))
        self.register_buffer("norms", torch.zeros(2))  # averages: reconstruction, adversarial
        self.register_buffer("mass", torch.zeros(2))  # how much of each is filled: debiases the start

    def forward(
        self,
        reconstruction: Tensor,  # a single number, as is the next; before its backward
        adversarial: Tensor,  # without the weight that it will get: a start-up's comes behind
        at: Tensor,  # where both gradients are taken: the weight of G's last layer, or G's output
    ) -> Tensor:
        named = {"the reconstruction": reconstruction, "the adversarial loss": adversarial}
        found = [gradient_at(loss, at, what) for what, loss in named.items()]
        norms = distributed.average_(torch.stack([torch.linalg.vector_norm(g.float()) for g in found]))
        finite = torch.isfinite(norms).all()
        counts = finite & torch.stack([finite, norms[1] > 0])
        share = torch.where(counts, 1 - self.decay, 0.0)
        self.norms.lerp_(torch.where(finite, norms, 0.0), share)
        self.mass.lerp_(torch.ones_like(self.mass), share)
        kept, pulled = self.norms / self.mass.clamp_min(1e-12)
        weight: Tensor = self.scale * (kept / (pulled + self.delta).clamp_min(1e-12)).clamp(self.low, self.high)
        return weight
