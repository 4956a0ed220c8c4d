"""What the size of steps says of a run that is not well: who moves too little, too much, or leaps about."""

from __future__ import annotations

from equipoise.diagnosis.history import History
from equipoise.diagnosis.limits import FAST, LEAPS, NO_STEP, SKIPS, SLOW, VANISHED
from equipoise.diagnosis.signs import MOST, against_past, held, won

CRAWLS, FASTER = "G moves too little beside D: its learning rate is too low", "raise G's learning rate (G.lr)"
LAGS, QUICKER = "D moves too little beside G: its learning rate is too low", "raise D's learning rate (D.lr)"
RUSHES, SLOWER = "G moves much faster than D can follow", "lower G's learning rate (G.lr)"
LEAPING = "the losses leap about: rates are too high, or nothing limits D's slope"
CALMER = "lower both learning rates, set beta1 to 0, and penalise D's slope at real and generated samples (r1, r2)"


def crawling(history: History) -> bool:
    """Whether G's steps are too small to follow, and far below D's; for a D that has won, below those it began with.

    A loss that is 0 leaves D nothing to move by. Updates that are refused are no steps, and steps of 0 no small ones.
    """
    step_g = history.now("step_G", MOST)
    if step_g < NO_STEP.value or against_past(history, "gradient_G", "below", VANISHED):
        return False  # see dead-run; and gradient-vanishes, where no rate would help
    step_d = history.early("step_D") if won(history) else history.now("step_D", MOST)
    return step_g < SLOW.value and step_g < step_d / 3 and held(history, "skipped", "above", SKIPS) is None


def lagging(history: History) -> bool:
    """Whether D's steps are too small to follow, and far below G's; not where it has won and has no more to learn.

    Of the recorded runs six of 39 sick ones are so, among them all five of a D at a tenth of its rate that failed, and
    none of 107 healthy ones.
    """
    step_d = history.now("step_D", MOST)
    slow = NO_STEP.value <= step_d < SLOW.value and step_d < history.now("step_G", MOST) / 3
    return slow and won(history) is None and held(history, "skipped", "above", SKIPS) is None


def rushing(history: History) -> bool:
    """Whether G's steps are far larger than D's; where D has won, whether they were so at first, and large."""
    if won(history) is None:
        return history.now("step_G") > 3 * history.now("step_D")
    return history.early("step_G") > max(FAST.value, 3 * history.early("step_D"))


def leaping(history: History) -> bool:
    """Whether D's loss leaves its course by more than half of its ideal value.

    So it is in eight of the 39 sick recorded runs (rates ten times too high, an initialisation too large, a D too
    small); in none of 107 healthy ones does it by more than .11.
    """
    return history.has("loss_D") and held(history, "swing_size", "above", LEAPS) is not None


def pace(history: History) -> tuple[str, str]:
    """The cause and the remedy where steps tell what is wrong; empty where they do not."""
    if leaping(history) and not lagging(history):
        return LEAPING, CALMER
    slow = too_slow(history)
    return slow if any(slow) else (RUSHES, SLOWER) if rushing(history) else ("", "")


def too_slow(history: History) -> tuple[str, str]:
    """The cause and the remedy where one player moves too little beside the other; empty where neither does."""
    return (CRAWLS, FASTER) if crawling(history) else (LAGS, QUICKER) if lagging(history) else ("", "")
