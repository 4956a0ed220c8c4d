"""Weight initialisation and parametrisation by name: every network takes every one of them."""

from __future__ import annotations

import inspect
from typing import Any

from torch import nn

from equipoise.errors import InputError
from equipoise.initialise import plain as plain
from equipoise.initialise.equalised import Scale as Scale
from equipoise.initialise.magnitude_preserving import UnitFilters as UnitFilters
from equipoise.initialise.magnitude_preserving import projections as projections
from equipoise.initialise.residual import fixup_factor as fixup_factor
from equipoise.initialise.weights import NORMS as NORMS
from equipoise.initialise.weights import fans as fans
from equipoise.initialise.weights import is_spectral as is_spectral
from equipoise.initialise.weights import leaky_gain as leaky_gain
from equipoise.registry import find, suggest


def initialise(module: nn.Module, name: str, **options: Any) -> None:
    """Re-initialise a network in place by name; several names joined by "+" are applied in that order.

    Draws from torch's default generator. Spectral norm keeps its place: the weight beneath it is drawn anew and its
    singular vectors follow. Raises InputError for an unknown name or option, or where the network lacks what it needs.
    """
    names = name.split("+")
    if options and len(names) > 1:
        raise InputError(
            f"options {sorted(options)} fit one initialisation and {name!r} names several; call each by itself."
        )
    for one in names:
        part = find("initialisation", one.strip()).part
        known = list(inspect.signature(part).parameters)[1:]
        for option in options:
            if option not in known:
                raise InputError(f"the initialisation {one!r} has no option {option!r}{suggest(option, known)}")
        part(module, **options)
