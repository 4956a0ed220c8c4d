"""How steep the discriminator is where its samples lie, whatever the scale of the data."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from equipoise.sensors.probes import probe

SAMPLES = 32  # of each kind whose slope is taken


@probe(
    "slope_real",
    "slope_fake",
    claim="above 1 the discriminator is sharp and a penalty is due; far below 0.2 it is blind",
    cost="a forward and a backward of D over 64 samples",
)
def slopes(judge: Callable[[Tensor], Tensor], training: Tensor, samples: Tensor) -> dict[str, Tensor]:
    """Norm of the score's gradient at the image times the data's root mean square per coordinate, mean over samples."""
    scale = training.square().mean().sqrt()
    return {"slope_real": scale * _slope(judge, training), "slope_fake": scale * _slope(judge, samples)}


def _slope(judge: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    with torch.enable_grad():
        shown = images[:SAMPLES].detach().requires_grad_(True)
        (gradient,) = torch.autograd.grad(judge(shown).sum(), shown)
    slope: Tensor = torch.linalg.vector_norm(gradient.flatten(1), dim=1).mean()
    return slope
