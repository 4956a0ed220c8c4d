"""The duality gap: how far from an equilibrium two players are (Grnarova et al. 2019, arXiv:1811.05512)."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from equipoise.sensors.probes import probe

Losses = Callable[[nn.Module, nn.Module, bool], tuple[Tensor, Tensor]]


@probe(
    asked=True,
    paper="arXiv:1811.05512",
    claim="above 0 where a player could still gain; needs no labels and no features",
    cost="50 updates of each player",
)
def duality_gap(
    generator: nn.Module,
    discriminator: nn.Module,
    losses: Losses,  # (generator, discriminator, unseen) -> G's and D's loss; unseen: on data that are not learnt from
    steps: int = 50,  # of Adam, for each player
    lr: float = 1e-3,
) -> Tensor:
    """What G and D could each still gain from here alone, by copies that learn against the other as it stands.

    For a zero-sum game this is max V(G, D') - min V(G', D) of the paper; for others each gains in its own loss, and the
    two gains add up. A bound from below: few steps, or a bad lr, find less than there is. Never below 0.
    """
    with torch.enable_grad():
        best_g, best_d = copy.deepcopy(generator), copy.deepcopy(discriminator)
        _learn(best_g, lambda: losses(best_g, discriminator, False)[0], steps, lr)
        _learn(best_d, lambda: losses(generator, best_d, False)[1], steps, lr)
    with torch.no_grad():
        now = losses(generator, discriminator, True)
        gain_g = now[0] - losses(best_g, discriminator, True)[0]
        gain_d = now[1] - losses(generator, best_d, True)[1]
    return gain_g.clamp(min=0) + gain_d.clamp(min=0)


def _learn(player: nn.Module, loss: Callable[[], Tensor], steps: int, lr: float) -> None:
    weights = [p for p in player.parameters() if p.requires_grad]
    adam = torch.optim.Adam(weights, lr, betas=(0.0, 0.99))
    for _ in range(steps):
        for weight, gradient in zip(weights, torch.autograd.grad(loss(), weights, allow_unused=True), strict=True):
            weight.grad = gradient
        adam.step()
