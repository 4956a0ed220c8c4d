"""Multi-hinge (Kavalerov et al. 2021, https://arxiv.org/abs/1912.04216): hinge with classes, fakes being one of them.

The discriminator has K + 1 outputs s and no projection (`network.head=classes`). The Crammer-Singer hinge asks of the
output y that is due that it leads all others by 1: relu(1 + max_(j != y) s_j - s_y), with y the label of a real image
and the class K of a generated one; the generator asks it of the label of its own image.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from equipoise.errors import InputError
from equipoise.registry import add
from equipoise.terms import Loss


def multi_hinge_d(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """relu(1 - margin of a real's label) + relu(1 - margin of the fakes' class for a fake): `[N, 2]` to `[N]`."""
    return F.relu(1 - margins(real_logits)[0]) + F.relu(1 + margins(fake_logits)[1])


def multi_hinge_g(fake_logits: Tensor) -> Tensor:
    """relu(1 - margin of the fake's label), `[N, 2]` to `[N]`: nothing more is asked of one that leads by 1."""
    return F.relu(1 - margins(fake_logits)[0])


def margins(logits: Tensor) -> tuple[Tensor, Tensor]:
    """The lead of the label's output over all others, and that of the best class over the fakes'; each `[N]`."""
    if logits.dim() != 2 or logits.shape[1] != 2:
        raise InputError(
            f"multi-hinge reads two margins for each image, [N, 2], and the discriminator gave {list(logits.shape)}; "
            "set network.head=classes (mlp, dcgan or resnet, on labelled data), or take the loss hinge"
        )
    return logits[:, 0], logits[:, 1]


add(
    "loss",
    "multi-hinge",
    Loss(multi_hinge_d, multi_hinge_g),
    paper="arXiv:1912.04216",
    claim="fakes have to be told apart as their class, not as real alone; wants network.head=classes",
    formula="L_D = mean relu(1 + max_{j≠y} sⱼ - s_y) + mean relu(1 + max_{j<K} sⱼ - s_K); "
    "L_G = mean relu(1 + max_{j≠y} sⱼ - s_y)",
    ideal=(2.0, 1.0),
    treats="GC",
    cost="none",
    wants=("head=classes",),
)
