"""Orthogonal regularisation (Brock et al. 2019, BigGAN, https://arxiv.org/abs/1809.11096): filters unlike one another.

Only the angles between a layer's filters are held, not their lengths, so that the layer may still scale.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvTransposeNd
from torch.nn.utils import parametrize

from equipoise.networks.conditioning import ConditionalBatchNorm
from equipoise.registry import register
from equipoise.terms import Regulariser
from equipoise.turn import Role


def filters(network: nn.Module) -> Iterator[Tensor]:
    """Every weight of two or more axes as a matrix `[filters, inputs * cells]`, as it is used, embeddings left out.

    A parametrised weight (equalised, spectral) is the one that the layer works with. Of transposed convolutions the
    second axis counts the filters. The vectors per class of a conditional batch norm are embeddings too.
    """
    for module in network.modules():
        if isinstance(module, (nn.Embedding, ConditionalBatchNorm, parametrize.ParametrizationList)):
            continue
        names = [name for name, _ in module.named_parameters(recurse=False)]
        names += list(module.parametrizations) if parametrize.is_parametrized(module) else []  # type: ignore[arg-type]
        for weight in (getattr(module, name) for name in names):
            if weight.dim() >= 2:
                swap = isinstance(module, _ConvTransposeNd) and module.groups == 1
                yield (weight.transpose(0, 1) if swap else weight).flatten(1)


def overlap(matrix: Tensor) -> Tensor:
    """The squared off-diagonal of W W^T, summed: twice the squared products of all pairs of rows. 0-d."""
    products = matrix @ matrix.T
    return (products - products.diagonal().diag()).square().sum()


@register(
    "term",
    "orthogonal",
    paper="arXiv:1809.11096",
    formula="weight sum over G's layers of |W Wᵀ (1 - I)|²",
    claim="keeps the generator's filters apart, so that latents drawn closer to 0 still give images (truncation)",
    treats="GC",
    cost="a matrix product per layer",
)
class Orthogonal(Regulariser):
    """weight sum_layers |W W^T (1 - I)|_F^2 over the generator's weights, off the diagonal only: one number, `[1]`.

    The value is the paper's. The authors' code adds 2 weight (W W^T (1 - I)) W to the gradient where the derivative has
    a 4: to follow the code rather than the paper, halve the weight (5e-5 for the published 1e-4).
    """

    role: Role = "G"
    dials = ("weight",)
    weight: Tensor

    def __init__(
        self,
        weight: float = 1e-4,  # 1e-6 to 1e-2, log scale
        every: int = 1,  # moves of the generator
    ) -> None:
        super().__init__("weight", weight, every)

    def forward(self, network: nn.Module) -> Tensor:
        found = [overlap(matrix) for matrix in filters(network)]
        return self.weight * torch.stack(found or [self.weight.new_zeros([])]).sum().reshape(1)
