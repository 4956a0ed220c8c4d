"""Optimiser settings as published, by name: `--set preset=biggan` sets both players' optimiser, betas, rates and moves.

They came with networks and batch sizes of their own; only the numbers of the optimiser are taken over.
"""

from __future__ import annotations

from typing import Any

from equipoise.registry import add


def preset(
    lr_G: float, lr_D: float, beta1: float, beta2: float, steps: float = 1.0, optimiser: str = "adam"
) -> dict[str, Any]:
    """The settings by path."""
    both = {"optimiser": optimiser, "beta1": beta1, "beta2": beta2}
    own = {"G.lr": lr_G, "D.lr": lr_D, "D.steps": steps}
    return {f"{role}.{name}": value for role in "GD" for name, value in both.items()} | own


for _name, _values, _paper, _claim in (
    ("dcgan", preset(2e-4, 2e-4, 0.5, 0.999), "arXiv:1511.06434", "momentum one half, equal rates"),
    ("wgan", preset(5e-5, 5e-5, 0.0, 0.99, 5, "rmsprop"), "arXiv:1701.07875", "no momentum, five discriminator moves"),
    ("wgan-gp", preset(2e-4, 2e-4, 0.0, 0.9, 5), "arXiv:1704.00028", "short memory, five discriminator moves"),
    ("sngan", preset(2e-4, 2e-4, 0.0, 0.9, 5), "arXiv:1802.05957", "as wgan-gp, with spectral normalisation"),
    ("ttur", preset(1e-4, 4e-4, 0.0, 0.9), "arXiv:1706.08500", "two rates instead of several moves (SAGAN's numbers)"),
    ("biggan", preset(5e-5, 2e-4, 0.0, 0.999, 2), "arXiv:1809.11096", "a fast discriminator that moves twice"),
    ("stylegan2", preset(2.5e-3, 2.5e-3, 0.0, 0.99), "arXiv:1912.04958", "for equalised learning rates"),
    (
        "r3gan",
        preset(2e-4, 2e-4, 0.0, 0.9),
        "arXiv:2501.05441",
        "equal rates, beta2 raised to 0.99 by a schedule",
    ),
):
    add("preset", _name, _values, paper=_paper, claim=_claim, formula=", ".join(f"{k}={v}" for k, v in _values.items()),
        treats="GO" if _values["D.steps"] > 1 or _values["D.lr"] != _values["G.lr"] else "", cost="none")  # fmt: skip
