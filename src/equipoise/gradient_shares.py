"""Gradient shares: each loss gets a fixed part of the generator's gradient, whatever its own scale.

The loss balancer of EnCodec (Defossez et al. 2022, arXiv:2210.13438, section 3.4): with g_i the gradient of loss i at
the generator's output and <|g_i|> the moving average of its norm, the generator receives
`R * sum_i share_i / sum_j share_j * g_i / <|g_i|>`. The norm is that of the whole batch, as in the paper; AudioCraft's
code averages the samples' norms unless it is told not to, so that its R counts a sample.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from equipoise import distributed
from equipoise.errors import InputError
from equipoise.shown import gradient_at


class GradientShares(nn.Module):
    """`shares = GradientShares({"l1": 3, "adversarial": 1})`, then `shares.backward(losses, output)` in each step.

    Losses that do not pass through `output` (a commitment loss, a weight penalty) cannot take part: call their
    `backward(retain_graph=True)` first. A share is held even while its loss has almost nothing to say, so that a fading
    gradient is blown up; only one that is exactly 0 stays 0, and is left out of its average, so that a loss that sets
    in later starts with its share and no more. A factor on a loss is made up for: to fade one in, put the factor on
    what `shares(losses, output)` returns. The averages are buffers and are saved with the module.
    """

    wanted: Tensor
    norms: Tensor
    mass: Tensor

    def __init__(
        self,
        shares: Mapping[str, float],  # of each loss by name, above 0; only their proportions matter
        total: float = 1.0,  # norm of the sum at the output, the paper's R
        decay: float = 0.999,  # of the averages of the norms, per call, the paper's
    ) -> None:
        super().__init__()
        known = isinstance(shares, Mapping) and len(shares) > 0 and all(map(_above_0, shares.values()))
        if not known or not _above_0(total) or not 0 <= decay < 1:
            raise InputError(
                f"gradient shares {shares} with total={total} and decay={decay} cannot work: give each loss by name a "
                "share above 0, a total above 0 and a decay in [0, 1)"
            )
        self.names, self.decay = list(shares), decay
        wanted = torch.tensor([float(share) for share in shares.values()])
        self.register_buffer("wanted", total * wanted / wanted.sum())
        self.register_buffer("norms", torch.zeros(len(wanted)))  # averages, in the order of the names
        self.register_buffer("mass", torch.zeros(len(wanted)))  # how much of each is filled: debiases the start

    def backward(
        self,
        losses: Mapping[str, Tensor],  # a single number each, unweighted
        output: Tensor,  # what the generator made and the losses judge
    ) -> None:
        """Send each loss's share into the generator; no other network receives a gradient.

        A `GradScaler` knows nothing of this backward: with one, take what `shares(losses, output)` returns.
        """
        gradients = self._gradients(losses, output)
        factors = self._factors(gradients)
        parts = [factor * g.float() for factor, g in zip(factors, gradients, strict=True)]
        output.backward(torch.stack(parts).sum(0).to(output.dtype))

    def forward(self, losses: Mapping[str, Tensor], output: Tensor) -> dict[str, Tensor]:
        """The losses, weighted so that the gradient of their sum is shared so; for loops that call backward themselves.

        The loss named first keeps its own scale, or the first that has had a gradient, and `total` has no say. Dearer
        by a second backward pass from the losses to the output.
        """
        factors = self._factors(self._gradients(losses, output))
        first = factors.index_select(0, (factors > 0).int().argmax().reshape(1))
        weights = torch.where(first > 0, factors / first, 1.0)
        return {name: weight * losses[name] for name, weight in zip(self.names, weights, strict=True)}

    def _gradients(self, losses: Mapping[str, Tensor], output: Tensor) -> list[Tensor]:
        if set(losses) != set(self.names):
            raise InputError(f"losses {sorted(losses)} came, and shares are given for {sorted(self.names)}: name each")
        if not output.requires_grad:
            raise InputError("the output carries no gradient: hand over what the generator returned, not detached")
        return [gradient_at(losses[name], output, f"the loss {name!r}") for name in self.names]

    def _factors(self, gradients: list[Tensor]) -> Tensor:
        """What each loss is multiplied by; norms that are 0 or not finite are left out of the averages."""
        norms = distributed.average_(torch.stack([torch.linalg.vector_norm(g.float()) for g in gradients]))
        known = torch.isfinite(norms) & (norms > 0)
        share = torch.where(known, 1 - self.decay, 0.0)
        self.norms.lerp_(torch.where(known, norms, 0.0), share)
        self.mass.lerp_(torch.ones_like(self.mass), share)
        return self.wanted * self.mass / self.norms.clamp_min(1e-12)


def _above_0(value: Any) -> bool:
    return isinstance(value, numbers.Real) and 0 < float(value) < math.inf
