"""What training changes of a step, as tensors by name: to keep and put back in memory, or to write to a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from equipoise.step import Step


def capture(step: Step) -> dict[str, Tensor]:
    """Copies, on the device, of everything that training changes there: the networks and what `save` keeps of parts."""
    return {name: tensor.detach().clone() for name, tensor in _whole(step).items()}


@torch.no_grad()
def put_back(step: Step, state: Mapping[str, Tensor]) -> None:
    """Bring a step back to what `capture` gave, the reader's open window aside."""
    for name, tensor in _whole(step).items():
        if not name.startswith("meter."):
            tensor.copy_(state[name])


def _whole(step: Step) -> dict[str, Tensor]:
    """Every tensor of a step that training changes: of the networks, and of the parts."""
    networks = networks_of(step).items()
    found = {
        f"network.{file}.{key}": value for file, network in networks for key, value in network.state_dict().items()
    }
    return found | tensors_of(step)


def networks_of(step: Step) -> dict[str, nn.Module]:
    """The three networks of a checkpoint by file name."""
    return {"G": step.networks["G"], "D": step.networks["D"], "G_ema": step.ema.average}


def tensors_of(step: Step) -> dict[str, Tensor]:
    """Everything on the device that changes during a run and is no network: read to save, copied into to restore."""
    found = {f"part.{name}": tensor for name, tensor in step.memory().items()}
    for role, optimiser in step.optimisers.items():
        found |= {f"optimiser.{role}.{name}": tensor for name, tensor in optimiser.state_dict().items()}
    found |= {f"rule.{name}": tensor for name, tensor in step.rule.memory().items()}
    if step.powers is not None:
        found |= {f"powers.{name}": tensor for name, tensor in step.powers.state_dict().items()}
    found |= {f"ema.{name}": tensor for name, tensor in step.ema.state_dict().items()}
    found |= {f"meter.{name}": tensor for name, tensor in step.meter.state_dict().items()}
    found |= {f"looks.{name}": tensor for name, tensor in step.kept.items()}
    if step.trace is not None:
        found |= {f"trace.{name}": tensor for name, tensor in step.trace.state_dict().items()}
    return found


def parted(memory: Any, place: str = "") -> tuple[Any, dict[str, Tensor]]:
    """Plain data and the tensors in it by their place, where `{"tensor": place}` stands in their stead."""
    if isinstance(memory, Tensor):
        return {"tensor": place}, {place: memory}
    if not isinstance(memory, (dict, list, tuple)):
        return memory, {}
    rows = memory.items() if isinstance(memory, dict) else enumerate(memory)
    found = {key: parted(value, f"{place}/{key}") for key, value in rows}
    tensors = {name: tensor for _, inner in found.values() for name, tensor in inner.items()}
    plain = {key: value for key, (value, _) in found.items()}
    return (plain if isinstance(memory, dict) else list(plain.values())), tensors


def joined(plain: Any, tensors: Mapping[str, Tensor]) -> Any:
    """What `parted` took apart; tuples come back as lists."""
    if isinstance(plain, dict):
        if plain.keys() == {"tensor"} and plain["tensor"] in tensors:
            return tensors[plain["tensor"]]
        return {key: joined(value, tensors) for key, value in plain.items()}
    return [joined(value, tensors) for value in plain] if isinstance(plain, list) else plain
