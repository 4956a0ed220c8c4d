"""Path length regularisation of the generator (Karras et al. 2020, StyleGAN2, https://arxiv.org/abs/1912.04958).

A step in the latents of a fixed length shall change the image by a fixed amount, whatever the place and the direction.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from equipoise import distributed
from equipoise.errors import InputError
from equipoise.registry import register
from equipoise.terms import Regulariser
from equipoise.turn import Role


@register(
    "term",
    "path-length",
    paper="arXiv:1912.04958",
    formula="weight (|J_z^T y| - a)^2, y noise, a the running mean",
    claim="evens out the generator's map: no directions that do nothing, none that do everything",
    treats="GC EG",
    cost="a forward and double backward of the generator",
)
class PathLength(Regulariser):
    """weight (l - a)^2 with l = |J^T y|, J the images' derivative by the latents, and a the running mean of l.

    y is normal, of variance 1 over the number of pixels, so that l depends little on resolution. As in the paper's code
    but for three things: J is that of the latents, as there is no mapping network; the mean is debiased, so that the
    generator is not first driven towards a = 0; and it is a constant to the gradient. Batch norm in the generator mixes
    the samples' derivatives.
    """

    role: Role = "G"
    dials = ("weight",)
    couples_samples = True  # the mean would move once for each part of a batch
    weight: Tensor
    length: Tensor
    mass: Tensor

    def __init__(
        self,
        weight: float = 2.0,  # 0 to 4
        decay: float = 0.99,  # of the mean length, per due move
        every: int = 1,  # moves of the generator: 4 in the paper
    ) -> None:
        super().__init__("weight", weight, every)
        if not 0 <= decay < 1:
            raise InputError(f"decay={decay} makes no average; give 0 (the batch at hand alone) to below 1")
        self.decay = decay
        self.register_buffer("length", torch.zeros([]))  # the running mean, before debiasing
        self.register_buffer("mass", torch.zeros([]))  # how much of it is filled

    def forward(self, latents: Tensor, generate: Callable[[Tensor], Tensor]) -> Tensor:
        latents = latents.detach().requires_grad_(True)
        images = generate(latents)
        y = torch.randn_like(images) / math.sqrt(math.prod(images.shape[2:]))
        (pulled,) = torch.autograd.grad((images * y).sum(), latents, create_graph=True)  # J^T y, [N, latent_dim]
        lengths = (pulled.square().sum(1) + EPSILON).sqrt()
        self.length.lerp_(distributed.mean(lengths.detach().mean()).to(self.length.dtype), 1 - self.decay)
        self.mass.lerp_(torch.ones_like(self.mass), 1 - self.decay)
        return self.weight * (lengths - self.length / self.mass).square()


EPSILON = 1e-12  # keeps the root differentiable where a latent changes nothing
