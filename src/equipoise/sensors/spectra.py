"""The largest singular values of the layers: they grow before a run explodes (Brock et al. 2019, arXiv:1809.11096)."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from equipoise.sensors.probes import probe

ITERATIONS = 15  # of the power method; from below, within a few per cent


@probe(
    "spectrum_D",
    "spectrum_G",
    every=8,
    paper="arXiv:1809.11096",
    claim="doubling within a short time precedes an explosion",
    cost="15 products of each layer's matrix with a vector, twice",
)
def spectra(discriminator: nn.Module, generator: nn.Module) -> dict[str, Tensor | float]:
    """Largest singular value of any layer, a kernel counting as the matrix (out, in * cells); embeddings left out."""
    return {"spectrum_D": spectrum(discriminator), "spectrum_G": spectrum(generator)}


def spectrum(network: nn.Module) -> Tensor | float:
    """The largest singular value of any weight matrix as it is used, behind any parametrisation; 0 without one."""
    values = [largest(weight) for weight in matrices(network)]
    return torch.stack(values).amax() if values else 0.0


def matrices(network: nn.Module) -> Iterator[Tensor]:
    """The weights of a network's layers as matrices."""
    for module in network.modules():
        weight = getattr(module, "weight", None)
        if isinstance(weight, Tensor) and weight.dim() > 1 and not isinstance(module, nn.Embedding):
            yield weight.detach().flatten(1)


def largest(
    matrix: Tensor,  # [m, n]
) -> Tensor:
    """The largest singular value by the power method, from a fixed start so that it does not jump between looks."""
    matrix = matrix.float()
    start = torch.Generator().manual_seed(0)
    vector = torch.randn(matrix.shape[1], generator=start).to(matrix.device)
    for _ in range(ITERATIONS):
        vector = nn.functional.normalize(matrix.T @ (matrix @ vector), dim=0)
    value: Tensor = torch.linalg.vector_norm(matrix @ vector)
    return value
