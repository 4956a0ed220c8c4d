"""What is done in place to the discriminator's weights after each of its moves."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from equipoise.errors import InputError
from equipoise.registry import register


@register("constraint", "weight-clipping", paper="arXiv:1701.07875", claim="the crudest Lipschitz bound; history",
          formula="phi <- clip(phi, -limit, limit)", treats="VG", cost="none",
          cautions={"wgan-gp": "the gradient penalty is meant to replace weight clipping: the two pull against each "
                    "other"})  # fmt: skip
class WeightClipping(nn.Module):
    """Weight clipping (Arjovsky et al. 2017): every trained value of the discriminator into [-limit, limit].

    Published with RMSProp at 5e-5 and five discriminator moves. It biases D to simple functions, and gradients vanish
    or explode with depth.
    """

    dials = ("limit",)
    limit: Tensor

    def __init__(
        self,
        limit: float = 0.01,  # above 0
    ) -> None:
        super().__init__()
        if not limit > 0:
            raise InputError(f"weight-clipping.limit={limit} leaves no weights; give a number above 0, such as 0.01")
        self.register_buffer("limit", torch.tensor(float(limit)))

    @torch.no_grad()
    def forward(self, network: nn.Module) -> None:
        for parameter in network.parameters():
            parameter.copy_(torch.minimum(torch.maximum(parameter, -self.limit), self.limit))
