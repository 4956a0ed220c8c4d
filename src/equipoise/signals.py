"""Signals: readings put in relation, so that one number means the same for every loss and every scale of logits.

Rules, controllers, recordings and pages know a run by these names only. Plain numbers, no PyTorch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from equipoise.readings import Reading, pooled_gap


class Signal(NamedTuple):
    """What a signal means."""

    meaning: str
    balance: str  # how it reads where the two are matched


SIGNALS: dict[str, Signal] = {
    # --- what the discriminator says
    "loss_D": Signal("D's loss over its ideal value", "1, which a blind discriminator shows too"),
    "loss_G": Signal("G's loss over its ideal value, for losses whose ideal value is not 0", "about 1"),
    "win_rate": Signal("share of pairs in which D scores the real sample higher", "0.5 to 0.8"),
    "auc": Signal("area under D's ROC curve, real against generated", "0.5 to 0.9"),
    "gap": Signal("distance of real from fake logits in pooled standard deviations", "below 2"),
    "logit_scale": Signal("standard deviation of D's logits over real and generated samples", "steady"),
    "sign_real": Signal("mean sign of the logits of real samples (r_t of arXiv:2006.06676)", "below 0.6"),
    "memory": Signal("part of that distance that held-out samples lose (r_v of arXiv:2006.06676)", "0 to 0.3"),
    "memory_noise": Signal("standard error of `memory`, were the held-out samples always the same few", "below 0.1"),
    # --- how the two move
    "step_D": Signal("size of D's step relative to its weights", "steady, near step_G"),
    "step_G": Signal("size of G's step relative to its weights", "steady, near step_D"),
    "tempo": Signal("D's updates for one of G's", "1; 5 for a Wasserstein loss"),
    "gradient_D": Signal("norm of D's gradient", "steady"),
    "gradient_G": Signal("norm of G's gradient", "steady"),
    "heading_D": Signal("cosine between D's gradient and the average of earlier ones that Adam keeps", "below 0.5"),
    "heading_G": Signal("the same of G; near 1 its steps could be larger", "below 0.5"),
    "pull": Signal("norm per sample of the gradient of G's loss at G's output", "steady"),
    "agreement": Signal("cosine between the pull on different samples of a batch, mean over pairs", "below 0.5"),
    "slope_real": Signal("norm of D's input gradient at real samples, times the data's rms per coordinate", "0.2 to 1"),
    "slope_fake": Signal("the same at generated samples", "0.2 to 1"),
    "spectrum_D": Signal("largest singular value of any of D's layers", "steady"),
    "spectrum_G": Signal("largest singular value of any of G's layers", "steady"),
    "swing": Signal("height of the first repeat of the losses' autocorrelation, 0 to 1", "below 0.5"),
    "swing_size": Signal("standard deviation of D's detrended loss over its ideal value", "below 0.2"),
    "swing_kimg": Signal("period of that repeat in thousands of real samples", "none"),
    "lag": Signal("part of a period by which G's loss trails D's", "no fixed one; a half in the Dirac-GAN"),
    "skipped": Signal("share of the updates that were refused since a value was not finite", "0"),
    "nonfinite": Signal("share of the values read that were not finite", "0"),
    # --- what comes of it
    "diversity": Signal("mean distance between samples over that between training ones", "0.9 to 1.1"),
    "energy": Signal("energy distance of samples to held-out ones less its floor, in units of the data", "falls to 0"),
    "frechet": Signal("Fréchet distance of samples to real ones in some features", "falls"),
    "precision": Signal("share of samples in training samples' balls (arXiv:2002.09797, k=5)", "as real against real"),
    "coverage": Signal("share of training samples' balls with a generated one inside (arXiv:2002.09797)", "rising"),
    "recall": Signal("share of held-out samples within the generated ones' balls", "rising"),
    "nearest": Signal("median distance of samples to training data over that of held-out samples", "1 or above"),
    "churn": Signal("distance of the same latents' samples between two looks, over that between latents", "falling"),
    "duality_gap": Signal("what D and G could each still gain from here alone (arXiv:1811.05512)", "falls to 0"),
    # --- where G is held by another loss as well
    "adversarial_share": Signal("share of the adversarial part in G's gradient where its losses meet", "steady, not 0"),
    "reconstruction": Signal("the loss that holds G, over its value when the discriminator started", "not rising"),
    # --- what is shown to D
    "augmentation": Signal("probability or strength of D's augmentation", "as low as the data allow"),
    "leak": Signal("how much likelier samples are called augmented than real ones are, 0 to 1", "0"),
}  # fmt: skip


# What signals cannot lie outside of, so that no loop can hold them there.
SPANS = dict.fromkeys(
    ("win_rate", "auc", "memory", "swing", "skipped", "nonfinite", "precision", "coverage", "recall", "leak",
     "adversarial_share"), (0.0, 1.0),
) | dict.fromkeys(("sign_real", "heading_D", "heading_G", "agreement"), (-1.0, 1.0))  # fmt: skip


def derive(
    readings: Mapping[str, Reading],
    ideal: tuple[float, float | None],  # the losses' values at the optimum, D and G
    weights: Mapping[str, float],  # norm of each player's parameters
) -> dict[str, float]:
    """The signals that these readings tell; what cannot be told is left out.

    `memory` is told only where the gap is above 0.3: below, both of its parts are noise. How many held-out samples a
    loop has is not known, but how many it shows at once: they may be the same ones each time, so that a window of many
    updates tells no more than one.
    """
    found: dict[str, float] = {}
    for role, value in zip("DG", ideal, strict=True):
        if value and f"{role}.loss" in readings:
            found[f"loss_{role}"] = readings[f"{role}.loss"].mean / value
        if f"{role}.gradient" in readings:
            found[f"gradient_{role}"] = readings[f"{role}.gradient"].mean
        if f"{role}.heading" in readings:
            found[f"heading_{role}"] = readings[f"{role}.heading"].mean
        if f"{role}.update" in readings and weights.get(role, 0.0) > 0:
            found[f"step_{role}"] = readings[f"{role}.update"].mean / weights[role]
    for name in ("D.win_rate", "D.auc", "D.sign_real", "G.pull", "G.agreement"):
        if name in readings:
            found[name[2:]] = readings[name].mean
    if "D.real_score" in readings and "D.fake_score" in readings:
        real, fake = readings["D.real_score"], readings["D.fake_score"]
        found["gap"] = pooled_gap(real, fake)
        found["logit_scale"] = math.sqrt(((real.mean - fake.mean) / 2) ** 2 + (real.std**2 + fake.std**2) / 2)
        heldout = readings.get("D.heldout_score")
        if heldout is not None and found["gap"] > 0.3:
            training = readings.get("D.training_score", real)
            found["memory"] = (training.mean - heldout.mean) / (real.mean - fake.mean)
            if "D.heldout_size" in readings:
                each = max(training.std, heldout.std) / (real.mean - fake.mean)
                found["memory_noise"] = each * math.sqrt(1 / readings["D.heldout_size"].mean + 1 / training.n)
    moves = [readings[f"{role}.skipped"].n for role in "DG" if f"{role}.skipped" in readings]
    if len(moves) == 2 and all(moves):
        found["tempo"] = moves[0] / moves[1]
    found |= _lost(readings)
    return {name: value for name, value in found.items() if math.isfinite(value)}


def _lost(readings: Mapping[str, Reading]) -> dict[str, float]:
    """Shares of updates refused and of values that were not finite."""
    skips = [readings[f"{role}.skipped"].mean for role in "DG" if f"{role}.skipped" in readings]
    seen = sum(r.n + r.nonfinite for r in readings.values())
    found = {"skipped": max(skips)} if skips else {}
    return found | ({"nonfinite": sum(r.nonfinite for r in readings.values()) / seen} if seen else {})
