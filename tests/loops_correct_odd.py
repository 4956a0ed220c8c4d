"""Correct loops of odd styles: one optimiser for both, checkpoints, features by hooks, gradients that are measured."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from loops_broken_odd import Checkpointed, move_d, move_g, spectral
from loops_common import LATENT, Loop, Wiring, adam, d_loss, g_loss, mlp, noise, players, reals, without_fault
from loops_correct import Reversed

CORRECT: dict[str, Loop] = {}
correct = without_fault(CORRECT)


@correct
def one_optimiser_for_both(wiring: Wiring) -> list[nn.Module]:
    """Gradient reversal, and one optimiser with a group for each player."""
    G, D = players()
    optimiser = torch.optim.Adam(
        [{"params": list(G.parameters()), "lr": 1e-3}, {"params": list(D.parameters()), "lr": 1e-2}]
    )
    with wiring(G, D, optimiser, optimiser):
        for real in reals():
            optimiser.zero_grad()
            d_loss(D(real), D(Reversed.apply(G(noise())))).backward()
            optimiser.step()
    return [G, D]


@correct
def two_domains_through_one_network(wiring: Wiring) -> list[nn.Module]:
    """Domain adaptation: D tells two domains apart by what one network makes of them, and the gradient is reversed."""
    torch.manual_seed(0)
    G, D = mlp(2, 2), mlp(2, 1)
    optimiser = adam(nn.ModuleList([G, D]))
    with wiring(G, D, optimiser, optimiser):
        for source in reals():
            target = source.flip(1) - 3
            features = G(source), G(target)
            optimiser.zero_grad()
            task = (features[0].sum(1) - source.prod(1)).square().mean()
            (task + d_loss(*(D(Reversed.apply(one)) for one in features))).backward()
            optimiser.step()
    return [G, D]


class Weakened(Reversed):
    """A reversal whose strength starts at 0, as in domain adaptation's schedule."""

    strength = 0.0

    @staticmethod
    def backward(ctx, gradient):
        return -Weakened.strength * gradient


@correct
def two_domains_in_one_batch(wiring: Wiring) -> list[nn.Module]:
    """The same with one call for both domains, and a reversal that sets in after the first step."""
    torch.manual_seed(0)
    G, D = mlp(2, 2), mlp(2, 1)
    optimiser = adam(nn.ModuleList([G, D]))
    with wiring(G, D, optimiser, optimiser):
        for step, source in enumerate(reals()):
            Weakened.strength = 0.3 * step
            features = G(torch.cat([source, source.flip(1) - 3])).split(len(source))
            optimiser.zero_grad()
            task = (features[0].sum(1) - source.prod(1)).square().mean()
            (task + d_loss(*(D(Weakened.apply(one)) for one in features))).backward()
            optimiser.step()
    return [G, D]


@correct
def gradients_of_pure_functions(wiring: Wiring) -> list[nn.Module]:
    """`torch.func.grad` over the parameters, and the gradients put in place by hand."""
    G, D = players()
    opt_G, opt_D = adam(G), adam(D)
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            z = noise()

            def loss_d(weights: dict[str, Tensor], real: Tensor = real, z: Tensor = z) -> Tensor:
                return d_loss(functional_call(D, weights, (real,)), functional_call(D, weights, (G(z).detach(),)))

            def loss_g(weights: dict[str, Tensor], z: Tensor = z) -> Tensor:
                return g_loss(D(functional_call(G, weights, (z,))))

            for network, optimiser, loss in ((D, opt_D, loss_d), (G, opt_G, loss_g)):
                named = dict(network.named_parameters())
                slopes = grad(loss)({name: weight.detach() for name, weight in named.items()})
                for name, weight in named.items():
                    weight.grad = slopes[name]
                optimiser.step()
    return [G, D]


def checkpointed(wiring: Wiring, reentrant: bool) -> list[nn.Module]:
    """Both networks are computed anew in the backward pass; inputs have gradients, which reentrant ones need."""
    G, D = (nn.Sequential(Checkpointed(network, reentrant)) for network in players())
    opt_G, opt_D = adam(G), adam(D)
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            fake = G(noise().requires_grad_())
            opt_D.zero_grad()
            d_loss(D(real.requires_grad_()), D(fake.detach().requires_grad_())).backward()
            opt_D.step()
            move_g(D, opt_G, fake)
    return [G, D]


@correct
def checkpoints(wiring: Wiring) -> list[nn.Module]:
    return checkpointed(wiring, reentrant=False)


@correct
def reentrant_checkpoints(wiring: Wiring) -> list[nn.Module]:
    return checkpointed(wiring, reentrant=True)


@correct
def features_by_a_hook(wiring: Wiring) -> list[nn.Module]:
    """G matches features that a hook takes from inside of D; D's answer has no part in that."""
    G, D = players()
    opt_G, opt_D = adam(G), adam(D)
    seen: list[Tensor] = []
    handle = D[1].register_forward_hook(lambda module, inputs, output: seen.append(output))
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            fake = G(noise())
            move_d(D, opt_D, real, fake)
            seen.clear()
            with torch.no_grad():
                D(real)
            D(fake)
            opt_G.zero_grad()
            F.mse_loss(seen[1].mean(0), seen[0].mean(0)).backward()
            opt_G.step()
    handle.remove()
    return [G, D]


@correct
def norms_measured_by_clipping(wiring: Wiring) -> list[nn.Module]:
    """`clip_grad_norm_` without a limit, for the log: also of gradients that no step uses."""
    G, D = players()
    opt_G, opt_D = adam(G), adam(D)
    norms = []
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            fake = G(noise())
            move_d(D, opt_D, real, fake)
            opt_G.zero_grad()
            g_loss(D(fake)).backward()
            norms += [nn.utils.clip_grad_norm_(network.parameters(), float("inf")) for network in (G, D)]
            opt_G.step()
    return [G, D]


@correct
def layer_added_with_its_group(wiring: Wiring) -> list[nn.Module]:
    """G grows by a layer in training, and its optimiser gets it."""
    G, D = players()
    opt_G, opt_D = adam(G), adam(D)
    with wiring(G, D, opt_G, opt_D):
        for number, real in enumerate(reals(3)):
            if number == 1:
                new = nn.Linear(2, 2)
                G.extend([nn.LeakyReLU(0.2), new])
                opt_G.add_param_group({"params": list(new.parameters())})
            fake = G(noise())
            move_d(D, opt_D, real, fake)
            move_g(D, opt_G, fake)
    return [G, D]


@correct
def extrapolation(wiring: Wiring) -> list[nn.Module]:
    """Extragradient: a step ahead, the gradients there, back to where it was, and the step along them."""
    G, D = players()
    opt_G, opt_D = (torch.optim.SGD(network.parameters(), lr=1e-2) for network in (G, D))
    weights = [*G.parameters(), *D.parameters()]
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            before = [weight.detach().clone() for weight in weights]
            for ahead in (True, False):
                fake = G(noise())
                opt_D.zero_grad()
                d_loss(D(real), D(fake.detach())).backward()
                D.requires_grad_(False)
                opt_G.zero_grad()
                g_loss(D(fake)).backward()
                D.requires_grad_(True)
                with torch.no_grad():
                    for weight, old in zip(weights, before, strict=True):
                        weight.copy_(weight if ahead else old)
                opt_D.step()
                opt_G.step()
    return [G, D]


@correct
def d_skips_steps(wiring: Wiring) -> list[nn.Module]:
    """D goes backward each time and steps only while it is weak; what it did not use is cleared."""
    G, D = players()
    opt_G, opt_D = adam(G), adam(D)
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            for number in range(3):
                opt_D.zero_grad()
                d_loss(D(real), D(G(noise()).detach())).backward()
                if number != 1:
                    opt_D.step()
            move_g(D, opt_G, G(noise()))
    return [G, D]


@correct
def many_evaluations_a_step(wiring: Wiring) -> list[nn.Module]:
    """L-BFGS for D: its closure clears and goes backward several times a step."""
    G, D = players()
    opt_G, opt_D = adam(G), torch.optim.LBFGS(D.parameters(), lr=0.1, max_iter=3)
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            fake = G(noise())

            def closure(real: Tensor = real, fake: Tensor = fake) -> Tensor:
                opt_D.zero_grad()
                loss = d_loss(D(real), D(fake.detach()))
                loss.backward()
                return loss

            opt_D.step(closure)
            move_g(D, opt_G, fake)
    return [G, D]


@correct
def one_loss_two_signs(wiring: Wiring) -> list[nn.Module]:
    """D goes down a loss and G up the same one, each backward into its own weights only."""
    G, D = players()
    opt_G, opt_D = adam(G), adam(D)
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            loss = d_loss(D(real), D(G(noise())))
            opt_G.zero_grad()
            opt_D.zero_grad()
            loss.backward(inputs=list(D.parameters()), retain_graph=True)
            (-loss).backward(inputs=list(G.parameters()))
            opt_D.step()
            opt_G.step()
    return [G, D]


@correct
def cycle_with_four_optimisers(wiring: Wiring) -> list[nn.Module]:
    """Each of two generators has its own discriminator and optimiser, and gets nothing from the other discriminator."""
    torch.manual_seed(0)
    AB, BA, A, B = mlp(2, 2), mlp(2, 2), mlp(2, 1), mlp(2, 1)
    opt_AB, opt_BA, opt_A, opt_B = adam(AB), adam(BA), adam(A), adam(B)
    with wiring({"AB": AB, "BA": BA}, {"A": A, "B": B}, {"AB": opt_AB, "BA": opt_BA}, {"A": opt_A, "B": opt_B}):
        for real_A in reals():
            real_B = -real_A
            fake_A, fake_B = BA(real_B), AB(real_A)
            cycle = F.l1_loss(BA(fake_B), real_A) + F.l1_loss(AB(fake_A), real_B)
            opt_AB.zero_grad()
            opt_BA.zero_grad()
            (g_loss(A(fake_A)) + g_loss(B(fake_B)) + 10 * cycle).backward()
            opt_AB.step()
            opt_BA.step()
            move_d(A, opt_A, real_A, fake_A)
            move_d(B, opt_B, real_B, fake_B)
    return [AB, BA, A, B]


@correct
def d_with_resting_weights(wiring: Wiring) -> list[nn.Module]:
    """G learns through D with detached weights, all gradients are clipped at once, and PyTorch's average follows."""
    torch.manual_seed(0)
    G, D = mlp(LATENT, 2, nn.BatchNorm1d(8)), mlp(2, 1)
    opt_G, opt_D = adam(G), adam(D)
    ema = AveragedModel(copy.deepcopy(G), multi_avg_fn=get_ema_multi_avg_fn(0.99), use_buffers=True)
    with wiring(G, D, opt_G, opt_D, ema=ema):
        for real in reals():
            fake = G(noise())
            opt_G.zero_grad()
            opt_D.zero_grad()
            d_loss(D(real), D(fake.detach())).backward()
            resting = {name: weight.detach() for name, weight in D.named_parameters()}
            g_loss(functional_call(D, resting, (fake,))).backward()
            nn.utils.clip_grad_norm_([*G.parameters(), *D.parameters()], 0.1)
            opt_D.step()
            opt_G.step()
            ema.update_parameters(G)
    return [G, D]


@correct
def spectral_norm_rests_for_g(wiring: Wiring) -> list[nn.Module]:
    """D is in eval mode in G's turn only."""
    G, _ = players()
    D = spectral(nn.utils.parametrizations.spectral_norm)
    opt_G, opt_D = adam(G), adam(D)
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            fake = G(noise())
            move_d(D.train(), opt_D, real, fake)
            move_g(D.eval(), opt_G, fake)
    return [G, D]
