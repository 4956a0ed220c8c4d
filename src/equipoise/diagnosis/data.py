"""What the data and what is shown of it do: a discriminator that knows them by heart, augmentation that is learnt."""

from __future__ import annotations

from equipoise.diagnosis import Finding, Severity, finding
from equipoise.diagnosis.history import History
from equipoise.diagnosis.limits import BLIND, COPIES, FAR, HEAVY, HELD, HIGH_P, LEAKS, LONG, NARROW, SIGNS
from equipoise.diagnosis.signs import EARLY, beginning, harm, held, memory, some

FEW = 5_000  # samples; chosen by us. Memorising starts the sooner the fewer there are (arXiv:2006.06676)
DUPLICATES = 0.1  # share of the data


@finding("discriminator-memorises", paper="arXiv:2006.06676", claim="D tells training data from held-out", treats="DF")
def memorises(history: History) -> Finding | None:
    """Held-out samples lose the half of what training samples have over generated ones, or samples are copies.

    A gap that stays is common in good runs; it is one that goes with worse samples that costs. Signs alone (r_t) cannot
    tell memory from a D that is merely ahead, so they are no more than a note, and none where G is anchored, or while
    the run is so young that any D is ahead. ADA turns its strength until r_t is 0.6: there they tell that it has not
    got there, or no longer can. Samples that are all alike lie near some dull training image and are no copies of it.
    """
    known_by_heart, copies = memory(history), held(history, "nearest", "below", COPIES)
    if held(history, "diversity", "below", NARROW):
        copies = None
    unsure = held(history, "loss_D", "above", BLIND)  # then it is all logits that lie on one side of 0
    unfit = history.facts.get("signless") or history.facts.get("anchored") or unsure  # no zero; or D ahead is normal
    adapts = 0 < history.now("augmentation") < HIGH_P.value
    signs = None if unfit else held(history, "sign_real", "above", HELD if adapts else SIGNS)
    if known_by_heart is None and copies is None and (signs is None or history.has("memory")):
        return None
    known, early = known_by_heart is not None or copies is not None, beginning(history, EARLY)
    if early and not known:
        return None
    bad = harm(history) if known else ()
    grave = bad or copies or (known_by_heart and held(history, "memory", "above", HEAVY, LONG))
    return Finding(
        "discriminator-memorises",
        (Severity.ALARM if copies and known_by_heart else Severity.WARNING) if grave and not early else Severity.NOTE,
        "the discriminator knows the training data by heart"
        if known_by_heart
        else "samples lie closer to the training data than fresh data do: they are near-copies"
        if copies
        else "the discriminator is sure of training data; whether it memorises them or is merely ahead is not told",
        (*some(known_by_heart, copies, signs), *bad),
        (
            "augment what D is shown: ada, which finds its own strength, or diffaugment",
            "or gather more data, remove duplicates, or mirror",
            "or make D smaller, or keep an earlier snapshot; a lower learning rate does not cure this",
        )
        if known
        else ("log what D says of held-out data: that decides it", _augment(history, adapts)),
        _why(history) if known else "",
    )


def _augment(history: History, adapts: bool) -> str:
    if adapts:
        return "augmentation is on: if it is ADA, let it find its strength, up to which this is usual"
    return "try ada" if history.now("augmentation") == 0 else "if augmentation is off, try ada"


def _why(history: History) -> str:
    count, copies = history.facts.get("count"), history.facts.get("duplicates") or 0
    if count and copies > DUPLICATES * count:
        return f"many duplicates: {copies:,} of {count:,} samples are copies of others"
    if count is not None and count < FEW:
        return f"too little data: {count:,} samples"
    return "too little data for a discriminator of this size and a run of this length, or many duplicates"


@finding("augmentation-leaks", paper="arXiv:2006.06676", claim="G imitates the augmentation", treats="")
def leaks(history: History) -> Finding | None:
    """Samples look augmented themselves; without that reading, a strength at which transforms are known to leak.

    Early samples, and others that are far from the data, look like all that is dull or dark, augmented data among it:
    they are believed only where the strength explains it.
    """
    strong = held(history, "augmentation", "above", HIGH_P)
    early = beginning(history, EARLY)
    doubtful = early or (held(history, "energy", "above", FAR) and not strong)
    leak = None if doubtful else held(history, "leak", "above", LEAKS)
    if leak is None and (strong is None or (history.has("leak") and not early)):
        return None
    return Finding(
        "augmentation-leaks",
        Severity.WARNING if leak else Severity.NOTE,
        "samples look like augmented data" if leak else "augmentation is so strong that it may leak into the samples",
        some(leak, strong),
        (
            "limit the strength (ada: p up to 0.8), or leave out the transforms that show",
            "if it does not come down by itself, there are too few data for this D: see discriminator-memorises",
        ),
        "a transform applied nearly always is part of the data for G" if strong else "",
    )
