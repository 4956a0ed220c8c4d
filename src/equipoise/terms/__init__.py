"""What a player minimises: a loss and any number of further terms, each a callable on the fields of a turn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from equipoise.errors import InputError
from equipoise.turn import Role, Turn, parameters

Term = Callable[..., Tensor]
"""A differentiable part of a player's objective: its parameters name fields of the turn, its value is elementwise or
[N].

Where a term is an `nn.Module` it may say more of itself by class attributes, read through `fact`: `role` ("D" or "G",
whose objective it joins), `every` (it joins every so many moves, weighted by as much), `dials` (the names of its 0-d
buffers that a schedule or a controller may turn), `differentiates` (it takes D's gradient at its input),
`couples_samples` (its value for one sample depends on the others).
"""


class Loss(NamedTuple):
    """The two players' sides of an adversarial loss: functions of logits (higher: more real), both to be minimised.

    They name what they read, `real_logits` and `fake_logits`, and return values elementwise or per sample.
    """

    d: Term  # minimised by the discriminator
    g: Term  # minimised by the generator
    couples_samples: bool = False  # whether the value for one sample depends on the others
    zero: float | None = 0.0  # the logit of an undecided D; None: only differences count. Unless 0, signs say nothing


DEFAULTS: dict[str, Any] = {"role": "D", "every": 1, "dials": (), "differentiates": False, "couples_samples": False}


def fact(term: Term, name: str) -> Any:
    """What a term says of itself, or the default for a plain function."""
    return getattr(term, name, DEFAULTS[name])


class Regulariser(nn.Module):
    """A term with one strength, a 0-d buffer that may be turned, and an interval."""

    role: Role = "D"

    def __init__(
        self,
        name: str,  # of the strength
        strength: float,  # 0 or more
        every: int,  # moves of its player
    ) -> None:
        super().__init__()
        if not strength >= 0 or every < 1:
            raise InputError(
                f"{name}={strength}, every={every}: {name} must be 0 or more and every a whole number from 1"
            )
        self.register_buffer(name, torch.tensor(float(strength)))
        self.every = int(every)


class Objective(nn.Module):
    """A loss and named terms. Calling it on a turn gives each part's value per sample; the caller reduces and adds."""

    def __init__(
        self,
        loss: Loss,
        terms: Mapping[str, nn.Module] | None = None,  # by the name under which each is logged, set and restored
        weightings: Mapping[str, nn.Module] | None = None,  # by name: weights per sample of the loss, see weightings.py
    ) -> None:
        super().__init__()
        self.loss = loss
        self.terms = nn.ModuleDict(dict(terms or {}))
        self.weightings = nn.ModuleDict(dict(weightings or {}))

    def parts(self) -> dict[str, nn.Module]:
        """Terms and weightings by name."""
        return {**dict(self.terms.items()), **dict(self.weightings.items())}

    def forward(self, turn: Turn, due: frozenset[str]) -> dict[str, Tensor]:
        """Values per sample `[N]` of the loss and of the terms named in `due`, lazy ones weighted by their interval."""
        values = {"loss": turn.call(self.loss.d if turn.role == "D" else self.loss.g)}
        for weighting in self.weightings.values():
            if fact(weighting, "role") == turn.role:
                values["loss"] = values["loss"] * turn.call(weighting)
        for name in sorted(due):
            values[name] = turn.call(self.terms[name]) * int(fact(self.terms[name], "every"))
        return values

    def of(self, role: Role) -> dict[str, nn.Module]:
        """The terms that join this player's objective."""
        return {name: term for name, term in self.terms.items() if fact(term, "role") == role}

    def due(self, role: Role, move: int) -> frozenset[str]:
        """The terms that join the player's move number `move`, counted from 0."""
        return frozenset(name for name, term in self.of(role).items() if move % int(fact(term, "every")) == 0)

    def reads(self, role: Role, field: str) -> bool:
        """Whether any part of the player's objective asks for `field`; what is made of logits counts as them."""
        parts: list[Term] = [self.loss.d if role == "D" else self.loss.g, *self.of(role).values()]
        names = {name for part in parts for name in parameters(part)}
        derived = ("_score", "_gradient", "_features")
        asked = {f"{n.rpartition('_')[0]}_logits" if n.endswith(derived) else n for n in names}
        return field in asked

    def compares(self, role: Role) -> bool:
        """Whether the player's objective looks at real images: then they are drawn afresh and judged."""
        return any(self.reads(role, field) for field in ("real", "real_logits"))

    def reads_features(self, role: Role) -> bool:
        """Whether any term of the player's asks for the discriminator's features."""
        return any(name.endswith("_features") for term in self.of(role).values() for name in parameters(term))

    def adversarial(self, name: str) -> bool:
        """Whether a value belongs to the game's loss, as the loss itself and the smoothing of its labels do."""
        return name == "loss" or bool(getattr(self.terms[name], "adversarial", False))

    def differentiates(self, due: frozenset[str]) -> bool:
        """Whether a due term takes the discriminator's gradient at its input: then D judges in full precision."""
        return any(fact(self.terms[name], "differentiates") for name in due)

    def tracks(self, due: frozenset[str], images: str) -> bool:
        """Whether a due term reads the gradient at these images, "real" or "fake"."""
        return any(f"{images}_gradient" in parameters(self.terms[name]) for name in due)

    def refuse(self, coupled_layers: list[str]) -> None:
        """Raise an InputError if a penalty takes gradients per sample through layers that mix samples."""
        penalties = [name for name, term in self.of("D").items() if fact(term, "differentiates")]
        batch_norms = [layer for layer in coupled_layers if "Norm" in layer]
        if penalties and batch_norms:
            raise InputError(
                f"{' and '.join(penalties)} take{'s' * (len(penalties) == 1)} the discriminator's gradient for "
                f"each image by itself, but batch normalisation in the discriminator ({batch_norms[0]}) makes each "
                "judgement depend on the whole batch; "
                "set network.norm_D to none, layer, instance or spectral, or drop the penalty"
            )
