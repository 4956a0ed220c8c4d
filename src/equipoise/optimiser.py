"""What an optimiser for a game is: settings as 0-d tensors, one flat gradient, a step that can refuse itself.

It differs from torch.optim's where a game that is steered, captured and watched needs it: learning rate and betas may
change at any step without a host read; the gradient lies in one flat buffer, so that several processes exchange it in
one communication and its norm is one reduction; a non-finite gradient leaves parameters and moments as they were.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import ClassVar

import torch
from torch import Tensor, nn

from equipoise import distributed
from equipoise.errors import InputError


class Optimiser(ABC):
    """A step along one player's gradient; a kind of optimiser says in which direction.

    `lr`, `beta1`, `beta2`, `eps` and `clip` are 0-d tensors: fill them to change them; `factor`, 1 unless a rate turns
    it, multiplies `lr`. With `optimism` o the step is along (1 + o) d_t - o d_(t-1), where d is the direction that
    would have been taken without: o = 1 is optimistic mirror descent (Daskalakis et al. 2018, arXiv:1711.00141), which
    damps the rotation of a game. The first step is a plain one.
    """

    DIALS: ClassVar[tuple[str, ...]] = ("lr", "beta1", "beta2", "clip")

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],  # those that require a gradient are trained
        lr: float = 2e-4,
        beta1: float = 0.0,  # momentum adds rotation in games: 0 to 0.5
        beta2: float = 0.99,
        eps: float = 1e-8,
        clip: float = 0.0,  # largest gradient norm; 0 leaves it unclipped
        optimism: float = 0.0,  # 0: none, and no memory for it
    ) -> None:
        self.parameters: list[Tensor] = [p for p in dict.fromkeys(parameters) if p.requires_grad]
        self._check(lr, beta1, beta2, eps, clip)
        device = self.parameters[0].device
        self.lr, self.beta1, self.beta2, self.eps, self.clip, self.factor = (
            torch.tensor(float(x), device=device) for x in (lr, beta1, beta2, eps, clip, 1.0)
        )
        size = sum(p.numel() for p in self.parameters)
        dtype = torch.float64 if self.parameters[0].dtype == torch.float64 else torch.float32
        self.gradient, self.update = (torch.zeros(size, device=device, dtype=dtype) for _ in range(2))
        self.norm = torch.zeros([], device=device, dtype=dtype)  # of the last gradient, before clipping
        self.update_norm = torch.zeros([], device=device, dtype=dtype)  # of the last change of the parameters
        self.paces: Tensor | None = None  # what each value's step is multiplied with, where any is
        self.optimism = float(optimism)
        self.state = {name: torch.zeros(size, device=device, dtype=dtype) for name in self.moments()}
        self.state["mass"] = torch.zeros(2, device=device, dtype=dtype)  # accumulated weight of `first` and `second`
        if optimism:
            self.state |= {"previous": torch.zeros_like(self.update), "begun": torch.zeros([], device=device)}
        self._gradients = self._views(self.gradient)
        self._updates = self._views(self.update)

    @staticmethod
    @abstractmethod
    def moments() -> tuple[str, ...]:
        """The names of what is remembered of each parameter's gradients."""

    @abstractmethod
    def direct(self, gradient: Tensor, ok: Tensor) -> None:
        """Remember the flat gradient and write the direction to go against into `update`; with ok 0 nothing stays."""

    @abstractmethod
    def scale(self) -> Tensor:
        """What a gradient is multiplied with, value by value, before the learning rate: a flat tensor."""

    def preconditioner(self) -> list[Tensor]:
        """`scale` in the parameters' shapes."""
        return self._views(self.scale() if self.paces is None else self.scale() * self.paces)

    def _check(self, lr: float, beta1: float, beta2: float, eps: float, clip: float) -> None:
        if not self.parameters:
            raise InputError("the network has no trainable parameter, so there is nothing to optimise")
        if not (lr >= 0 and clip >= 0) or not -1 < beta1 < 1 or not 0 <= beta2 < 1 or not eps > 0:
            raise InputError(
                f"lr={lr}, beta1={beta1}, beta2={beta2}, eps={eps}, clip={clip}: lr and clip must be 0 or more, beta1 "
                "between -1 and 1, beta2 from 0 to below 1, eps above 0"
            )

    def _views(self, flat: Tensor) -> list[Tensor]:
        """Windows of a flat tensor with the parameters' shapes, and their memory order where it is dense."""
        parts = torch.split(flat, [p.numel() for p in self.parameters])
        dense = [math.prod(p.shape) == 1 + sum((n - 1) * s for n, s in zip(p.shape, p.stride(), strict=True))
                 for p in self.parameters]  # fmt: skip
        return [part.as_strided(p.shape, p.stride(), part.storage_offset()) if ok else part.view(p.shape)
                for part, p, ok in zip(parts, self.parameters, dense, strict=True)]  # fmt: skip

    def pace(self, parameter: Tensor, factor: float) -> None:
        """Multiply one parameter's steps from now on: with Adam, the steps of the parameter over `factor`."""
        if self.paces is None:
            self.paces = torch.ones_like(self.update)
        for own, view in zip(self.parameters, self._views(self.paces), strict=True):
            if own is parameter:
                view.fill_(factor)

    def zero_grad(self) -> None:
        """Forget the parameters' gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self, loss: Tensor | None = None) -> Tensor:
        """Move along the parameters' `.grad` (a missing one counts as zero), forget them, and return whether it did.

        The answer is a 0-d tensor, 1.0 or 0.0: with 0.0, some gradient or the given loss was not finite and nothing has
        changed.
        """
        self._gather()
        distributed.average_(self.gradient)
        torch.linalg.vector_norm(self.gradient, out=self.norm)
        finite = torch.isfinite(self.norm if loss is None else self.norm + distributed.mean(loss.detach()))
        ok = finite.to(self.norm.dtype)
        clipped = (self.clip > 0) & finite
        scale = torch.where(clipped, (self.clip / self.norm.clamp(min=1e-12)).clamp(max=1.0), 1.0)
        self.direct(torch.where(finite, self.gradient, 0.0).mul_(scale), ok)
        if self.optimism:
            self._anticipate(ok)
        self.update.mul_(-self.lr * self.factor * ok)
        if self.paces is not None:
            self.update.mul_(self.paces)
        torch.linalg.vector_norm(self.update, out=self.update_norm)
        torch._foreach_add_(self.parameters, self._updates)
        return ok

    def _anticipate(self, ok: Tensor) -> None:
        """Turn the direction d_t into (1 + o) d_t - o d_(t-1); before the first step d_(t-1) is d_t."""
        previous, begun = self.state["previous"], self.state["begun"]
        now = self.update.clone()
        self.update.add_(torch.where(begun > 0, now - previous, 0.0), alpha=self.optimism)
        previous.copy_(torch.where(ok > 0, now, previous))
        begun.copy_(torch.maximum(begun, ok.to(begun.dtype)))

    def _gather(self) -> None:
        """Copy the parameters' gradients into the flat buffer and let go of them."""
        missing = [view for view, p in zip(self._gradients, self.parameters, strict=True) if p.grad is None]
        present = [
            (view, p.grad) for view, p in zip(self._gradients, self.parameters, strict=True) if p.grad is not None
        ]
        if missing:
            torch._foreach_zero_(missing)
        if present:
            torch._foreach_copy_([view for view, _ in present], [gradient for _, gradient in present])
        self.zero_grad()

    def remember(self, name: str, value: Tensor, beta: Tensor, ok: Tensor, slot: int) -> Tensor:
        """Move a moment towards a value and return the weight it has gathered, which debiases it.

        The weight equals Adam's 1 - beta^t while beta is constant and stays right when beta moves.
        """
        weight = (1 - beta) * ok
        self.state[name].lerp_(value, weight.to(value.dtype))
        mass = self.state["mass"][slot]
        mass.lerp_(torch.ones_like(mass), weight.to(mass.dtype))
        return mass.clamp(min=torch.finfo(torch.float32).tiny)

    def _inverse_root(self) -> Tensor:
        """1 / (sqrt(v) + eps); before the first step 1, since nothing is known yet."""
        mass = self.state["mass"][1]
        root = torch.sqrt(self.state["second"] / mass.clamp(min=torch.finfo(torch.float32).tiny)).add_(self.eps)
        return torch.where(mass > 0, root.reciprocal(), 1.0)

    def state_dict(self) -> dict[str, Tensor]:
        """What is remembered; the settings belong to whoever turns them."""
        return self.state

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore what `state_dict` gave."""
        for name, value in self.state_dict().items():
            value.copy_(state[name])
