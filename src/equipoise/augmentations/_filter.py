"""ADA's image-space filters (Karras et al. 2020, arXiv:2006.06676, appendix B): a random gain for each frequency band.

The four bands come from three low-pass filters in a row, each reaching half as high as the one before: 0 to 1/8, 1/8 to
1/4, 1/4 to 1/2 and 1/2 to 1 of the highest frequency, lowest first. The low-pass filter is the sym2 wavelet's with its
own mirror image, halved, which makes it symmetric: (-1, 0, 9, 16, 9, 0, -1)/32. What it takes away is the band above,
so that with gains of 1 the image is whole again. Symmetric filters keep a reflected border reflected; each filter with
its border is therefore a matrix, and filters in a row are their product.
"""

from __future__ import annotations

import torch
from torch import Tensor

from equipoise.augmentations._geometry import Chances
from equipoise.augmentations._images import beside, lognormal
from equipoise.augmentations._resample import folded

HALF_BAND = {-3: -1 / 32, -1: 9 / 32, 0: 1 / 2, 1: 9 / 32, 3: -1 / 32}  # by offset in pixels
POWER = (10 / 13, 1 / 13, 1 / 13, 1 / 13)  # expected share of each band in natural images, lowest first


def draw_gains(
    like: Tensor,  # [N]: of the type and device wanted
    chances: Chances,  # of "band1", the lowest, to "band4"
) -> Tensor:
    """The bands' gains `[N, 4]`: each change of a band is followed by one of all, to keep the expected power."""
    total = torch.ones_like(like)[:, None].repeat(1, 4)
    for band, share in enumerate(POWER):
        name = f"band{band + 1}"
        if name in chances:
            gain = lognormal(like, 1.0)
            changed = torch.stack([gain if one == band else torch.ones_like(gain) for one in range(4)], 1)
            changed = changed / (1 - share + share * gain.square()).sqrt()[:, None]
            chosen = torch.rand_like(like) < chances[name]
            total = torch.where(chosen[:, None], total * changed, total)
    return total


def low_pass(
    size: int,  # pixels
    step: int,  # distance of the filter's taps: 1, 2 or 4 pixels
    like: Tensor,
) -> Tensor:
    """The matrix `[size, size]` of the low-pass filter with reflection at the border."""
    pixels = torch.arange(size, device=like.device)
    parts = [folded(pixels + step * offset, size, like) * value for offset, value in HALF_BAND.items()]
    return torch.stack(parts).sum(0)


def equaliser(
    gains: Tensor,  # [N, 4], lowest band first
    size: int,  # pixels
) -> Tensor:
    """The matrices `[N, size, size]` that give each band its gain along one axis."""
    rest = torch.eye(size, dtype=gains.dtype, device=gains.device)
    total = torch.zeros_like(rest)
    for band, step in ((3, 1), (2, 2), (1, 4)):  # from the highest; what is left over goes on to the next
        lower = low_pass(size, step, gains) @ rest
        total = total + gains[:, band, None, None] * (rest - lower)
        rest = lower
    return total + gains[:, 0, None, None] * rest


def equalise(
    images: Tensor,  # [N, C, H, W]
    gains: Tensor,  # [N, 4], lowest band first
) -> Tensor:
    """Give each frequency band its gain, along both axes; images whose gains are all 1 pass to the bit."""
    rows, columns = (equaliser(gains, size)[:, None] for size in images.shape[2:])
    return torch.where(beside((gains == 1).all(1)), images, rows @ images @ columns.mT)
