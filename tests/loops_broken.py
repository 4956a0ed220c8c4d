"""Loops with one fault each, written before the check that must find it and not edited since.

`BROKEN` holds them by name, with the fact that must be reported and what the finding must name. A line with the mark
must be named too.
"""

from __future__ import annotations

import copy
import math

import torch
from torch import nn
from torch.nn import functional as F

from loops_common import (
    BATCH,
    LATENT,
    Broken,
    Wiring,
    adam,
    d_loss,
    g_loss,
    mlp,
    noise,
    players,
    reals,
    with_fault,
)

BROKEN: dict[str, Broken] = {}
broken = with_fault(BROKEN)


# ------------------------------------------------------------------------------------------------ stale gradients


@broken("stale", "D", "0.weight")
def gradients_of_d_never_cleared(wiring: Wiring) -> list[nn.Module]:
    """D's optimiser has no zero_grad: from the second step on, the first step's gradient is used again."""
    G, D = players()
    opt_G, opt_D = adam(G), adam(D)
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            loss = d_loss(D(real), D(G(noise()).detach()))
            loss.backward()  # <- here
            opt_D.step()

            opt_G.zero_grad()
            g_loss(D(G(noise()))).backward()
            opt_G.step()
    return [G, D]


@broken("stale", "G", "0.weight")
def fakes_of_d_not_detached(wiring: Wiring) -> list[nn.Module]:
    """D's backward runs on into G, nothing is cleared between the turns, and G steps along D's loss as well."""
    G, D = players()
    opt_G, opt_D = adam(G), adam(D)
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            opt_G.zero_grad()
            opt_D.zero_grad()
            fake = G(noise())
            d_loss(D(real), D(fake)).backward(retain_graph=True)  # <- here
            opt_D.step()
            g_loss(D(fake.clone())).backward()
            opt_G.step()
    return [G, D]


@broken("stale", "D", "0.weight")
def generators_gradient_left_in_d(wiring: Wiring) -> list[nn.Module]:
    """G moves first; its backward fills D's gradients too, and D's turn adds to them instead of clearing."""
    G, D = players()
    opt_G, opt_D = adam(G), adam(D)
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            opt_G.zero_grad()
            opt_D.zero_grad()
            fake = G(noise())
            g_loss(D(fake)).backward()  # <- here
            opt_G.step()
            d_loss(D(real), D(fake.detach())).backward()
            opt_D.step()
    return [G, D]


@broken("stale")
def both_losses_in_one_backward(wiring: Wiring) -> list[nn.Module]:
    """The sum of both losses goes backward once and both optimisers step: each player descends the other's loss too."""
    G, D = players()
    opt_G, opt_D = adam(G), adam(D)
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            opt_G.zero_grad()
            opt_D.zero_grad()
            fake = G(noise())
            total = d_loss(D(real), D(fake.detach())) + g_loss(D(fake))
            total.backward()  # <- here
            opt_G.step()
            opt_D.step()
    return [G, D]


# ------------------------------------------------------------------------------------------------ steps


@broken("own", "D")
def cleared_between_backward_and_step(wiring: Wiring) -> list[nn.Module]:
    """zero_grad stands between D's backward and D's step, so the step has nothing to go by."""
    G, D = players()
    opt_G, opt_D = adam(G), adam(D)
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            d_loss(D(real), D(G(noise()).detach())).backward()
            opt_D.zero_grad()  # <- here
            opt_D.step()

            opt_G.zero_grad()
            g_loss(D(G(noise()))).backward()
            opt_G.step()
    return [G, D]


@broken("own", "D")
def optimiser_of_d_never_steps(wiring: Wiring) -> list[nn.Module]:
    """G's optimiser steps in both turns: a line copied and not changed."""
    G, D = players()
    opt_G, opt_D = adam(G), adam(D)
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            opt_D.zero_grad()
            d_loss(D(real), D(G(noise()).detach())).backward()
            opt_G.step()

            opt_G.zero_grad()
            g_loss(D(G(noise()))).backward()
            opt_G.step()
    return [G, D]


@broken("own", "D", "G", "0.weight")
def step_of_d_moves_g_too(wiring: Wiring) -> list[nn.Module]:
    """D's optimiser was made with both networks' parameters, and D's loss reaches G."""
    G, D = players()
    opt_G = adam(G)
    opt_D = torch.optim.Adam([*D.parameters(), *G.parameters()], lr=1e-2)
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            opt_D.zero_grad()
            d_loss(D(real), D(G(noise()))).backward()
            opt_D.step()  # <- here

            opt_G.zero_grad()
            g_loss(D(G(noise()))).backward()
            opt_G.step()
    return [G, D]


@broken("reached", "D", "0.weight")
def d_left_frozen(wiring: Wiring) -> list[nn.Module]:
    """D is frozen for G's turn and never thawed; real images ask for a gradient, so backward does not complain."""
    G, D = players()
    opt_G, opt_D = adam(G), adam(D)
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            opt_D.zero_grad()
            d_loss(D(real.requires_grad_()), D(G(noise()).detach())).backward()
            opt_D.step()

            D.requires_grad_(False)
            opt_G.zero_grad()
            g_loss(D(G(noise()))).backward()
            opt_G.step()
    return [G, D]


# ------------------------------------------------------------------------------------------------ optimisers


@broken("optimisers", "D", "0.weight", "opt_D")
def optimiser_of_d_made_with_g(wiring: Wiring) -> list[nn.Module]:
    """Both optimisers hold G's parameters; D never moves."""
    G, D = players()
    opt_G, opt_D = adam(G), adam(G)
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            D.zero_grad()
            d_loss(D(real), D(G(noise()).detach())).backward()
            opt_D.step()

            opt_G.zero_grad()
            g_loss(D(G(noise()))).backward()
            opt_G.step()
    return [G, D]


@broken("optimisers", "opt_G", "opt_D", "0.weight")
def backbone_in_two_optimisers(wiring: Wiring) -> list[nn.Module]:
    """A layer that both networks use is moved by both optimisers."""
    torch.manual_seed(0)
    shared = nn.Sequential(nn.Linear(2, 2), nn.Tanh())
    G, D = nn.Sequential(mlp(LATENT, 2), shared), nn.Sequential(shared, mlp(2, 1))
    opt_G, opt_D = adam(G), adam(D)
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            opt_D.zero_grad()
            d_loss(D(real), D(G(noise()).detach())).backward()
            opt_D.step()

            opt_G.zero_grad()
            g_loss(D(G(noise()))).backward()
            opt_G.step()
    return [G, D]


@broken("optimisers", "D", "0.weight", "opt_D")
def network_replaced_after_its_optimiser(wiring: Wiring) -> list[nn.Module]:
    """D is copied (as loading or wrapping code does) after its optimiser was made: the optimiser moves the old one."""
    G, D = players()
    opt_G, opt_D = adam(G), adam(D)
    D = copy.deepcopy(D)
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            opt_D.zero_grad()
            d_loss(D(real), D(G(noise()).detach())).backward()
            opt_D.step()

            opt_G.zero_grad()
            g_loss(D(G(noise()))).backward()
            opt_G.step()
    return [G, D]


# ------------------------------------------------------------------------------------------------ G's own gradient


@broken("adversarial", "G")
def fakes_of_g_detached(wiring: Wiring) -> list[nn.Module]:
    """The detach of D's turn was copied into G's turn; a pixel loss keeps G moving, so nothing seems amiss."""
    G, D = players()
    opt_G, opt_D = adam(G), adam(D)
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            fake = G(noise())
            opt_D.zero_grad()
            d_loss(D(real), D(fake.detach())).backward()
            opt_D.step()

            opt_G.zero_grad()
            logits = D(fake.detach())  # <- here
            loss = g_loss(logits) + F.l1_loss(fake, real)
            loss.backward()
            opt_G.step()
    return [G, D]


@broken("adversarial", "G")
def fakes_of_g_without_gradient(wiring: Wiring) -> list[nn.Module]:
    """One batch of fakes, made without gradients for D's turn, serves G's turn too."""
    G, D = players()
    opt_G, opt_D = adam(G), adam(D)
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            with torch.no_grad():
                fake = G(noise())  # <- here
            opt_D.zero_grad()
            d_loss(D(real), D(fake)).backward()
            opt_D.step()

            opt_G.zero_grad()
            g_loss(D(fake)).backward()
            opt_G.step()
    return [G, D]


class Halved(nn.Module):
    """A generator whose first half is cut off by a detach in its own forward."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(LATENT, 8), nn.Linear(8, 2)

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        hidden = F.leaky_relu(self.first(latents))
        return self.second(hidden.detach())


@broken("reached", "G", "first.weight", "detach")
def detach_inside_g(wiring: Wiring) -> list[nn.Module]:
    """G's forward detaches half way, so its first layer never learns."""
    G, D = Halved(), players()[1]
    opt_G, opt_D = adam(G), adam(D)
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            opt_D.zero_grad()
            d_loss(D(real), D(G(noise()).detach())).backward()
            opt_D.step()

            opt_G.zero_grad()
            g_loss(D(G(noise()))).backward()
            opt_G.step()
    return [G, D]


@broken("direction", "G")
def g_helps_d(wiring: Wiring) -> list[nn.Module]:
    """G minimises the loss that D has on fakes: the two players pull the same way."""
    G, D = players()
    opt_G, opt_D = adam(G), adam(D)
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            opt_D.zero_grad()
            d_loss(D(real), D(G(noise()).detach())).backward()
            opt_D.step()

            opt_G.zero_grad()
            logits = D(G(noise()))
            F.binary_cross_entropy_with_logits(logits, torch.zeros_like(logits)).backward()  # <- here
            opt_G.step()
    return [G, D]


# ------------------------------------------------------------------------------------------------ terms


@broken("terms", "G")
def pixel_loss_read_to_the_host(wiring: Wiring) -> list[nn.Module]:
    """The pixel loss joins as a Python number: the printed loss has it, the gradient does not."""
    G, D = players()
    opt_G, opt_D = adam(G), adam(D)
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            opt_D.zero_grad()
            d_loss(D(real), D(G(noise()).detach())).backward()
            opt_D.step()

            opt_G.zero_grad()
            fake = G(noise())
            pixel = F.l1_loss(fake, real).item()
            loss = g_loss(D(fake)) + 10 * pixel  # <- here
            loss.backward()
            opt_G.step()
    return [G, D]


@broken("terms", "D")
def penalty_without_a_graph(wiring: Wiring) -> list[nn.Module]:
    """WGAN-GP whose gradient is taken without create_graph: the penalty is a number that D cannot lower."""
    G, D = players()
    opt_G, opt_D = adam(G), adam(D)
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            opt_D.zero_grad()
            fake = G(noise()).detach()
            share = torch.rand(BATCH, 1)
            between = (share * real + (1 - share) * fake).requires_grad_()
            (gradient,) = torch.autograd.grad(D(between).sum(), between)  # <- here
            penalty = ((gradient.norm(dim=1) - 1) ** 2).mean()
            loss = D(fake).mean() - D(real).mean() + 10 * penalty
            loss.backward()
            opt_D.step()

            opt_G.zero_grad()
            (-D(G(noise())).mean()).backward()
            opt_G.step()
    return [G, D]


# ------------------------------------------------------------------------------------------------ modes and averages


@broken("modes", "D", "eval")
def d_left_in_eval(wiring: Wiring) -> list[nn.Module]:
    """D was set to eval for a validation before the loop and trains with its batch normalisation at a standstill."""
    G, D = players()[0], mlp(2, 1, nn.BatchNorm1d(8))
    opt_G, opt_D = adam(G), adam(D)
    D.eval()
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            opt_D.zero_grad()
            real_logits = D(real)  # <- here
            d_loss(real_logits, D(G(noise()).detach())).backward()
            opt_D.step()

            opt_G.zero_grad()
            g_loss(D(G(noise()))).backward()
            opt_G.step()
    return [G, D]


@broken("ema", "0.weight")
def average_shares_the_weights(wiring: Wiring) -> list[nn.Module]:
    """A shallow copy: the averaged network is the live one under another name."""
    G, D = players()
    average = copy.copy(G)
    opt_G, opt_D = adam(G), adam(D)
    with wiring(G, D, opt_G, opt_D, ema=average):
        for real in reals():
            opt_D.zero_grad()
            d_loss(D(real), D(G(noise()).detach())).backward()
            opt_D.step()

            opt_G.zero_grad()
            g_loss(D(G(noise()))).backward()
            opt_G.step()
            with torch.no_grad():
                for averaged, own in zip(average.parameters(), G.parameters(), strict=True):
                    averaged.lerp_(own, 0.01)
    return [G, D, average]


@broken("ema", "0.weight")
def average_never_moves(wiring: Wiring) -> list[nn.Module]:
    """The average is computed and bound to a local name; the averaged network keeps its first weights."""
    G, D = players()
    average = copy.deepcopy(G)
    opt_G, opt_D = adam(G), adam(D)
    with wiring(G, D, opt_G, opt_D, ema=average):
        for real in reals():
            opt_D.zero_grad()
            d_loss(D(real), D(G(noise()).detach())).backward()
            opt_D.step()

            opt_G.zero_grad()
            g_loss(D(G(noise()))).backward()
            opt_G.step()
            with torch.no_grad():
                for averaged, own in zip(average.parameters(), G.parameters(), strict=True):
                    averaged = 0.99 * averaged + 0.01 * own
    return [G, D, average]


# ------------------------------------------------------------------------------------------------ scaler, numbers


@broken("scaler", "opt_D")
def scaled_loss_and_plain_step(wiring: Wiring) -> list[nn.Module]:
    """D's loss is scaled, but its optimiser steps by itself, along gradients 65536 times too large."""
    G, D = players()
    opt_G, opt_D = adam(G), adam(D)
    scaler = torch.amp.GradScaler("cpu")
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            opt_D.zero_grad()
            scaler.scale(d_loss(D(real), D(G(noise()).detach()))).backward()
            opt_D.step()  # <- here

            opt_G.zero_grad()
            scaler.scale(g_loss(D(G(noise())))).backward()
            scaler.step(opt_G)
            scaler.update()
    return [G, D]


@broken("scaler", "clip", "D")
def clipped_before_unscaling(wiring: Wiring) -> list[nn.Module]:
    """Gradients are clipped to norm 1 while still multiplied by the scale, so that next to nothing is left of them."""
    G, D = players()
    opt_G, opt_D = adam(G), adam(D)
    scaler = torch.amp.GradScaler("cpu")
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            opt_D.zero_grad()
            scaler.scale(d_loss(D(real), D(G(noise()).detach()))).backward()
            torch.nn.utils.clip_grad_norm_(D.parameters(), 1.0)  # <- here
            scaler.step(opt_D)

            opt_G.zero_grad()
            scaler.scale(g_loss(D(G(noise())))).backward()
            scaler.step(opt_G)
            scaler.update()
    return [G, D]


@broken("finite", "nan_to_num")
def nan_made_zero(wiring: Wiring) -> list[nn.Module]:
    """0 * log 0 in the loss is NaN, and nan_to_num turns it into a zero that looks like success."""
    G, D = players()
    opt_G, opt_D = adam(G), adam(D)
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            opt_D.zero_grad()
            target = torch.zeros(BATCH, 1)
            probability = torch.sigmoid(D(G(noise()).detach()))
            entropy = (target * torch.log(target) + probability).mean()
            loss = F.softplus(-D(real)).mean() + torch.nan_to_num(entropy)  # <- here
            loss.backward()
            opt_D.step()

            opt_G.zero_grad()
            g_loss(D(G(noise()))).backward()
            opt_G.step()
    return [G, D]


@broken("finite", "log")
def nan_skipped(wiring: Wiring) -> list[nn.Module]:
    """A loss that is not finite is passed over; here it never is, and G trains on one part of its loss only."""
    G, D = players()
    opt_G, opt_D = adam(G), adam(D)
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            opt_D.zero_grad()
            d_loss(D(real), D(G(noise()).detach())).backward()
            opt_D.step()

            opt_G.zero_grad()
            fake = G(noise())
            spread = torch.log(fake.mean() - 100)  # <- here
            loss = g_loss(D(fake))
            if math.isfinite(spread.item()):
                loss = loss - spread
            loss.backward()
            opt_G.step()
    return [G, D]
