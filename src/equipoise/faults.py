"""After a skipped update: replay it on the host and name the first tensor that was not finite."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from equipoise.step import Step
from equipoise.turn import Role


def locate(step: Step, role: Role) -> str:
    """Say where the first non-finite value of the player's last skipped move arose, in words: player, term, layer.

    The move is replayed with the inputs that were kept, one thing at a time: weights, inputs, layers, terms, gradients.
    Weights may have moved since, if later updates went well; then the fault may not show again, and that is said.
    """
    images, latents, *labels = step.failed[role]
    found: list[str] = []
    hooks = [
        module.register_forward_hook(_watch(found, f"the output of {player}'s layer {name or type(module).__name__}"))
        for player, network in step.networks.items()
        for name, module in network.named_modules()
    ]
    before = [buffer.clone() for buffer in step._buffers]
    try:
        with torch.random.fork_rng([step.device] if step.device.type == "cuda" else []):
            return (
                _first_parameter(step.networks)
                or ("a real image of the batch" if not _finite(images) else "")
                or _replayed(step, role, images, labels[0] if labels else None, latents, found)
                or "a value that did not come up again when the step was replayed with the same batch"
            )
    finally:
        for hook in hooks:
            hook.remove()
        for buffer, old in zip(step._buffers, before, strict=True):
            buffer.copy_(old)
        step.optimisers[role].zero_grad()


def _replayed(step: Step, role: Role, images: Tensor, labels: Tensor | None, latents: Tensor, found: list[str]) -> str:
    due = frozenset(step.objective.of(role))
    for part in step.parts_of(images, labels, latents):
        where = _replayed_part(step, role, due, found, *part)
        if where:
            return where
    return ""


def _replayed_part(
    step: Step,
    role: Role,
    due: frozenset[str],
    found: list[str],
    images: Tensor,
    labels: Tensor | None,
    latents: Tensor,
) -> str:
    turn = step.turn(role, images, labels, latents, due)
    values = step.objective(turn, due)
    if found:
        return found[0]
    bad = next((name for name, value in values.items() if not _finite(value)), None)
    if bad is not None:
        return f"the value of {role}'s {'loss' if bad == 'loss' else f'term {bad}'}"
    for name, value in values.items():
        gradients = torch.autograd.grad(
            value.mean(), step.optimisers[role].parameters, retain_graph=True, allow_unused=True
        )
        for parameter, gradient in zip(step.optimisers[role].parameters, gradients, strict=True):
            if gradient is not None and not _finite(gradient):
                part = "loss" if name == "loss" else f"term {name}"
                return f"the gradient of {role}'s {part} with respect to {_name(step.networks[role], parameter)}"
    return ""


def _watch(found: list[str], what: str) -> Callable[[nn.Module, Any, Any], None]:
    def hook(module: nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor) and not _finite(output):
            found.append(what)

    return hook


def _first_parameter(networks: dict[Role, nn.Module]) -> str:
    for player, network in networks.items():
        for name, tensor in network.state_dict().items():
            if not _finite(tensor):
                return f"{player}'s weights {name}"
    return ""


def _finite(tensor: Tensor) -> bool:
    return not tensor.is_floating_point() or bool(torch.isfinite(tensor).all())


def _name(network: nn.Module, parameter: Tensor) -> str:
    return next((name for name, p in network.named_parameters() if p is parameter), "a parameter")
