"""Loops after those on which the check had failed when it was tried on loops written from its page alone.

Each is in `CORRECT` as it should be, and in `BROKEN` with every one of its faults.
"""

from __future__ import annotations

import copy
from itertools import chain

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from loops_common import (
    BATCH,
    LATENT,
    Broken,
    Loop,
    Wiring,
    adam,
    d_loss,
    g_loss,
    mlp,
    noise,
    players,
    reals,
    with_faults,
)

BROKEN: dict[str, Broken] = {}
CORRECT: dict[str, Loop] = {}
faults = with_faults(CORRECT, BROKEN)


def like(logits: Tensor, target: float) -> Tensor:
    return F.mse_loss(logits, torch.full_like(logits, target))


@faults(
    one_judge_twice=("reached", "no tensor of B"),
    one_judge_for_both=("adversarial", "B learns"),
    real_ones_in_the_pool=("inputs", "very same samples"),
    targets_of_g_swapped=("direction", "G helps"),
)
def cycle_with_two_judges_in_one_optimiser(wiring: Wiring, fault: str) -> list[nn.Module]:
    torch.manual_seed(0)
    there, back, A, B = mlp(2, 2), mlp(2, 2), mlp(2, 1), mlp(2, 1)
    opt_G = torch.optim.Adam(chain(there.parameters(), back.parameters()), 1e-3)
    opt_D = torch.optim.Adam(chain(A.parameters(), B.parameters()), 1e-3)
    with wiring({"there": there, "back": back}, {"A": A, "B": B}, opt_G, opt_D):
        for a, b in zip(reals(), (-one for one in reals()), strict=True):
            fake_b, fake_a = there(a), back(b)
            A.requires_grad_(False), B.requires_grad_(False)
            opt_G.zero_grad()
            goal = 0.0 if fault == "targets_of_g_swapped" else 1.0
            judged = like((A if fault == "one_judge_for_both" else B)(fake_b), goal) + like(A(fake_a), goal)
            (judged + F.l1_loss(back(fake_b), a) + F.l1_loss(there(fake_a), b)).backward()
            opt_G.step()
            A.requires_grad_(True), B.requires_grad_(True)
            opt_D.zero_grad()
            for D, real, fake in ((A, a, fake_a), (A if fault == "one_judge_twice" else B, b, fake_b)):
                pool = real if fault == "real_ones_in_the_pool" else fake
                (like(D(real), 1.0) + like(D(pool.detach().clone()), 0.0)).backward()
            opt_D.step()
    return [there, back, A, B]


@faults(mask_the_wrong_way_round=("inputs", "local", "very same samples"))
def filling_holes_with_a_judge_of_the_hole(wiring: Wiring, fault: str) -> list[nn.Module]:
    """Four numbers, the last two of which are lost; one judge sees all, the other what was lost."""
    torch.manual_seed(0)
    G, whole, local = mlp(4, 4), mlp(4, 1), mlp(2, 1)
    opt_G, opt_D = adam(G), torch.optim.Adam(chain(whole.parameters(), local.parameters()), 1e-3)
    lost = torch.tensor([0.0, 0.0, 1.0, 1.0])
    with wiring(G, {"whole": whole, "local": local}, opt_G, opt_D):
        for pair in reals():
            real = torch.cat([pair, pair.flip(0)], 1)
            mask = 1 - lost if fault else lost
            filled = G(real * (1 - lost)) * mask + real * (1 - mask)
            opt_D.zero_grad()
            parts = (whole, filled, real), (local, filled[:, 2:], real[:, 2:])
            sum(d_loss(D(right), D(made.detach())) for D, made, right in parts).backward()
            opt_D.step()
            opt_G.zero_grad()
            (g_loss(whole(filled)) + g_loss(local(filled[:, 2:])) + F.l1_loss(filled, real)).backward()
            opt_G.step()
    return [G, whole, local]


@faults(
    clipped_before_backward=("clipping", "clip_grad_norm_", "no gradient to clip"),
    step_by_the_other_scaler=("scaler", "another scaler"),
)
def a_scaler_for_each_player(wiring: Wiring, fault: str) -> list[nn.Module]:
    G, D = players()
    opt_G, opt_D = (torch.optim.SGD(network.parameters(), 1e-2) for network in (G, D))
    for_g, for_d = (torch.amp.GradScaler("cpu", init_scale=scale) for scale in (64.0, 16.0))
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            opt_D.zero_grad()
            if fault == "clipped_before_backward":
                nn.utils.clip_grad_norm_(D.parameters(), 1.0)
            for_d.scale(d_loss(D(real), D(G(noise()).detach()))).backward()
            for_d.unscale_(opt_D)
            if fault != "clipped_before_backward":
                nn.utils.clip_grad_norm_(D.parameters(), 1.0)
            for_d.step(opt_D)
            for_d.update()
            opt_G.zero_grad()
            for_g.scale(g_loss(D(G(noise())))).backward()
            stepping = for_d if fault == "step_by_the_other_scaler" else for_g
            stepping.step(opt_G)
            stepping.update()
    return [G, D]


@faults(second_penalty_without_create_graph=("terms", "autograd.grad without create_graph"))
def penalties_for_each_sample(wiring: Wiring, fault: str) -> list[nn.Module]:
    """Relativistic pairs with penalties at real and at generated samples, averaged at the very end."""
    G, D = players()
    opt_G, opt_D = adam(G), adam(D)

    def slope(at: Tensor, logits: Tensor, graph: bool = True) -> Tensor:
        (gradient,) = torch.autograd.grad(logits.sum(), at, create_graph=graph, retain_graph=True)
        return gradient.square().sum(1, keepdim=True)

    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            opt_D.zero_grad()
            real, fake = real.requires_grad_(), G(noise()).detach().requires_grad_()
            right, made = D(real), D(fake)
            penalty = slope(real, right) + slope(fake, made, graph=not fault)
            (F.softplus(made - right) + 0.5 * penalty).mean().backward()
            opt_D.step()
            opt_G.zero_grad()
            F.softplus(D(real.detach()) - D(G(noise()))).mean().backward()
            opt_G.step()
    return [G, D]


@faults(average_of_itself=("ema", "not towards G"), signs_of_g=("direction", "G helps D"))
def gradients_asked_for_and_handed_over(wiring: Wiring, fault: str) -> list[nn.Module]:
    """Each player's gradients come from autograd.grad and are written into `.grad` as they are."""
    torch.manual_seed(0)
    G, D = nn.Sequential(nn.Linear(LATENT, 32), nn.ReLU(), nn.Linear(32, 2)), mlp(2, 1)
    average = copy.deepcopy(G)
    for weight in average.parameters():
        weight.data += 0.01
    opt_G, opt_D = adam(G), adam(D)

    def step(loss: Tensor, network: nn.Module, optimiser: torch.optim.Optimizer) -> None:
        weights = list(network.parameters())
        for weight, gradient in zip(weights, torch.autograd.grad(loss, weights), strict=True):
            weight.grad = gradient
        optimiser.step()

    with wiring(G, D, opt_G, opt_D, ema=average):
        for real in reals():
            step(d_loss(D(real), D(G(noise()).detach())), D, opt_D)
            loss = g_loss(D(G(noise())))
            step(-loss if fault == "signs_of_g" else loss, G, opt_G)
            followed = average if fault == "average_of_itself" else G
            for mean, weight in zip(average.parameters(), followed.parameters(), strict=True):
                mean.data.mul_(0.99).add_(weight.data, alpha=0.01)
    return [G, D]


@faults(real_ones_for_generated_ones=("inputs", "D", "very same samples"))
def critic_with_a_loss_for_each_kind(wiring: Wiring, fault: str) -> list[nn.Module]:
    G, D = players()
    opt_G, opt_D = adam(G), adam(D)
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            opt_D.zero_grad()
            D(real).mean().backward(torch.tensor(-1.0))
            fake = G(noise()).data
            D(real.clone() if fault else fake).mean().backward()
            opt_D.step()
            opt_G.zero_grad()
            (-D(G(noise())).mean()).backward()
            opt_G.step()
    return [G, D]


@faults(
    cut_by_data_in_a_buffer=("reached", "G1.0.bias", "data"),
    encoder_left_out=("reached", "no tensor of G2"),
    judged_as_by_d=("direction", "G helps D"),
)
def both_ends_of_a_pair(wiring: Wiring, fault: str) -> list[nn.Module]:
    """D tells (sample, its code) from (what was made of noise, the noise); what G makes is put into a buffer."""
    torch.manual_seed(0)
    G, E, D = mlp(LATENT, 2), mlp(2, LATENT), mlp(2 + LATENT, 1)
    opt_G, opt_D = torch.optim.Adam(chain(G.parameters(), E.parameters()), 1e-3), adam(D)

    def padded(made: Tensor) -> Tensor:
        room = torch.zeros_like(made)
        room[:] = made.data if fault == "cut_by_data_in_a_buffer" else made
        return room

    with wiring([G, E], D, opt_G, opt_D):
        for real in reals():
            z = noise()
            made, code = G(z), E(real)
            opt_D.zero_grad()
            d_loss(D(torch.cat([real, code.detach()], 1)), D(torch.cat([made.detach(), z], 1))).backward()
            opt_D.step()
            code = z if fault == "encoder_left_out" else code
            opt_G.zero_grad()
            judged = D(torch.cat([padded(made), z], 1)), D(torch.cat([real, code], 1))
            d_loss(*(judged[::-1] if fault == "judged_as_by_d" else judged)).backward()
            opt_G.step()
    return [G, E, D]


@faults(
    one_half_not_cleared=("stale", "G.0.bias"),
    one_half_forgotten=("optimisers", "G.0.bias", "G.2.bias"),
)
def two_optimisers_for_each_player(wiring: Wiring, fault: str) -> list[nn.Module]:
    """One moves the matrices, the other one all else."""
    G, D = players()

    def split(network: nn.Module) -> list[torch.optim.Optimizer]:
        matrices, rest = ([p for p in network.parameters() if (p.dim() > 1) == on] for on in (True, False))
        if fault == "one_half_forgotten" and network is G:
            matrices, rest = matrices[:1], matrices[1:]
        return [torch.optim.SGD(matrices, 1e-2, momentum=0.9), torch.optim.AdamW(rest, 1e-3)]

    opts_G, opts_D = split(G), split(D)
    with wiring(G, D, opts_G, opts_D):
        for real in reals():
            for optimiser in opts_D:
                optimiser.zero_grad()
            d_loss(D(real), D(G(noise()).detach())).backward()
            for optimiser in opts_D:
                optimiser.step()
            for optimiser in opts_G[:1] if fault == "one_half_not_cleared" else opts_G:
                optimiser.zero_grad()
            g_loss(D(G(noise()))).backward()
            for optimiser in opts_G:
                optimiser.step()
    return [G, D]


@faults(d_not_frozen_for_g=("stale", "D"))
def steps_within_the_backward_pass(wiring: Wiring, fault: str) -> list[nn.Module]:
    """An optimiser for each tensor, which steps as soon as its gradient is there."""
    G, D = players()
    opts = {weight: torch.optim.SGD([weight], 1e-2) for weight in chain(G.parameters(), D.parameters())}

    def step(weight: Tensor) -> None:
        opts[weight].step()
        opts[weight].zero_grad()

    handles = [weight.register_post_accumulate_grad_hook(step) for weight in opts]
    with wiring(G, D, *([opts[weight] for weight in network.parameters()] for network in (G, D))):
        for real in reals():
            d_loss(D(real), D(G(noise()).detach())).backward()
            D.requires_grad_(bool(fault))
            g_loss(D(G(noise()))).backward()
            D.requires_grad_(True)
    for handle in handles:
        handle.remove()
    return [G, D]


@faults(one_average_forgotten=("ema", "styles"), styles_cut_off=("adversarial", "styles", "detach"))
def styles_from_noise_or_from_samples(wiring: Wiring, fault: str) -> list[nn.Module]:
    """G is told a style, drawn by one network or read by another, which only G's judgement in G's own turn reaches."""
    torch.manual_seed(0)
    nets = nn.ModuleDict({"G": mlp(5, 2), "styles": mlp(LATENT, 3), "reader": mlp(2, 3)})
    average, D = copy.deepcopy(nets), mlp(2, 1)
    opts, opt_D = {name: adam(network) for name, network in nets.items()}, adam(D)
    with wiring(nets, D, opts, opt_D, ema=average):
        for real in reals():
            for drawn in (True, False):
                style = nets["styles"](noise()) if drawn else nets["reader"](real.flip(0))
                told = style.detach() if fault == "styles_cut_off" else style
                opt_D.zero_grad()
                d_loss(D(real), D(nets["G"](torch.cat([real, style], 1)).detach())).backward()
                opt_D.step()
                for optimiser in opts.values():
                    optimiser.zero_grad()
                made = nets["G"](torch.cat([real, told], 1))
                (g_loss(D(made)) + F.l1_loss(nets["reader"](made), style)).backward()
                for name in ("G", "styles", "reader") if drawn else ("G",):
                    opts[name].step()
            for name in ("G", "reader") if fault == "one_average_forgotten" else nets:
                for mean, weight in zip(average[name].parameters(), nets[name].parameters(), strict=True):
                    mean.data.lerp_(weight.data, 0.01)
    return [nets, D]


@faults(real_ones_for_both_domains=("inputs", "D", "very same samples"))
def classes_for_two_domains(wiring: Wiring, fault: str) -> list[nn.Module]:
    """D has an answer for each domain, and features are turned against it by their gradient."""
    torch.manual_seed(0)
    G, D = nn.ModuleDict({"features": mlp(2, 4), "task": nn.Linear(4, 3)}), mlp(4, 2)
    opt_G, opt_D = adam(G), adam(D)
    first, second = torch.zeros(BATCH, dtype=torch.long), torch.ones(BATCH, dtype=torch.long)
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            one, other = G["features"](real), G["features"](real if fault else 1 - real)
            opt_D.zero_grad()
            (F.cross_entropy(D(one.detach()), first) + F.cross_entropy(D(other.detach()), second)).backward()
            opt_D.step()
            opt_G.zero_grad()
            told = F.cross_entropy(D(one), second) + F.cross_entropy(D(other), first)
            (F.cross_entropy(G["task"](one), torch.arange(BATCH) % 3) + 0.1 * told).backward()
            opt_G.step()
    return [G, D]


@faults(penalty_cleared=("own", "cleared", "after backward"))
def phases_that_switch_gradients_off_before_the_step(wiring: Wiring, fault: str) -> list[nn.Module]:
    """The penalty has a step of its own; the fault clears its gradients instead of those before."""
    G, D = players()
    opt_G, opt_D = adam(G), adam(D)
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            for network, optimiser, phase in ((G, opt_G, "main"), (D, opt_D, "main"), (D, opt_D, "penalty")):
                optimiser.zero_grad()
                G.requires_grad_(network is G), D.requires_grad_(network is D)
                if phase == "penalty":
                    real.requires_grad_()
                    (slope,) = torch.autograd.grad(D(real).sum(), real, create_graph=True)
                    slope.square().sum(1).mean().backward()
                    if fault:
                        optimiser.zero_grad()
                else:
                    fake = D(G(noise()))
                    (g_loss(fake) if network is G else d_loss(D(real), fake)).backward()
                network.requires_grad_(False)
                optimiser.step()
    return [G, D]


@faults()
def losses_of_one_half_of_a_batch(wiring: Wiring, fault: str) -> list[nn.Module]:
    """G makes two kinds in one call, and each loss goes backward by itself: at the other half there is no gradient."""
    torch.manual_seed(0)
    G, D = mlp(LATENT, 2), nn.Sequential(mlp(2, 2), nn.Unflatten(1, (2, 1)))
    opt_G, opt_D = adam(G), adam(D)
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            judged, held = G(torch.cat([noise(), noise()])).chunk(2)
            opt_D.zero_grad()
            for right, made in zip(D(real).unbind(1), D(judged.detach()).unbind(1), strict=True):
                d_loss(right, made).backward(retain_graph=True)
            opt_D.step()
            opt_G.zero_grad()
            answers = D(judged)
            F.mse_loss(held, real).backward(retain_graph=True)
            for answer in answers.unbind(1):
                g_loss(answer).backward(retain_graph=True)
            opt_G.step()
    return [G, D]


@faults()
def the_same_samples_twice_by_intention(wiring: Wiring, fault: str) -> list[nn.Module]:
    """Answers for the same samples are held together, or near zero, or go with right and with wrong labels."""
    torch.manual_seed(0)
    G, D = mlp(LATENT, 2), mlp(2, 1, nn.Dropout(0.5))
    labelled = mlp(3, 1)
    opt_G, opt_D = adam(G), torch.optim.Adam(chain(D.parameters(), labelled.parameters()), 1e-3)
    right = torch.arange(BATCH)[:, None] % 2
    with wiring(G, {"D": D, "labelled": labelled}, opt_G, opt_D):
        for real in reals():
            fake = G(noise())
            opt_D.zero_grad()
            apart = (D(real) - D(real)).square().mean() + d_loss(D(real), D(fake.detach()))
            apart = apart + D(real).mean()
            with_labels = [torch.cat([real, labels.float()], 1) for labels in (right, right.flip(0))]
            apart = apart + d_loss(labelled(with_labels[0]), labelled(with_labels[1]))
            (apart + F.softplus(labelled(torch.cat([fake.detach(), right.float()], 1))).mean()).backward()
            opt_D.step()
            opt_G.zero_grad()
            (g_loss(D(fake)) + g_loss(labelled(torch.cat([fake, right.float()], 1)))).backward()
            opt_G.step()
    return [G, D, labelled]
