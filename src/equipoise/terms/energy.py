"""EBGAN (Zhao et al. 2017, https://arxiv.org/abs/1609.03126): the discriminator gives images an energy.

A logit is minus the energy, so that higher still means more real. The energy must have a floor at 0, as the
reconstruction error of the network `autoencoder` has: minus an ordinary discriminator's logit falls for ever.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from equipoise.registry import add, register
from equipoise.terms import Loss, Regulariser

FLOOR = (
    "the loss takes logits for minus an energy of 0 or more, and the logits of this network have no limit, so that the "
    "energy of data would fall for ever; set network.name=autoencoder, also to say so of networks of your own"
)
SIGNS = "minus an energy is never above 0, so that a loop on the sign of D(real) cannot move: steer by something else"


def energy_d(real_logits: Tensor) -> Tensor:
    """E(real): the fakes' part is a term's, ebgan or began."""
    return -real_logits


def energy_g(fake_logits: Tensor) -> Tensor:
    """E(fake)."""
    return -fake_logits


add(
    "loss",
    "energy",
    Loss(energy_d, energy_g, zero=None),
    paper="arXiv:1609.03126",
    claim="low energy for data and high for fakes, with D an autoencoder; the fakes' part is ebgan's or began's",
    formula="L_D = mean E(x) (+ ebgan or began); L_G = mean E(G(z)); E = -logit",
    ideal=(0.0, None),  # of the data; under ebgan the margin
    treats="DO",
    cost="D is an autoencoder, about twice its encoder",
    wants=(("ebgan", "began"), "network=autoencoder"),
    incompatible={f"network={name}": FLOOR for name in ("mlp", "dcgan", "resnet", "normfree")},
    cautions={"ada": SIGNS},
)


@register(
    "term",
    "ebgan",
    paper="arXiv:1609.03126",
    claim="fakes of an energy past the margin are left alone, so that the discriminator cannot run away",
    formula="relu(margin - E(G(z))), E = -logit",
    treats="DO",
    cost="none",
    wants=("energy",),
    incompatible={"began": "both are the fakes' part of the loss energy; keep one"},
)
class EBGAN(Regulariser):
    """relu(margin - E(fake)): with the loss energy, L_D = E(real) + relu(margin - E(fake)), at best the margin.

    The margin is in units of the energy and has to suit the data; the paper searched for it (10 for MNIST, 20 for
    CelebA, with another scale of energies). Once all fakes are past it the discriminator no longer sees them: as
    reconstructions improve it should shrink, by a schedule on `ebgan.margin`.
    """

    dials = ("margin",)
    adversarial = True  # part of the game's value
    margin: Tensor

    def __init__(
        self,
        margin: float = 0.5,  # of the energy: the mean error per number, of images in [-1, 1]
        every: int = 1,  # moves of the discriminator
    ) -> None:
        super().__init__("margin", margin, every)

    def ideal(self, plain: float) -> float:
        """The discriminator's loss at the equilibrium (the paper's theorem 1), whatever it is without this term."""
        return float(self.margin)

    def forward(self, fake_logits: Tensor) -> Tensor:
        return F.relu(self.margin + fake_logits)


@register(
    "term",
    "pulling-away",
    paper="arXiv:1609.03126",
    claim="turns the features of the fakes of a batch away from each other, against a generator that repeats itself",
    formula="weight · mean over i ≠ j of cos²(Sᵢ, Sⱼ), S: D's features of the fakes",
    treats="GC",
    cost="none",
)
class PullingAway(Regulariser):
    """PT (Zhao et al. 2017, section 2.4): weight times the mean squared cosine between two fakes' features, for G.

    The features are those before D's last layer, of an autoencoder the code. Cosines do not mind their length. Each
    process compares its own fakes; a single one has nothing to be compared with and gives 0.
    """

    role = "G"
    dials = ("weight",)
    couples_samples = True
    weight: Tensor

    def __init__(
        self,
        weight: float = 0.1,  # the paper's
        every: int = 1,  # moves of the generator
    ) -> None:
        super().__init__("weight", weight, every)

    def forward(self, fake_features: Tensor) -> Tensor:
        return self.weight * pulling_away(fake_features)


def pulling_away(features: Tensor) -> Tensor:
    """Each sample's mean squared cosine with the others: `[N, F] -> [N]`, 0 for orthogonal features, 1 for parallel."""
    if features.dtype in (torch.float16, torch.bfloat16):
        features = features.float()
    directions = F.normalize(features.flatten(1), dim=1)
    cosines = directions @ directions.T  # [N, N]
    others = 1 - torch.eye(len(features), dtype=cosines.dtype, device=cosines.device)
    return (cosines.square() * others).sum(1) / max(len(features) - 1, 1)
