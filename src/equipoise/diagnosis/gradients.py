"""What G learns from: gradients that have all but gone, on which side of its output, and such as run away."""

from __future__ import annotations

from equipoise.diagnosis import Evidence, Finding, Severity, finding
from equipoise.diagnosis.history import History
from equipoise.diagnosis.limits import BURST, DOUBLED, EXPLODED, GONE, NEARLY, SKIPS, VANISHED
from equipoise.diagnosis.pace import too_slow
from equipoise.diagnosis.signs import against_past, beginning, first, harm, held, seen, some, won


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
    if {one.signal for one in gone} == {"gradient_G"} and history.has("pull"):
        return _stuck_inside(history, gone)
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


def _stuck_inside(history: History, gone: tuple[Evidence, ...]) -> Finding:
    """Where the pull at G's output is what it was, it is not D that is to blame."""
    return Finding(
        "gradient-vanishes",
        Severity.ALARM if harm(history) else Severity.WARNING,
        "hardly anything of what reaches the generator's output gets through to its weights any more",
        gone,
        (
            "go back to a snapshot from before, and lower G's learning rate (G.lr)",
            "look at G's layers: an output at the ends of its sigmoid or tanh, units of a ReLU that are always 0",
        ),
        "G's own units are saturated or dead, as after too large steps: D's gradient still comes to its output",
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
    bad, (slow, faster) = harm(history), too_slow(history)
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
            faster or "lower the learning rates, and clip gradients (G.clip, D.clip)",
            "or penalise D's slope at generated samples too (r2.gamma), where it explodes first",
            "in half precision, keep logits and penalties in full",
        ),
        f"{slow}, so that the other gets ever further ahead" if slow else "",
    )
