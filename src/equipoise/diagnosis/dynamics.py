"""How the two move: in circles, not at all, or too far."""

from __future__ import annotations

import statistics

from equipoise.diagnosis import Evidence, Finding, Severity, finding
from equipoise.diagnosis.history import History
from equipoise.diagnosis.limits import (
    ALL,
    BURST,
    DOUBLED,
    EXPLODED,
    GONE,
    NEARLY,
    NO_STEP,
    OUTWEIGHS,
    RISES,
    SATURATED,
    SKIPS,
    STILL,
    SWING_SIZE,
    SWINGS,
    VANISHED,
    Limit,
)
from equipoise.diagnosis.signs import (
    CRAWLS,
    FASTER,
    NOISY,
    against_past,
    beginning,
    crawling,
    first,
    harm,
    held,
    noise,
    seen,
    some,
    squared,
    won,
)


@finding("oscillation", claim="the losses come and go with a period: the two chase each other", treats="OSC")
def oscillation(history: History) -> Finding | None:
    """The losses repeat themselves with a size that matters, at each of the last three looks.

    Where another loss holds G that costs nothing by itself: no more than a note, unless the samples say otherwise.
    """
    height, size = held(history, "swing", "above", SWINGS), held(history, "swing_size", "above", SWING_SIZE)
    steady = history.persists("swing", lambda value: value > SWINGS.value)
    if height is None or size is None or not steady:
        return None
    period = history.now("swing_kimg")
    every = f", every {period:.3g} {history.unit}" if period > 0 else ""
    bad = harm(history)
    return Finding(
        "oscillation",
        Severity.WARNING if bad or not history.facts.get("anchored") else Severity.NOTE,
        f"the players chase each other in circles{every}",
        (height, size, *bad),
        (
            "set beta1 of both optimisers to 0 (G.beta1, D.beta1), or below",
            "or strengthen the penalty (r1.gamma), at generated samples too (r2.gamma)",
            "or lower both learning rates; or an update rule for games: extragradient, optimistic Adam, lookahead",
        ),
    )


@finding("gradient-vanishes", claim="what G learns from has all but gone", treats="VG")
def vanishes(history: History) -> Finding | None:
    """The pull on G has fallen to a hundredth of its own past, or its share beside other losses has.

    Where the adversarial loss is weighted by its own gradient, G does not miss what the pull lost: that is a note.
    """
    gone = some(
        *(against_past(history, name, "below", VANISHED) for name in ("pull", "gradient_G", "adversarial_share"))
    )
    if not gone:
        return None
    saturated = won(history)
    saturating = history.facts.get("loss") == "minimax"
    if history.facts.get("adaptive") and {one.signal for one in gone} == {"pull"}:
        return Finding(
            "gradient-vanishes",
            Severity.NOTE,
            "D's gradient has all but gone, and the adaptive weight makes up for it: G follows what is left",
            gone,
            ("look at D's logits: if they are the same for real and generated samples, D has to learn faster",
             "limit the weight, so that it does not blow up noise"),
        )  # fmt: skip
    return Finding(
        "gradient-vanishes",
        Severity.ALARM if harm(history) or saturated else Severity.WARNING,
        "the generator hardly gets a gradient from the discriminator any more",
        (*gone, *some(saturated)),
        (
            "take the non-saturating loss (loss=non-saturating)"
            if saturating
            else "keep D from being sure: r1.gamma up, instance-noise, or a lower D.lr",
            "go back to a snapshot from before, since a saturated D does not come back by itself",
        ),
        "the adversarial loss no longer reaches G: it is weighted by 0, or cut off on its way"
        if history.now("adversarial_share") == 0
        else "the minimax loss saturates where D is sure"
        if saturating and saturated
        else "",
    )


@finding("gradient-explodes", claim="gradients or weights grow out of all proportion", treats="EG")
def explodes(history: History) -> Finding | None:
    """A gradient of ten times its own past, singular values as well, or updates refused since they were not finite.

    A loss of D of a hundred times its ideal is no error of D's any more: it grows as the logits do.

    Where another loss holds G, one that has next to no part in its gradient by then does not hold it any more.
    """
    lost = first(held(history, "skipped", "above", SKIPS), held(history, "nonfinite", "above", SKIPS))
    gone = lost if held(history, "nonfinite", "above", GONE) else None
    pull = () if history.facts.get("adaptive") else ("pull",)  # a weight that is the smaller for it takes it back
    grown = some(
        *(against_past(history, name, "above", EXPLODED) for name in ("gradient_G", "gradient_D", *pull)),
        *(against_past(history, name, "above", DOUBLED) for name in ("spectrum_G", "spectrum_D")),
        burst := None if beginning(history) else held(history, "loss_D", "above", BURST),
    )
    bad, slow = harm(history), crawling(history)
    adrift = some(held(history, "adversarial_share", "above", NEARLY) if history.facts.get("anchored") else None)
    if lost is None and not grown:
        return None
    if lost is None and not bad and not adrift and not burst and seen(history):
        return None  # gradients grow in good runs too, as networks sharpen
    return Finding(
        "gradient-explodes",
        Severity.ALARM if lost is not None or bad else Severity.WARNING if adrift or burst else Severity.NOTE,
        "values are not finite any more: going on is for nothing"
        if gone
        else "updates are lost since values are not finite"
        if lost
        else "the discriminator's loss, and so its logits, are out of all proportion"
        if burst
        else "gradients have grown out of all proportion",
        (*some(lost), *grown, *bad, *adrift),
        (
            *(f"stop, and start again from a snapshot from before {one.since:g} {history.unit}" for one in some(gone)),
            FASTER if slow else "lower the learning rates, and clip gradients (G.clip, D.clip)",
            "or penalise D's slope at generated samples too (r2.gamma), where it explodes first",
            "in half precision, keep logits and penalties in full",
        ),
        f"{CRAWLS}, so that D gets ever further ahead" if slow else "",
    )


@finding("dead-run", claim="nothing moves any more", treats="")
def dead(history: History) -> Finding | None:
    """All updates are refused, a player's steps are 0, or D's loss no longer moves at all.

    Steps of 0 of a D whose loss is 0 are not meant: it has won, see discriminator-overpowers.
    """
    found = some(
        held(history, "skipped", "above", ALL),
        *(held(history, f"step_{role}", "below", NO_STEP) for role in ("G" if won(history) else "DG")),
        _still(history),
    )
    if not found:
        return None
    if resting := _never_moved(history, found):
        return Finding(
            "dead-run",
            Severity.ALARM,
            f"no step of {' or '.join(resting)} has moved it since the run began",
            found,
            (
                "look whether its learning rate is 0, and whether its optimiser holds the weights that play",
                "let equipoise.wiring watch two iterations of the loop: it names tensor and line",
            ),
            "a learning rate of 0, or an optimiser of other weights",
        )
    return Finding(
        "dead-run",
        Severity.ALARM,
        "nothing moves any more: going on is for nothing",
        found,
        (
            "stop, and start again from a snapshot from before it died",
            "look whether a learning rate has reached 0, whether D's output is stuck, and whether gradients are finite",
        ),
        "the schedule may have brought the rates to 0" if (history.share or 0.0) > 0.99 else "",
    )


def _never_moved(history: History, found: tuple[Evidence, ...]) -> list[str]:
    """The players whose steps have been 0 from their first reading on, if nothing else was found."""
    whose = {"step_D": "D", "step_G": "G"}
    at_rest = [one for one in found if one.signal in whose and one.since == history.signals[one.signal][0][0]]
    return [whose[one.signal] for one in at_rest] if len(at_rest) == len(found) else []


def _still(history: History) -> Evidence | None:
    """D's loss has been the same number in the last 30 % of the looks, five at least, and between them.

    Where another loss holds G, a D that is far ahead or waits is no sign that the run is dead. And a loss that stays at
    0, to the decimals that a log has, is that of a D which has won: see discriminator-overpowers.
    """
    if history.facts.get("anchored") or "loss_D" in history.facts.get("moves", ()):
        return None
    values = history.values("loss_D")
    last = values[-max(5, round(0.3 * len(values))) :]
    if len(last) < 5 or len(values) < 8 or (spread := statistics.pstdev(last)) >= STILL.value:
        return None
    if statistics.median(last) < squared(history, SATURATED).value:
        return None
    return Evidence("loss_D", spread, "spread below", STILL.value, STILL.source)


@finding("anchor-lost", claim="the loss that holds G rises: the adversarial part drags it away", treats="")
def anchor_lost(history: History) -> Finding | None:
    """Where G is held by a reconstruction too: that one has risen, or has next to no part in G's gradient."""
    risen = _risen(history)
    if risen is None and held(history, "adversarial_share", "above", NEARLY) is None:
        return None
    return Finding(
        "anchor-lost",
        Severity.WARNING if risen else Severity.NOTE,
        "the reconstruction has got worse since the discriminator joined in"
        if risen
        else "the adversarial loss has nearly all of G's gradient, so that little holds G",
        some(risen, held(history, "adversarial_share", "above", OUTWEIGHS)),
        (
            "lower the adversarial loss's weight, or hold its share of the gradient at a fixed value",
            "or start the discriminator later, when the reconstruction has settled",
        ),
    )


def _risen(history: History) -> Evidence | None:
    """The reconstruction has been above its own best, three looks in a row, by more than it varies anyway."""
    best = history.best("reconstruction")[1]
    limit = best * max(RISES.value, 1 + NOISY * noise(history, "reconstruction"))
    if not best > 0 or not history.persists("reconstruction", lambda value: value > limit):
        return None
    source = f"{limit / best:.3g} of its own best; {RISES.source}"
    return held(history, "reconstruction", "above", Limit(round(limit, 4), source))
