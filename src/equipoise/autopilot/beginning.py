"""Before the first update: layers whose scale would ruin a run, rates out of proportion to the weights, momentum.

Waiting for the first readings costs about a hundred updates of damage at ten times the rate, hence before.
"""

from __future__ import annotations

import math

import numpy as np
from torch import nn

from equipoise.autopilot.scale import PROBE, WEIGHTED, has_convolutions, is_plain, weights_rms
from equipoise.balancer import Move
from equipoise.data.dataset import Dataset
from equipoise.data.holdout import Ints
from equipoise.initialise import fans
from equipoise.optimisers import Adam
from equipoise.plant import Plant
from equipoise.turn import ROLES, Role

RATE = (0.012, 0.021)  # of Adam's rate over the weights' rms, for runs of 2,250 updates of layers of 64: see `within`
DEAD = 1.5  # what lies this far beyond the edge of a band is let be: the edges are not known better
MEASURED = 0.9  # pace below which a run is much longer than those: from 3,100 updates on
INPUTS, NARROWEST = 64, 0.25  # inputs of a layer with which the bands were measured, and their least part for more
LOOSER = 8  # how far below its band the step of a network may lie that is not plain, or has convolutions
FASTER = 3  # and how far above it that of such a D
MOMENTUM = 0.5  # beta1 above it makes the game rotate
MANY = 400  # times that each distinct sample is shown in a run: then D would learn them by heart
COMMON, OFTEN = 0.01, 20  # share of the data, and times the median, from which a sample with its copies is too common
GAMMA = 0.025  # of R1 there, times the data's variance: .5 on digits, of whom a hundred scored .74 with and .56 without


def pace(updates: float) -> float:
    """How much smaller steps are in a run of so many updates than in one of 2,250, in which the bands were measured.

    The cube root is a rule between runs of ours (steps of .01 of the weights in 2,000 updates) and published long ones
    (some .002 in 800,000, StyleGAN2); it has not been measured in between. Shorter runs take no larger steps.
    """
    return min(1.0, float((2250 / max(updates, 1.0)) ** (1 / 3)))


def breadth(network: nn.Module, role: Role = "D") -> float:
    """How much smaller steps are for layers of more inputs than those that the bands were measured on: 0.25 to 1.

    The changes that a step makes to a layer's weights add up over its inputs, while weights that keep a signal's scale
    fall with the root of their number: the same relative step moves the outputs by sqrt(inputs) (Yang & Hu 2021,
    arXiv:2011.14522). Tried up to four times the width. The mean is over all weights of dense and convolutional layers.
    Not over G's first layer where that is wider: latents are independent, and what a step changes for each adds up to
    their root only. With 128 latents digits ended at .90, .95, .90 where it counted (untouched .99, .97, .98).
    """
    layers = [
        (fans(m)[0], sum(p.numel() for p in m.parameters())) for m in network.modules() if isinstance(m, WEIGHTED)
    ]
    if role == "G" and layers:
        layers[0] = min(layers[0][0], INPUTS), layers[0][1]
    count = sum(weights for _, weights in layers)
    inputs = sum(fan * weights for fan, weights in layers) / count if count else INPUTS
    return min(1.0, max(math.sqrt(INPUTS / inputs), NARROWEST))


def within(
    band: tuple[float, float],
    plant: Plant,
    role: Role,
    length: bool = True,  # whether the run's length counts
) -> tuple[float, float]:
    """A band for this run and player: times the smaller of `pace` and `breadth`.

    Not times their product: the long runs that the first was fitted to were of wide networks. Networks with
    normalisation, residual branches or reparametrised weights set their own scale, and relative steps mean less: the
    width does not count. There, and where the places of an image share weights, steps are called too small only below
    an eighth of the band: the published dcgan takes steps of .002 to .006, and conv16 steps of .0013 to .003 for G;
    brought to .003 and more it ended at .47 instead of .70 (docs/studies/balance.md). Nor is a fast D a fault there:
    conv16 does as well with ten times its rate, and a pair for images of 8x8 digits is at its best above the band.
    """
    network = plant.step.networks[role]
    scale = min(pace(plant.updates) if length else 1.0, breadth(network, role) if is_plain(network) else 1.0)
    if not is_wide(plant, role):
        return band[0] * scale, band[1] * scale
    return band[0] * scale / LOOSER, band[1] * scale * (FASTER if role == "D" else 1)


def let_be(band: tuple[float, float], plant: Plant, role: Role) -> tuple[float, float]:
    """Within what a run's own rate is let be: beyond the edges by `DEAD`; above, a long run counts as a short one.

    `pace` is a guess between two lengths, good enough for a rate that has to be given, and no reason to take one away.
    """
    return within(band, plant, role)[0] / DEAD, within(band, plant, role, length=not is_long(plant))[1] * DEAD


def is_wide(plant: Plant, role: Role) -> bool:
    """Whether so little is known of what steps suit this network that its band is wide."""
    network = plant.step.networks[role]
    return has_convolutions(network) or not is_plain(network)


def is_long(plant: Plant) -> bool:
    """Whether the run is much longer than those that the bands were measured in, so that its edges are a guess."""
    return pace(plant.updates) < MEASURED


def rates(plant: Plant, act: bool) -> list[Move]:
    """Adam's learning rates brought into a band relative to the weights; other optimisers are left alone.

    To the nearer edge, or where that is a guess, in a long run and below a wide band, to the middle of what would have
    been let be. Where a player is too slow, the other one is brought to the middle of a wide band too if it is below:
    the ratio of the two was somebody's choice.
    """
    adam = [role for role in ROLES if isinstance(plant.step.optimisers[role], Adam) and weights_rms(plant, role) > 0]
    now = {role: plant.dials[f"{role}.lr"].base / weights_rms(plant, role) for role in adam}
    fine = {role: let_be(RATE, plant, role) for role in adam}
    slow = [role for role in adam if 0 < now[role] < fine[role][0]]
    made = []
    for role in adam:
        dial, (low, high), (least, most) = plant.dials[f"{role}.lr"], within(RATE, plant, role), fine[role]
        wide, middle = is_wide(plant, role), math.sqrt(least * most)
        drawn = wide and bool(slow) and least <= now[role] < middle
        if now[role] <= 0 or (least <= now[role] <= most and not drawn):
            continue
        guessed = is_long(plant) or (wide and now[role] < middle)
        wanted = dial.base * (middle if guessed else low if now[role] < low else high) / now[role]
        why = f"since {now[role]:.3g} of the weights a step is outside {low:.3g} to {high:.3g}"
        if drawn:
            why = f"since {slow[0]} is too slow, and at {now[role]:.3g} of the weights a step {role} is no faster"
        made.append(Move(0.0, "autopilot: rates", f"{role}.lr", dial.base, wanted, why, act))
        if act:
            dial.set(wanted)
    return made


def momentum(plant: Plant, act: bool) -> list[Move]:
    """beta1 no higher than one half (Gidel et al. 2019, arXiv:1807.04740: momentum adds rotation)."""
    made = []
    for role in ROLES:
        dial = plant.dials.get(f"{role}.beta1")
        if dial is not None and dial.value > MOMENTUM:
            why = f"since momentum above {MOMENTUM} makes the game rotate"
            made.append(Move(0.0, "autopilot: momentum", f"{role}.beta1", dial.value, MOMENTUM, why, act))
            if act:
                dial.set(MOMENTUM / dial.factor)
    return made


def penalty(plant: Plant, act: bool) -> list[Move]:
    """R1 for few data, where the run has the term and no strength for it: D would have the time to learn them by heart.

    The one case it was found on: a hundred digits shown 1,280 times each. It is wrong for many data of which a few
    are copies, so distinct samples count.
    """
    dial, dataset = plant.dials.get("r1.gamma"), plant.batches.dataset
    passes = plant.config.total / len(set(dataset.groups.tolist()))
    if dial is None or dial.base > 0 or passes < MANY:
        return []
    gamma = fitting(plant)
    if act:
        plant.actuator("r1.gamma", 0.0, math.inf).set(gamma)
    why = f"since each of the few samples will be shown {passes:.0f} times, above {MANY}"
    return [Move(0.0, "autopilot: penalty", "r1.gamma", dial.base if not act else 0.0, gamma, why, act)]


def fitting(plant: Plant) -> float:
    """A strength of R1 in proportion to the data's variance, which harmed nothing that it was tried on."""
    rows = plant.step.show(plant.batches.training(PROBE, 0)[0]).double().flatten(1)
    return GAMMA * float(rows.var(0).sum())


def copies(plant: Plant, act: bool) -> list[Move]:
    """Of samples that the data hold again and again, one each is trained on: the copies are weight, not information."""
    spare, kinds = spares(plant.batches.dataset)
    if not len(spare):
        return []
    if act:
        plant.batches.leave_out(spare)
    count = len(plant.batches.dataset)
    why = f"since {len(spare):,} samples are copies of {kinds}: one of each is trained on"
    return [Move(0.0, "autopilot: copies", "data", float(count), float(count - len(spare)), why, act)]


def spares(dataset: Dataset) -> tuple[Ints, int]:
    """Rows that repeat samples which are far more common than others are, and how many samples that are."""
    _, first, member, sizes = np.unique(dataset.groups, return_index=True, return_inverse=True, return_counts=True)
    common = sizes >= max(COMMON * len(member), OFTEN * float(np.median(sizes)))
    again = common[member]
    again[first] = False
    return np.flatnonzero(again), int(common.sum())
