"""Who plays: the networks and optimisers given, by name, and every weight with all the names it goes by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from equipoise.errors import InputError
from equipoise.wires.where import Place

if TYPE_CHECKING:
    from equipoise.wires.events import Differentiation

Networks = nn.Module | Sequence[nn.Module] | Mapping[str, nn.Module]
Role = Literal["D", "G"]


@dataclass(eq=False)
class Side:
    """Optimisers with the networks they are there to move: one discriminator, or several that step together."""

    name: str  # "G", "D", or the name of one of several discriminators
    role: Role
    networks: dict[str, nn.Module]
    optimisers: list[Any]  # torch.optim's, or anything with `step` and `param_groups` or `parameters`; one, or several
    called: str  # "opt_D"

    def holds(self) -> list[Tensor]:
        """The tensors its optimisers move."""
        return [tensor for optimiser in self.optimisers for tensor in held_by(optimiser)]


@dataclass(eq=False)
class Weight:
    """A trainable tensor, what it is called in each network that has it, and whose gradients lie in its `.grad`."""

    tensor: Tensor
    names: list[str] = field(default_factory=list)  # "D.0.weight"
    sides: list[Side] = field(default_factory=list)  # those with a network that has it
    optimisers: list[Side] = field(default_factory=list)  # those whose optimiser moves it
    ledger: tuple[Differentiation, ...] = ()  # summed up in `.grad`
    cleared: Place | None = None  # where `.grad` was last emptied
    trained: bool = True  # it required a gradient when the context began, or got one since

    @property
    def gradient(self) -> Tensor | None:
        """The values of its gradient, of a sparse one those that are there."""
        gradient = self.tensor.grad
        return gradient.coalesce().values() if gradient is not None and gradient.is_sparse else gradient

    @property
    def name(self) -> str:
        return " = ".join(self.names)


def held_by(optimiser: Any) -> list[Tensor]:
    """The tensors an optimiser moves."""
    groups = getattr(optimiser, "param_groups", None)
    return list(optimiser.parameters) if groups is None else [tensor for group in groups for tensor in group["params"]]


def sides_of(generators: Networks, discriminators: Networks, opt_g: Any, opt_d: Any) -> list[Side]:
    """The sides, in the order given, generators first."""
    return [*_sides("G", generators, opt_g), *_sides("D", discriminators, opt_d)]


def _sides(role: Role, networks: Networks, optimisers: Any) -> Iterator[Side]:
    named = _named(role, networks)
    together = isinstance(optimisers, (list, tuple)) and len(optimisers) != len(named)  # which is whose, they show
    if together or not isinstance(optimisers, (list, tuple, dict)):
        name = next(iter(named)) if together and len(named) == 1 else role
        yield Side(name, role, named, _all_unwrapped(optimisers, f"opt_{name}"), f"opt_{name}")
        return
    each = optimisers if isinstance(optimisers, dict) else dict(zip(named, optimisers, strict=True))
    if set(each) != set(named):
        raise InputError(
            f"wiring: networks for {role} are {', '.join(named)} and optimisers {', '.join(map(str, each))}; "
            "give one optimiser for all of them, a list for all, or one (or a list) for each by the same names"
        )
    for name, network in named.items():
        yield Side(name, role, {name: network}, _all_unwrapped(each[name], f"opt_{name}"), f"opt_{name}")


def _named(role: Role, networks: Networks) -> dict[str, nn.Module]:
    """Networks by name."""
    if isinstance(networks, nn.Module) and not isinstance(networks, (nn.ModuleList, nn.ModuleDict)):
        return {role: networks}
    if isinstance(networks, (Mapping, nn.ModuleDict)):
        named = {str(name): network for name, network in networks.items()}
    elif isinstance(networks, (Sequence, nn.ModuleList)):
        named = {f"{role}{number}": network for number, network in enumerate(networks, 1)}
    else:
        named = {role: networks}
    for name, network in named.items():
        if not isinstance(network, nn.Module):
            raise InputError(
                f"wiring: {name} is {type(network).__name__}, no torch.nn.Module; "
                "the order is wiring(G, D, opt_G, opt_D)"
            )
    return named


def _all_unwrapped(optimisers: Any, called: str) -> list[Any]:
    """One optimiser, or the several that move one network together."""
    each = optimisers if isinstance(optimisers, (list, tuple)) else [optimisers]
    return [_unwrapped(optimiser, called) for optimiser in each]


def _unwrapped(optimiser: Any, called: str) -> Any:
    """The optimiser inside a wrapper, such as Lightning's and Accelerate's, which keep it as `optimizer`."""
    inner = getattr(optimiser, "optimizer", optimiser)
    if not callable(getattr(inner, "step", None)) or not (hasattr(inner, "param_groups") or _lists(inner)):
        raise InputError(
            f"wiring: {called} is {type(inner).__name__}, no optimiser; the order is wiring(G, D, opt_G, opt_D)"
        )
    return inner


def _lists(optimiser: Any) -> bool:
    return isinstance(getattr(optimiser, "parameters", None), (list, tuple))


def weights_of(sides: list[Side]) -> list[Weight]:
    """Every parameter of every network once, with its names and its optimisers."""
    weights: dict[int, Weight] = {}
    for side in sides:
        for name, network in side.networks.items():
            for key, tensor in network.named_parameters():
                if is_lazy(tensor):
                    raise InputError(
                        f"wiring: {name}.{key} has no shape yet, so it cannot be watched; "
                        f"call {name} once with a batch before"
                    )
                weight = weights.setdefault(id(tensor), Weight(tensor, trained=tensor.requires_grad))
                weight.names.append(f"{name}.{key}")
                if side not in weight.sides:
                    weight.sides.append(side)
    for side in sides:
        for optimiser in side.optimisers:
            sharers = [one for one in sides if any(optimiser is own for own in one.optimisers)]
            for weight in (weights[id(held)] for held in held_by(optimiser) if id(held) in weights):
                holder = next((one for one in sharers if one in weight.sides), side)
                weight.optimisers += [holder] if holder not in weight.optimisers else []
    return list(weights.values())


def several(names: list[str], most: int = 3) -> str:
    """A few names, and how many more there are."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
