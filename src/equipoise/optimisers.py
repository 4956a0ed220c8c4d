"""Optimisers for a game by name: Adam, RMSProp, plain steps, and those that reckon with their last change."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import torch
from torch import Tensor, nn

from equipoise.optimiser import Optimiser as Optimiser
from equipoise.registry import find, register


@register("optimiser", paper="arXiv:1412.6980", claim="the usual one; beta1 0 to 0.5: momentum adds rotation",
          formula="w -= lr m / (sqrt(v) + eps), m, v debiased means of g, g^2", treats="", cost="none")  # fmt: skip
class Adam(Optimiser):
    """Adam (Kingma & Ba 2015, arXiv:1412.6980) over one player's parameters."""

    @staticmethod
    def moments() -> tuple[str, ...]:
        return ("first", "second")

    def scale(self) -> Tensor:
        return self._inverse_root()

    def direct(self, gradient: Tensor, ok: Tensor) -> None:
        mass1 = self.remember("first", gradient, self.beta1, ok, 0)
        mass2 = self.remember("second", gradient.square_(), self.beta2, ok, 1)
        torch.div(self.state["first"], torch.sqrt(self.state["second"] / mass2).add_(self.eps), out=self.update)
        self.update.div_(mass1)


@register("optimiser", paper="arXiv:1701.07875", claim="no momentum at all: what weight clipping was published with",
          formula="w -= lr g / (sqrt(v) + eps)", treats="", cost="none")  # fmt: skip
class RMSProp(Optimiser):
    """RMSProp (Tieleman & Hinton 2012) with the decay `beta2`: Adam without the first moment, debiased as it is."""

    DIALS: ClassVar[tuple[str, ...]] = ("lr", "beta2", "clip")

    @staticmethod
    def moments() -> tuple[str, ...]:
        return ("second",)

    def scale(self) -> Tensor:
        return self._inverse_root()

    def direct(self, gradient: Tensor, ok: Tensor) -> None:
        mass = self.remember("second", gradient.square(), self.beta2, ok, 1)
        torch.div(gradient, torch.sqrt(self.state["second"] / mass).add_(self.eps), out=self.update)


@register("optimiser", paper="arXiv:1807.04740", claim="plain gradient steps, for games small enough to follow by hand",
          formula="w -= lr m, m = beta1 m + g", treats="", cost="none")  # fmt: skip
class SGD(Optimiser):
    """Gradient steps with heavy-ball momentum `beta1`; a negative one damps rotation (Gidel et al. 2019)."""

    DIALS: ClassVar[tuple[str, ...]] = ("lr", "beta1", "clip")

    @staticmethod
    def moments() -> tuple[str, ...]:
        return ("first",)

    def scale(self) -> Tensor:
        return torch.ones_like(self.update)

    def direct(self, gradient: Tensor, ok: Tensor) -> None:
        moved = torch.addcmul(gradient, self.state["first"], self.beta1.to(gradient.dtype))
        self.state["first"].copy_(torch.where(ok > 0, moved, self.state["first"]))
        self.update.copy_(moved)


@register("optimiser", "optimistic-adam", paper="arXiv:1711.00141", claim="Adam that reckons with its last change",
          formula="w -= lr (2 d_t - d_(t-1)), d Adam's direction", treats="OSC", cost="a stored step")  # fmt: skip
def optimistic_adam(parameters: Iterable[nn.Parameter], **settings: float) -> Optimiser:
    """Adam with optimism 1 (Daskalakis et al. 2018); both directions are debiased, the first step is plain."""
    return Adam(parameters, **({"optimism": 1.0} | settings))


@register("optimiser", "optimistic-sgd", paper="arXiv:1711.00141", claim="plain steps that reckon with the last change",
          formula="w -= lr (2 g_t - g_(t-1))", treats="OSC", cost="a stored step")  # fmt: skip
def optimistic_sgd(parameters: Iterable[nn.Parameter], **settings: float) -> Optimiser:
    """Optimistic mirror descent (Daskalakis et al. 2018)."""
    return SGD(parameters, **({"optimism": 1.0} | settings))


def make(name: str, parameters: Iterable[nn.Parameter], **settings: float) -> Optimiser:
    """The registered optimiser of this name."""
    made: Optimiser = find("optimiser", name).part(parameters, **settings)
    return made
