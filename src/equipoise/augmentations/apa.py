"""APA (Jiang et al. 2021, https://arxiv.org/abs/2111.06849): some generated images are shown to D as if they were real.

A discriminator that overfits is sure of every training image. Generated ones among them, judged as real, take that
certainty away without a change of any image.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from equipoise.errors import InputError
from equipoise.registry import register

MOVED = "it compares what D says of a real image with what it says of a changed one, and D was shown another image"


@register(
    "augmentation",
    "apa",
    paper="arXiv:2111.06849",
    claim="keeps the discriminator from memorising little data, by generated images shown as real",
    formula="x_i becomes G(z_(i-1)) with probability p, judged as real, in D's moves",
    treats="DF DO",
    cost="none",
    incompatible={"cr": MOVED, "bcr": MOVED},
)
class APA(nn.Module):
    """In the discriminator's moves each real image gives way, with probability p, to a generated one, judged as real.

    The generated images are those of the same move, detached and shifted by one along the batch, so that no pair of a
    relativistic loss meets itself; the paper takes those of the move before, which would have to be remembered. Their
    labels come with them. A penalty on reals is taken at the image that was shown, as in the paper. Only the first
    showing of reals after that of fakes is mixed; what a term has judged once more passes as it is, and so do all of
    the generator's moves and a batch of another size than the fakes. At p=0 images pass to the bit.

    The paper's loop moves p by sign(r - 0.6) / 500 per thousand images, r the mean sign of D on what is shown as real
    (`diffusion.adapted`), which means nothing for a relativistic loss. Reals become rare as p nears 1. Before other
    augmentations, as published, a generated image shown as real is changed like a real one; after them, it is the fake
    as they left it, so that place makes no difference in law.
    """

    dials = ("p",)
    p: Tensor

    def __init__(
        self,
        p: float = 0.1,  # 0 to below 1: share of the images shown as real that are generated; seldom above 0.5
    ) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise InputError(f"apa with p={p} cannot work, since no real image would be left; choose 0 to below 1")
        self.register_buffer("p", torch.tensor(float(p)))
        self._role: Literal["D", "G"] | None = None
        self._fakes: tuple[Tensor, Tensor | None] | None = None  # of this move, until reals have been shown

    def begin(self, role: Literal["D", "G"]) -> None:
        """Whose move it is. Without this, fakes that something else has made with gradients are the generator's."""
        self._role, self._fakes = role, None

    def forward(self, images: Tensor, labels: Tensor | None, is_real: bool) -> tuple[Tensor, Tensor | None]:
        if not is_real:
            discriminates = images.grad_fn is None if self._role is None else self._role == "D"
            self._fakes = (images.detach(), labels) if discriminates else None
            return images, labels
        kept, self._fakes = self._fakes, None
        if kept is None or kept[0].shape != images.shape:
            return images, labels
        return mixed(images, labels, *kept, chosen=torch.rand(len(images), device=images.device) < self.p)


def mixed(
    images: Tensor,  # [N, ...]
    labels: Tensor | None,  # [N]
    fakes: Tensor,  # [N, ...]
    fake_labels: Tensor | None,  # [N]
    chosen: Tensor,  # bool [N]: which images give way
) -> tuple[Tensor, Tensor | None]:
    """The images with the chosen ones replaced by the fake before theirs; gradients pass as if they had not been."""
    fakes = fakes.roll(1, 0) + (images - images.detach())  # 0 with a gradient: penalties see D's slope where it looked
    shown = torch.where(chosen.reshape(-1, *[1] * (images.dim() - 1)), fakes, images)
    if labels is None or fake_labels is None:
        return shown, labels
    return shown, torch.where(chosen, fake_labels.roll(1, 0), labels)
