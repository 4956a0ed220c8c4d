"""Facts about optimisers: which of them holds what."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from equipoise.wires.fact import Fact, named
from equipoise.wires.players import Side, several
from equipoise.wires.record import Record


def optimisers(record: Record) -> Iterator[Fact]:
    """Every trainable tensor is in exactly one optimiser, and in one of its own side."""
    trained = [weight for weight in record.weights if weight.trained or weight.tensor.requires_grad]
    broken = list(_late(record))
    late = {id(tensor) for side in record.sides for tensor in _added(record, side).values()}
    for side in record.sides:
        lost = [weight for weight in trained if side in weight.sides and not weight.optimisers]
        strangers = [tensor for tensor in side.holds() if id(tensor) not in record.by_id and id(tensor) not in late]
        if lost:
            text = f"no optimiser holds {named(lost)}"
            wrong = {one for w in trained for one in w.optimisers if one is side and side not in w.sides}
            text += f"; {side.called} holds tensors of another player instead" if wrong else ""
            text += (f"; {side.called} holds {len(strangers)} tensors of none of the networks: was {side.name} copied, "
                     "replaced or moved after the optimiser was made?") if strangers else ""  # fmt: skip
            broken.append(Fact("optimisers", side.name, "broken", text))
        elif strangers:
            text = f"{side.called} also holds {len(strangers)} tensors of networks not given; a list is watched whole"
            yield Fact("optimisers", side.name, "note", text)
    twice = [weight for weight in trained if len(weight.optimisers) > 1]
    if twice:
        holders = " and ".join(dict.fromkeys(side.called for weight in twice for side in weight.optimisers))
        broken.append(Fact("optimisers", "", "broken", f"{holders} both hold {named(twice)}"))
    for side in record.sides:
        astray = [w for w in trained if len(w.optimisers) == 1 and w.optimisers[0] is side and side not in w.sides]
        if astray:
            text = f"{side.called} moves {named(astray)}, which {side.name} does not have"
            broken.append(Fact("optimisers", side.name, "broken", text))
    for fact in _unlisted(record):
        broken += [fact] if fact.state == "broken" else []
        yield from [fact] if fact.state == "note" else []
    yield from broken
    if not broken:
        frozen = len(record.weights) - len(trained)
        yield Fact("optimisers", "", "holds", f"each of {len(trained)} trainable tensors is in one optimiser, its own"
                                              + (f"; {frozen} tensors are frozen" if frozen else ""))  # fmt: skip


def _unlisted(record: Record) -> Iterator[Fact]:
    """Layers that a network keeps where PyTorch does not look for them; it has no others, or they may be meant so."""
    held = {id(tensor) for side in record.sides for tensor in side.holds()}
    for side in record.sides:
        for name, network in side.networks.items():
            late = set(map(id, network.parameters()))
            lost = [key for key, tensor in record.strangers.get(name, {}).items() if key not in held | late]
            if lost:
                text = f"{name} computes with {len(lost)} trainable tensors that are not among its parameters, "
                text += "and no optimiser holds them: are its layers in a plain list? Use torch.nn.ModuleList"
                yield Fact("optimisers", side.name, "note" if late else "broken", text)


def _late(record: Record) -> Iterator[Fact]:
    """Layers that a network got while it was watched, and no optimiser did."""
    held = {id(tensor) for side in record.sides for tensor in side.holds()}
    for side in record.sides:
        new = _added(record, side).items()
        lost = [name for name, tensor in new if tensor.requires_grad and id(tensor) not in held]
        if lost:
            text = f"no optimiser holds {several(lost)}, new since the check began: {side.called}.add_param_group"
            yield Fact("optimisers", side.name, "broken", text)


def _added(record: Record, side: Side) -> dict[str, Tensor]:
    """A side's parameters that were not there when the check began."""
    named = [(f"{name}.{key}", tensor) for name, network in side.networks.items()
             for key, tensor in network.named_parameters()]  # fmt: skip
    return {name: tensor for name, tensor in named if id(tensor) not in record.by_id}
