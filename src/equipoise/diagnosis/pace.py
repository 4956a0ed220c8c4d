"""What the size of steps says of a run that is not well: who moves too little, too much, or leaps about."""

from __future__ import annotations

from equipoise.diagnosis.history import History
from equipoise.diagnosis.limits import AHEAD, CERTAIN, FAST, LEAPS, NO_STEP, OFTEN, SELDOM, SKIPS, SLOW, VANISHED
from equipoise.diagnosis.signs import MOST, against_past, held, never_differed, squared, won

CRAWLS, FASTER = "G moves too little beside D: its learning rate is too low", "raise G's learning rate (G.lr)"
LAGS = "D moves too little beside G: its learning rate is too low"
QUICKER = "raise D's learning rate (D.lr) until its steps are near G's in size: they are {:.2g} times smaller"
RUSHES, SLOWER = "G moves much faster than D can follow", "lower G's learning rate (G.lr)"
LEAPING = "the losses leap about: rates are too high, or nothing limits D's slope"
CALMER = "lower both learning rates, set beta1 to 0, and penalise D's slope at real and generated samples (r1, r2)"
CROWDS, EVEN = "G moves {:.3g} times for each move of D", "give D as many steps as G (D.steps=1)"
NEEDS = "D moves {:.3g} times for each move of G, and this loss needs a D near its best"
FIVE = "give D five steps for each of G (D.steps=5), as was published for this loss"
HURRIES, FEWER = "D moves {:.3g} times for each move of G", "give D fewer steps for each of G (D.steps), one at first"
MANY_ARE_MEANT = ("wasserstein",)  # losses that need a D near its best; five steps: arXiv:1701.07875, arXiv:1704.00028


def crawling(history: History) -> bool:
    """Whether G's steps are too small to follow, and far below D's; for a D that has won, below those it began with.

    A loss that is 0 leaves D nothing to move by. Updates that are refused are no steps, and steps of 0 no small ones.
    """
    step_g = history.now("step_G", MOST)
    if step_g < NO_STEP.value or against_past(history, "gradient_G", "below", VANISHED) or never_differed(history):
        return False  # see dead-run, gradient-vanishes and collapse: no rate would help
    step_d = history.early("step_D") if won(history) else history.now("step_D", MOST)
    return step_g < SLOW.value and step_g < step_d / 3 and held(history, "skipped", "above", SKIPS) is None


def lagging(history: History) -> bool:
    """Whether D's steps are too small to follow, and far below G's; not where it has won and has no more to learn.

    Beside steps of G that are large in themselves, see `rushing`.

    Of the recorded runs six of 39 sick ones are so, among them all five of a D at a tenth of its rate that failed, and
    none of 107 healthy ones.
    """
    step_d, step_g = history.now("step_D", MOST), history.now("step_G", MOST)
    slow = NO_STEP.value <= step_d < SLOW.value and step_d * _moves(history) < step_g / 3 and step_g < FAST.value
    return slow and won(history) is None and held(history, "skipped", "above", SKIPS) is None


def rushing(history: History) -> bool:
    """Whether G's steps are or were far larger than D's; where D has won, whether they were so at first, and large."""
    if won(history) is None:
        moves = _moves(history)
        return any(history.now("step_G", span) > 3 * history.now("step_D", span) * moves for span in (0.1, MOST))
    return history.early("step_G") > max(FAST.value, 3 * history.early("step_D") * _moves(history))


def leaping(history: History) -> bool:
    """Whether D's loss leaves its course by more than half of its ideal value.

    So it is in eight of the 39 sick recorded runs (rates ten times too high, an initialisation too large, a D too
    small); in none of 107 healthy ones does it by more than .11.
    """
    return history.has("loss_D") and held(history, "swing_size", "above", LEAPS) is not None


def crowding(history: History) -> bool:
    """Whether D has too few moves for those of G, and is not ahead all the same: one to two of G, or fewer.

    Of a loss that needs a D near its best, fewer than two to one are too few.
    """
    ahead = held(history, "loss_D", "below", squared(history, AHEAD)) or held(history, "win_rate", "above", CERTAIN)
    tempo = history.now("tempo", MOST)
    return ahead is None and (tempo < OFTEN.value if _needs_the_best(history) else tempo <= SELDOM.value)


def hurrying(history: History) -> bool:
    """Whether D moves twice or more to each move of G, with a loss that does not ask for it."""
    return history.now("tempo", MOST) >= OFTEN.value and not _needs_the_best(history)


def too_often(history: History) -> tuple[str, str]:
    """The cause and the remedy where one player has too many moves beside the other; empty where neither has."""
    tempo = history.now("tempo", MOST)
    if not crowding(history):
        return (HURRIES.format(tempo), FEWER) if hurrying(history) else ("", "")
    return (NEEDS.format(tempo), FIVE) if _needs_the_best(history) else (CROWDS.format(1 / tempo), EVEN)


def pace(history: History) -> tuple[str, str]:
    """The cause and the remedy where steps tell what is wrong; empty where they do not."""
    if crowding(history) and not any(too_slow(history)):
        return too_often(history)
    if leaping(history) and not lagging(history):
        return LEAPING, CALMER
    slow = too_slow(history)
    return slow if any(slow) else (RUSHES, SLOWER) if rushing(history) else ("", "")


def too_slow(history: History) -> tuple[str, str]:
    """The cause and the remedy where one player moves too little beside the other; empty where neither does."""
    if crawling(history):
        return CRAWLS, FASTER
    times = history.now("step_G", MOST) / history.now("step_D", MOST) if lagging(history) else 0.0
    return (LAGS, QUICKER.format(times)) if times else ("", "")


def _moves(history: History) -> float:
    """Of D for one of G; 1 where that is less, or not told."""
    return max(1.0, history.now("tempo", MOST))


def _needs_the_best(history: History) -> bool:
    return history.facts.get("loss") in MANY_ARE_MEANT
