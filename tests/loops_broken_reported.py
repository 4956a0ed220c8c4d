"""Loops with one fault each, after faults that people reported in public repositories, written after the check.

They are of another kind than those in `loops_broken`, and were frozen before the check was tried on them. Where a fault
was found in a repository of that name, the docstring says so; the code is ours.
"""

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


@broken("adversarial", "G", "detach")
def judgement_detached(wiring: Wiring) -> list[nn.Module]:
    """In G's turn D's answer is detached, "so that D is not updated" (wangle53/CSA-CDGAN, issue 5)."""
    G, D = players()
    opt_G, opt_D = adam(G), adam(D)
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            fake = G(noise())
            opt_D.zero_grad()
            d_loss(D(real), D(fake.detach())).backward()
            opt_D.step()

            opt_G.zero_grad()
            pred_fake = D(fake)
            loss = g_loss(pred_fake.detach()) + 50 * F.l1_loss(fake, real)  # <- here
            loss.backward()
            opt_G.step()
    return [G, D]


class Judge(nn.Module):
    """A discriminator that also returns its features."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = mlp(2, 8), nn.Linear(8, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.body(x)
        return self.head(features), features


@broken("terms", "G")
def features_of_the_other_turn(wiring: Wiring) -> list[nn.Module]:
    """Feature matching reads the features that were made for D's turn, from detached fakes (rishikksh20/TFGAN, 7)."""
    G, D = players()[0], Judge()
    opt_G, opt_D = adam(G), adam(D)
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            fake = G(noise())
            real_logits, real_features = D(real)
            fake_logits, fake_features = D(fake.detach())
            opt_G.zero_grad()
            judged, _ = D(fake)
            matching = F.l1_loss(fake_features, real_features.detach())
            loss = g_loss(judged) + 2 * matching  # <- here
            loss.backward(retain_graph=True)
            opt_G.step()

            opt_D.zero_grad()
            d_loss(real_logits, fake_logits).backward()
            opt_D.step()
    return [G, D]


@broken("stale", "D", "0.weight")
def accumulation_in_turns(wiring: Wiring) -> list[nn.Module]:
    """Accumulation over small batches, D and G in turn: G's backward adds to D's gradients (coqui-ai/Trainer, 60)."""
    G, D = players()
    opt_G, opt_D = adam(G), adam(D)
    with wiring(G, D, opt_G, opt_D):
        for number, real in enumerate(reals(4), 1):
            (d_loss(D(real), D(G(noise()).detach())) / 2).backward()
            (g_loss(D(G(noise()))) / 2).backward()  # <- here
            if number % 2 == 0:
                opt_D.step()
                opt_G.step()
                opt_D.zero_grad()
                opt_G.zero_grad()
    return [G, D]


@broken("direction", "D")
def fakes_called_real(wiring: Wiring) -> list[nn.Module]:
    """D's target for fakes is ones as well (SerezD/vqvae-vqgan-pytorch-lightning, issue 3)."""
    G, D = players()
    opt_G, opt_D = adam(G), adam(D)
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            opt_D.zero_grad()
            real_logits, fake_logits = D(real), D(G(noise()).detach())
            real_loss = F.binary_cross_entropy_with_logits(real_logits, torch.ones_like(real_logits))
            fake_loss = F.binary_cross_entropy_with_logits(fake_logits, torch.ones_like(fake_logits))
            ((real_loss + fake_loss) / 2).backward()  # <- here
            opt_D.step()

            opt_G.zero_grad()
            g_loss(D(G(noise()))).backward()
            opt_G.step()
    return [G, D]


@broken("direction", "G")
def labels_swapped_in_one_place(wiring: Wiring) -> list[nn.Module]:
    """One function makes all targets, the wrong way round; G asks it for "fake" (https-deeplearning-ai, issue 1)."""
    G, D = players()
    opt_G, opt_D = adam(G), adam(D)

    def adversarial(logits: Tensor, is_real: bool) -> Tensor:
        target = torch.zeros_like(logits) if is_real else torch.ones_like(logits)
        return F.binary_cross_entropy_with_logits(logits, target)

    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            fake = G(noise())
            opt_G.zero_grad()
            loss = 0.001 * adversarial(D(fake), False) + F.mse_loss(fake, real)
            loss.backward()  # <- here
            opt_G.step()

            opt_D.zero_grad()
            (0.5 * (adversarial(D(real), True) + adversarial(D(fake.detach()), False))).backward()
            opt_D.step()
    return [G, D]


@broken("ema", "0.weight")
def average_written_over_g(wiring: Wiring) -> list[nn.Module]:
    """For a preview the average's weights are loaded into G, which goes on training from them."""
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
                    averaged.lerp_(own, 0.1)
                G.load_state_dict(average.state_dict())
                G(noise())
    return [G, D, average]


@broken("shapes", "D")
def targets_broadcast(wiring: Wiring) -> list[nn.Module]:
    """Targets [N] meet logits [N, 1] in a squared error, which becomes one of all against all, [N, N]."""
    G, D = players()
    opt_G, opt_D = adam(G), adam(D)
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            opt_D.zero_grad()
            real_error = (D(real) - torch.full((BATCH,), 0.9) - 0.1 * torch.rand(BATCH)).square().mean()  # <- here
            fake_error = D(G(noise()).detach()).square().mean()
            (real_error + fake_error).backward()
            opt_D.step()

            opt_G.zero_grad()
            (D(G(noise())) - 1).square().mean().backward()
            opt_G.step()
    return [G, D]


@broken("inputs", "D", "255")
def reals_not_scaled(wiring: Wiring) -> list[nn.Module]:
    """G ends in tanh, and the real samples come as they were read, from 0 to 255: D tells them by their size."""
    torch.manual_seed(0)
    G, D = nn.Sequential(mlp(LATENT, 2), nn.Tanh()), mlp(2, 1)
    opt_G, opt_D = adam(G), adam(D)
    with wiring(G, D, opt_G, opt_D):
        for _ in range(2):
            real = torch.randint(0, 256, (BATCH, 2)).float()
            real[0] = 255
            opt_D.zero_grad()
            d_loss(D(real), D(G(noise()).detach())).backward()  # <- here
            opt_D.step()

            opt_G.zero_grad()
            g_loss(D(G(noise()))).backward()
            opt_G.step()
    return [G, D]


@broken("clipping", "D", "G")
def the_other_network_clipped(wiring: Wiring) -> list[nn.Module]:
    """The clipping of G's gradients was copied into D's turn, and still names G."""
    G, D = players()
    opt_G, opt_D = adam(G), adam(D)
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            opt_D.zero_grad()
            d_loss(D(real), D(G(noise()).detach())).backward()
            torch.nn.utils.clip_grad_norm_(G.parameters(), 1.0)  # <- here
            opt_D.step()

            opt_G.zero_grad()
            g_loss(D(G(noise()))).backward()
            torch.nn.utils.clip_grad_norm_(G.parameters(), 1.0)
            opt_G.step()
    return [G, D]


@broken("stale", "G", "0.weight")
def the_other_network_cleared(wiring: Wiring) -> list[nn.Module]:
    """G's turn clears D's gradients once more instead of G's own."""
    G, D = players()
    opt_G, opt_D = adam(G), adam(D)
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            opt_D.zero_grad()
            d_loss(D(real), D(G(noise()).detach())).backward()
            opt_D.step()

            opt_D.zero_grad()
            g_loss(D(G(noise()))).backward()  # <- here
            opt_G.step()
    return [G, D]


@broken("optimisers", "D", "2.weight")
def layer_added_after_the_optimiser(wiring: Wiring) -> list[nn.Module]:
    """D's last layer is replaced for another number of outputs after its optimiser was made."""
    G, D = players()
    opt_G, opt_D = adam(G), adam(D)
    D[2] = nn.Linear(8, 3)
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            opt_D.zero_grad()
            d_loss(D(real), D(G(noise()).detach())).backward()
            opt_D.step()

            opt_G.zero_grad()
            g_loss(D(G(noise()))).backward()
            opt_G.step()
    return [G, D]


@broken("scaler", "update")
def scaler_updated_between(wiring: Wiring) -> list[nn.Module]:
    """Both losses are scaled, then each optimiser steps and updates the scaler: G's gradients have the old scale."""
    G, D = players()
    opt_G, opt_D = adam(G), adam(D)
    scaler = torch.amp.GradScaler("cpu", growth_interval=1)
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            fake = G(noise())
            opt_D.zero_grad()
            scaler.scale(d_loss(D(real), D(fake.detach()))).backward()
            D.requires_grad_(False)
            opt_G.zero_grad()
            scaler.scale(g_loss(D(fake))).backward()
            D.requires_grad_(True)
            scaler.step(opt_D)
            scaler.update()  # <- here
            scaler.step(opt_G)
            scaler.update()
    return [G, D]
