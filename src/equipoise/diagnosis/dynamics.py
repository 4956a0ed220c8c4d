"""How the two move: in circles, not at all, or away from what holds G."""

from __future__ import annotations

import statistics

from equipoise.diagnosis import Evidence, Finding, Severity, finding
from equipoise.diagnosis.history import History
from equipoise.diagnosis.limits import (
    ALL,
    NEARLY,
    NO_GRADIENT,
    NO_STEP,
    OUTWEIGHS,
    RISES,
    SATURATED,
    STALLED,
    STILL,
    SWING_SIZE,
    SWINGS,
    Limit,
)
from equipoise.diagnosis.signs import (
    NOISY,
    first,
    harm,
    held,
    noise,
    some,
    squared,
    won,
)

LEAST = 8  # looks with D before the reconstruction is said to have got no better


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


@finding("dead-run", claim="nothing moves any more", treats="")
def dead(history: History) -> Finding | None:
    """All updates are refused, a player's steps or gradients are 0, or D's loss no longer moves at all.

    Those of a D whose loss is 0 are not meant: it has won, see discriminator-overpowers.
    """
    roles = "G" if won(history) else "DG"
    found = some(
        held(history, "skipped", "above", ALL),
        *(_at_rest(history, role) for role in roles),
        _still(history),
    )
    if not found:
        return None
    if resting := _never_moved(history, found):
        what = "step" if all(one.signal.startswith("step") for one in found) else "gradient"
        return Finding(
            "dead-run",
            Severity.ALARM,
            f"no {what} of {' or '.join(resting)} has moved it since the run began",
            found,
            (
                "look whether its learning rate is 0, whether its optimiser holds the weights that play, and whether "
                "its loss is of what it returned, not detached",
                "let equipoise.wiring watch two iterations of the loop: it names tensor and line",
            ),
            "a learning rate of 0, an optimiser of other weights, or a loss that does not depend on them",
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


def _at_rest(history: History, role: str) -> Evidence | None:
    """A player's steps are 0, or its gradients are, in which case weight decay may go on to move it.

    Gradients alone, of another program's log, may be 0 to its decimals only.
    """
    still, steps = held(history, f"step_{role}", "below", NO_STEP), history.has(f"step_{role}")
    return still or (held(history, f"gradient_{role}", "below", NO_GRADIENT) if steps else None)


def _never_moved(history: History, found: tuple[Evidence, ...]) -> list[str]:
    """The players that have been at rest from their first reading on, if nothing else was found."""
    whose = {f"{what}_{role}": role for what in ("step", "gradient") for role in "DG"}
    at_rest = [one for one in found if one.signal in whose and one.since == history.signals[one.signal][0][0]]
    return [whose[one.signal] for one in at_rest] if len(at_rest) == len(found) else []


def _still(history: History) -> Evidence | None:
    """D's loss has been the same number in the last 30 % of the looks, five at least, and between them.

    Where another loss holds G, a D that is far ahead or waits is no sign that the run is dead. And a loss that stays at
    0, to the decimals that a log has, is that of a D which has won: see discriminator-overpowers. At its ideal value
    a strong penalty may hold it; steps, logits and gradients, where they are told, say more.
    """
    moves = "loss_D" in history.facts.get("moves", ()) or any(history.has(f"step_{role}") for role in "DG")
    if history.facts.get("anchored") or moves or any(_varies(history, name) for name in ("win_rate", "gap", "pull")):
        return None
    last = _lately(history, "loss_D")
    if len(history.values("loss_D")) < 8 or (spread := statistics.pstdev(last)) >= STILL.value:
        return None
    if statistics.median(last) < squared(history, SATURATED).value:
        return None
    return Evidence("loss_D", spread, "spread below", STILL.value, STILL.source)


def _varies(history: History, name: str) -> bool:
    """Whether a signal has had different values lately."""
    last = _lately(history, name)
    return len(last) > 1 and statistics.pstdev(last) > STILL.value * max(map(abs, last))


def _lately(history: History, name: str) -> list[float]:
    """A signal in the last 30 % of the looks, and in five at least, if there are so many."""
    values = history.values(name)
    return values[-max(5, round(0.3 * len(values))) :]


@finding("anchor-lost", claim="the loss that holds G rises: the adversarial part drags it away", treats="")
def anchor_lost(history: History) -> Finding | None:
    """Where G is held by a reconstruction too: that one has risen, or has next to no part in G's gradient."""
    risen, stalled = _risen(history), _stalled(history)
    if risen is None and not stalled and held(history, "adversarial_share", "above", NEARLY) is None:
        return None
    return Finding(
        "anchor-lost",
        Severity.WARNING if risen else Severity.NOTE,
        "the reconstruction has got worse since the discriminator joined in"
        if risen
        else "the adversarial loss has most of G's gradient, and the reconstruction is no better than when it joined in"
        if stalled
        else "the adversarial loss has nearly all of G's gradient, so that little holds G",
        some(risen, held(history, "adversarial_share", "above", OUTWEIGHS), None if risen else first(*stalled)),
        (
            "lower the adversarial loss's weight, or hold its share of the gradient at a fixed value",
            "or start the discriminator later, when the reconstruction has settled",
        ),
    )


def _stalled(history: History) -> tuple[Evidence, ...]:
    """The reconstruction is where it was when D came in, a third of the run ago or more, and is outweighed by it."""
    shares = history.signals.get("adversarial_share", [])
    if len(shares) < LEAST or history.kimg - shares[0][0] < history.kimg / 3:
        return ()
    found = some(held(history, "reconstruction", "above", STALLED, 0.2))
    return found if held(history, "adversarial_share", "above", OUTWEIGHS, 0.2) else ()


def _risen(history: History) -> Evidence | None:
    """The reconstruction has been above its own best, three looks in a row, by more than it varies anyway."""
    best = history.best("reconstruction")[1]
    limit = best * max(RISES.value, 1 + NOISY * noise(history, "reconstruction"))
    if not best > 0 or not history.persists("reconstruction", lambda value: value > limit):
        return None
    source = f"{limit / best:.3g} of its own best; {RISES.source}"
    return held(history, "reconstruction", "above", Limit(round(limit, 4), source))
