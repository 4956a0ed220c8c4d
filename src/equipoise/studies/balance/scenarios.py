"""The scenarios of the proving ground: ways to unbalance a healthy run, and controls that are not to be harmed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import nn

from equipoise.errors import InputError
from equipoise.initialise import initialise
from equipoise.registry import suggest

KINDS = ("repairable", "disturbed", "control", "further", "mixed", "report only")
MIDWAY = 0.4  # of a run, where it is disturbed
Pair = tuple[nn.Module, nn.Module]


@dataclass(frozen=True)
class Scenario:
    """One way to start wrong, or to be disturbed on the way."""

    name: str
    kind: str
    times: Mapping[str, float] = field(default_factory=dict)  # factors on settings
    set: Mapping[str, Any] = field(default_factory=dict)  # settings replaced
    data: str = "whole"  # or tiny, tail, copies: see `tasks`
    blow: Callable[[Pair], None] | None = None  # what happens to the pair midway

    def applied(self, cfg: Mapping[str, Any]) -> dict[str, Any]:
        """The settings, made wrong."""
        changed = dict(cfg) | dict(self.set)
        for name, factor in self.times.items():
            value = changed[name]
            changed[name] = [max(1, int(w * factor)) for w in value] if isinstance(value, list) else value * factor
        if self.set.get("decay") == "flip":
            changed["decay"] = not cfg["decay"]
        return changed

    def disturb(self, cfg: Mapping[str, Any]) -> Callable[[int, Pair], None] | None:
        """The blow at its moment: after so many rounds of D's moves and one of G."""
        blow = self.blow
        if blow is None:
            return None
        moment = round(MIDWAY * cfg["updates"] / max(1.0, cfg["n_dis"]))
        return lambda rounds, pair: blow(pair) if rounds == moment else None


def forget(pair: Pair) -> None:
    """D's weights are drawn anew."""
    initialise(pair[1], "kaiming")


def forget_all(pair: Pair) -> None:
    """The weights of both are drawn anew."""
    for network in pair:
        initialise(network, "kaiming")


@torch.no_grad()
def shake(pair: Pair, which: int = 0) -> None:
    """To each of G's weights, or with which=1 of D's, comes noise of half its tensor's root mean square."""
    for parameter in pair[which].parameters():
        parameter.add_(0.5 * parameter.square().mean().sqrt() * torch.randn_like(parameter))


@torch.no_grad()
def scale(pair: Pair, which: int, factor: float) -> None:
    """All weights of G (which=0) or D (1) are multiplied."""
    for parameter in pair[which].parameters():
        parameter.mul_(factor)


SCENARIOS = {
    one.name: one
    for one in (
        Scenario("D's rate x10", "repairable", {"lr_d": 10}),
        Scenario("D's rate /10", "repairable", {"lr_d": 0.1}),
        Scenario("G's rate x10", "repairable", {"lr_g": 10}),
        Scenario("G's rate /10", "repairable", {"lr_g": 0.1}),
        Scenario("both rates x10", "repairable", {"lr_d": 10, "lr_g": 10}),
        Scenario("both rates /10", "repairable", {"lr_d": 0.1, "lr_g": 0.1}),
        Scenario("ten D steps", "repairable", set={"n_dis": 10}),
        Scenario("initialisation x4", "repairable", {"init_std_g": 4, "init_std_d": 4}),
        Scenario("initialisation /5", "repairable", {"init_std_g": 0.2, "init_std_d": 0.2}),
        Scenario("beta1 0.9", "repairable", set={"beta1": 0.9}),
        Scenario("D four times as wide", "repairable", {"d_widths": 4}),
        Scenario("tiny data", "repairable", data="tiny"),
        Scenario("long tail", "repairable", data="tail"),
        Scenario("copies", "repairable", data="copies"),
        Scenario("D forgets", "disturbed", blow=forget),
        Scenario("G is shaken", "disturbed", blow=shake),
        Scenario("healthy", "control"),
        Scenario("decay flipped", "control", set={"decay": "flip"}),
        Scenario("minimax", "control", set={"loss": "minimax"}),
        Scenario("D far too small", "report only", {"d_widths": 0.05}),
        Scenario("batch 8", "report only", set={"batch": 8}),
        Scenario("R1 of 10", "further", set={"r1": 10.0}),
        Scenario("R1 of 0", "further", set={"r1": 0.0}),
        Scenario("average .9999", "further", set={"ema": 0.9999}),
        Scenario("G four times as wide", "further", {"g_widths": 4}),
        Scenario("D a third as wide", "further", {"d_widths": 0.34}),
        Scenario("hinge", "further", set={"loss": "hinge"}),
        Scenario("noise", "further", set={"aug": 0.8}),
        Scenario("beta2 0.9", "further", set={"beta2": 0.9}),
        Scenario("two G steps", "further", set={"n_dis": 0.5}),
        Scenario("five G steps", "further", set={"n_dis": 0.2}),
        Scenario("D's rate x10 with beta1 0.9", "mixed", {"lr_d": 10}, {"beta1": 0.9}),
        Scenario("D's rate x10 and five D steps", "mixed", {"lr_d": 10}, {"n_dis": 5}),
        Scenario("D's rate x10 and relativistic", "mixed", {"lr_d": 10}, {"loss": "rpgan"}),
        Scenario("D's rate /10 and G's x3", "mixed", {"lr_d": 0.1, "lr_g": 3}),
        Scenario("G's rate x5 and five D steps", "mixed", {"lr_g": 5}, {"n_dis": 5}),
        Scenario("G's rate x10 and hinge", "mixed", {"lr_g": 10}, {"loss": "hinge"}),
        Scenario("G's weights x4 and D's /5", "mixed", {"init_std_g": 4, "init_std_d": 0.2}),
        Scenario("G's weights /5 and D's x4", "mixed", {"init_std_g": 0.2, "init_std_d": 4}),
        Scenario("both rates /10 and noise", "mixed", {"lr_d": 0.1, "lr_g": 0.1}, {"aug": 0.3}),
        Scenario("both rates x50", "mixed", {"lr_d": 50, "lr_g": 50}),
        Scenario("both rates /100", "mixed", {"lr_d": 0.01, "lr_g": 0.01}),
        Scenario("three D steps and D's rate /3", "mixed", {"lr_d": 1 / 3}, {"n_dis": 3}),
        Scenario("G a third and D twice as wide", "mixed", {"g_widths": 0.34, "d_widths": 2}),
        Scenario("beta1 0.95", "mixed", set={"beta1": 0.95}),
        Scenario("beta1 0 and beta2 0.999", "mixed", set={"beta1": 0.0, "beta2": 0.999}),
        Scenario("R2 of 5", "mixed", set={"r2": 5.0}),
        Scenario("hinge and R1 of 2", "mixed", set={"loss": "hinge", "r1": 2.0}),
        Scenario("batch 512", "mixed", set={"batch": 512}),
        Scenario("128 latents", "mixed", set={"zdim": 128}),
        Scenario("D is shaken", "mixed", blow=partial(shake, which=1)),
        Scenario("D's weights grow threefold", "mixed", blow=partial(scale, which=1, factor=3.0)),
        Scenario("G's weights shrink to .3", "mixed", blow=partial(scale, which=0, factor=0.3)),
        Scenario("both forget", "mixed", blow=forget_all),
    )
}


def named(names: list[str]) -> list[str]:
    """The scenarios of these names, in which a kind stands for all of its own; an unknown name is an InputError."""
    for given in names:
        if given not in SCENARIOS and given not in KINDS:
            near = suggest(given, [*KINDS, *SCENARIOS])
            raise InputError(f"there is no scenario and no kind of them called {given!r}{near}")
    found = ([name for name, one in SCENARIOS.items() if one.kind == given] or [given] for given in names)
    return list(dict.fromkeys(name for some in found for name in some))
