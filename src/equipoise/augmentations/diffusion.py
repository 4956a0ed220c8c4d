"""Diffusion-GAN (Wang et al. 2023, https://arxiv.org/abs/2206.02262): noise of many strengths, from none upwards.

Each image is taken t steps down a diffusion, with t drawn for it between 0 and T. The horizon T grows with p, which
makes D's task harder; half the images stay clean.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from equipoise.augmentations._images import strength
from equipoise.errors import InputError
from equipoise.registry import register

NOISY = "both add Gaussian noise to what D sees; one of them is enough"


def adapted(
    p: float,
    sign: float,  # mean sign of D on what is shown as real, -1 to 1
    samples: float,  # real images since the last change
    target: float = 0.6,  # 0.45 on features of another network
    kimg: float = 100.0,  # thousands of images for p to go from 0 to 1; ADA and APA take 500
    most: float = 1.0,  # ADA and APA have no upper limit
) -> float:
    """The papers' closed loop, p + sign(sign - target) samples / (1000 kimg) within 0 to `most`: a plain number.

    With noise in the images the sign falls by itself, and under a relativistic loss it has no zero to refer to.
    """
    move = samples / (1000 * kimg) * ((sign > target) - (sign < target))
    return min(most, max(0.0, p + move))


@register(
    "augmentation",
    "diffusion",
    paper="arXiv:2206.02262",
    claim="keeps real and generated images overlapping, and the discriminator from memorising, by noise of many widths",
    formula="y = sqrt(abar_t) x + sqrt(1 - abar_t) std n, t in 0..T, T = steps_min + p (steps_max - steps_min)",
    treats="DF VG",
    cost="none",
    cautions={"instance-noise": NOISY},
)
class Diffusion(nn.Module):
    """y = sqrt(abar_t) x + sqrt(1 - abar_t) std N(0, 1) for real and generated images alike; data of any shape.

    Half the images are clean, t = 0, and pass to the bit; the others draw t from 1..T with P(t) ~ t (the published
    code: ~ t - 1), or uniformly. As in that code, the noise rates beta run linearly from `beta_min` to `beta_max` over
    whatever T is.
    There, t comes from a pool of 64 that is drawn afresh every few moves; here each image draws for itself, from
    the same law. The discriminator is not told t: D(y) in place of D(y, t). Noise that is alike on both sides does not
    leak.

    The paper's loop sets p by `adapted`; a target of r_t = 0.6 depends on the noise.
    """

    dials = ("p",)
    p: Tensor

    def __init__(
        self,
        p: float = 0.2,  # 0 to 1: the horizon T between steps_min and steps_max; a loop may start from 0
        std: float = 0.05,  # of the noise, in units of the images' values; published 0.5 for features
        draw: str = "priority",  # of t above 0: priority (as probable as it is large) | uniform
        steps_min: int = 10,  # T at p=0
        steps_max: int = 1000,  # T at p=1
        beta_min: float = 1e-4,  # noise rate of the first step
        beta_max: float = 2e-2,  # noise rate of the last step
    ) -> None:
        super().__init__()
        if not std >= 0:
            raise InputError(f"std={std} is no width of noise; give 0 or more, in units of the images' values")
        if draw not in ("priority", "uniform"):
            raise InputError(f"diffusion draws steps by priority or uniform, not {draw!r}; set one of them")
        if not (2 <= steps_min <= steps_max and 0 < beta_min <= beta_max < 1):
            raise InputError(
                f"steps {steps_min} to {steps_max} with rates {beta_min} to {beta_max} make no diffusion; give steps "
                "of 2 or more and rates between 0 and 1, the smaller first"
            )
        self.std, self.draw, self.steps, self.rates = std, draw, (steps_min, steps_max), (beta_min, beta_max)
        self.register_buffer("p", strength("diffusion", p))

    def forward(self, images: Tensor, labels: Tensor | None, is_real: bool) -> tuple[Tensor, Tensor | None]:
        return self.change(images, self.times(images), torch.randn_like(images)), labels

    def horizon(self) -> Tensor:
        """T, a whole number as a 0-d float tensor."""
        low, high = self.steps
        return (low + (self.p * (high - low)).round()).clamp(low, high)

    def kept(self) -> Tensor:
        """abar_t `[steps_max + 1]` in float32, the share of the image's power that is left at t = 0, 1, ..., T."""
        low, high = self.rates
        place = torch.arange(self.steps[1], device=self.p.device) / (self.horizon() - 1)
        rates = low + (high - low) * place.clamp(max=1.0)
        return torch.cat([self.p.new_zeros(1), torch.log1p(-rates).cumsum(0)]).exp()

    def times(self, images: Tensor) -> Tensor:
        """A draw of t, int64 `[N]`, for images `[N, ...]`: 0 for half of them."""
        clean, share = torch.rand(2, len(images), device=images.device)
        last = self.horizon()
        if self.draw == "uniform":
            drawn = (share * last).floor() + 1
        else:  # the sum of 1..t is t (t + 1) / 2: the smallest t whose share of it is not below the draw
            drawn = (((1 + 4 * share * last * (last + 1)).sqrt() - 1) / 2).ceil()
        return torch.where(clean < 0.5, 0, drawn.clamp(min=1.0).minimum(last)).long()

    def change(
        self,
        images: Tensor,  # [N, ...]
        times: Tensor,  # int64 [N]
        noise: Tensor,  # like the images, of deviation 1
    ) -> Tensor:
        """Take each image so many steps down the diffusion."""
        kept = self.kept()[times].reshape(-1, *[1] * (images.dim() - 1))
        signal, width = kept.sqrt().to(images.dtype), (1 - kept).sqrt().to(images.dtype)
        return torch.where(kept < 1, signal * images + width * self.std * noise, images)
