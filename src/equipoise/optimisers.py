"""Adam for a game: every setting a 0-d tensor on the device, one flat gradient, and a step that can refuse itself.

It differs from torch.optim.Adam where a game that is steered, captured and watched needs it: learning rate and betas
may change at any step without a host read; the gradient lies in one flat buffer, so that several processes exchange it
in one communication and its norm is one reduction; a non-finite gradient leaves parameters and moments as they were.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from equipoise import distributed
from equipoise.errors import InputError


class Adam:
    """Adam (Kingma & Ba 2015, arXiv:1412.6980) over one player's parameters.

    `lr`, `beta1`, `beta2`, `eps` and `clip` are 0-d tensors: fill them to change them. Moments are debiased by their
    accumulated weight, which equals Adam's 1 - beta^t while beta is constant and stays right when beta moves.
    """

    DIALS = ("lr", "beta1", "beta2", "clip")

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],  # those that require a gradient are trained
        lr: float = 2e-4,
        beta1: float = 0.0,  # momentum adds rotation in games: 0 to 0.5
        beta2: float = 0.99,
        eps: float = 1e-8,
        clip: float = 0.0,  # largest gradient norm; 0 leaves it unclipped
    ) -> None:
        self.parameters: list[Tensor] = [p for p in dict.fromkeys(parameters) if p.requires_grad]
        self._check(lr, beta1, beta2, eps, clip)
        device = self.parameters[0].device
        self.lr, self.beta1, self.beta2, self.eps, self.clip = (
            torch.tensor(float(x), device=device) for x in (lr, beta1, beta2, eps, clip)
        )
        size = sum(p.numel() for p in self.parameters)
        dtype = torch.float64 if self.parameters[0].dtype == torch.float64 else torch.float32
        self.gradient, self.update, self.first, self.second = (
            torch.zeros(size, device=device, dtype=dtype) for _ in range(4)
        )
        self.mass = torch.zeros(2, device=device, dtype=dtype)  # accumulated weight of `first` and of `second`
        self.norm = torch.zeros([], device=device, dtype=dtype)  # of the last gradient, before clipping
        self.update_norm = torch.zeros([], device=device, dtype=dtype)  # of the last change of the parameters
        self._gradients = self._views(self.gradient)
        self._updates = self._views(self.update)

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
        gradient = torch.where(finite, self.gradient, 0.0).mul_(scale)
        weight1, weight2 = (1 - self.beta1) * ok, (1 - self.beta2) * ok
        self.first.lerp_(gradient, weight1.to(gradient.dtype))
        self.second.lerp_(gradient.square_(), weight2.to(gradient.dtype))
        self.mass.lerp_(torch.ones_like(self.mass), torch.stack([weight1, weight2]).to(self.mass.dtype))
        mass1, mass2 = self.mass.clamp(min=torch.finfo(torch.float32).tiny)
        torch.div(self.first, torch.sqrt(self.second / mass2).add_(self.eps), out=self.update)
        self.update.mul_(-self.lr * ok / mass1)
        torch.linalg.vector_norm(self.update, out=self.update_norm)
        torch._foreach_add_(self.parameters, self._updates)
        return ok

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

    def state_dict(self) -> dict[str, Tensor]:
        """The moments; the settings belong to whoever turns them."""
        return {"first": self.first, "second": self.second, "mass": self.mass}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore what `state_dict` gave."""
        for name, value in self.state_dict().items():
            value.copy_(state[name])
