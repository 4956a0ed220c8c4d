"""Loops after those of published code on which the check had failed when it was tried on them a fifth time.

Each is in `CORRECT` as it should be, and in `BROKEN` with every one of its faults.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from loops_common import BATCH, Broken, Loop, Wiring, adam, d_loss, g_loss, mlp, noise, players, reals, with_faults

BROKEN: dict[str, Broken] = {}
CORRECT: dict[str, Loop] = {}
faults = with_faults(CORRECT, BROKEN)


def hinge(real: Tensor, fake: Tensor) -> Tensor:
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


class FlatMinima(torch.optim.Optimizer):
    """Two steps in one, of which an optimiser inside takes the second; its own `step` is never called."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__(network.parameters(), {"lr": 1e-2})
        self.base = torch.optim.Adam(self.param_groups, lr=1e-2)
        self.away: list[tuple[Tensor, Tensor]] = []

    @torch.no_grad()
    def first_step(self) -> None:
        weights = [weight for group in self.param_groups for weight in group["params"]]
        self.away = [(weight, weight.clone()) for weight in weights]
        for weight in weights:
            weight.add_(weight.grad, alpha=1e-2)
        self.zero_grad()

    @torch.no_grad()
    def second_step(self) -> None:
        for weight, old in self.away:
            weight.copy_(old)
        self.base.step()
        self.zero_grad()


@faults(
    one_backward_only=("own", "D", "cleared"),
    cut_off=("adversarial", "detach"),
    never_back=("own", "opt_G.step() was never called"),
)
def flat_minima(wiring: Wiring, fault: str) -> list[nn.Module]:
    G, D = players()
    opt_G, opt_D = FlatMinima(G), FlatMinima(D)
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            z = noise()
            fake = G(z).detach()
            d_loss(D(real), D(fake)).backward()
            opt_D.first_step()
            loss = d_loss(D(real), D(fake))
            if fault != "one_backward_only":
                loss.backward()
            opt_D.second_step()
            for step in (opt_G.first_step, opt_G.second_step):
                fake = G(z)
                (g_loss(D(fake.detach() if fault == "cut_off" else fake)) + 0.1 * fake.square().mean()).backward()
                if fault != "never_back" or step == opt_G.first_step:
                    step()
            D.zero_grad()
    return [G, D]


def recoloured(images: Tensor) -> Tensor:
    lighter = images + torch.rand(len(images), 1, 1, 1) - 0.5
    grey = lighter.mean(1, keepdim=True)
    return (lighter - grey) * 2 * torch.rand(len(images), 1, 1, 1) + grey


@faults(
    bytes=("inputs", "go from"),
    both_called_real=("direction", "both called real"),
    without_gradient=("adversarial", "no_grad"),
)
def colours_changed_at_random(wiring: Wiring, fault: str) -> list[nn.Module]:
    torch.manual_seed(0)
    G = nn.Sequential(nn.Linear(4, 48), nn.Tanh(), nn.Unflatten(1, (3, 4, 4)))
    D = nn.Sequential(nn.Flatten(), nn.Linear(48, 8), nn.LeakyReLU(0.2), nn.Linear(8, 1))
    nn.init.constant_(D[3].bias, 1.0)  # about half of the answers are beyond the hinge
    opt_G, opt_D = adam(G), adam(D)
    change = torch.no_grad()(recoloured) if fault == "without_gradient" else recoloured
    with wiring(G, D, opt_G, opt_D):
        for _ in range(2):
            real = (2 * torch.rand(BATCH, 3, 4, 4) - 1) * (127.5 if fault == "bytes" else 1.0)
            fake = G(torch.randn(BATCH, 4))
            opt_D.zero_grad()
            judged = D(change(fake.detach()))
            hinge(D(change(real)), -judged if fault == "both_called_real" else judged).backward()
            opt_D.step()
            opt_G.zero_grad()
            (0.1 * fake.square().mean() - D(change(fake)).mean()).backward()
            opt_G.step()
    return [G, D]


@faults(
    left_out=("optimisers", "no optimiser holds G3"),
    number=("terms", "changes"),
    cut_from_the_first=("reached", "G1.0.bias", "detach"),
)
def three_parts_and_two_optimisers(wiring: Wiring, fault: str) -> list[nn.Module]:
    torch.manual_seed(0)
    make, refine, back, D = mlp(4, 2), mlp(2, 2), mlp(2, 2), mlp(2, 1)
    first = torch.optim.Adam([*make.parameters(), *refine.parameters()], 1e-3)
    second, opt_D = adam(D if fault == "left_out" else back), adam(D)
    with wiring([make, refine, back], D, [first, second], opt_D):
        for real in reals():
            made = make(noise())
            fake = refine(made.detach() if fault == "cut_from_the_first" else made)
            opt_D.zero_grad()
            d_loss(D(real), D(fake.detach())).backward()
            opt_D.step()
            first.zero_grad()
            refined = F.mse_loss(refine(real), real)
            (g_loss(D(fake)) + (refined.item() if fault == "number" else refined)).backward()
            first.step()
            second.zero_grad()
            F.mse_loss(back(fake.detach()), real).backward()
            second.step()
    return [make, refine, back, D]


@faults(same_side=("direction", "G helps D"), second_left_out=("terms", "detach"), old_copy=("adversarial", "G"))
def pairs_with_two_penalties(wiring: Wiring, fault: str) -> list[nn.Module]:
    G, D = players()
    opt_G, opt_D = adam(G), adam(D)

    def penalty(at: Tensor, logits: Tensor) -> Tensor:
        (slope,) = torch.autograd.grad(logits.sum(), at, create_graph=True)
        return slope.square().sum(1)

    with wiring(G, D, opt_G, opt_D):
        for batch in reals():
            D.requires_grad_(False)
            fake = G(noise()).data.requires_grad_() if fault == "old_copy" else G(noise())
            apart = D(fake) - D(batch)
            opt_G.zero_grad()
            F.softplus(apart if fault == "same_side" else -apart).mean().backward()
            opt_G.step()
            D.requires_grad_(True)
            real, fake = batch.clone().requires_grad_(), G(noise()).detach().requires_grad_()
            ours, theirs = D(real), D(fake)
            second = penalty(fake, theirs)
            opt_D.zero_grad()
            both = penalty(real, ours) + (second.detach() if fault == "second_left_out" else second)
            (F.softplus(theirs - ours)[:, 0] + 0.5 * both).mean().backward()
            opt_D.step()
    return [G, D]


@faults(signs=("direction", "G helps D"), real_twice=("terms", "compares something with itself"))
def averages_in_two_backward_passes(wiring: Wiring, fault: str) -> list[nn.Module]:
    """Each kind of answers is compared with the mean of the other, which is detached in D's turn."""
    G, D = players()
    look = mlp(2, 4).requires_grad_(False)
    opt_G, opt_D = adam(G), adam(D)

    def like(logits: Tensor, real: bool) -> Tensor:
        return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, float(real)))

    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            D.requires_grad_(False)
            fake = G(noise())
            ours, theirs = D(real).detach(), D(fake)
            seen = F.l1_loss(look(real if fault == "real_twice" else fake), look(real))
            wish = fault != "signs"
            opt_G.zero_grad()
            (seen + like(ours - theirs.mean(), not wish) + like(theirs - ours.mean(), wish)).backward()
            opt_G.step()
            D.requires_grad_(True)
            opt_D.zero_grad()
            ours, theirs = D(real), D(fake.detach()).detach()
            like(ours - theirs.mean(), True).backward()
            theirs = D(fake.detach())
            like(theirs - ours.mean().detach(), False).backward()
            opt_D.step()
    return [G, D]


class Denoiser(nn.Module):
    """A network that gives a score, or a judgement by a head of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk, self.score, self.head = mlp(2, 8), nn.Linear(8, 2), nn.Linear(8, 1)

    def forward(self, x: Tensor, judge: bool = False) -> Tensor:
        return (self.head if judge else self.score)(F.silu(self.trunk(x)))


@faults(labels_swapped=("direction", "G helps D"), head_left_out=("optimisers", "D.head"))
def judged_by_a_head_of_the_score(wiring: Wiring, fault: str) -> list[nn.Module]:
    torch.manual_seed(0)
    G, D = mlp(4, 2), Denoiser()
    held = [*D.trunk.parameters(), *D.score.parameters(), *([] if fault == "head_left_out" else D.head.parameters())]
    opt_G, opt_D = adam(G), torch.optim.Adam(held, 1e-3)
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            fake = G(noise())
            noisy = fake + 0.1 * torch.randn_like(fake)
            goal = (fake - 0.1 * D(noisy)).detach()
            D.requires_grad_(False)
            opt_G.zero_grad()
            (0.5 * F.mse_loss(fake, goal) + 0.01 * g_loss(D(noisy, judge=True))).backward()
            opt_G.step()
            D.requires_grad_(True)
            for _ in range(2):
                fake = G(noise()).detach()
                noisy = fake + 0.1 * torch.randn_like(fake)
                both = D(real, judge=True), D(noisy, judge=True)
                opt_D.zero_grad()
                (F.mse_loss(D(noisy), fake) + d_loss(*(both[::-1] if fault == "labels_swapped" else both))).backward()
                opt_D.step()
    return [G, D]


class Scales(nn.Module):
    """Judges at two scales; of each it gives a feature and an answer."""

    def __init__(self) -> None:
        super().__init__()
        self.bodies = nn.ModuleList(nn.Linear(2, 6) for _ in range(2))
        self.heads = nn.ModuleList(nn.Linear(6, 1) for _ in range(2))

    def forward(self, x: Tensor) -> list[tuple[Tensor, Tensor]]:
        features = [F.leaky_relu(body(x * scale), 0.2) for scale, body in enumerate(self.bodies, 1)]
        return [(feature, head(feature)) for feature, head in zip(features, self.heads, strict=True)]


@faults(
    one_scale_forgotten=("reached", "D.bodies.1", "never learnt"),
    forgotten_and_not_frozen=("reached", "D.heads.1", "never learnt"),
    both_called_real=("direction", "both called real"),
)
def features_at_two_scales(wiring: Wiring, fault: str) -> list[nn.Module]:
    torch.manual_seed(0)
    G, D = mlp(4, 2), Scales()
    opt_G, opt_D = adam(G), adam(D)
    count = 1 if "forgotten" in fault else 2
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            fake = G(noise())
            opt_D.zero_grad()
            turn = -1 if fault == "both_called_real" else 1
            pairs = list(zip(D(real), D(fake.detach()), strict=True))[:count]
            sum(hinge(ours, turn * theirs) for (_, ours), (_, theirs) in pairs).backward()
            opt_D.step()
            D.requires_grad_(fault == "forgotten_and_not_frozen")
            opt_G.zero_grad()
            loss: Any = 0
            for (ours, _), (theirs, logits) in zip(D(real), D(fake), strict=True):
                loss = loss - logits.mean() + F.l1_loss(theirs, ours.detach())
            loss.backward()
            opt_G.step()
            D.requires_grad_(True)
    return [G, D]


@faults(
    forced=("terms", "goes backward", "autograd.grad without create_graph"),
    softmax_twice=("logits", "applies a softmax to G's outputs"),
    cleared_before_decay=("own", "no gradient to go along", "weight decay"),
)
def table_with_a_class(wiring: Wiring, fault: str) -> list[nn.Module]:
    torch.manual_seed(0)
    G, D = mlp(4, 5), mlp(5, 1)
    opt_G, opt_D = torch.optim.AdamW(G.parameters(), 1e-2), adam(D)
    with wiring(G, D, opt_G, opt_D):
        for column in reals():
            kind = torch.randint(3, (BATCH,))
            real = torch.cat([column, F.one_hot(kind, 3).float()], 1)
            raw = G(noise())
            fake = torch.cat([raw[:, :2], F.gumbel_softmax(raw[:, 2:], 0.5)], 1)
            opt_D.zero_grad()
            (D(fake.detach()).mean() - D(real).mean()).backward()
            between = (0.5 * real + 0.5 * fake.detach()).requires_grad_()
            (slope,) = torch.autograd.grad(D(between).sum(), between, create_graph=fault != "forced")
            penalty = (slope.norm(dim=1) - 1).square().mean()
            (penalty.requires_grad_() if fault == "forced" else penalty).backward()
            opt_D.step()
            opt_G.zero_grad()
            logits = raw[:, 2:].softmax(1) if fault == "softmax_twice" else raw[:, 2:]
            (F.cross_entropy(logits, kind) - D(fake).mean()).backward()
            if fault == "cleared_before_decay":
                opt_G.zero_grad(set_to_none=False)
            opt_G.step()
    return [G, D]


@faults(sign=("direction", "G helps D"), cut=("adversarial", "detach"))
def unrolled_by_functional_calls(wiring: Wiring, fault: str) -> list[nn.Module]:
    G, D = players()
    opt_G, opt_D = adam(G), adam(D)

    def loss_with(weights: dict[str, Tensor], real: Tensor, fake: Tensor) -> Tensor:
        return d_loss(functional_call(D, weights, (real,)), functional_call(D, weights, (fake,)))

    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            opt_D.zero_grad()
            loss_with(dict(D.named_parameters()), real, G(noise()).detach()).backward()
            opt_D.step()
            fake = G(noise())
            judged = fake.detach() if fault == "cut" else fake
            weights = {name: weight.detach().requires_grad_() for name, weight in D.named_parameters()}
            slopes = torch.autograd.grad(loss_with(weights, real, judged), list(weights.values()), create_graph=True)
            later = {n: w - 0.1 * slope for (n, w), slope in zip(weights.items(), slopes, strict=True)}
            logits = functional_call(D, later, (judged,))
            opt_G.zero_grad()
            (g_loss(-logits if fault == "sign" else logits) + 0.1 * fake.square().mean()).backward()
            opt_G.step()
    return [G, D]


@faults(generated_flat=("shapes", "judgements [16] with targets [16, 1]"), targets_flat=("shapes", "[16, 1] with"))
def squares_of_noisy_samples(wiring: Wiring, fault: str) -> list[nn.Module]:
    G, D = players()
    opt_G, opt_D = adam(G), adam(D)
    one, zero = torch.ones(BATCH, 1), torch.zeros(BATCH, 1)
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            fake = G(noise())
            opt_D.zero_grad()
            theirs = D(fake.detach() + 0.1 * torch.randn_like(fake))
            theirs = theirs.squeeze(1) if fault == "generated_flat" else theirs
            ours = D(real + 0.1 * torch.randn_like(real))
            (F.mse_loss(ours, one[:, 0] if fault == "targets_flat" else one) + F.mse_loss(theirs, zero)).backward()
            opt_D.step()
            opt_G.zero_grad()
            F.mse_loss(D(fake), one).backward()
            opt_G.step()
    return [G, D]
