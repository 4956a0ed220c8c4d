"""Known closed loops by name: a signal, a target, a law and an actuator put together as published, or as we propose.

Each is a function of the actuator, for anybody's loop; for our own trainer `equipoise train --controller NAME` finds
the actuator by the name of its dial.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from equipoise.actuator import Actuator, Turnable
from equipoise.balancer import Steering
from equipoise.controllers import PID, DeadBand, Hold, Limit, Ratio, Relay, Sign, Smooth
from equipoise.errors import InputError
from equipoise.loop import Loop
from equipoise.registry import add

if TYPE_CHECKING:
    from equipoise.plant import Plant


def _per(kimg: float) -> float:
    """The rate of a loop that says in how many kimg it does something."""
    if not kimg > 0:
        raise InputError(f"kimg={kimg}: the time that a loop takes is a number of thousands of real samples, above 0")
    return 1 / kimg


def _by_factors(turned: Turnable) -> Turnable:
    """Refuse what is not turned by factors: on a linear scale one move of a quarter leads from limit to limit."""
    for one in getattr(turned, "actuators", (turned,)):
        if (scale := getattr(one, "scale", "log")) != "log":
            raise InputError(
                f"{one.name} is turned by factors here, and its actuator is on a {scale} scale: give it "
                'scale="log" and a lower limit above 0'
            )
    return turned


def ada(
    p: Turnable,  # the augmentation's probability, 0 to below 1
    target: float = 0.6,  # of the mean sign of D on real samples, -1 to 1
    kimg: float = 500.0,  # in which p would go from 0 to 1
) -> Loop:
    """ADA by sign (Karras et al. 2020, arXiv:2006.06676): p follows r_t. Means nothing for relativistic losses."""
    return Loop("sign_real", target, Sign(_per(kimg)), p, name="ada")


def ada_heldout(
    p: Turnable,
    target: float = 0.5,  # of r_v: 0 no memorising, 1 complete
    kimg: float = 500.0,
) -> Loop:
    """ADA by held-out samples (the r_v of arXiv:2006.06676): holds for any loss, free of scale and shift."""
    return Loop("memory", target, Sign(_per(kimg)), p, name="ada-heldout")


def apa(p: Turnable, target: float = 0.6, kimg: float = 500.0) -> Loop:
    """APA (Jiang et al. 2021, arXiv:2111.06849): the share of generated samples shown as real follows r_t."""
    return Loop("sign_real", target, Sign(_per(kimg)), p, name="apa")


def gap_aware(
    rate: Turnable,  # D's learning rate, on a log scale
    tolerance: float = 0.1,  # of the loss around its ideal value, as in the paper
    kimg: float = 5.0,  # in which the rate changes by a factor of e at twice the tolerance
) -> Loop:
    """D's learning rate falls while its loss is below its ideal value and rises above it.

    The gap-aware scheduler (Hazimeh & Ponomareva 2023, arXiv:2302.00089) as a loop that moves the rate at ticks, with a
    dead band where the paper's map is near 1; the map itself, at every step, is the rate `gap-aware`.
    """
    if not 0 < tolerance < 1:
        raise InputError(f"tolerance={tolerance}: give the part of the ideal loss that is let be, between 0 and 1")
    law = Limit(DeadBand(PID(ki=_per(kimg) / tolerance), tolerance), largest=0.25)
    return Loop("loss_D", 1.0, law, _by_factors(rate), 1, name="gap-aware")


def gamma_by_slope(
    gamma: Turnable,  # of a zero-centred penalty, on a log scale
    target: float = 0.6,  # slope of D's logit times the data's rms per coordinate: 0.2 to 0.8 in healthy runs of ours
) -> Loop:
    """The penalty's weight holds the slope of D at generated samples: half of the logarithm of the error at a look.

    The gradient-norm set point is our proposal (no published loop turns gamma); small moves, since the slope answers
    within tens of updates.
    """
    law = Limit(DeadBand(Ratio(0.5), math.log(1.3)), largest=0.25)
    return Loop("slope_fake", target, law, _by_factors(gamma), 1, name="gamma-by-slope", log=True)


def gamma_by_swing(
    gamma: Turnable,
    target: float = 0.3,  # height of the losses' first repeat, 0 to 1
    kimg: float = 20.0,  # in which gamma doubles while they swing
) -> Loop:
    """More penalty while the losses swing: it damps the rotation of the game (Mescheder et al. 2018, arXiv:1801.04406).

    That zero-centred penalties damp is theirs; to turn them by the autocorrelation is our proposal. It rises once the
    swing is 0.2 above the target, until that is reached again; all other time it falls, by half in four times `kimg`,
    at last to the actuator's lower limit, which is to be the least penalty that you want.
    """
    law = Relay(on=0.2, off=0.0, rise=math.log(2) * _per(kimg), fall=math.log(2) * _per(4 * kimg))
    return Loop("swing", target, law, _by_factors(gamma), 1, name="gamma-by-swing")


def rates_by_wins(
    ratio: Turnable,  # D's learning rate (or its ratio to G's), on a log scale
    target: float = 0.7,  # share of pairs that D tells apart
    band: float = 0.1,  # around it, within which nothing moves
) -> Loop:
    """D's learning rate falls while it wins too many pairs, and rises while it wins too few. Our proposal.

    A blind discriminator wins half of the pairs, and so does one at the optimum: its rate then rises in vain.
    """
    law = Limit(Smooth(DeadBand(PID(ki=0.1), band), kimg=4.0), largest=0.1)
    return Loop("win_rate", target, law, _by_factors(ratio), -1, name="rates-by-wins")


def steps_by_gap(
    steps: Turnable,  # discriminator moves per generator move, on a log scale
    target: float = 1.5,  # logit gap in pooled standard deviations
) -> Loop:
    """Fewer moves of D while it is far ahead (as the accuracy gate of arXiv:1610.07584 is, but gradual).

    More while it is not: a D that is blind, and one at the optimum, see no gap, and get all that the actuator gives.
    """
    law = Hold(Limit(DeadBand(Ratio(0.5), math.log(1.5)), largest=math.log(1.5)), kimg=4.0)
    return Loop("gap", target, law, _by_factors(steps), -1, name="steps-by-gap", log=True)


def lecam_by_memory(
    weight: Turnable,  # of the term lecam, from 0
    target: float = 0.3,
    kimg: float = 100.0,  # in which it would rise to 1
) -> Loop:
    """LeCam's weight (arXiv:2104.03310) rises while D memorises and falls back while it does not. Our proposal."""
    return Loop("memory", target, DeadBand(Sign(_per(kimg)), 0.05), weight, name="lecam-by-memory")


# ------------------------------------------------------------------------------------- for our own trainer


def _offered(
    name: str, loop: Callable[..., Loop], dial: str, limits: tuple[float, float], scale: Any, rest: float, **facts: Any
) -> None:
    """Register a loop for `--controller`; `rest` is where its dial stands when the recipe does not have it.

    Limits of learning rates are factors of the rate that the recipe has.
    """

    def made(plant: Plant) -> Sequence[Steering]:
        unit = plant.dials[dial].base if dial.endswith(".lr") else 1.0
        return [loop(plant.actuator(dial, limits[0] * unit, limits[1] * unit, scale, rest=rest))]

    made.__doc__ = loop.__doc__
    brings = {} if dial.endswith((".lr", ".steps")) else {dial: rest}
    reads = loop(Actuator(dial, lambda: 1.0, lambda position: None, 0.5, 2.0, scale)).signal
    add("controller", name, made, turns=dial, reads=reads, wants=brings, **facts)


_offered("ada", ada, "ada.p", (0.0, 0.85), "linear", 0.0, paper="arXiv:2006.06676",
         claim="augments as much as it takes, by the sign of D on real samples")  # fmt: skip
_offered("ada-heldout", ada_heldout, "ada.p", (0.0, 0.85), "linear", 0.0, paper="arXiv:2006.06676",
         claim="augments as much as it takes, by held-out samples, for any loss")  # fmt: skip
_offered("apa", apa, "apa.p", (0.0, 0.5), "linear", 0.0, paper="arXiv:2111.06849",
         claim="shows generated samples as real, as many as it takes")  # fmt: skip
_offered("gap-aware-loop", gap_aware, "D.lr", (0.1, 2.0), "log", 1e-3, paper="arXiv:2302.00089",
         claim="slows a D that wins, hurries one that loses, at ticks")  # fmt: skip
_offered("gamma-by-slope", gamma_by_slope, "r1.gamma", (1e-3, 1e3), "log", 0.1, paper="",
         claim="holds the slope of D at generated samples by the penalty's weight")  # fmt: skip
_offered("gamma-by-swing", gamma_by_swing, "r1.gamma", (1e-3, 1e3), "log", 0.1, paper="arXiv:1801.04406",
         claim="more penalty while the losses swing")  # fmt: skip
_offered("rates-by-wins", rates_by_wins, "D.lr", (0.1, 4.0), "log", 1e-3, paper="",
         claim="holds the share of pairs that D tells apart by its learning rate")  # fmt: skip
_offered("steps-by-gap", steps_by_gap, "D.steps", (0.25, 8.0), "log", 1.0, paper="",
         claim="fewer moves of D while it is far ahead")  # fmt: skip
_offered("lecam-by-memory", lecam_by_memory, "lecam.weight", (0.0, 1.0), "linear", 0.0, paper="arXiv:2104.03310",
         claim="pulls logits together while D memorises")  # fmt: skip


def _autopilot(plant: Plant, *without: str) -> Sequence[Steering]:
    """Sets the beginning right, holds the steps, keeps healthy states, hands over the best generator."""
    from equipoise.autopilot import Autopilot  # which needs PyTorch

    return [Autopilot(plant, without)]


add("controller", "autopilot", _autopilot, turns="G.lr, D.lr, D.steps", wants={}, paper="",
    claim="several readings, few reversible moves, snapshots: docs/studies/balance.md")  # fmt: skip
