"""The thresholds of the rules, each with its source: published, or set by us on runs that we made."""

from __future__ import annotations

from typing import NamedTuple

RING = "set on the recorded runs of ring5, docs/diagnose.md"
TRIED = "set on earlier small runs of ours and tried on recorded ones, docs/diagnose.md"
CALM = "set on runs of our examples, docs/own_loop.md"
SEEN = "set between recorded runs of ours, and runs on CIFAR-10, in view"
SMALL = "seen in small runs of ours, not tried"
CHOSEN = "chosen by us, not calibrated"


class Limit(NamedTuple):
    """A value that a reading is held against."""

    value: float
    source: str


# --- what comes of it
FAR = Limit(0.15, TRIED)  # energy: samples are far from the data
NEAR = Limit(0.05, TRIED)  # energy: they are close
STRAY = Limit(0.4, RING)  # precision below, late: most samples lie where there are no data
NARROW = Limit(0.7, TRIED)  # diversity below: modes are missing
SPREADS = Limit(1.3, CHOSEN)  # diversity over that of the middle third of the looks: samples are still spreading
COLLAPSED = Limit(0.4, TRIED)  # diversity below: hardly any is left
ALIKE = Limit(0.05, CHOSEN)  # diversity below, ever since the first updates: samples never differed
FULL = (Limit(0.8, TRIED), Limit(1.25, TRIED))  # diversity of samples that are well spread
BARE = Limit(0.25, CHOSEN)  # coverage and recall, both below: most of the data has no sample near it
LOST = Limit(0.5, CHOSEN)  # coverage or recall below this share of its own best
WORSE = Limit(1.05, CHOSEN)  # a distance over its own best, three looks in a row
SAME = Limit(0.9, CHOSEN)  # the best frechet over that of the beginning: samples have come no nearer
IDLE = Limit(0.3, CHOSEN)  # share of the run without a new best

# --- the two players
AHEAD = Limit(0.5, TRIED)  # loss_D below: D is far ahead
SATURATED = Limit(0.1, TRIED)  # loss_D below: D hardly errs, and G learns from what is left of its gradient
CERTAIN = Limit(0.95, CHOSEN)  # win_rate or auc above: D is hardly ever wrong
BLIND = Limit(0.9, TRIED)  # loss_D above, with bad samples: D does not see what is wrong
FOOLED = Limit(1.15, SMALL)  # loss_D above: D errs more than one that guesses
BURST = Limit(100.0, CHOSEN)  # loss_D above: no error of D's, its logits have run away
UNSURE = Limit(0.6, CHOSEN)  # win_rate below, where the loss is not told: D guesses
FLAT = Limit(0.15, SMALL)  # slope below: D says the same of everything
SHARP = Limit(2.0, SMALL)  # slope: D changes by more than this over the data's own spread
FAST = Limit(0.02, SMALL)  # steps relative to weights, of networks of linear layers
FIRST = Limit(0.04, SEEN)  # the same of D at the first look: recorded healthy runs up to .030, rates x10 from .049
SLOW = Limit(0.002, SMALL)  # the same, too small to follow
OFTEN = Limit(2.0, CHOSEN)  # tempo at or above: D moves often for each move of G; a cause, and no finding
SELDOM = Limit(0.5, CHOSEN)  # tempo at or below, or below `OFTEN` with a Wasserstein loss: D moves too seldom
AGREES = Limit(0.5, SMALL)  # heading_D above, of a D with too few or too small steps: it would go on as it went
STRAIGHT = Limit(0.9, CALM)  # heading_G above, at 18 of 20 looks, with steps below SLOW: it could go faster

# --- the data
MEMORY = Limit(
    0.5, "target of r_v in the TensorFlow code of arXiv:2006.06676"
)  # half of the gap is lost on unseen data
HEAVY = Limit(0.8, CHOSEN)  # memory above: a warning even where samples are good
LONG = 0.3  # share of the looks whose median counts there: it is a difference of differences, and noisy
SURE = 2.0  # standard errors of it, where held-out samples are few, by which it has to be above
SIGNS = Limit(0.6, "arXiv:2006.06676, the target of r_t")  # sign_real above
ADA = "0.6, where ADA holds it, and its spread there; seen in two public logs, docs/diagnose.md"
HELD = Limit(0.7, ADA)  # sign_real above, while ADA turns its strength
COPIES = Limit(0.8, CHOSEN)  # nearest below: samples lie closer to training data than held-out ones do
LEAKED = "set on two runs of ours, docs/sensors.md: .02 where nothing leaked, .80 where quarter turns did"
LEAKS = Limit(0.4, LEAKED)  # leak above
HIGH_P = Limit(0.8, "arXiv:2006.06676: transforms are safe up to about 0.8")  # augmentation above

# --- the motion
SWINGS = Limit(0.5, CHOSEN)  # swing above: the losses repeat themselves
SWING_SIZE = Limit(0.2, CHOSEN)  # and by more than this, over the ideal loss
LEAPS = Limit(0.5, "set on all recorded runs, docs/diagnose.md")  # swing_size above: a cause, and no finding
VANISHED = Limit(0.01, CHOSEN)  # of its own early median
EXPLODED = Limit(10.0, CHOSEN)  # times its own early median
DOUBLED = Limit(10.0, CHOSEN)  # times the early singular value
SKIPS = Limit(0.01, CHOSEN)  # share of updates refused
ALL = Limit(0.99, CHOSEN)  # the same: as good as all
GONE = Limit(0.5, CHOSEN)  # nonfinite above: most values are none any more, so that no other reading counts
NO_STEP = Limit(1e-7, CHOSEN)  # step: below the rounding of single precision
NO_GRADIENT = Limit(1e-12, CHOSEN)  # gradient: nothing reaches a player, though decay may still move it
STILL = Limit(1e-4, CHOSEN)  # spread of loss_D over its ideal: nothing moves
RISES = Limit(1.2, CHOSEN)  # reconstruction over its own best
STALLED = Limit(0.95, CHOSEN)  # reconstruction above, since D came in, where the adversarial part outweighs it: a note
GOOD_ONCE = Limit(0.5, CHOSEN)  # a distance's best over its beginning: samples were good before they got worse
OUTWEIGHS = Limit(0.5, CHOSEN)  # adversarial_share: more of G's gradient than the rest
NEARLY = Limit(0.9, CHOSEN)  # the same: nearly all of it
