"""Initialisations of residual branches: zero-residual (arXiv:1706.02677) and Fixup (arXiv:1901.09321)."""

from __future__ import annotations

from functools import partial

from torch import nn

from equipoise.errors import InputError
from equipoise.initialise.magnitude_preserving import UnitFilters
from equipoise.initialise.weights import SLOPE, assign, fill, is_spectral, leaky_gain, parametrisations, scaled_normal
from equipoise.registry import register


@register(
    "initialisation", "zero-residual", paper="arXiv:1706.02677", claim="every residual block starts as its shortcut"
)
def zero_residual(module: nn.Module) -> None:
    """Zero the last layer of each residual branch and leave the rest: an addition, as in "orthogonal+zero-residual"."""
    for branch in residual_branches(module, "zero-residual"):
        last = branch[-1]
        if is_spectral(last):
            raise InputError(
                "zero-residual and fixup set the last layer of each residual branch to 0 and spectral norm divides by"
                " its largest singular value, which is 0 then; take norm_D='none' or another initialisation."
            )
        if any(isinstance(step, UnitFilters) for step in parametrisations(last)):
            raise InputError(
                "zero-residual sets the last layer of each residual branch to 0, and magnitude-preserving gives every"
                " filter a fixed size; take one of them."
            )
        assign(last, lambda layer, weight: nn.init.zeros_(weight))


@register("initialisation", "fixup", paper="arXiv:1901.09321", claim="trains deep residual nets without normalisation")
def fixup(module: nn.Module, slope: float = SLOPE) -> None:
    """The last layer of each of L residual branches 0, its others kaiming times L^(-1/(2m - 2)), m layers per branch.

    Layers outside the branches are linear here, so they get gain 1 (Zhang, Dauphin & Ma 2019).
    """
    fill(module, partial(scaled_normal, gain=1.0))
    branches = residual_branches(module, "fixup")
    for branch in branches:
        gain = leaky_gain(slope) * fixup_factor(len(branches), len(branch))
        for layer in branch[:-1]:
            assign(layer, partial(scaled_normal, gain=gain))
    zero_residual(module)


def fixup_factor(blocks: int, layers: int) -> float:
    """L^(-1/(2m - 2)) for L residual blocks of m layers; 1 where the zeroed layer is the only one."""
    return float(blocks ** (-1 / (2 * layers - 2))) if layers > 1 else 1.0


def residual_branches(module: nn.Module, wanted_by: str) -> list[list[nn.Module]]:
    """The weighted layers of each residual branch, first to last; a block shows them as its `residual_layers`."""
    shown = (getattr(block, "residual_layers", None) for block in module.modules())
    found = [list(branch) for branch in shown if branch is not None]
    if not found:
        raise InputError(
            f"the initialisation {wanted_by!r} is about residual branches and {type(module).__name__} has none; choose"
            " another one, or give your blocks an attribute `residual_layers` that lists the layers of their branch."
        )
    return found
