"""Which parts of a recipe cannot stand together, and which may but should not without a thought.

Parts say so themselves when they register: `incompatible` and `cautions` name other parts, the kinds of them, or
settings of the networks (`network=mlp`, `norm_D=spectral`, `init=equalised`, `pack`, `lazy`), each with the reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from equipoise.errors import InputError
from equipoise.paths import PARTS
from equipoise.recipe import Recipe
from equipoise.registry import Entry, find


def chosen(recipe: Recipe) -> dict[str, str]:
    """Everything the recipe is made of by name, with its kind."""
    found = {recipe.loss: "loss"}
    for kind, field in PARTS.items():
        found |= dict.fromkeys(getattr(recipe, field), kind)
    return found


def settings(recipe: Recipe) -> dict[str, str]:
    """Settings that parts may name, with the words for them."""
    net = recipe.network
    found = {f"network={net.name}": f"network.name={net.name}"}
    found |= {f"{key}={value}": f"network.{key}={value}" for key, value in net.options.items()}
    if net.init:
        found |= {f"init={one.strip()}": f"network.init={one.strip()}" for one in net.init.split("+")}
    if net.pack > 1:
        found["pack"] = f"network.pack={net.pack}"
    for name, own in recipe.terms.items():
        if own.get("every", 1) > 1:
            found["lazy"] = f"{name}.every={own['every']}"
    return found


def refuse(recipe: Recipe) -> None:
    """Raise an InputError for the first pair that cannot stand together, or for what lacks its partner."""
    for name, other, reason in _said(recipe, "incompatible"):
        raise InputError(f"{name} cannot stand beside {other}: {reason}")
    for entry in _entries(recipe):
        wants = entry.facts.get("wants", ())
        if wants and not (chosen(recipe).keys() | settings(recipe).keys()) & set(wants):
            words = " or ".join(f"network.{one}" if "=" in one else one for one in wants)
            raise InputError(f"the {entry.kind} {entry.name} is only half of a technique; switch on {words} beside it")


def cautions(recipe: Recipe) -> list[str]:
    """What to know before training with this combination, a sentence each."""
    return [f"{name} beside {other}: {sentence}." for name, other, sentence in _said(recipe, "cautions")]


def _entries(recipe: Recipe) -> list[Entry]:
    return [find(kind, name) for name, kind in chosen(recipe).items()]


def _said(recipe: Recipe, fact: str) -> Iterator[tuple[str, str, str]]:
    """What the parts say of each other: name, the other's name, the reason."""
    present, others = chosen(recipe), settings(recipe)
    for entry in _entries(recipe):
        known: Mapping[str, str] = entry.facts.get(fact, {})
        for other, kind in present.items():
            reason = known.get(other) or known.get(kind)
            if reason and other != entry.name:
                yield entry.name, other, reason
        for setting, words in others.items():
            if setting in known:
                yield entry.name, words, known[setting]
