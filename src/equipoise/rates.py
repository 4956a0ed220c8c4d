"""Feedback on the discriminator's learning rate, inside the step: the gap-aware scheduler.

A rate turns the value of the discriminator's loss into a factor on its learning rate, before each of its moves. The
loss's ideal value, which it is held against, is handed in by `aim`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from equipoise.errors import InputError
from equipoise.registry import register


@register("rate", "gap-aware", paper="arXiv:2302.00089", claim="slows a D that wins, hurries one that loses",
          formula="V <- decay V + (1 - decay) L_D; factor = lowest^(x / width) below V*, highest^(x / width) above it, "
          "x = |V - V*|", treats="DO GO", cost="none",
          cautions={"hinge": "with hinge the ideal value 2 means a discriminator inside its margin everywhere: a run "
                    "that goes well may sit at gap-aware.lowest; look at the readings of D.lr's factor",
                    "instance-noise": "with noise a good D's loss lies nearer its ideal value"})  # fmt: skip
class GapAware(nn.Module):
    """Gap-aware learning rate (Hazimeh & Ponomareva 2023): the factor leaves 1 as the loss leaves its ideal value.

    Where the running loss V is `width` or more below the ideal V*, the factor is `lowest`; where it is as far above,
    `highest`; between them it is exponential in the distance. V starts at V*. The loss is taken without penalties.
    """

    dials = ("lowest", "highest")
    lowest: Tensor
    highest: Tensor
    value: Tensor

    def __init__(
        self,
        lowest: float = 0.1,  # factor where the discriminator is far ahead: above 0 to 1
        highest: float = 2.0,  # factor where it is far behind: 1 or more
        width: float = 0.0,  # distance from the ideal value at which these hold; 0: a tenth of that value
        decay: float = 0.95,  # of the running loss, per discriminator move
    ) -> None:
        super().__init__()
        if not 0 < lowest <= 1 <= highest or not width >= 0 or not 0 <= decay < 1:
            raise InputError(
                f"gap-aware with lowest={lowest}, highest={highest}, width={width}, decay={decay}: lowest must lie "
                "above 0 up to 1, highest must be 1 or more, width 0 or more, decay from 0 to below 1"
            )
        self.register_buffer("lowest", torch.tensor(float(lowest)))
        self.register_buffer("highest", torch.tensor(float(highest)))
        self.register_buffer("value", torch.zeros([]))  # V - V*
        self.width, self.decay, self.target = float(width), float(decay), 0.0

    def aim(self, loss: str, ideal: float) -> None:
        """Hold the loss against its ideal value."""
        if not ideal and not self.width:
            raise InputError(
                f"gap-aware measures a tenth of the loss's ideal value, and that of {loss} is 0; "
                "set gap-aware.width in units of the loss"
            )
        self.target = ideal
        self.width = self.width or abs(ideal) / 10

    def forward(self, loss: Tensor) -> Tensor:
        self.value.lerp_((loss - self.target).to(self.value.dtype), 1 - self.decay)
        share = (self.value.abs() / self.width).clamp(max=1.0)
        return torch.where(self.value > 0, self.highest**share, self.lowest**share)
