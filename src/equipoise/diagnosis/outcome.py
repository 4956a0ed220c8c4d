"""What comes of it: modes lost, samples that stay bad, nothing more to gain, or a run that is well."""

from __future__ import annotations

import math

from equipoise.diagnosis import Evidence, Finding, Severity, finding
from equipoise.diagnosis.history import History
from equipoise.diagnosis.limits import COLLAPSED, FULL, IDLE, LOST, NEAR, SAME, Limit
from equipoise.diagnosis.pace import LEAPING, RUSHES, pace
from equipoise.diagnosis.signs import (
    DISTANCES,
    bare,
    beginning,
    harm,
    held,
    lasting,
    lasting_best,
    late,
    narrow,
    never_differed,
    some,
    stray,
    stuck,
    worse,
)
from equipoise.registry import entries

CAUSES = ("discriminator-overpowers", "discriminator-blind", "discriminator-memorises", "oscillation",
          "gradient-vanishes", "gradient-explodes", "collapse", "dead-run")  # fmt: skip
WORTH = 0.2  # of coverage or recall, from which losing half of it is a loss
FEWEST = 5  # looks before a run is called healthy or at its end


@finding("collapse", claim="samples are far less diverse than the data, or lose what they covered", treats="GC")
def collapse(history: History) -> Finding | None:
    """Diversity well below the data's and not rising, or coverage or recall at half of its own best.

    A handful of samples spread over the data are diverse, and near it by distance: late in a run that coverage and
    recall are both low is a note, and no more, since of large images healthy runs have not been tried for it.
    """
    few = narrow(history)
    lost = some(*(_fallen(history, name) for name in ("coverage", "recall", "diversity")))
    holes = bare(history) if late(history) else ()
    if (few is None and not lost and not holes) or beginning(history):
        return None
    gone = few and held(history, "diversity", "below", COLLAPSED)
    restored = _restore(lost, pace(history)[1])
    unknown = history.share is None and history.updates is None  # whether it has but begun
    if not lost and unknown and len(history.signals.get("diversity", [])) < 2 * FEWEST:
        return None  # samples spread in the course of the first updates
    return Finding(
        "collapse",
        Severity.ALARM if gone or (few and lost) else Severity.WARNING if few or lost else Severity.NOTE,
        "the generator makes hardly more than one thing" if gone else "the generator leaves out part of the data",
        some(few, *(lost or holes)),
        ("look whether G is given new latents each time, and follows them", *restored) if _mute(history) else restored,
        _why(history, lost),
    )


def _restore(lost: tuple[Evidence, ...], faster: str) -> tuple[str, ...]:
    back = "go back to a snapshot from before it began" if lost else "start anew: what was never covered seldom comes"
    pair = "pair real and generated samples (loss=rpgan with r1 and r2), or pack them (packing)"
    if faster:
        return (faster, back, pair) if lost else (faster, pair)
    return back, pair, "or lower G's learning rate, and set beta1 to 0"


@finding("not-converging", claim="samples stay far from the data, and no reading says why", treats="")
def not_converging(history: History) -> Finding | None:
    """The samples are bad and no other rule has found a reason."""
    bad = some(stuck(history), stray(history), *(worse(history, name) for name in DISTANCES))
    if any(_found(history, name) >= Severity.WARNING for name in CAUSES):
        return None
    if not bad:
        return _unchanged(history)
    past, (cause, remedy) = stuck(history) is None and stray(history) is None, pace(history)
    return Finding(
        "not-converging",
        Severity.WARNING,
        "the samples were better before" if past else "the samples stay far from the data",
        bad,
        (
            *((remedy,) if remedy else ()),
            _keep(history, f"keep the snapshot of {history.best(bad[0].signal)[0]:g} kimg")
            if past
            else "compare with a known recipe",
            *(() if remedy else ("lower both learning rates, or let them decay",)),
            "try loss=rpgan with r1 and r2 and beta1 0, which is harmless where it does not help",
        ),
        cause,
    )


def _unchanged(history: History) -> Finding | None:
    """The distance has hardly come lower than at the beginning, which says nothing where that was a trained network."""
    limit = round(SAME.value * history.early("frechet"), 4) if history.has("frechet") else 0.0
    best = history.best("frechet")[1]
    if len(history.signals.get("frechet", [])) < 2 * FEWEST or not best > limit > 0:
        return None
    source = f"{SAME.value} of its beginning; {SAME.source}"
    return Finding(
        "not-converging",
        Severity.NOTE,
        "the samples are no nearer to the data than at first: it began from a trained network, or learns nothing",
        (Evidence("frechet", best, "at best above", limit, source),),
        ("look at samples: they decide which it is",),
    )


@finding("nothing-more-to-gain", claim="no better samples for a third of the run: stop, and take the best snapshot")
def finished(history: History) -> Finding | None:
    """The distance to the data has had no new best for 30 % of what was trained; quiet where the run is bad."""
    signal = next((name for name in DISTANCES if len(history.signals.get(name, [])) >= 2 * FEWEST), None)
    if signal is None or harm(history):
        return None
    at, best = history.best(signal)
    idle = (history.kimg - at) / history.kimg if history.kimg > 0 else 0.0
    if idle < IDLE.value or (signal == "energy" and best > NEAR.value) or _unchanged(history):
        return None
    rising = (history.best(name, max)[0] for name in ("precision", "coverage", "recall") if history.has(name))
    if any((history.kimg - latest) / history.kimg < IDLE.value for latest in rising):
        return None
    return Finding(
        "nothing-more-to-gain",
        Severity.NOTE,
        f"{signal} was best at {at:g} kimg and has not come lower since",
        (Evidence(signal, best, "best, for a share of the run", round(idle, 2), IDLE.source, at),),
        (
            _keep(history, f"stop, and keep the snapshot nearest to {at:g} kimg, or the averaged generator"),
            "to get further: a longer decay of the learning rates, a larger network, or more data",
        ),
        "what is left is noise: of the two players, or of the measurement",
    )


@finding("healthy", claim="samples come near the data in all their variety, and no rule has anything to say")
def healthy(history: History) -> Finding | None:
    """Told from the samples, never from logits alone: near the data or coming nearer, as diverse as they."""
    distance = next((name for name in DISTANCES if len(history.signals.get(name, [])) >= FEWEST), None)
    if distance is None or (not history.has("diversity") and distance != "frechet"):
        return None
    if any(_found(history, entry.name) >= Severity.WARNING for entry in entries("finding") if entry.name != "healthy"):
        return None
    near = _near(history, distance)
    full = (held(history, "diversity", "above", FULL[0]), held(history, "diversity", "below", FULL[1]))
    if near is None or bare(history) or (history.has("diversity") and None in full):
        return None
    return Finding("healthy", Severity.GOOD, "the two are in balance, and the samples are good or getting better",
                   some(near, full[0]), ("go on",))  # fmt: skip


def _keep(history: History, advice: str) -> str:
    """Advice to keep a snapshot: of our own runs the last three stay, and the best."""
    return f"{advice}, or `checkpoints/best`" if history.facts.get("source") == "equipoise" else advice


def _near(history: History, distance: str) -> Evidence | None:
    """Close to the data, or at less than 70 % of where it stood at the beginning."""
    close = held(history, distance, "below", NEAR) if distance == "energy" else None
    early = history.early(distance)
    halved = Limit(round(0.7 * early, 4), "70 % of its beginning; chosen by us") if early > 0 else None
    return close or (held(history, distance, "below", halved) if halved else None)


def _found(history: History, name: str) -> Severity:
    """What another rule says, as a severity."""
    found = next((entry.part(history) for entry in entries("finding") if entry.name == name), None)
    return Severity.GOOD if found is None else found.severity


@lasting
def _fallen(history: History, signal: str) -> Evidence | None:
    best = lasting_best(history, signal)
    if math.isnan(best) or best < WORTH or len(history.signals[signal]) < FEWEST:
        return None  # there was nothing to lose
    if signal == "diversity" and best > 2:
        return None  # noise is diverse, so that falling from there is no loss
    limit = Limit(round(LOST.value * min(best, 1.0), 4), f"{LOST.value} of its own best; {LOST.source}")
    return held(history, signal, "below", limit) if history.persists(signal, lambda x: x < limit.value) else None


def _why(history: History, lost: tuple[Evidence, ...]) -> str:
    if _mute(history):
        return "samples never differed: latents may not reach G, be all alike, or end in units of G that are always 0"
    if cause := pace(history)[0]:
        return cause
    if lost and history.now("precision") > history.early("precision"):
        return "precision rose while coverage fell: G keeps to what D likes best"
    return ""


def _mute(history: History) -> bool:
    """Whether samples never differed, and not since the first steps were so large that all of G's units died."""
    return never_differed(history) and pace(history)[0] not in (LEAPING, RUSHES)
