"""Facts about an averaged generator: it is a network of its own, and follows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from equipoise.errors import InputError
from equipoise.wires.fact import Fact
from equipoise.wires.players import Side, several

ASTRAY = 0.1  # the cosine below which an average does not follow; one that does has nearly 1
FEWEST = 100  # numbers for which chance hardly makes a cosine of that size


class Average:
    """An averaged network beside the live one, and how both were when the context began."""

    def __init__(self, average: Any, generators: list[Side]) -> None:
        network = module_of(average)
        self.side, live = _averaged(network, generators)
        pairs = list(zip(network.parameters(), live.named_parameters(), strict=True))
        self.same = network is live
        self.pairs = {name: (averaged, own) for averaged, (name, own) in pairs}
        self.before = {name: averaged.detach().clone() for name, (averaged, _) in self.pairs.items()}
        self.live_before = {name: own.detach().clone() for name, (_, own) in self.pairs.items()}
        self.buffers = {
            name: (averaged, own, averaged.detach().clone(), own.detach().clone())
            for (name, own), averaged in zip(live.named_buffers(), network.buffers(), strict=False)
            if own.is_floating_point() and own.shape == averaged.shape
        }

    def facts(self, optimised: set[int], changed: set[int]) -> Iterator[Fact]:
        """What can be said when the context has ended.

        `optimised` are the tensors that an optimiser moves, `changed` those that changed where none stepped, by id.
        """
        found = self._broken(optimised) or self._overwritten(changed)
        if found is not None:
            yield found
            return
        shares = list(self._shares().values())
        if not shares:
            yield Fact("ema", "", "untold", f"{self.side.name} did not move, so nothing could follow it")
        elif min(shares) > 0.5:
            yield Fact("ema", "", "note", f"the average went {min(shares):.0%} of the way at once: it hardly averages")
        else:
            yield Fact(
                "ema", "", "holds", f"the average followed {self.side.name} in all {len(shares)} tensors that moved"
            )
        stuck = [n for n, (a, b, a0, b0) in self.buffers.items() if bool((b != b0).any()) and not bool((a != a0).any())]
        if stuck:
            text = f"buffers that change in {self.side.name} stand still in the average: {several(stuck)}"
            yield Fact("ema", "", "note", f"{text}; measure them anew before it is used")

    def _broken(self, optimised: set[int]) -> Fact | None:
        shared = [name for name, (a, b) in self.pairs.items() if storage(a) == storage(b)]
        if self.same or shared:
            what = "is the generator itself" if self.same else f"shares memory with it: {several(shared)}"
            return Fact("ema", "", "broken", f"the averaged network {what}; make it with copy.deepcopy")
        moved = [name for name, (averaged, _) in self.pairs.items() if id(averaged) in optimised]
        if moved:
            return Fact("ema", "", "broken", f"an optimiser holds tensors of the average: {several(moved)}")
        shares = self._shares()
        still = [name for name, share in shares.items() if share == 0]
        away = [name for name, share in shares.items() if share < 0] if self._against(list(shares)) else []
        if still:
            never = ": it was never updated (if that is done every so many steps only, watch that long)"
            text = f"{self.side.name} moved and the average did not in {several(still)}"
            return Fact("ema", "", "broken", text + (never if len(still) == len(shares) else ""))
        if away:
            return Fact("ema", "", "broken", f"the average moved away from {self.side.name} in {several(away)}")
        if (cosine := self._aside(list(shares))) < ASTRAY:
            text = f"the average moves, but not towards {self.side.name} (a cosine of {cosine:.2f}): is it updated "
            text += "from itself or from another network, or by less than its numbers can tell?"
            return Fact("ema", "", "broken", text)
        return None

    def _shares(self) -> dict[str, float]:
        """How much of the way the average went in each tensor, but for ways that its numbers are too coarse for."""
        shares = {name: share for name in self.pairs if (share := self._share(name)) is not None}
        usual = max(shares.values(), default=0.0)
        return {name: share for name, share in shares.items() if share or not self._swallowed(name, usual)}

    def _swallowed(self, name: str, share: float) -> bool:
        """Whether rounding takes away a tenth of the share that other tensors went in all, as of small steps."""
        average, way = self.before[name], self.pairs[name][1].detach() - self.before[name]
        return share > 0 and bool((average + 0.1 * share * way == average).all())

    def _against(self, names: list[str]) -> bool:
        """Whether the average went away on the whole; a single number that swings may be behind its own average."""
        ways = [(self.pairs[n][0].detach() - self.before[n], self.pairs[n][1].detach() - self.before[n]) for n in names]
        return sum(float((went * way).sum()) for went, way in ways) < 0

    def _aside(self, names: list[str]) -> float:
        """The cosine between the average's move and the way to the live tensors; 1 where there are too few numbers."""
        pairs = {name: (self.pairs[name][0].detach(), self.pairs[name][1].detach()) for name in names}
        if sum(own.numel() for _, own in pairs.values()) < FEWEST:
            return 1.0
        went, way = (torch.cat([(pair[end] - self.before[name]).double().flatten() for name, pair in pairs.items()])
                     for end in (0, 1))  # fmt: skip
        return float(torch.cosine_similarity(went, way, dim=0)) if bool(went.any()) else 1.0

    def _overwritten(self, changed: set[int]) -> Fact | None:
        """The average was copied into the live network, instead of the other way round."""
        same = [n for n, (a, b) in self.pairs.items() if id(b) in changed and bool((a == b).all())]
        if not same:
            return None
        text = f"{self.side.name} was overwritten with its average, and not by a step: {several(same)}"
        return Fact("ema", "", "broken", text)

    def _share(self, name: str) -> float | None:
        """How much of the way from where it was to the live tensor the average went; None where the live one rests."""
        averaged, own = (tensor.detach() for tensor in self.pairs[name])
        way = own - self.before[name]
        if not bool((own != self.live_before[name]).any()) or not bool(way.any()):
            return None
        went = averaged - self.before[name]
        return float((went * way).sum() / way.square().sum()) if bool(went.any()) else 0.0


def _averaged(average: nn.Module, generators: list[Side]) -> tuple[Side, nn.Module]:
    """The network, or all networks of the generators together, whose parameters an average has."""
    named = [(side, name, network) for side in generators for name, network in side.networks.items()]
    whole = nn.ModuleDict({name.replace(".", "_"): network for _, name, network in named})
    shapes = [tensor.shape for tensor in average.parameters()]
    for side, live in [*((side, network) for side, _, network in named), (generators[0], whole)]:
        if [tensor.shape for tensor in live.parameters()] == shapes:
            return side, live
    raise InputError(
        "wiring: the network given as `ema` does not have the generator's parameters, in the same order; "
        "give the averaged copy of the generator, or of all of them as a list or by name"
    )


def storage(tensor: Tensor) -> int:
    """The address of the memory a tensor lies in."""
    return tensor.untyped_storage().data_ptr()


def module_of(average: Any) -> nn.Module:
    """The network inside an average: itself, or what `average`, `module` or `ema_model` holds; or several."""
    if isinstance(average, (list, tuple, dict)):
        return nn.ModuleList(map(module_of, average.values() if isinstance(average, dict) else average))
    for inner in ("average", "ema_model", "module"):
        average = (
            getattr(average, inner, average) if not isinstance(getattr(average, inner, None), type(None)) else average
        )
    if not isinstance(average, nn.Module):
        raise InputError(f"wiring: ema is {type(average).__name__}; give the averaged network, a torch.nn.Module")
    return average
