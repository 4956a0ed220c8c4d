"""A blur that fades (StyleGAN3, Karras et al. 2021, https://arxiv.org/abs/2106.12423): coarse structure comes first.

Progressive growing (Karras et al. 2018, https://arxiv.org/abs/1710.10196) trained on small images before large ones. It
is not here: StyleGAN2 (Karras et al. 2020, https://arxiv.org/abs/1912.04958) found residual networks with resampling to
do without it. What remains of its order from coarse to fine is this: at first D sees neither kind of image sharply.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from equipoise.augmentations._resample import folded
from equipoise.errors import InputError
from equipoise.registry import register

REACH = 3  # standard deviations to which the kernel goes


@register(
    "augmentation",
    "blur",
    paper="arXiv:2106.12423",
    claim="keeps the discriminator from winning early by detail, when it fades over the first images",
    formula="x convolved with a Gaussian of width sigma, for reals and fakes",
    treats="DO",
    cost="one product with a matrix for each axis of the image, faded out or not",
)
class Blur(nn.Module):
    """Blurs real and generated images alike with a Gaussian of width `sigma`; images of 1, 2 or 3 dimensions.

    Meant to fade: `schedules.blur.sigma=linear` with `schedules.blur.sigma.until_kimg=200`. As long as it lasts nobody
    minds detail that it hides, so it must end well before the run does; at sigma=0 images pass to the bit. In StyleGAN3
    it starts from 2^-(x / 10 pixels)^2, a width of 8.5 pixels, of 256 in its smallest runs, and takes batch * 200 / 32
    kimg to fade; it stands before other augmentations. Borders are reflected here and black there.

    The kernel's support is fixed by the sigma given at the start; a dial turned above that blurs no more than this.
    """

    dials = ("sigma",)
    sigma: Tensor

    def __init__(
        self,
        sigma: float = 0.033,  # share of the image's longest side at the start: 8.5 pixels of 256, 1 of 32
    ) -> None:
        super().__init__()
        if not 0 <= sigma <= 1:
            raise InputError(f"blur.sigma={sigma} is a share of an image's side; give 0 to 1, such as 0.033")
        self.most = float(sigma)
        self.register_buffer("sigma", torch.tensor(float(sigma)))

    def forward(self, images: Tensor, labels: Tensor | None, is_real: bool) -> tuple[Tensor, Tensor | None]:
        if not 3 <= images.dim() <= 5 or not images.is_floating_point() or min(images.shape[2:]) < 2:
            raise InputError(
                f"blur was given {images.dtype} data of shape {list(images.shape)}, and it changes floating point "
                "images [N, C, ...] of 1 to 3 dimensions, 2 pixels or more each way; leave it out for other data"
            )
        full = images.float() if images.dtype in (torch.float16, torch.bfloat16) else images
        with torch.autocast(images.device.type, enabled=False):
            blurred = self.blurred(full).to(images.dtype)
        return torch.where(self.sigma > 0, blurred, images).contiguous(memory_format=_memory(images)), labels

    def blurred(self, images: Tensor) -> Tensor:
        """The images blurred along every axis, as far as the dial has it."""
        longest = max(images.shape[2:])
        reach = math.ceil(REACH * self.most * longest)
        width = self.sigma.to(images.dtype).clamp(max=self.most) * longest
        found = images
        for axis in range(2, images.dim()):
            matrix = smoother(images.shape[axis], width, reach)
            found = (found.movedim(axis, -1) @ matrix.T).movedim(-1, axis)
        return found


def smoother(
    size: int,  # pixels
    width: Tensor,  # 0-d: standard deviation in pixels
    reach: int,  # pixels to which the kernel goes on each side
) -> Tensor:
    """The matrix `[size, size]` that convolves with a sampled Gaussian, the border reflected; it keeps a flat image."""
    outer = torch.arange(-reach, size + reach, device=width.device)
    offset = outer - torch.arange(size, device=width.device)[:, None]  # [size, size + 2 reach]
    taps = (-(offset / width.clamp(min=1e-6)).square() / 2).exp() * (offset.abs() <= reach)
    return (taps / taps.sum(1, keepdim=True)) @ folded(outer, size, width)


def _memory(images: Tensor) -> torch.memory_format:
    last = images.dim() == 4 and images.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if last and not images.is_contiguous() else torch.contiguous_format
