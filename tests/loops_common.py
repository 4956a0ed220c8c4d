"""What the loops for the wiring check share: tiny players, batches, losses, and the list that a loop puts itself on."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LATENT, BATCH = 4, 16
MARK = "# <- here"  # a line that the finding must name

Wiring = Callable[..., Any]  # equipoise.wiring, or a stand-in that watches nothing
Loop = Callable[[Wiring], list[nn.Module]]  # runs, and returns the networks as they are at the end


@dataclass(frozen=True)
class Broken:
    """A loop with one fault and the fact that must be found broken."""

    run: Loop
    fact: str
    names: tuple[str, ...]  # each must occur in the finding: a player, a tensor, a call

    @property
    def lines(self) -> list[int]:
        """The numbers of the marked lines."""
        source, first = inspect.getsourcelines(self.run)
        return [first + offset for offset, line in enumerate(source) if MARK in line]


def without_fault(correct: dict[str, Loop]) -> Callable[[Loop], Loop]:
    """A decorator that keeps a loop by its name."""

    def add(loop: Loop) -> Loop:
        correct[loop.__name__] = loop
        return loop

    return add


def with_fault(broken: dict[str, Broken]) -> Callable[..., Callable[[Loop], Loop]]:
    """The same for a loop with one fault: the fact broken, and what the finding must name."""

    def fault(fact: str, *names: str) -> Callable[[Loop], Loop]:
        def add(loop: Loop) -> Loop:
            broken[loop.__name__] = Broken(loop, fact, names)
            return loop

        return add

    return fault


def both_ways(
    correct: dict[str, Loop], broken: dict[str, Broken]
) -> Callable[..., Callable[[Callable[[Wiring, bool], list[nn.Module]]], Loop]]:
    """A decorator that keeps a loop twice: as it is, and with its fault, which breaks a fact."""

    def pair(fact: str, *names: str) -> Callable[[Callable[[Wiring, bool], list[nn.Module]]], Loop]:
        def add(loop: Callable[[Wiring, bool], list[nn.Module]]) -> Loop:
            faults = {fault: functools.wraps(loop)(functools.partial(loop, fault=fault)) for fault in (False, True)}
            correct[loop.__name__] = faults[False]
            broken[loop.__name__] = Broken(faults[True], fact, names)
            return faults[False]

        return add

    return pair


def with_faults(
    correct: dict[str, Loop], broken: dict[str, Broken]
) -> Callable[..., Callable[[Callable[[Wiring, str], list[nn.Module]]], None]]:
    """A decorator that keeps a loop as it is, and with each of its faults: the fact broken, what the finding names."""

    def faults(**told: tuple[str, ...]) -> Callable[[Callable[[Wiring, str], list[nn.Module]]], None]:
        def add(loop: Callable[[Wiring, str], list[nn.Module]]) -> None:
            correct[loop.__name__] = functools.wraps(loop)(functools.partial(loop, fault=""))
            for fault, (fact, *names) in told.items():
                made = functools.wraps(loop)(functools.partial(loop, fault=fault))
                broken[f"{loop.__name__}_{fault}"] = Broken(made, fact, tuple(names))

        return add

    return faults


def mlp(features_in: int, features_out: int, *between: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(features_in, 8), *between, nn.LeakyReLU(0.2), nn.Linear(8, features_out))


def players(seed: int = 0) -> tuple[nn.Sequential, nn.Sequential]:
    torch.manual_seed(seed)
    return mlp(LATENT, 2), mlp(2, 1)


def adam(network: nn.Module) -> torch.optim.Adam:
    return torch.optim.Adam(network.parameters(), lr=1e-2, betas=(0.5, 0.9))


def reals(count: int = 2) -> Iterator[Tensor]:
    """Batches [N, 2] around (2, 2)."""
    source = torch.Generator().manual_seed(1)
    for _ in range(count):
        yield 2 + 0.1 * torch.randn(BATCH, 2, generator=source)


def noise() -> Tensor:
    return torch.randn(BATCH, LATENT)


def d_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    return F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean()


def g_loss(fake_logits: Tensor) -> Tensor:
    return F.softplus(-fake_logits).mean()
