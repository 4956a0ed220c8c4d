"""BEGAN (Berthelot et al. 2017, https://arxiv.org/abs/1703.10717): hold E(fake) / E(real) at gamma by a share k.

The first closed loop between the two players: an integrator turns how much the discriminator cares for the fakes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from equipoise import distributed
from equipoise.errors import InputError
from equipoise.registry import register
from equipoise.terms import Regulariser


@register(
    "term",
    "began",
    paper="arXiv:1703.10717",
    claim="holds the ratio of the fakes' reconstruction error to the data's, whichever player is ahead",
    formula="-k E(G(z)); k ← clip(k + rate (gamma E(x) - E(G(z))), 0, 1)",
    treats="DO GO",
    cost="none",
    wants=("energy",),
)
class BEGAN(Regulariser):
    """-k E(fake): with the loss energy, L_D = E(real) - k E(fake), and k moves after each use.

    A fake energy below gamma E(real) means that the generator is ahead and raises k, one above it lowers k. The clip
    is on k itself, so that nothing winds up at an end. `k` is memory, saved and undone with a skipped update. The gain
    `rate` assumes energies of the order of 0.1 to 1: with much smaller ones k hardly leaves 0 (reported for MNIST), and
    a larger rate is due.
    """

    dials = ("gamma",)
    adversarial = True  # part of the game's value
    couples_samples = True  # k would move once for each part of a batch
    gamma: Tensor
    k: Tensor

    def __init__(
        self,
        gamma: float = 0.5,  # E(fake) / E(real) to hold, 0 to 1: low is sharper and less diverse, the paper's 0.3-0.7
        rate: float = 0.001,  # of k, per unit of energy and due move of the discriminator
        start: float = 0.0,  # k at the first move, 0 to 1
        every: int = 1,  # moves of the discriminator
    ) -> None:
        super().__init__("gamma", gamma, every)
        if not (rate >= 0 and 0 <= start <= 1):
            raise InputError(f"rate={rate}, start={start}: give a rate of 0 or more and a start between 0 and 1")
        self.rate = rate
        self.register_buffer("k", torch.tensor(float(start)))

    def forward(self, real_score: Tensor, fake_score: Tensor) -> Tensor:
        k = self.k.clone()  # the graph keeps the share in force; the move below is for the next time
        means = distributed.mean(torch.stack([-real_score.detach().mean(), -fake_score.detach().mean()]))
        self.k.copy_(moved(self.k, means[0], means[1], self.gamma, self.rate))
        return k * fake_score


def moved(k: Tensor, real_energy: Tensor, fake_energy: Tensor, gamma: Tensor | float, rate: float) -> Tensor:
    """The share after a move: clip(k + rate (gamma E(x) - E(G(z))), 0, 1), of batch means of the energies."""
    return (k + rate * (gamma * real_energy - fake_energy)).clamp(0, 1)


def convergence(real_energy: Tensor, fake_energy: Tensor, gamma: Tensor | float) -> Tensor:
    """The paper's measure of convergence, M = E(x) + |gamma E(x) - E(G(z))|: lower is better, comparable within a run.

    Both energies are means, which a run logs as minus `D.real_score` and minus `D.fake_score`.
    """
    return real_energy + (gamma * real_energy - fake_energy).abs()
