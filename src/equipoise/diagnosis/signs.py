"""What several rules ask of a history: are the samples bad, how does a signal stand to a limit or to its own past."""

from __future__ import annotations

import functools
import math
from bisect import bisect_right
from collections.abc import Callable
from typing import Concatenate, ParamSpec

from equipoise.diagnosis import Evidence, evidence
from equipoise.diagnosis.history import History, median
from equipoise.diagnosis.limits import (
    ALIKE,
    BARE,
    FAR,
    LONG,
    MEMORY,
    NARROW,
    SATURATED,
    SPREADS,
    STRAY,
    SURE,
    WORSE,
    Limit,
)

OUTCOMES = ("energy", "frechet", "diversity", "coverage", "recall")  # they see the samples; logits do not
DISTANCES = ("frechet", "energy")  # of samples to real ones, the better known first
START, FIRST = 0.1, 0.2  # shares of a run in which all may be bad; and in which samples lose what they covered
EARLY, LATE = 0.4, 0.85  # shares of a run before which samples may be bad, and after which they will stay so
YOUNG = 200  # updates in which all may be bad, whatever the length of the run
BEFORE = 0.9  # of what has been seen: what is bad must have been so then already
MANY = 500  # data from which the balls round them say something
MOST = 0.8  # of the looks: what steps were like before the learning rates fell
NOISY = 3.0  # times a signal's own noise: the best of many looks is as lucky as the last three may be unlucky
FEWEST = 8  # looks before samples are called bad for good
P = ParamSpec("P")
Sign = Callable[Concatenate[History, P], Evidence | None]


def held(
    history: History,
    signal: str,
    relation: str,
    limit: Limit,
    window: float = 0.1,  # share of the looks whose median counts
) -> Evidence | None:
    """The evidence that a signal stands so to a limit."""
    return evidence(history, signal, relation, limit.value, limit.source, window)


def memory(history: History) -> Evidence | None:
    """Held-out samples lose half of the gap or more, and not since they are few: twice the standard error is let be.

    Where that error is known, three looks at which it is so will do: memory sets in late, and then grows.
    """
    if history.has("memory_noise"):
        sure = MEMORY.value + SURE * history.now("memory_noise", LONG)
        lately = history.persists("memory", lambda value: value > sure)
        found = held(history, "memory", "above", MEMORY, 0.1 if lately else LONG)
        return found if found is not None and found.value > sure else None
    return held(history, "memory", "above", MEMORY, LONG)


def squared(history: History, limit: Limit) -> Limit:
    """A limit on how far D's loss lies below its ideal: for least squares its square.

    Half the ideal value of the other losses is a D that gives what is right about 0.7; least squares are about a
    third of theirs there, so that the square is the stricter choice.
    """
    if history.facts.get("loss") not in ("least-squares", "relativistic-least-squares"):
        return limit
    return Limit(round(limit.value**2, 4), f"the square of {limit.value:g}, for least squares; {limit.source}")


def won(history: History) -> Evidence | None:
    """D hardly errs any more."""
    return held(history, "loss_D", "below", squared(history, SATURATED))


def seen(history: History) -> bool:
    """Whether anything is told of the samples themselves."""
    return any(history.has(name) for name in OUTCOMES)


def harm(history: History) -> tuple[Evidence, ...]:
    """What says that the samples are bad, and not about to become good."""
    found = [
        stuck(history),
        stray(history),
        narrow(history),
        *(worse(history, name) for name in DISTANCES),
    ]
    return tuple(one for one in found if one is not None)


def lasting(sign: Sign[P]) -> Sign[P]:
    """A sign that samples are bad, of those that have been there for a tenth of what has been seen.

    In healthy runs coverage, recall and distances get worse for a few looks and better again. Late in a run nothing is
    waited for.
    """

    @functools.wraps(sign)
    def judged(history: History, /, *args: P.args, **kwargs: P.kwargs) -> Evidence | None:
        found = sign(history, *args, **kwargs)
        if found is None or late(history):
            return found
        return found if sign(history.until(BEFORE * history.kimg, found.signal), *args, **kwargs) else None

    return judged


@lasting
def stuck(history: History) -> Evidence | None:
    """Samples are far from the data and have come less than 30 % nearer since the middle third of what is recorded.

    Late in a run, far is enough; early in one, nothing is said, since samples come nearer by fits and starts.
    """
    found = held(history, "energy", "above", FAR)
    points = history.signals.get("energy", [])
    if found is None or len(points) < FEWEST or beginning(history, EARLY):
        return None
    earlier = median(value for _, value in points[len(points) // 3 : len(points) * 2 // 3])
    return found if late(history) or found.value > 0.7 * earlier else None


@lasting
def narrow(history: History) -> Evidence | None:
    """Samples are far less diverse than the data, and are not about to spread."""
    found = held(history, "diversity", "below", NARROW)
    return None if found is None or beginning(history) or spreading(history) else found


def bare(history: History) -> tuple[Evidence, ...]:
    """Most of the data has no sample near it, by both readings, whatever the distance says of the mean."""
    found = some(*(held(history, name, "below", BARE) for name in ("coverage", "recall")))
    return found if len(found) == 2 else ()


def beginning(history: History, share: float = FIRST) -> bool:
    """Whether the run has but begun: it has had few updates, or less than this share of a length that is known.

    In 13 healthy runs of dcgan on CIFAR-10 D was right about everything and G made one thing in the first 170 updates,
    a twentieth of the run, and in the first fifth coverage fell to a third of its best and came back.
    """
    if late(history):
        return False
    young = history.updates is not None and history.updates < YOUNG
    return young or (history.share is not None and history.share < share)


def begun(history: History) -> float:
    """The moment at which the first updates were over; 0 where they are not counted."""
    return YOUNG / history.updates * history.kimg if history.updates else 0.0


def late(history: History) -> bool:
    """Whether the run is known to be nearly over, so that what is bad will stay so."""
    return history.share is not None and history.share >= LATE


def spreading(history: History) -> bool:
    """Whether samples are as diverse as they ever were, and a third more than in the middle third of what is recorded.

    So begins a generator whose first samples are all alike; one that collapsed had been more diverse before, and not
    in the first updates, when it was untrained.
    """
    values = history.values("diversity", begun(history))
    third = len(values) // 3
    if not third:
        return False
    earlier, latest = median(values[third : 2 * third]), median(values[-third:])
    return latest > max(SPREADS.value * earlier, ALIKE.value) and max(values[-min(3, third) :]) == max(values)


def lasting_best(history: History, signal: str) -> float:
    """The highest value; of diversity once the first updates are over, since an untrained G's is none of the data's."""
    since = begun(history) if signal == "diversity" else 0.0
    later = History({signal: [point for point in history.signals.get(signal, []) if point[0] > since]})
    return (later if later.has(signal) else history).best(signal, max)[1]


def never_differed(history: History) -> bool:
    """Whether samples have been all alike ever since the first updates were over."""
    return lasting_best(history, "diversity") < ALIKE.value


def stray(history: History) -> Evidence | None:
    """Late in a run most samples lie off the data. Balls round few data are too wide or too narrow to tell."""
    few = history.facts.get("count", MANY) < MANY
    return held(history, "precision", "below", STRAY) if late(history) and not few else None


@lasting
def worse(history: History, signal: str) -> Evidence | None:
    """A distance has been above its own best for three looks in a row."""
    best = history.best(signal)[1]
    if not best > 0 or len(history.signals[signal]) < 5 or beginning(history, START):
        return None
    own = 0.03 if signal == "energy" else NOISY * noise(history, signal) * best  # energy's noise at 256 samples
    limit = max(best * WORSE.value, best + own)
    if not history.persists(signal, lambda value: value > limit):
        return None
    return evidence(history, signal, "above", round(limit, 4), f"{limit / best:.3g} of its own best; {WORSE.source}")


def noise(history: History, signal: str) -> float:
    """The standard deviation of a positive signal about its course, as a part of it: told by each look's neighbours."""
    logs = [math.log(value) for value in history.values(signal) if value > 0]
    bends = [abs(a - 2 * b + c) for a, b, c in zip(logs, logs[1:], logs[2:], strict=False)]
    return 1.4826 * median(bends) / math.sqrt(6) if len(bends) >= FEWEST else 0.0


def against_past(history: History, signal: str, relation: str, limit: Limit) -> Evidence | None:
    """A signal has left its own early median by a factor; five looks at least.

    What grows is held against its course after the first updates, too: of an untrained D next to no gradient comes.
    """
    early = history.early(signal)
    if relation == "above" and early > 0:
        early = max(early, _settled(history, signal))
    if not early > 0 or len(history.signals[signal]) < 5 or math.isinf(early):
        return None
    source = f"{limit.value:g} of its own early median; {limit.source}"
    return evidence(history, signal, relation, early * limit.value, source)


def _settled(history: History, signal: str) -> float:
    """A signal's early median once the first updates are over; 0 where these are not counted, or were all there is."""
    points = history.signals[signal]
    at = bisect_right(points, (begun(history) or math.inf, math.inf))
    later = points[at : at + max(3, round(0.1 * (len(points) - at)))]
    return median(value for _, value in later) if len(points) - at >= FEWEST else 0.0


def first(*found: Evidence | None) -> Evidence | None:
    """The first evidence that there is."""
    return next((one for one in found if one is not None), None)


def some(*found: Evidence | None) -> tuple[Evidence, ...]:
    """All evidence that there is."""
    return tuple(one for one in found if one is not None)
