"""One player is ahead of the other: too strong a discriminator, or one that does not see what is wrong.

How far D is ahead hardly predicts what becomes of a run: a blind discriminator sits at the ideal loss, and a run can be
well with one far ahead. So these are warnings only where the samples say so too.
"""

from __future__ import annotations

from equipoise.diagnosis import Evidence, Finding, Severity, finding
from equipoise.diagnosis.data import FEW
from equipoise.diagnosis.history import History
from equipoise.diagnosis.limits import (
    AGREES,
    AHEAD,
    BLIND,
    BURST,
    CERTAIN,
    FAST,
    FIRST,
    FLAT,
    FOOLED,
    GOOD_ONCE,
    LONG,
    SELDOM,
    SHARP,
    SLOW,
    STRAIGHT,
    UNSURE,
)
from equipoise.diagnosis.pace import CRAWLS, FEWER, LAGS, LEAPING, crowding, hurrying, lagging, pace, too_often
from equipoise.diagnosis.signs import (
    DISTANCES,
    EARLY,
    MOST,
    beginning,
    first,
    harm,
    held,
    memory,
    seen,
    some,
    squared,
    stuck,
    won,
    worse,
)

BY_HEART = (
    "samples were better before, as where D learns its data by heart, which what follows does not cure: try ada first, "
    "or show D held-out data, which tells"
)
FEWEST = 5  # looks before a loss alone is believed
NEARLY_ALL = 0.9  # of these looks: one batch in a while points elsewhere
LASTING = 20  # looks: in our examples a G that is fine-tuned beside a new D no longer goes one way after ten
LARGE = "D's steps are large: its learning rate is too high"
LARGE_AT_FIRST = "D's steps were large at first: its learning rate is too high"
TOO_LARGE = (LARGE, LARGE_AT_FIRST)
LOWER = "the next run may come nearer with a lower learning rate of D (D.lr)"


@finding("discriminator-overpowers", claim="D is far ahead, and it is not that it memorises", treats="DO")
def overpowers(history: History) -> Finding | None:
    """D's loss lies far below its ideal, or it is hardly ever wrong. Silent where G is anchored, or D memorises."""
    if history.facts.get("anchored") or memory(history):
        return None
    saturated = won(history)
    ahead = some(
        first(saturated, held(history, "loss_D", "below", squared(history, AHEAD))),
        first(held(history, "win_rate", "above", CERTAIN), held(history, "auc", "above", CERTAIN)),
    )
    if not ahead:
        return None
    bad, sharp = harm(history), held(history, "slope_fake", "above", SHARP)
    known = len(history.signals.get("loss_D", ())) >= FEWEST and not beginning(history)
    grave = bool(bad) or (saturated is not None and not seen(history) and known)
    cause = _why_ahead(history, sharp is not None)
    patience = ("watch the samples: as long as they get better, go on", *((LOWER,) if cause in TOO_LARGE else ()))
    return Finding(
        "discriminator-overpowers",
        Severity.WARNING if grave else Severity.NOTE,
        "the discriminator is far ahead of the generator"
        + (", which learns little from it" if grave else "; that alone does not spoil a run"),
        (*ahead, *some(sharp), *bad),
        _weaken(history, sharp is not None) if grave else patience,
        cause,
    )


@finding("discriminator-blind", claim="D is fooled or guesses while the samples are bad: G overpowers it", treats="GO")
def blind(history: History) -> Finding | None:
    """D's loss is near its ideal or above it, and the samples are far from the data and not coming nearer.

    Where nothing is told of the samples, that D keeps pointing one way, and moves too little to get there.
    """
    if history.facts.get("anchored") or held(history, "loss_D", "above", BURST):
        return None  # see anchor-lost, gradient-explodes
    fooled, bad, behind = held(history, "loss_D", "above", FOOLED), stuck(history), _behind(history)
    unsure = None if history.has("loss_D") else held(history, "win_rate", "below", UNSURE)
    guessing = first(held(history, "loss_D", "above", BLIND), unsure)
    if guessing is None or (bad is None and not behind and (fooled is None or seen(history))):
        return None
    return Finding(
        "discriminator-blind",
        Severity.WARNING if bad or len(behind) > 1 else Severity.NOTE,
        "the discriminator does not see what is wrong with the samples, so its loss looks ideal"
        if bad
        else "the discriminator hardly tells anything apart, and cannot keep up with the generator"
        if behind
        else "the discriminator's loss is above that of one that guesses: it errs more often, or more is added to it",
        some(guessing, bad, *behind, held(history, "slope_fake", "below", FLAT)),
        _strengthen(history),
        _why_blind(history) if bad or behind else "",
    )


def _behind(history: History) -> tuple[Evidence, ...]:
    """Without a look at samples: D moves too little or too seldom for G, and would go on the way it went.

    The last is known of optimisers that keep an average of gradients. Small steps without it are right where D has
    little left to learn; where that is not told, and of too few steps, a note is made.
    """
    if seen(history) or beginning(history, EARLY) or len(history.signals.get("step_D", [])) < LASTING / 2:
        return ()
    slow = held(history, "step_D", "below", SLOW, MOST) if lagging(history) else None
    seldom = held(history, "tempo", "below", SELDOM, MOST) if crowding(history) else None
    straight = held(history, "heading_D", "above", AGREES, LONG)
    if (slow or seldom) is None or (straight is None and history.has("heading_D") and seldom is None):
        return ()
    return some(first(slow, seldom), straight)


@finding("generator-crawls", paper="arXiv:2010.07468", claim="G goes one way, in steps too small to get on", treats="")
def crawls(history: History) -> Finding | None:
    """Where another loss holds G: tiny steps, though each gradient points where the earlier ones did.

    Either alone is well: small steps are right late in a run and in fine-tuning, where gradients soon differ from
    batch to batch. So may a run's first steps all go one way; and steps that grow are a warm-up.
    """
    if not history.facts.get("anchored") or beginning(history, EARLY):
        return None
    small, straight = held(history, "step_G", "below", SLOW, MOST), held(history, "heading_G", "above", STRAIGHT)
    last = [value > STRAIGHT.value for _, value in history.signals.get("heading_G", [])[-LASTING:]]
    steady = len(last) == LASTING and sum(last) >= NEARLY_ALL * LASTING
    grows = history.now("step_G") > 2 * history.early("step_G")
    if small is None or straight is None or not steady or grows:
        return None
    return Finding(
        "generator-crawls",
        Severity.WARNING,
        "the generator keeps going one way in tiny steps, and could get there sooner",
        (small, straight),
        ("raise G's learning rate (G.lr), three to ten times at once, as long as its gradients agree like this",),
        "G's learning rate is too low",
    )


def _pace(history: History, sharp: bool) -> tuple[str, str]:
    """Cause and remedy that steps tell, unless they leap about and the reason is known: nothing limits D's slope."""
    cause, remedy = pace(history)
    return ("", "") if sharp and cause == LEAPING else (cause, remedy)


def _why_ahead(history: History, sharp: bool) -> str:
    if cause := _pace(history, sharp)[0]:
        return cause
    if history.now("step_D", MOST) > FAST.value:
        return LARGE
    if history.signals.get("step_D", [(0, 0)])[0][1] > FIRST.value:  # later its weights have grown with them
        return LARGE_AT_FIRST
    if sharp:
        return "nothing limits D's slope: its gradient penalty is missing or too weak"
    return too_often(history)[0]


def _was_good(history: History, distance: str) -> bool:
    """Whether samples had come near the data before; those of an untrained G may get worse, too."""
    return history.best(distance)[1] < GOOD_ONCE.value * history.early(distance)


def _strengthen(history: History) -> tuple[str, ...]:
    """What to do about a D that does not see, the likeliest first."""
    cause, remedy = pace(history)
    return (
        *((remedy,) if cause else ()),
        *(() if cause == LAGS else ("raise D's learning rate (D.lr), up to twice at a time",)),
        "or give D more steps (D.steps), or more width",
        "or weaken what holds D back: its penalty (r1.gamma), augmentation, noise",
    )


def _why_blind(history: History) -> str:
    if cause := pace(history)[0]:
        return cause
    if history.now("step_D", MOST) < SLOW.value:
        return "D moves too little: its learning rate is too low"
    return "D is too small, or held back too strongly" if history.has("step_D") else ""


def _weaken(history: History, sharp: bool) -> tuple[str, ...]:
    """What to do about it, the likeliest first. Where few data may be known by heart, that comes before."""
    penalty = "strengthen D's gradient penalty (r1.gamma), at generated samples too (r2.gamma)"
    rate = "lower D's learning rate (D.lr), or let it follow the gap (rate gap-aware, arXiv:2302.00089)"
    often = hurrying(history)
    steps = FEWER if often else "give D fewer steps for each of G (D.steps)"
    cause, remedy = _pace(history, sharp)
    if remedy:
        return (remedy, rate, steps) if cause == CRAWLS else (remedy, penalty)
    chosen = (penalty, rate, steps) if sharp else (steps, penalty, rate) if often else (rate, steps, penalty)
    before = _by_heart(history)
    return (before, *chosen) if before else chosen


def _by_heart(history: History) -> str:
    """Why D may know its data by heart, where that is not told: they are few, or samples were good and get worse."""
    if history.has("memory"):
        return ""
    count = history.facts.get("count", FEW)
    if count < FEW:
        return f"{count} samples may be known by heart, which what follows does not cure: ada"
    worsens = any(worse(history, name) and _was_good(history, name) for name in DISTANCES)
    return BY_HEART if worsens and not history.now("augmentation") > 0 else ""
