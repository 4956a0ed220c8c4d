"""Which signals the names of a log stand for where no family says so: those the user maps, and those of ours."""

from __future__ import annotations

from equipoise.errors import InputError
from equipoise.logs import tables
from equipoise.logs.convert import IDEAL, Convert, Logged, mean, only, over_first, over_ideal, same, scaled, total
from equipoise.logs.told import Told
from equipoise.registry import suggest
from equipoise.signals import SIGNALS

LOSSES = ("loss_D", "loss_G")
FOREIGN = (*LOSSES, "memory")  # in others' logs a plain loss, and that of the device in use
SHARES = {name: (0.0, 1.0) for name in ("win_rate", "auc", "precision", "coverage", "recall", "skipped", "nonfinite",
          "adversarial_share")} | {"sign_real": (-1.0, 1.0)}  # fmt: skip
UNRELATED = (
    "{} tells nothing: the ideal value of {} for {} is 0 or none, so that nothing can be put in relation to it; log "
    "win_rate or gap, of D's logits, or how far samples are from the data (energy, frechet)"
)
IDLE = "{} is 0 throughout, and tells nothing: the discriminator has not started, is weighted by 0, or has won"
WAITED = "{} is 0 at first: the discriminator is taken to start after that"
NEGATIVE = "{} tells nothing: it goes below 0, which {} never does for {}; say by --loss which loss it is"
BELOW = "{} tells nothing: it begins at 0 or goes below, so that a ratio to its beginning says nothing"
HELD = (
    "{0} is put in relation to {1:.4g}, the value of {2} where D is undecided; if half of that is logged, as a mean "
    "over real and generated samples, say --map '2*{0}={3}'"
)
WHICH = "{} is taken to be a plain loss, and tells nothing until --loss says which"
NAMED = "{} taken for the signals of these names (docs/parts.md)"
OUTSIDE = "{} has values outside {:g} to {:g}, and so is no such signal"


def mapped(told: Told, log: Logged) -> dict[str, Convert]:
    """Conversions that the user asked for. A loss is a plain one, put in relation here.

    Of what is mapped for several discriminators, as `A/loss_D`, the mean stands under the plain name.
    """
    made: dict[str, Convert] = {}
    each: dict[str, list[Convert]] = {}  # by signal, of one discriminator after the other
    for name, signal in _columns(told, log).items():
        player, _, own = signal.rpartition("/")
        raw = _read(name, log)
        if own in LOSSES:
            made[signal] = _loss(name, signal, raw, told, log)
        elif own == "reconstruction":
            made[signal] = over_first(raw)
            if not made[signal](log):
                log.remark(BELOW.format(name))
        else:
            made[signal] = raw
        if player:
            each.setdefault(own, []).append(made[signal])
    return {own: mean(*parts) for own, parts in each.items()} | made


def named(log: Logged) -> dict[str, Convert]:
    """Conversions of columns that are called as signals of ours are, and have values that these can have."""
    found = [name for name in SIGNALS if name in log.table.series and name not in FOREIGN]
    for name, (low, high) in SHARES.items():
        if name in found and not all(low <= value <= high for _, value in log.table.series[name]):
            found.remove(name)
            log.remark(OUTSIDE.format(name, low, high))
    if found:
        log.remark(NAMED.format(" and ".join(found) + (" are" if len(found) > 1 else " is")))
    return {name: only(name) for name in found}


def _columns(told: Told, log: Logged) -> dict[str, str]:
    """What is mapped, without the time. Where a loss is told, columns called loss_D and loss_G are mapped as such."""
    asked = {name: signal for name, signal in told.columns.items() if signal not in tables.CLOCKS}
    plain = [name for name in LOSSES if name in log.table.series and log.facts["source"] == "a table"]
    plain = [name for name in plain if name not in asked and name not in asked.values()]
    if told.loss is None:
        for name in plain:
            log.remark(WHICH.format(name))
        return asked
    return asked | {name: name for name in plain}


def _read(name: str, log: Logged) -> Convert:
    """A name as it was logged; or, where there is no such, what `2*a` or `a+b` of logged names come to."""
    if log.name(name) is not None:
        return same(name)
    parts = [part.strip().rpartition("*") for part in name.split("+")]
    for factor, _, one in parts:
        if log.name(one) is None or not _is_number(factor or "1"):
            raise InputError(f"nothing was logged as {one!r}{suggest(one, sorted(log.table.series))}")
    return total(*(scaled(float(factor or 1), same(one)) for factor, _, one in parts))


def _loss(name: str, signal: str, raw: Convert, told: Told, log: Logged) -> Convert:
    """A plain loss over its ideal value; nothing, with a remark, where that cannot be."""
    if told.loss is None:
        raise InputError(
            f"{name} is mapped to {signal}, but which loss it is decides what a value means; say --loss, one of "
            f"{', '.join(IDEAL)}"
        )
    role = signal[-1]
    ideal = IDEAL[told.loss]["DG".index(role)]
    if not ideal:
        log.remark(UNRELATED.format(name, told.loss, role))
    elif ideal > 0 and min((value for _, value in raw(log)), default=0.0) < 0:
        log.remark(NEGATIVE.format(name, told.loss, role))
        return lambda log: []
    elif role == "D":
        raw = _started(name, raw, log)
        if log.name(name) is not None and raw(log):
            log.remark(HELD.format(name, ideal, told.loss, signal))
    return over_ideal(role, raw)


def _started(name: str, raw: Convert, log: Logged) -> Convert:
    """D's loss from where it is no longer exactly 0: a discriminator that waits is not one that is ahead."""
    found = raw(log)
    begun = next((place for place, (_, value) in enumerate(found) if value != 0), len(found))
    if begun:
        log.remark((IDLE if begun == len(found) else WAITED).format(name))
    return lambda log: found[begun:]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
