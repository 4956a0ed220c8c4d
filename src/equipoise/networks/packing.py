"""Packing: the discriminator judges several images of one kind at once (PacGAN, Lin et al. 2018, arXiv:1712.04086).

A generator that repeats itself is found out by a judge who sees two of its images side by side. In a turn a pack is one
sample: `[N, C, ...]` becomes `[N / m, m C, ...]`, so that penalties sum the gradient over the pack.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from equipoise.errors import InputError


class Packed(nn.Module):
    """A discriminator of packs as one of images: `[N, C, ...]` to logits `[N / m]`, N a multiple of m."""

    def __init__(self, discriminator: nn.Module, pack: int, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.discriminator, self.pack, self.shape, self.num_classes = discriminator, pack, shape, 0

    @property
    def output(self) -> Any:
        """The layer whose input are the features."""
        return getattr(self.discriminator, "output", None)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Any:
        if len(images) % self.pack:
            raise InputError(
                f"{len(images)} images do not make packs of {self.pack}; give a multiple of it, or set network.pack=1"
            )
        return self.discriminator(packed(images, self.pack), None)


def pack_of(discriminator: nn.Module) -> int:
    """How many images the discriminator judges at once; 1 for all but packed ones."""
    return int(getattr(discriminator, "pack", 1))


def packed(images: Tensor, pack: int) -> Tensor:
    """`[N, C, ...]` to `[N / m, m C, ...]`: neighbours of a batch, which is drawn at random, make a pack."""
    return images if pack == 1 else images.reshape(-1, pack * images.shape[1], *images.shape[2:])


def unpacked(images: Tensor, pack: int) -> Tensor:
    """The images of packs, `[N, C, ...]`."""
    return images if pack == 1 else torch.reshape(images, (-1, images.shape[1] // pack, *images.shape[2:]))
