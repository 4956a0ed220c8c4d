"""Directions in latent space along which a generator changes most, one slider each.

They are the leading eigenvectors of J^T J averaged over latents, with J the generator's Jacobian by finite
differences: the right singular vectors of Ramesh, Choi & LeCun (2018, arXiv:1812.01161), one set for all latents.
"""

from __future__ import annotations

import torch
from torch import Tensor

from equipoise.apps.export.subject import Subject

STEP = 0.1  # of the differences, in standard deviations of a latent
LATENTS = 8  # averaged over


@torch.no_grad()
def directions(subject: Subject, count: int) -> Tensor:
    """[count, latent_dim], orthonormal, the strongest first, each with its largest number positive."""
    size = subject.latent_dim
    latents, labels = subject.probe(LATENTS)
    total = torch.zeros(size, size)
    for number, latent in enumerate(latents):
        points = torch.cat([latent[None], latent + STEP * torch.eye(size)])  # [1 + size, size]
        label = None if labels is None else labels[number].expand(len(points))
        made = subject.generator(points, label).flatten(1)
        jacobian = (made[1:] - made[0]) / STEP  # [size, pixels]
        total += jacobian @ jacobian.T / LATENTS
    vectors: Tensor = torch.linalg.eigh(total).eigenvectors.flip(1).T[:count]  # eigenvalues rise
    signs = vectors.gather(1, vectors.abs().argmax(1, keepdim=True)).sign()
    return vectors * signs
