"""What the discriminator is shown: changes of real and generated images alike, through which gradients flow."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from torch import Tensor


class Augmentation(Protocol):
    """Changes images `[N, C, ...]` (and, where it must, their labels) before the discriminator judges them.

    It must be differentiable in the images, and its strength a 0-d buffer. `is_real` tells the two kinds apart for the
    few that treat them differently; changing only reals teaches the generator the change.
    """

    def __call__(self, images: Tensor, labels: Tensor | None, is_real: bool) -> tuple[Tensor, Tensor | None]:
        """The images and labels to show in place of the given ones."""
        ...


def unchanged(images: Tensor, labels: Tensor | None, is_real: bool) -> tuple[Tensor, Tensor | None]:
    """Show everything as it is."""
    return images, labels


def compose(augmentations: Iterable[Augmentation]) -> Augmentation:
    """One augmentation that applies the given ones from first to last; of none it is `unchanged`."""
    parts = list(augmentations)

    def composed(images: Tensor, labels: Tensor | None, is_real: bool) -> tuple[Tensor, Tensor | None]:
        for part in parts:
            images, labels = part(images, labels, is_real)
        return images, labels

    return composed if parts else unchanged
