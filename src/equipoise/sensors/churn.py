"""Whether the generator still changes its mind: the same latents' samples at two looks."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from equipoise.sensors.probes import distances, features, probe
from equipoise.sensors.samples import mean_distance


@probe(every=4, claim="stays high where the generator runs in circles", cost="32 samples")
def churn(
    fixed: Tensor,  # [n, ...] samples of fixed latents, now
    before: Tensor,  # [n, ...] the same at the look before
) -> Tensor | float:
    """Mean distance a latent's sample has moved since the look before, over the mean distance between latents.

    It grows with the time between the looks, so compare looks that are equally far apart. A look before that was not
    finite, as before the first one, tells nothing.
    """
    now, then = features(fixed), features(before)
    if not bool(torch.isfinite(now).all() & torch.isfinite(then).all()):
        return math.nan
    moved: Tensor = torch.linalg.vector_norm(now - then, dim=1).mean()
    return moved / mean_distance(distances(now, now))
