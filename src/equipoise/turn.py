"""A turn: the named fields of one update of one player, and how a technique asks for them.

A technique is a callable that names what it reads by its parameters, `def margin(real_logits, fake_logits)`; it stays a
plain function that anyone can call with two tensors. Losses, penalties and sensors all read the same record.
"""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from equipoise.errors import InputError

Role = Literal["D", "G"]
ROLES: tuple[Role, Role] = ("D", "G")
Logits = Tensor | Sequence[Tensor]


class Turn:
    """The fields of one update: images `real`, `fake`, their `labels`, `latents`, and what D said of them.

    `real_logits` and `fake_logits` are what the discriminator returned: a tensor `[N, ...]`, or a list with one tensor
    per head. A function that asks for logits runs once per head, and heads weigh the same. `real_score` and
    `fake_score` are the mean per sample, `[N]`, formed on demand, and so are `real_gradient` and `fake_gradient`, the
    scores' gradients with respect to the images, like these in shape and differentiable in turn. `judge(images) -> [N]`
    and `generate(latents)` are there for techniques that must call a network again; both know the labels, and `judge`
    takes several copies of the batch in one pass. `pull` is the gradient of G's loss at the generated images, per
    sample, there once the backward pass has been by. Any further field a caller adds is readable by its name.
    """

    def __init__(
        self,
        player: str,  # whose update it is: "D", "G", or the name of one of several discriminators
        role: Role,
        **fields: Any,
    ) -> None:
        self.player = player
        self.role: Role = role
        self._fields = fields

    def __contains__(self, name: str) -> bool:
        base, _, kind = name.rpartition("_")
        return name in self._fields or (kind in ("score", "gradient") and f"{base}_logits" in self._fields)

    def __getitem__(self, name: str) -> Any:
        """The field `name`; scores and gradients are formed when first asked for, and kept."""
        if name not in self._fields:
            if name not in self:
                raise KeyError(f"the turn of {self.player} has no field {name!r}; it has {', '.join(self._fields)}")
            if name.endswith("_score"):
                self._fields[name] = score(self._fields[f"{name.removesuffix('_score')}_logits"])
            else:
                self._fields |= self._gradients(name.removesuffix("_gradient"))
        return self._fields[name]

    def add(self, **fields: Any) -> None:
        """Add fields that come to be while the update goes on."""
        self._fields |= fields

    def _gradients(self, wanted: str) -> dict[str, Tensor]:
        """The gradients of all scores whose images track one, in a single backward pass."""
        if not self[wanted].requires_grad:
            raise InputError(
                f"the {wanted} images carry no gradient, so there is nothing to penalise: "
                f"call {wanted}.requires_grad_() before the discriminator judges them"
            )
        tracked = [n for n in ("real", "fake") if f"{n}_logits" in self._fields and self[n].requires_grad]
        total = torch.stack([self[f"{n}_score"].sum() for n in tracked]).sum()
        gradients = input_gradient(total, *(self[n] for n in tracked))
        return {f"{n}_gradient": gradient for n, gradient in zip(tracked, gradients, strict=True)}

    def call(self, technique: Callable[..., Tensor]) -> Tensor:
        """Call a technique on the fields its parameters name and return one value per sample, `[N]`.

        A parameter with a default may be missing from the turn. A technique that returns a single number gives `[1]`.
        """
        names = [name for name, required in parameters(technique).items() if required or name in self]
        heads = max((len(heads_of(self[name])) for name in names if name.endswith("_logits")), default=1)
        values = [per_sample(technique(**{name: self._read(name, head) for name in names})) for head in range(heads)]
        return values[0] if heads == 1 else torch.stack(values).mean(0)

    def _read(self, name: str, head: int) -> Any:
        return heads_of(self[name])[head] if name.endswith("_logits") else self[name]


def heads_of(logits: Logits) -> Sequence[Tensor]:
    """The heads of a discriminator's answer: a list as it is, a tensor as a list of one."""
    return [logits] if isinstance(logits, Tensor) else logits


def per_sample(value: Tensor) -> Tensor:
    """Average everything but the first axis: `[N, ...] -> [N]`, and a single number becomes `[1]`."""
    return value.reshape(1) if value.dim() == 0 else value.flatten(1).mean(1) if value.dim() > 1 else value


def score(logits: Logits) -> Tensor:
    """The mean logit per sample over positions and heads, `[N]`."""
    means = [per_sample(head) for head in heads_of(logits)]
    return means[0] if len(means) == 1 else torch.stack(means).mean(0)


def input_gradient(score: Tensor, *images: Tensor) -> tuple[Tensor, ...]:
    """d score_i / d image_i for every sample of each tensor of images, in at least float32, with a graph behind it.

    The scores are added up, never averaged: a sample's gradient must not shrink with the batch.
    """
    gradients = torch.autograd.grad(score.sum(), images, create_graph=True)
    return tuple(g.float() if g.dtype in (torch.float16, torch.bfloat16) else g for g in gradients)


_parameters: weakref.WeakKeyDictionary[Any, dict[str, bool]] = weakref.WeakKeyDictionary()


def parameters(technique: Callable[..., Any]) -> dict[str, bool]:
    """The names a technique reads, each with whether it is required; looked up once per technique."""
    known = _parameters.get(technique)
    if known is None:
        function = technique.forward if isinstance(technique, nn.Module) else technique
        known = {
            name: parameter.default is parameter.empty
            for name, parameter in inspect.signature(function).parameters.items()
            if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        }
        _parameters[technique] = known
    return known
