"""A third set of loops with one fault each, frozen before the check, mended once by then, was tried on them."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
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


@broken("inputs", "D")
def reals_overwritten(wiring: Wiring) -> list[nn.Module]:
    """The batch of fakes is bound to the name of the batch of real samples: D judges fakes against themselves."""
    G, D = players()
    opt_G, opt_D = adam(G), adam(D)
    with wiring(G, D, opt_G, opt_D):
        for images in reals():
            images = G(noise()).detach()
            opt_D.zero_grad()
            d_loss(D(images), D(G(noise()).detach())).backward()  # <- here
            opt_D.step()

            opt_G.zero_grad()
            g_loss(D(G(noise()))).backward()
            opt_G.step()
    return [G, D]


@broken("terms", "D")
def penalty_forgotten(wiring: Wiring) -> list[nn.Module]:
    """The gradient penalty is computed, with a graph, and never added to the loss."""
    G, D = players()
    opt_G, opt_D = adam(G), adam(D)
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            opt_D.zero_grad()
            fake = G(noise()).detach()
            share = torch.rand(BATCH, 1)
            between = (share * real + (1 - share) * fake).requires_grad_()
            (gradient,) = torch.autograd.grad(D(between).sum(), between, create_graph=True)  # <- here
            penalty = 10 * ((gradient.norm(dim=1) - 1) ** 2).mean()
            loss = D(fake).mean() - D(real).mean()
            loss.backward()
            opt_D.step()

            opt_G.zero_grad()
            (-D(G(noise())).mean()).backward()
            opt_G.step()
            del penalty
    return [G, D]


@broken("adversarial", "G")
def g_plays_against_a_copy(wiring: Wiring) -> list[nn.Module]:
    """G's turn asks a copy of D that was made before the loop, and that never moves."""
    G, D = players()
    frozen = copy.deepcopy(D).requires_grad_(False)
    opt_G, opt_D = adam(G), adam(D)
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            opt_D.zero_grad()
            d_loss(D(real), D(G(noise()).detach())).backward()
            opt_D.step()

            opt_G.zero_grad()
            g_loss(frozen(G(noise()))).backward()  # <- here
            opt_G.step()
    return [G, D]


@broken("terms", "D")
def no_grad_too_long(wiring: Wiring) -> list[nn.Module]:
    """The no_grad for the fakes also holds D's judgement of them: D learns from real samples alone."""
    G, D = players()
    opt_G, opt_D = adam(G), adam(D)
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            opt_D.zero_grad()
            with torch.no_grad():
                fake = G(noise())
                fake_logits = D(fake)  # <- here
            loss = F.softplus(-D(real)).mean() + F.softplus(fake_logits).mean()
            loss.backward()
            opt_D.step()

            opt_G.zero_grad()
            g_loss(D(G(noise()))).backward()
            opt_G.step()
    return [G, D]


@broken("own", "D")
def loss_made_anew(wiring: Wiring) -> list[nn.Module]:
    """An error of backward was silenced by making the loss a leaf that asks for a gradient; D gets none."""
    G, D = players()
    opt_G, opt_D = adam(G), adam(D)
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            opt_D.zero_grad()
            loss = d_loss(D(real), D(G(noise()).detach()))
            loss = torch.tensor(loss.item(), requires_grad=True)
            loss.backward()
            opt_D.step()  # <- here

            opt_G.zero_grad()
            g_loss(D(G(noise()))).backward()
            opt_G.step()
    return [G, D]


@broken("modes", "G", "eval")
def g_in_eval_since_the_samples(wiring: Wiring) -> list[nn.Module]:
    """Samples are drawn in eval mode at the end of every iteration, and nothing sets G back."""
    G, D = mlp(LATENT, 2, nn.BatchNorm1d(8)), players()[1]
    opt_G, opt_D = adam(G), adam(D)
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            opt_D.zero_grad()
            d_loss(D(real), D(G(noise()).detach())).backward()
            opt_D.step()

            opt_G.zero_grad()
            fake = G(noise())  # <- here
            g_loss(D(fake)).backward()
            opt_G.step()

            G.eval()
            with torch.no_grad():
                G(noise())
    return [G, D]


@broken("logits", "D", "binary_cross_entropy_with_logits")
def sigmoid_twice(wiring: Wiring) -> list[nn.Module]:
    """D ends in a sigmoid, and the loss applies another one."""
    torch.manual_seed(0)
    G, D = mlp(LATENT, 2), nn.Sequential(mlp(2, 1), nn.Sigmoid())
    opt_G, opt_D = adam(G), adam(D)

    def loss(answer: Tensor, target: float) -> Tensor:
        return F.binary_cross_entropy_with_logits(answer, torch.full_like(answer, target))  # <- here

    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            opt_D.zero_grad()
            (loss(D(real), 1.0) + loss(D(G(noise()).detach()), 0.0)).backward()
            opt_D.step()

            opt_G.zero_grad()
            loss(D(G(noise())), 1.0).backward()
            opt_G.step()
    return [G, D]


@broken("own", "G", "opt_G")
def optimisers_swapped(wiring: Wiring) -> list[nn.Module]:
    """Each optimiser steps in the other player's turn, right after it was cleared there."""
    G, D = players()
    opt_G, opt_D = adam(G), adam(D)
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            opt_G.zero_grad()
            d_loss(D(real), D(G(noise()).detach())).backward()
            opt_G.step()  # <- here

            opt_D.zero_grad()
            g_loss(D(G(noise()))).backward()
            opt_D.step()
    return [G, D]


@broken("adversarial", "G", "0")
def hinge_for_g_saturates(wiring: Wiring) -> list[nn.Module]:
    """G's loss is cut off at zero like D's, and D's answers are beyond: no gradient is left."""
    G, D = players()
    nn.init.constant_(D[-1].bias, 2.0)
    opt_G, opt_D = adam(G), adam(D)
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            opt_D.zero_grad()
            (F.relu(1 - D(real)).mean() + F.relu(1 + D(G(noise()).detach())).mean()).backward()
            opt_D.step()

            opt_G.zero_grad()
            F.relu(0.5 - D(G(noise()))).mean().backward()  # <- here
            opt_G.step()
    return [G, D]


@broken("optimisers", "D", "2.weight")
def half_left_out(wiring: Wiring) -> list[nn.Module]:
    """D's optimiser took what required a gradient while the last layer was frozen for a warm start."""
    G, D = players()
    D[2].requires_grad_(False)
    opt_G, opt_D = adam(G), torch.optim.Adam([p for p in D.parameters() if p.requires_grad], lr=1e-2)
    D[2].requires_grad_(True)
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            opt_D.zero_grad()
            d_loss(D(real), D(G(noise()).detach())).backward()
            opt_D.step()

            opt_G.zero_grad()
            g_loss(D(G(noise()))).backward()
            opt_G.step()
    return [G, D]
