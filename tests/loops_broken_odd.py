"""A fourth set of loops with one fault each, of kinds that none of the others has."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

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


def move_d(D: nn.Module, opt_D: torch.optim.Optimizer, real: Tensor, fake: Tensor) -> None:
    """D's turn, without a fault."""
    opt_D.zero_grad()
    d_loss(D(real), D(fake.detach())).backward()
    opt_D.step()


def move_g(D: nn.Module, opt_G: torch.optim.Optimizer, fake: Tensor) -> None:
    """G's turn, without a fault."""
    opt_G.zero_grad()
    g_loss(D(fake)).backward()
    opt_G.step()


@broken("direction", "fine")
def labels_swapped_in_one_discriminator(wiring: Wiring) -> list[nn.Module]:
    """The second of two discriminators is given real samples as generated ones, and the other way round."""
    (G, coarse), (_, fine) = players(), players(1)
    opt_G, opt_coarse, opt_fine = adam(G), adam(coarse), adam(fine)
    with wiring(G, {"coarse": coarse, "fine": fine}, opt_G, {"coarse": opt_coarse, "fine": opt_fine}):
        for real in reals():
            fake = G(noise())
            move_d(coarse, opt_coarse, real, fake)
            move_d(fine, opt_fine, fake.detach(), real)
            opt_G.zero_grad()
            (g_loss(coarse(fake)) + g_loss(fine(fake))).backward()  # <- here
            opt_G.step()
    return [G, coarse, fine]


@broken("stale", "D", "opt_D.zero_grad()", "D1.0.weight")
def one_optimiser_stepped_for_each_discriminator(wiring: Wiring) -> list[nn.Module]:
    """Two discriminators in one optimiser, which steps after each: the first one's gradient is used twice."""
    (G, D1), (_, D2) = players(), players(1)
    opt_G, opt_D = adam(G), torch.optim.SGD([*D1.parameters(), *D2.parameters()], lr=1e-2)
    with wiring(G, [D1, D2], opt_G, opt_D):
        for real in reals():
            fake = G(noise())
            opt_D.zero_grad()
            for D in (D1, D2):
                d_loss(D(real), D(fake.detach())).backward()
                opt_D.step()  # <- here
            opt_G.zero_grad()
            (g_loss(D1(fake)) + g_loss(D2(fake))).backward()
            opt_G.step()
    return [G, D1, D2]


@broken("discarded", "D", "opt_D.step()")
def accumulation_cleared_in_between(wiring: Wiring) -> list[nn.Module]:
    """`zero_grad` stands inside the loop over parts of a batch: only the last part counts."""
    G, D = players()
    opt_G, opt_D = adam(G), adam(D)
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            for part in real.chunk(4):
                opt_D.zero_grad()  # <- here
                (d_loss(D(part), D(G(noise()).detach())) / 4).backward()
            opt_D.step()
            move_g(D, opt_G, G(noise()))
    return [G, D]


@broken("stale", "D", "twice")
def part_of_a_loss_goes_backward_first(wiring: Wiring) -> list[nn.Module]:
    """The loss of real samples goes backward by itself, and once more in the sum of both."""
    G, D = players()
    opt_G, opt_D = adam(G), adam(D)
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            fake = G(noise())
            opt_D.zero_grad()
            loss_real = F.softplus(-D(real)).mean()
            loss_real.backward(retain_graph=True)  # <- here
            loss_fake = F.softplus(D(fake.detach())).mean()
            (loss_real + loss_fake).backward()
            opt_D.step()
            move_g(D, opt_G, fake)
    return [G, D]


@broken("stale", "G", "opt_G.zero_grad()")
def penalty_runs_into_g(wiring: Wiring) -> list[nn.Module]:
    """The fakes are detached for D's loss and not for its penalty, and G's gradients are cleared before both turns."""
    torch.manual_seed(0)
    G, D = mlp(LATENT, 2), nn.Sequential(nn.Linear(2, 8), nn.Softplus(), nn.Linear(8, 1))
    opt_G, opt_D = adam(G), adam(D)
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            opt_G.zero_grad()
            opt_D.zero_grad()
            fake = G(noise())
            between = fake + torch.rand(BATCH, 1) * (real - fake)
            (slope,) = torch.autograd.grad(D(between).sum(), between, create_graph=True)
            loss = D(fake.detach()).mean() - D(real).mean() + 10 * (slope.norm(dim=1) - 1).square().mean()
            loss.backward(retain_graph=True)
            opt_D.step()
            (-D(fake).mean()).backward()
            opt_G.step()  # <- here
    return [G, D]


@broken("terms", "D", "autograd.grad", "None")
def penalty_of_something_else(wiring: Wiring) -> list[nn.Module]:
    """The penalty is taken with respect to a copy that D never saw; `allow_unused` keeps that quiet."""
    G, D = players()
    opt_G, opt_D = adam(G), adam(D)
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            fake = G(noise())
            loss = d_loss(D(real), D(fake.detach()))
            at = real.clone().requires_grad_()
            (slope,) = torch.autograd.grad(D(real).sum(), at, create_graph=True, allow_unused=True)  # <- here
            if slope is not None:
                loss = loss + slope.square().sum(1).mean()
            opt_D.zero_grad()
            loss.backward()
            opt_D.step()
            move_g(D, opt_G, fake)
    return [G, D]


@broken("terms", "D")
def thawed_after_the_real_samples(wiring: Wiring) -> list[nn.Module]:
    """D is frozen for G's turn, and thawed again only after it has judged the real samples."""
    G, D = players()
    opt_G, opt_D = adam(G), adam(D)
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            D.requires_grad_(False)
            fake = G(noise())
            move_g(D, opt_G, fake)
            logits = D(real)
            D.requires_grad_(True)
            opt_D.zero_grad()
            (F.softplus(-logits).mean() + F.softplus(D(fake.detach())).mean()).backward()  # <- here
            opt_D.step()
    return [G, D]


@broken("clipping", "clip_grad_norm_", "D.0.weight")
def clipped_after_the_step(wiring: Wiring) -> list[nn.Module]:
    """D's gradients are clipped when they have been used."""
    G, D = players()
    opt_G, opt_D = adam(G), adam(D)
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            fake = G(noise())
            move_d(D, opt_D, real, fake)
            nn.utils.clip_grad_norm_(D.parameters(), 0.1)  # <- here
            move_g(D, opt_G, fake)
    return [G, D]


@broken("optimisers", "G.4.weight", "opt_G")
def layer_added_on_the_way(wiring: Wiring) -> list[nn.Module]:
    """G grows by a layer in training, and its optimiser is not told."""
    G, D = players()
    opt_G, opt_D = adam(G), adam(D)
    with wiring(G, D, opt_G, opt_D):
        for number, real in enumerate(reals(3)):
            if number == 1:
                G.extend([nn.LeakyReLU(0.2), nn.Linear(2, 2)])
            fake = G(noise())
            move_d(D, opt_D, real, fake)
            move_g(D, opt_G, fake)
    return [G, D]


@broken("optimisers", "G.0.parametrizations.weight.original0", "opt_G")
def weight_norm_after_the_optimiser(wiring: Wiring) -> list[nn.Module]:
    """Weight normalisation puts two new tensors in the place of one that the optimiser holds."""
    G, D = players()
    opt_G, opt_D = adam(G), adam(D)
    nn.utils.parametrizations.weight_norm(G[0])
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            fake = G(noise())
            move_d(D, opt_D, real, fake)
            move_g(D, opt_G, fake)
    return [G, D]


@broken("ema", "0.weight", "never updated")
def average_of_an_old_copy(wiring: Wiring) -> list[nn.Module]:
    """The average follows a network that was G before training."""
    G, D = players()
    opt_G, opt_D = adam(G), adam(D)
    ema, before = copy.deepcopy(G), copy.deepcopy(G)
    with wiring(G, D, opt_G, opt_D, ema=ema):
        for real in reals():
            fake = G(noise())
            move_d(D, opt_D, real, fake)
            move_g(D, opt_G, fake)
            with torch.no_grad():
                for averaged, own in zip(ema.parameters(), before.parameters(), strict=True):
                    averaged.lerp_(own, 0.01)
    return [G, D]


@broken("adversarial", "G", "tensor")
def loss_wrapped_in_a_new_tensor(wiring: Wiring) -> list[nn.Module]:
    """`requires_grad=True` on a copy of the loss makes `backward` run, and nothing else."""
    G, D = players()
    opt_G, opt_D = adam(G), adam(D)
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            fake = G(noise())
            move_d(D, opt_D, real, fake)
            opt_G.zero_grad()
            loss = torch.tensor(g_loss(D(fake)), requires_grad=True)  # <- here
            loss.backward()
            opt_G.step()
    return [G, D]


@broken("adversarial", "G", "argmax")
def tokens_by_argmax(wiring: Wiring) -> list[nn.Module]:
    """G's samples are tokens, chosen by argmax."""
    G, D = players()
    opt_G, opt_D = adam(G), adam(D)
    real = F.one_hot(torch.zeros(BATCH, dtype=torch.long), 2).float()
    with wiring(G, D, opt_G, opt_D):
        for _ in range(2):
            fake = F.one_hot(G(noise()).argmax(1), 2).float()  # <- here
            move_d(D, opt_D, real, fake)
            move_g(D, opt_G, fake)
    return [G, D]


@broken("own", "G", "round")
def samples_rounded(wiring: Wiring) -> list[nn.Module]:
    """G's samples are rounded to 8 bits, as the real ones were: the gradient is there and 0."""
    G, D = players()
    opt_G, opt_D = adam(G), adam(D)
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            fake = G(noise()).mul(127.5).round().div(127.5)  # <- here
            move_d(D, opt_D, real, fake)
            move_g(D, opt_G, fake)
    return [G, D]


class Checkpointed(nn.Module):
    """A part that is computed anew in the backward pass."""

    def __init__(self, body: nn.Module, reentrant: bool) -> None:
        super().__init__()
        self.body, self.reentrant = body, reentrant

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = checkpoint(self.body, x, use_reentrant=self.reentrant)
        return result


@broken("reached", "G.0.body.weight", "no_grad")
def checkpoint_of_an_input_without_gradient(wiring: Wiring) -> list[nn.Module]:
    """A reentrant checkpoint gives no gradient to its weights if its input, the noise, has none."""
    _, D = players()
    G = nn.Sequential(Checkpointed(nn.Linear(LATENT, 4), reentrant=True), nn.LeakyReLU(0.2), nn.Linear(4, 2))
    opt_G, opt_D = adam(G), adam(D)
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            fake = G(noise())
            move_d(D, opt_D, real, fake)
            move_g(D, opt_G, fake)
    return [G, D]


def spectral(norm: Callable[[nn.Module], nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(norm(nn.Linear(2, 8)), nn.LeakyReLU(0.2), norm(nn.Linear(8, 1)))


@broken("modes", "D.0.parametrizations.weight.0", "eval")
def spectral_norm_in_eval(wiring: Wiring) -> list[nn.Module]:
    """In eval mode the estimate of the largest singular value stands still, while the weights move on."""
    G, _ = players()
    D = spectral(nn.utils.parametrizations.spectral_norm).eval()
    opt_G, opt_D = adam(G), adam(D)
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            fake = G(noise())
            opt_D.zero_grad()
            d_loss(D(real), D(fake.detach())).backward()  # <- here
            opt_D.step()
            move_g(D, opt_G, fake)
    return [G, D]


@broken("modes", "D.0", "D.2", "eval")
def older_spectral_norm_in_eval(wiring: Wiring) -> list[nn.Module]:
    """The same with the older function, which works by hooks."""
    G, _ = players()
    D = spectral(nn.utils.spectral_norm).eval()
    opt_G, opt_D = adam(G), adam(D)
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            fake = G(noise())
            opt_D.zero_grad()
            d_loss(D(real), D(fake.detach())).backward()  # <- here
            opt_D.step()
            move_g(D, opt_G, fake)
    return [G, D]


class Classes(nn.Module):
    """A discriminator that also tells classes, and ends in a softmax there."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.real = nn.Sequential(nn.Linear(2, 8), nn.LeakyReLU(0.2)), nn.Linear(8, 1)
        self.label = nn.Sequential(nn.Linear(8, 3), nn.Softmax(1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.body(x)
        return self.real(h), self.label(h)


@broken("logits", "D", "cross_entropy", "softmax")
def softmax_twice(wiring: Wiring) -> list[nn.Module]:
    """D's classes end in a softmax, and the cross entropy applies another."""
    G, _ = players()
    D = Classes()
    opt_G, opt_D = adam(G), adam(D)
    labels = torch.arange(BATCH) % 3
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            fake = G(noise())
            opt_D.zero_grad()
            (real_logits, classes), (fake_logits, _) = D(real), D(fake.detach())
            loss = d_loss(real_logits, fake_logits) + F.cross_entropy(classes, labels)  # <- here
            loss.backward()
            opt_D.step()
            opt_G.zero_grad()
            g_loss(D(fake)[0]).backward()
            opt_G.step()
    return [G, D]


@broken("adversarial", "A", "AB", "BA")
def the_other_domains_fakes(wiring: Wiring) -> list[nn.Module]:
    """A cycle of two generators: in G's turn the discriminator of A is shown samples of B."""
    torch.manual_seed(0)
    AB, BA, A, B = mlp(2, 2), mlp(2, 2), mlp(2, 1), mlp(2, 1)
    opt_G = torch.optim.Adam([*AB.parameters(), *BA.parameters()], lr=1e-2)
    opt_A, opt_B = adam(A), adam(B)
    with wiring({"AB": AB, "BA": BA}, {"A": A, "B": B}, opt_G, {"A": opt_A, "B": opt_B}):
        for real_A in reals():
            real_B = -real_A
            fake_A, fake_B = BA(real_B), AB(real_A)
            cycle = F.l1_loss(BA(fake_B), real_A) + F.l1_loss(AB(fake_A), real_B)
            opt_G.zero_grad()
            (g_loss(A(fake_B)) + g_loss(B(fake_B)) + 10 * cycle).backward()  # <- here
            opt_G.step()
            move_d(A, opt_A, real_A, fake_A)
            move_d(B, opt_B, real_B, fake_B)
    return [AB, BA, A, B]


def cycle(wiring: Wiring, swapped: bool = False, crossed: bool = False) -> list[nn.Module]:
    """Two generators with one optimiser, two discriminators with another, and a cycle that holds the generators."""
    torch.manual_seed(0)
    A2B, B2A, D_A, D_B = mlp(2, 2), mlp(2, 2), mlp(2, 1), mlp(2, 1)
    opt_G, opt_D = adam(nn.ModuleList([A2B, B2A])), adam(nn.ModuleList([D_A, D_B]))
    with wiring({"A2B": A2B, "B2A": B2A}, {"D_A": D_A, "D_B": D_B}, opt_G, opt_D):
        for a in reals():
            b = a - 4
            fake_b, fake_a = A2B(a), B2A(b)
            opt_G.zero_grad()
            judged = (D_A(fake_b), D_B(fake_a)) if crossed else (D_B(fake_b), D_A(fake_a))
            back = F.l1_loss(B2A(fake_b), a) + F.l1_loss(A2B(fake_a), b)
            (g_loss(judged[0]) + g_loss(judged[1]) + 10 * back).backward()
            opt_G.step()
            opt_D.zero_grad()
            d_loss(D_A(a), D_A(fake_a.detach())).backward()
            pair = D_B(b), D_B(fake_b.detach())
            d_loss(*(pair[::-1] if swapped else pair)).backward()
            opt_D.step()
    return [A2B, B2A, D_A, D_B]


@broken("direction", "G", "D_B")
def labels_swapped_in_one_of_two_that_share_an_optimiser(wiring: Wiring) -> list[nn.Module]:
    """A cycle with a fault in the second discriminator alone, while the sum of both pulls the right way."""
    return cycle(wiring, swapped=True)


@broken("adversarial", "G", "D_A", "A2B")
def discriminators_crossed_in_gs_turn(wiring: Wiring) -> list[nn.Module]:
    """Both discriminators of a cycle share an optimiser, and each is to be fooled by the other's generator."""
    return cycle(wiring, crossed=True)
