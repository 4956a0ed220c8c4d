"""CHAIN: normalise D's features the more, the more it overfits (Ni & Koniusz 2024, https://arxiv.org/abs/2404.00521).

In place of a batch norm's centring stands a penalty on the channels' means, and in place of its scaling a division by
the root mean square that only ever shrinks a channel, to the smallest of all. Both follow one probability p, which the
term `chain` turns. Written from the paper.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from equipoise import distributed

EPSILON = 1e-5  # in the root mean square
MOMENTUM = 0.1  # of the running mean square, per training pass


class Shared(nn.Module):
    """What the layers of one discriminator share: the probability, and the means of this turn's first two passes.

    The passes are D's on reals and on fakes. They count where D trains, gradients on; what was collected before D's
    weights last changed is let go, and so is all that was collected when D turns out to be frozen.
    """

    p: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("p", torch.zeros([]))  # 0 to 1: how probably a channel of a sample is normalised
        self.passes: list[list[Tensor]] = []  # per pass, per layer: the means [C], with graph
        self.collecting = False
        self.version = -1

    def begin(self, discriminator: nn.Module, inputs: Any) -> None:
        """A pass of the discriminator begins: its forward pre-hook."""
        trained = [p for p in discriminator.parameters() if p.is_leaf and p.requires_grad]
        version = sum(p._version for p in trained)  # grows with every change in place; known without a look at values
        if not trained or version != self.version:
            self.passes.clear()
        self.version = version
        training = bool(trained) and discriminator.training and torch.is_grad_enabled()
        self.collecting = training and len(self.passes) < 2
        if self.collecting:
            self.passes.append([])

    def collect(self, mean: Tensor) -> None:
        """Keep a layer's means, [C]."""
        if self.collecting:
            self.passes[-1].append(mean)

    def take(self) -> list[Tensor]:
        """The means of this turn's passes, each [C], which are then forgotten."""
        means = [mean for one in self.passes for mean in one]
        self.passes.clear()
        self.collecting = False
        return means

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "passes": []}  # tensors with a graph cannot be copied


class AdaptiveRMSNorm(nn.Module):
    """Multiply channel c by psi_min / psi_c with probability p for each sample: [N, C, ...] to the same shape.

    psi_c is the root mean square over the batch, on all ranks, and its places; psi_min is the smallest, a constant to
    the gradient. With p = 0 it is the identity. The published code keeps running statistics for D on reals, D on fakes
    and G's move. Here a pass in training is normalised by its own batch; one running mean square, over all of them,
    serves evaluation alone, which multiplies by the expected factor and so judges each sample by itself.
    """

    couples_samples = True
    square: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("square", torch.ones(channels))
        self.shared = Shared()  # `join` gives a discriminator's layers a common one

    def forward(self, x: Tensor) -> Tensor:
        return x * self._scale(x).to(x.dtype).reshape(-1, x.shape[1], *[1] * (x.dim() - 2))

    def _scale(self, x: Tensor) -> Tensor:
        """[N, C] in training, [C] in evaluation."""
        p = self.shared.p
        if not self.training:
            ratio = self._ratio(self.square)
            return torch.lerp(torch.ones_like(ratio), ratio, p.to(ratio.dtype))
        ratio = self._ratio(self._observe(x))
        chosen = torch.rand(x.shape[:2], device=x.device, dtype=p.dtype) < p
        return torch.where(chosen, ratio, torch.ones_like(ratio))

    def _observe(self, x: Tensor) -> Tensor:
        """The channels' mean squares, [C]; their means are kept for the term."""
        x = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
        places = [0, *range(2, x.dim())]
        self.shared.collect(x.mean(places))
        square = distributed.mean(x.square().mean(places))
        with torch.no_grad():
            self.square.lerp_(square.to(self.square.dtype), MOMENTUM)
        return square

    def _ratio(self, square: Tensor) -> Tensor:
        root = (square + EPSILON).sqrt()
        return root.detach().min() / root


def layers_of(network: nn.Module) -> list[AdaptiveRMSNorm]:
    """The network's layers of this kind, in its order."""
    return [layer for layer in network.modules() if isinstance(layer, AdaptiveRMSNorm)]


def join(discriminator: nn.Module) -> nn.Module:
    """Give the layers of a discriminator one probability, and let it tell them when a pass begins; returns it."""
    shared = Shared()
    for layer in layers_of(discriminator):
        layer.shared = shared
    discriminator.register_forward_pre_hook(shared.begin)
    return discriminator
