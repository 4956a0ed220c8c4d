"""Readings put in relation, so that one number means the same for every loss and every scale of logits."""

from __future__ import annotations

import math

from equipoise.sensors import Reading, pooled_gap


def derive(
    readings: dict[str, Reading],
    ideal: tuple[float, float | None],  # the losses' values at the optimum, D and G
    weights: dict[str, float],  # norm of each player's parameters
) -> dict[str, float]:
    """The balance in a few scale-free numbers; what cannot be told from these readings is left out.

    `loss_D` is D's loss over its ideal value (1 is balance, or a blind discriminator). `win_rate` is the share of pairs
    D tells apart (0.5 is balance). `gap` is the distance of real from fake logits in pooled standard deviations.
    `memory` is the part of that distance that held-out images lose against training images: 0 none, 1 complete
    memorising (r_v of Karras et al. 2020, arXiv:2006.06676), told only where the gap is above 0.3. `step_D` and
    `step_G` are the relative sizes of a step, |dw| / |w|.
    """
    found: dict[str, float] = {}
    if ideal[0] and "D.loss" in readings:
        found["loss_D"] = readings["D.loss"].mean / ideal[0]
    if "D.win_rate" in readings:
        found["win_rate"] = readings["D.win_rate"].mean
    if "D.real_score" in readings and "D.fake_score" in readings:
        real, fake = readings["D.real_score"], readings["D.fake_score"]
        found["gap"] = pooled_gap(real, fake)
        heldout = readings.get("D.heldout_score")
        if heldout is not None and found["gap"] > 0.3:
            found["memory"] = (readings["D.training_score"].mean - heldout.mean) / (real.mean - fake.mean)
    for role, norm in weights.items():
        if f"{role}.update" in readings and norm > 0:
            found[f"step_{role}"] = readings[f"{role}.update"].mean / norm
    return {name: value for name, value in found.items() if math.isfinite(value)}
