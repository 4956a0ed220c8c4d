"""What a loop shows the monitor, checked and brought into the shape that sensors read."""

from __future__ import annotations

import difflib
from collections.abc import Container, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from equipoise.errors import InputError
from equipoise.sensors.probes import SETS, all_probes
from equipoise.turn import Role, parameters, per_sample

ARGUMENTS = ("real_logits", "fake_logits", "heldout_logits", "loss", "output", "adversarial", "reconstruction")
FEATURES = 8  # channels of a map beside a head of one, from which it is taken for D's features


def detached(value: Any) -> Any:
    """A tensor without its graph, or a list of such; anything else as it is."""
    if isinstance(value, (list, tuple)):
        return [detached(item) for item in value]
    return value.detach() if isinstance(value, Tensor) else value


def heads_shown(value: Any) -> list[Tensor]:
    """The heads of logits, each a tensor `[N, ...]` of real numbers in at least float32, without their graph.

    Under autocast logits come in half precision, in which a loss formed of them may overflow that the loop's does not.
    """
    heads = list(value) if isinstance(value, (list, tuple)) else [value]
    if not heads or any(not isinstance(head, Tensor) or head.dim() == 0 for head in heads):
        raise InputError(
            "logits must be a tensor [N, ...] or a flat list with one such tensor per head: hand over what D says of "
            "each sample, before any mean, and without its features"
        )
    odd = next((head.dtype for head in heads if not head.is_floating_point()), None)
    if odd is not None:
        raise InputError(f"logits of {odd} came: hand over what D returned, before it was compared with 0 or rounded")
    channels = [head.shape[1] if head.dim() == 4 else 1 for head in heads]
    if min(channels) == 1 and max(channels) >= FEATURES:
        raise InputError(
            f"logits of 1 and of {max(channels)} channels came as heads; the latter are features: hand over the logits "
            "alone, as in `logits, features = D(real)`"
        )
    if any(len(head) == 0 for head in heads):
        raise InputError("logits of an empty batch came, which say nothing: leave out the observe of such a step")
    return [head.detach().float() if head.element_size() < 4 else head.detach() for head in heads]


def paired(real: Any, fake: Any, heldout: Any = None) -> dict[str, Any]:
    """All logits, the first two cut to the smaller batch where their sizes differ: some sensors compare pairs."""
    shown = {"real": real, "fake": fake, "heldout": heldout}
    known = {name: heads_shown(value) for name, value in shown.items() if value is not None}
    shapes = [[list(head.shape[1:]) for head in heads] for name, heads in known.items() if name != "heldout"]
    if len({len(heads) for heads in known.values()}) > 1 or any(one != shapes[0] for one in shapes):
        each = ", ".join(f"{name} {' and '.join(str(list(h.shape)) for h in heads)}" for name, heads in known.items())
        raise InputError(
            f"logits differ in more than the batch ({each}): show D samples of one size, and hand over the same heads"
        )
    devices = {str(head.device) for heads in known.values() for head in heads}
    if len(devices) > 1:
        raise InputError(f"logits are on {' and '.join(sorted(devices))}: hand over all heads on one device")
    size = min((len(head) for name, heads in known.items() if name != "heldout" for head in heads), default=0)
    cut = {name: heads if name == "heldout" else [head[:size] for head in heads] for name, heads in known.items()}
    return {f"{name}_logits": heads if len(heads) > 1 else heads[0] for name, heads in cut.items()}


def role_of(player: str) -> Role:
    """What a player is, by its name: G, G_A, netG, generator; a discriminator may be called `global`."""
    name = player.removeprefix("net").removeprefix("_")
    return "G" if name.startswith("G") or name == "g" or name.lower().startswith(("gen", "g_")) else "D"


def check_player(player: Any, role: str, output: Any, *losses: Any) -> None:
    """Refuse a name that cannot be one, and a generator's fields under a discriminator's name."""
    if not isinstance(player, str) or not player or "/" in player:
        raise InputError(f'observe({player!r}): a player has a name such as "G", "D" or "mpd", without a slash')
    if role == "D" and any(value is not None for value in (output, *losses)):
        raise InputError(
            f"observe({player!r}, output=..., ...): these are a generator's, and {player!r} is taken for a "
            'discriminator; the names of generators begin with G or gen, as "G" and "generator" do'
        )
    if output is not None and not (isinstance(output, Tensor) and output.dim() and output.requires_grad):
        raise InputError(
            "the output shown carries no gradient, so nothing of what G learns can be read: hand over the tensor [N, "
            "...] that G returned, not detached nor made under no_grad"
        )


@lru_cache(maxsize=256)
def misspelt(name: str) -> str:
    """The argument of `observe` that a name nearly is; empty if none."""
    return next(iter(difflib.get_close_matches(name, ARGUMENTS, 1, cutoff=0.85)), "")


def check_fields(fields: Iterable[str], read: Container[str]) -> None:
    """Refuse a field that no sensor reads: its readings would be missed in silence."""
    for name in fields:
        if name not in read:
            raise InputError(
                f"observe(..., {name}=...): nothing reads this; did you mean {meant}?"
                if (meant := misspelt(name))
                else f"observe(..., {name}=...): no sensor reads this; the arguments are {', '.join(ARGUMENTS)}, and "
                "what sensors of your own read, which are to be registered before the monitor is made"
            )


def check_looked(fields: Any) -> None:
    """Refuse what a `look` returns that probes cannot compare, or that none of them reads."""
    if not isinstance(fields, Mapping):
        raise InputError(
            f"look returned a {type(fields).__name__}: let it return fields by name, such as "
            '{"samples": G(latents), "training": real, "heldout": unseen}'
        )
    given = {name: value for name, value in fields.items() if value is not None}
    known = {*SETS, *(name for one in all_probes() for name in parameters(one.function) if "_to_" not in name)}
    if odd := next((name for name in given if name not in known), None):
        raise InputError(f"look returned {odd!r}, which no probe reads; there are {', '.join(sorted(known))}")
    sets = {name: given[name] for name in SETS if name in given}
    if odd := next((name for name, value in sets.items() if not getattr(value, "shape", ())), None):
        raise InputError(
            f"look returned {odd} as a {type(sets[odd]).__name__}: let it return each set as a tensor or array [n, ...]"
        )
    if empty := next((name for name, value in sets.items() if len(value) == 0), None):
        raise InputError(f"look returned no {empty}, an empty set: let it return some hundred of each")
    kinds = {name: str(getattr(value, "dtype", "")) for name, value in sets.items()}
    whole = [name for name, kind in kinds.items() if "int" in kind]
    if whole and len(whole) < len(sets):
        other = next(name for name in sets if name not in whole)
        raise InputError(
            f"look returned {whole[0]} of {kinds[whole[0]]} and {other} of {kinds[other]}, whose values do not "
            "compare: bring all sets to one range, such as -1 to 1"
        )


def check_signal(
    one: Any,  # what steers
    ideal: float,  # of D's loss; 0: none, or not known
    signless: bool,  # whether an undecided D does not say 0
) -> None:
    """Refuse a loop on a signal that says nothing under the loss, or that will never be told."""
    reads = str(getattr(one, "signal", "")).rpartition("/")[2]
    if reads == "sign_real" and signless:
        raise InputError(
            f"{one.name} follows the sign of D(real), and under this loss an undecided D does not say 0, so that the "
            "sign means nothing; take loops.ada_heldout, which holds for any loss"
        )
    if reads == "loss_D" and not ideal:
        raise InputError(
            f"{one.name} follows D's loss over its ideal value, which is not known or 0, so that it would never move: "
            'say which loss it is, Monitor(loss="hinge") or so, or take loops.rates_by_wins'
        )


def single(value: Any, what: str) -> Tensor:
    """A loss as `[1]`, without its graph."""
    if not isinstance(value, Tensor) or value.numel() != 1:
        came = f"the shape {list(value.shape)}" if isinstance(value, Tensor) else f"the type {type(value).__name__}"
        raise InputError(f"{what} has {came}: hand over the single number that is added to the loss, as a tensor")
    return value.detach().reshape(1)


def loss_shown(value: Any) -> Tensor:
    """An adversarial loss, `[N]` or `[1]`, without its graph."""
    return per_sample(value.detach()) if isinstance(value, Tensor) else single(value, "the loss")


def share_of(adversarial: Any, reconstruction: Any, output: Tensor) -> Tensor:
    """The adversarial share `[1]` of the gradient at the output, 0 to 1.

    A constant has none, as an adversarial loss before its start.
    """
    waiting = not adversarial.requires_grad if isinstance(adversarial, Tensor) else adversarial == 0
    named = {"the adversarial loss": adversarial, "the reconstruction": reconstruction}
    norms = [
        output.new_zeros([])
        if waiting and loss is adversarial
        else torch.linalg.vector_norm(gradient_at(loss, output, what).float())
        for what, loss in named.items()
    ]
    return (norms[0] / (norms[0] + norms[1])).reshape(1)


def counts(adversarial: Any, output: Tensor) -> Tensor:
    """Whether an adversarial loss is not 0, `[1]`, as 0 or 1: where its weight is 0, it is 0 to the bit."""
    value = adversarial.detach() if isinstance(adversarial, Tensor) else output.new_tensor(float(adversarial))
    return (value != 0).float().reshape(1)


def gradient_at(loss: Any, at: Any, what: str) -> Tensor:
    """A loss's gradient at a tensor, its graph kept for the loop's own backward."""
    if not isinstance(at, Tensor):
        raise InputError(f"gradients are taken at a tensor, and a {type(at).__name__} came: hand over its weight, say")
    if not isinstance(loss, Tensor) or not loss.requires_grad:
        raise InputError(f"{what} carries no gradient: hand over the tensor itself, not detached and before .item()")
    if loss.numel() != 1:
        raise InputError(f"{what} has the shape {list(loss.shape)}: hand over the single number that is added")
    try:
        with torch.enable_grad():  # where the loop observes under no_grad
            (found,) = torch.autograd.grad(loss.sum(), at, retain_graph=True, allow_unused=True)
    except RuntimeError as error:
        if "second time" not in str(error):
            raise
        raise InputError(f"the backward of {what} has been called already: show it before, not after") from None
    if found is None:
        raise InputError(
            f"{what} does not depend on the tensor shown with it: hand over the very tensor that the losses were "
            "computed from (of two batches, such as two domains, join the outputs by torch.cat and compute both losses "
            "from that); if it is that one, it is detached on its way, and G learns nothing from this loss"
        )
    gradient: Tensor = found.detach()
    return gradient


def heading(optimiser: torch.optim.Optimizer, trained: Iterable[Tensor]) -> Tensor | None:
    """Cosine `[1]` between the gradients and the averages of past ones that the optimiser keeps; None: it keeps none.

    These are Adam's `exp_avg` (with beta1 = 0 the last gradient) and the momentum of SGD. Near 1 the next step could
    be predicted, and larger ones taken (AdaBelief, arXiv:2010.07468). The scale of gradients cancels.
    """
    pairs = [
        (p.grad.float(), kept.float())
        for p in trained
        if p.grad is not None and (kept := _kept(optimiser.state.get(p, {}), p.grad)) is not None
    ]
    if not pairs:
        return None
    lengths = norm([gradient for gradient, _ in pairs]) * norm([kept for _, kept in pairs])
    product = torch.stack([(gradient * kept).sum() for gradient, kept in pairs]).sum()
    return (product / lengths.clamp(min=torch.finfo(lengths.dtype).tiny)).reshape(1)


def _kept(state: Mapping[str, Any], gradient: Tensor) -> Tensor | None:
    """The average of past gradients, unless it lies elsewhere or is of another shape, as some optimisers have it."""
    kept: Tensor | None = state.get("exp_avg", state.get("momentum_buffer"))
    fits = kept is not None and kept.shape == gradient.shape and kept.device == gradient.device
    return kept if fits else None


def norm(tensors: Sequence[Tensor]) -> Tensor:
    total: Tensor = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(t.float()) for t in tensors]))
    return total
