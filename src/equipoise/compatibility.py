"""Which parts of a recipe cannot stand together, and which may but should not without a thought.

Parts say so themselves when they register: `incompatible` and `cautions` name other parts, the kinds of them, or
settings of the networks (`network=mlp`, `norm_D=spectral`, `init=equalised`, `pack`, `lazy`), each with the reason.
`wants` names what a part cannot do without, in the same words; of several in a bracket one is enough.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from equipoise import networks
from equipoise.errors import InputError
from equipoise.paths import PARTS
from equipoise.recipe import Recipe
from equipoise.registry import Entry, entries, find


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
    options = networks.options_of(net.name) | net.options
    found |= {f"{key}={value}": f"network.{key}={value}" for key, value in options.items()}
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
    for entry, wanted in _lacking(recipe):
        words = " or ".join("=".join(_assignment(one)) if "=" in one else one for one in wanted)
        raise InputError(f"the {entry.kind} {entry.name} is only half of a technique; switch on {words} beside it")


def refuse_controller(name: str, recipe: Recipe) -> None:
    """Raise an InputError for a controller whose reading the recipe's loss does not give, or whose dial is stuck."""
    facts, loss = find("controller", name).facts, find("loss", recipe.loss)
    reads, turns = facts.get("reads"), facts.get("turns", "")
    if reads == "sign_real" and loss.part.zero != 0:
        raise InputError(
            f"{name} follows the sign of D(real), and under {recipe.loss} an undecided D does not say 0, so that "
            "the sign means nothing; take --controller ada-heldout, which holds for any loss, or loss=non-saturating"
        )
    if reads == "loss_D" and not loss.facts.get("ideal", (0.0, None))[0]:
        raise InputError(
            f"{name} follows D's loss over its ideal value, and {recipe.loss} has none but 0, so that it would never "
            "move; take --controller rates-by-wins, or loss=non-saturating"
        )
    if turns.endswith(".lr") and recipe.values().get(turns) == 0:
        raise InputError(f"{name} moves {turns} by factors, and {turns}=0 stays 0 under any; give a rate above 0")


def completed(recipe: Recipe) -> Recipe:
    """The recipe with what its parts want beside them; where one of several would do, the first."""
    for _ in range(10):  # a partner may want another, and two parts may want what excludes the other
        missing = _lacking(recipe)
        if not missing:
            break
        first = missing[0][1][0]
        kinds = [kind for kind in ("loss", *PARTS) if first in {entry.name for entry in entries(kind)}]
        path, value = _assignment(first)
        recipe = recipe.with_values(switched_on(kinds[0], first) if kinds else {path: value})
    return recipe


def _lacking(recipe: Recipe) -> list[tuple[Entry, tuple[str, ...]]]:
    """What parts want and do not have: each time the names of which one would do."""
    there = chosen(recipe).keys() | settings(recipe).keys()
    wants = [(entry, one) for entry in _entries(recipe) for one in entry.facts.get("wants", ())]
    several = [(entry, (one,) if isinstance(one, str) else tuple(one)) for entry, one in wants]
    return [(entry, names) for entry, names in several if not there & set(names)]


def _assignment(setting: str) -> tuple[str, str]:
    """The path and the value of a setting of the networks: `network=mlp` is network.name=mlp."""
    name, _, value = setting.partition("=")
    return f"network.{'name' if name == 'network' else name}", value


def switched_on(kind: str, name: str) -> dict[str, str | bool]:
    """What turns a part of this kind on, by path; nothing for kinds that a recipe does not name."""
    paths = {"loss": ["loss"], "optimiser": ["G.optimiser", "D.optimiser"], "network": ["network.name"]}
    paths |= {"initialisation": ["network.init"], "schedule": ["schedules.lr"], "preset": ["preset"]}
    return {name: True} if kind in PARTS else dict.fromkeys(paths.get(kind, ()), name)


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
