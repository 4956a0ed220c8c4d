"""Loops of a stranger's style, each once as it should be and once with a typical fault of that style.

`CORRECT` and `BROKEN` hold them by name. All were written before the check was tried on them.
"""

from __future__ import annotations

import copy
import random
from itertools import chain

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from loops_common import (
    BATCH,
    LATENT,
    Broken,
    Loop,
    Wiring,
    adam,
    both_ways,
    d_loss,
    g_loss,
    mlp,
    noise,
    players,
    reals,
    without_fault,
)

BROKEN: dict[str, Broken] = {}
CORRECT: dict[str, Loop] = {}


pair = both_ways(CORRECT, BROKEN)
correct = without_fault(CORRECT)


def squares(logits: Tensor, target: float) -> Tensor:
    return (logits - target).square().mean()


@pair("direction", "fine")
def least_squares_below_both_targets(wiring: Wiring, fault: bool) -> list[nn.Module]:
    """Two discriminators answer around -3, below both targets; the fault swaps the labels of one of them."""
    (G, coarse), (_, fine) = players(), players(1)
    opt_G, opts = adam(G), {"coarse": adam(coarse), "fine": adam(fine)}
    for D in (coarse, fine):
        nn.init.constant_(D[-1].bias, -3.0)
    with wiring(G, {"coarse": coarse, "fine": fine}, opt_G, opts):
        for real in reals():
            fake = G(noise())
            for name, D in (("coarse", coarse), ("fine", fine)):
                seen = (fake.detach(), real) if fault and name == "fine" else (real, fake.detach())
                opts[name].zero_grad()
                (squares(D(seen[0]), 1.0) + squares(D(seen[1]), 0.0)).backward()
                opts[name].step()
            opt_G.zero_grad()
            (squares(coarse(fake), 1.0) + squares(fine(fake), 1.0)).backward()  # <- here
            opt_G.step()
    return [G, coarse, fine]


@pair("direction", "G")
def least_squares_beyond_its_targets(wiring: Wiring, fault: bool) -> list[nn.Module]:
    """D answers far above 1 for real samples and far below 0 for others, so that its loss pulls both back."""
    torch.manual_seed(0)
    G, D = mlp(LATENT, 2), nn.Linear(2, 1)
    with torch.no_grad():
        D.weight.fill_(2.0)
        D.bias.fill_(-4.0)
    opt_G, opt_D = adam(G), adam(D)
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            fake = G(noise())
            opt_D.zero_grad()
            (squares(D(real), 1.0) + squares(D(fake.detach()), 0.0)).backward()
            opt_D.step()
            opt_G.zero_grad()
            squares(D(fake), 0.0 if fault else 1.0).backward()  # <- here
            opt_G.step()
    return [G, D]


@correct
def least_squares_with_noisy_labels(wiring: Wiring) -> list[nn.Module]:
    """The same, with a target drawn for every sample."""
    torch.manual_seed(0)
    G, D = mlp(LATENT, 2), nn.Linear(2, 1)
    nn.init.constant_(D.weight, 2.0)
    nn.init.constant_(D.bias, -4.0)
    opt_G, opt_D = adam(G), adam(D)
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            fake = G(noise())
            opt_D.zero_grad()
            targets = 0.9 + 0.2 * torch.rand(BATCH, 1), 0.1 * torch.rand(BATCH, 1)
            (F.mse_loss(D(real), targets[0]) + F.mse_loss(D(fake.detach()), targets[1])).backward()
            opt_D.step()
            opt_G.zero_grad()
            squares(D(fake), 1.0).backward()
            opt_G.step()
    return [G, D]


@pair("direction", "G")
def smoothed_labels(wiring: Wiring, fault: bool) -> list[nn.Module]:
    """Cross entropy with a target of 0.9, which D's answers for real samples are beyond: it pulls them down."""
    torch.manual_seed(0)
    G, D = mlp(LATENT, 2), nn.Linear(2, 1)
    nn.init.constant_(D.weight, 2.0)
    nn.init.constant_(D.bias, -1.0)
    opt_G, opt_D = adam(G), adam(D)

    def entropy(logits: Tensor, target: float) -> Tensor:
        return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))

    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            fake = G(noise())
            opt_D.zero_grad()
            (entropy(D(real), 0.9) + entropy(D(fake.detach()), 0.0)).backward()
            opt_D.step()
            opt_G.zero_grad()
            entropy(D(fake), 0.0 if fault else 1.0).backward()  # <- here
            opt_G.step()
    return [G, D]


@correct
def relativistic_least_squares(wiring: Wiring) -> list[nn.Module]:
    """Answers are compared with the mean of the other kind, and are already too far apart."""
    torch.manual_seed(0)
    G, D = mlp(LATENT, 2), nn.Linear(2, 1)
    nn.init.constant_(D.weight, 1.0)
    opt_G, opt_D = adam(G), adam(D)

    def loss(up: Tensor, down: Tensor) -> Tensor:
        return squares(up - down.mean(), 1.0) + squares(down - up.mean(), -1.0)

    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            fake = G(noise())
            opt_D.zero_grad()
            loss(D(real), D(fake.detach())).backward()
            opt_D.step()
            opt_G.zero_grad()
            loss(D(fake), D(real).detach()).backward()
            opt_G.step()
    return [G, D]


@pair("inputs", "D")
def domains_in_turns(wiring: Wiring, fault: bool) -> list[nn.Module]:
    """Domain adaptation without a reversal: D tells the domains' features apart, then the features confuse it.

    The fault takes the source's features for the target's.
    """
    torch.manual_seed(0)
    features, D = mlp(2, 2), mlp(2, 1)
    opt_F, opt_D = adam(features), adam(D)
    source = list(reals())
    with wiring(features, D, opt_F, opt_D):
        for a, b in zip(source, [one.flip(1) - 3 for one in source], strict=True):
            ours, theirs = features(a), features(a if fault else b)
            opt_D.zero_grad()
            d_loss(D(ours.detach()), D(theirs.detach())).backward()  # <- here
            opt_D.step()
            opt_F.zero_grad()
            task = (ours.sum(1) - a.prod(1)).square().mean()
            (task + 0.1 * g_loss(D(theirs))).backward()
            opt_F.step()
    return [features, D]


@pair("adversarial", "F", "detach")
def domains_with_a_task_of_their_own(wiring: Wiring, fault: bool) -> list[nn.Module]:
    """The task has a step of its own, with a classifier that nobody handed over, and D sees drawn samples."""
    torch.manual_seed(0)
    features, D, head = mlp(2, 2), mlp(2, 1), nn.Linear(2, 1)
    opt_F, opt_D, opt_head = adam(features), adam(D), adam(nn.ModuleList([features, head]))
    with wiring({"F": features}, D, {"F": opt_F}, opt_D):
        for _ in range(2):
            a, b = torch.randn(BATCH, 2) + 1, torch.randn(BATCH, 2) - 1
            opt_head.zero_grad()
            F.mse_loss(head(features(a)), a.prod(1, keepdim=True)).backward()
            opt_head.step()
            opt_D.zero_grad()
            d_loss(D(features(a).detach()), D(features(b).detach())).backward()
            opt_D.step()
            opt_F.zero_grad()
            made = features(b)
            fooled = g_loss(D(made.detach() if fault else made))  # <- here
            (fooled + 0.1 * features(a).square().mean()).backward()
            opt_F.step()
    return [features, D, head]


class Probe(nn.Module):
    """Heads on a backbone that is never trained."""

    def __init__(self, silent: bool) -> None:
        super().__init__()
        self.body, self.head = mlp(2, 8).requires_grad_(False), mlp(8, 1)
        self.silent = silent

    def forward(self, x: Tensor) -> Tensor:
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.silent):
            seen = self.body(x)  # <- here
        return self.head(seen)


@pair("adversarial", "G", "no_grad")
def distillation(wiring: Wiring, fault: bool) -> list[nn.Module]:
    """A student makes a sample of noised data in one step, a frozen teacher and a D on frozen features judge it."""
    torch.manual_seed(0)
    teacher, student, D = mlp(3, 2).requires_grad_(False), mlp(3, 2), Probe(silent=fault)
    opt_G, opt_D = torch.optim.AdamW(student.parameters(), lr=1e-3), adam(D.head)

    def denoised(network: nn.Module, x: Tensor, t: Tensor) -> Tensor:
        return network(torch.cat([x, t], 1))

    def noised(x: Tensor, t: Tensor) -> Tensor:
        return (1 - t) * x + t * torch.randn_like(x)

    with wiring(student, D, opt_G, opt_D):
        for real in reals():
            s, t = torch.rand(BATCH, 1), torch.rand(BATCH, 1)
            sample = denoised(student, noised(real, s), s)
            with torch.no_grad():
                target = denoised(teacher, noised(sample, t), t)
            distance = ((sample - target).square() * (1 - t)).mean()
            opt_G.zero_grad(set_to_none=True)
            (2.5 * distance - D(sample).mean()).backward()
            opt_G.step()
            opt_D.zero_grad(set_to_none=True)
            (F.relu(1 - D(real)).mean() + F.relu(1 + D(sample.detach())).mean()).backward()
            opt_D.step()
    return [teacher, student, D]


class Periods(nn.Module):
    """A discriminator of waveforms [N, 1, T] folded to [N, 1, T / period, period]; returns its features, too."""

    def __init__(self, period: int) -> None:
        super().__init__()
        self.period = period
        self.first = nn.utils.parametrizations.weight_norm(nn.Conv2d(1, 4, (3, 1), (2, 1)))
        self.last = nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 1, (3, 1), padding=(1, 0)))

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        x = F.pad(x, (0, -x.shape[-1] % self.period), "reflect").unflatten(2, (-1, self.period))
        features = F.leaky_relu(self.first(x), 0.1)
        logits = self.last(features)
        return logits.flatten(1), [features, logits]


class Heads(nn.Module):
    """Several discriminators at once, on real and generated samples."""

    def __init__(self, periods: tuple[int, ...], pool: bool) -> None:
        super().__init__()
        self.heads, self.pool = nn.ModuleList([Periods(period) for period in periods]), pool

    def forward(self, y: Tensor, made: Tensor) -> list[tuple[Tensor, Tensor, list[Tensor], list[Tensor]]]:
        found = []
        for number, head in enumerate(self.heads):
            if number and self.pool:
                y, made = F.avg_pool1d(y, 4, 2, 2), F.avg_pool1d(made, 4, 2, 2)
            (r, r_features), (f, f_features) = head(y), head(made)
            found.append((r, f, r_features, f_features))
        return found


@pair("optimisers", "D", "mpd.heads.0.first")
def vocoder_of_two_families(wiring: Wiring, fault: bool) -> list[nn.Module]:
    """Periods and scales, least squares, matched features, a spectral loss; the fault chains one family twice."""
    torch.manual_seed(0)
    G = nn.Sequential(nn.Conv1d(2, 4, 5, padding=2), nn.LeakyReLU(0.1), nn.Conv1d(4, 1, 5, padding=2), nn.Tanh())
    mpd, msd = Heads((2, 3), pool=False), Heads((1, 1), pool=True)
    opt_G = torch.optim.AdamW(G.parameters(), lr=2e-3, betas=(0.8, 0.99))
    held = list(dict.fromkeys(chain(msd.parameters(), (msd if fault else mpd).parameters())))
    opt_D = torch.optim.AdamW(held, lr=2e-3, betas=(0.8, 0.99))

    def spectrum(y: Tensor) -> Tensor:
        return torch.stft(y.flatten(0, 1), 16, 8, window=torch.hann_window(16), return_complex=True).abs().clamp(1e-5)

    with wiring(G, {"mpd": mpd, "msd": msd}, opt_G, opt_D):
        for _ in range(2):
            phase = torch.rand(4, 1, 1) * 6.28
            time = torch.arange(64).view(1, 1, -1) * 0.3
            y, condition = torch.sin(time + phase), torch.cat([torch.cos(time + phase), torch.randn(4, 1, 64)], 1)
            made = G(condition)
            opt_D.zero_grad()
            losses = [squares(r, 1) + squares(f, 0) for D in (mpd, msd) for r, f, _, _ in D(y, made.detach())]
            sum(losses).backward()
            opt_D.step()
            opt_G.zero_grad()
            total = 45 * F.l1_loss(spectrum(made).log(), spectrum(y).log())
            for D in (mpd, msd):
                for _, f, r_features, f_features in D(y, made):
                    total = total + squares(f, 1)
                    total = total + 2 * sum(F.l1_loss(a, b) for a, b in zip(r_features, f_features, strict=True))
            total.backward()
            opt_G.step()
    return [G, mpd, msd]


class Quantised(nn.Module):
    """An autoencoder with a codebook; returns the reconstruction and the codebook's loss."""

    def __init__(self, straight: bool) -> None:
        super().__init__()
        self.encoder, self.decoder, self.codes = mlp(2, 4), mlp(4, 2), nn.Embedding(8, 4)
        self.straight = straight

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z = self.encoder(x)
        q = self.codes(torch.cdist(z, self.codes.weight).argmin(1))
        if self.straight:
            loss = F.mse_loss(q, z.detach()) + 0.25 * F.mse_loss(q.detach(), z)
            return self.decoder(z + (q - z).detach()), loss
        return self.decoder(q), F.mse_loss(q, z.detach()) + 0.25 * F.mse_loss(q.detach(), z.detach())


@pair("reached", "G.encoder.0.weight", "argmin")
def quantised_autoencoder(wiring: Wiring, fault: bool) -> list[nn.Module]:
    """The adversarial weight is taken from gradients at the last layer, D starts late; the encoder is cut off."""
    torch.manual_seed(0)
    G, D = Quantised(straight=not fault), mlp(2, 1)
    opt_G, opt_D = adam(G), adam(D)
    last = G.decoder[-1].weight
    with wiring(G, D, opt_G, opt_D):
        for number, real in enumerate(reals(4)):
            made, codebook = G(real)
            likelihood, adversarial = (real - made).abs().mean(), -D(made).mean()
            norms = [torch.autograd.grad(one, last, retain_graph=True)[0].norm() for one in (likelihood, adversarial)]
            weight = (norms[0] / (norms[1] + 1e-4)).clamp(0, 1e4).detach() * (0.0 if number < 1 else 1.0)
            opt_G.zero_grad()
            (likelihood + weight * adversarial + codebook).backward()
            opt_G.step()
            opt_D.zero_grad()
            hinge = F.relu(1 - D(real.detach())).mean() + F.relu(1 + D(made.detach())).mean()
            ((0.0 if number < 1 else 0.5) * hinge).backward()
            opt_D.step()
    return [G, D]


class Pool:
    """Earlier fakes, of which half the time one is given back for a new one."""

    def __init__(self) -> None:
        self.kept: list[Tensor] = []
        self.dice = random.Random(0)

    def query(self, images: Tensor) -> Tensor:
        given = []
        for image in images.detach():
            if len(self.kept) < 2 * BATCH:
                self.kept.append(image[None])
                given.append(image[None])
            elif self.dice.random() > 0.5:
                place = self.dice.randrange(len(self.kept))
                given.append(self.kept[place].clone())
                self.kept[place] = image[None]
            else:
                given.append(image[None])
        return torch.cat(given)


@pair("adversarial", "G", "D_A", "detach")
def cycle_with_pools(wiring: Wiring, fault: bool) -> list[nn.Module]:
    """Least squares on pooled fakes for both discriminators; the fault shows the pool's to one in G's turn, too."""
    torch.manual_seed(0)
    A2B, B2A, D_A, D_B = mlp(2, 2), mlp(2, 2), mlp(2, 1), mlp(2, 1)
    opt_G, opt_A, opt_B = adam(nn.ModuleList([A2B, B2A])), adam(D_A), adam(D_B)
    pool_A, pool_B = Pool(), Pool()
    with wiring({"A2B": A2B, "B2A": B2A}, {"D_A": D_A, "D_B": D_B}, opt_G, {"D_A": opt_A, "D_B": opt_B}):
        for a in reals(4):
            b = a - 4
            fake_b, fake_a = A2B(a), B2A(b)
            for D in (D_A, D_B):
                D.requires_grad_(False)
            opt_G.zero_grad()
            judged = D_A(pool_A.query(fake_a) if fault else fake_a)
            back = F.l1_loss(B2A(fake_b), a) + F.l1_loss(A2B(fake_a), b)
            (squares(judged, 1) + squares(D_B(fake_b), 1) + 10 * back).backward()
            opt_G.step()
            for D, optimiser, pool, real, fake in ((D_A, opt_A, pool_A, a, fake_a), (D_B, opt_B, pool_B, b, fake_b)):
                D.requires_grad_(True)
                optimiser.zero_grad()
                (0.5 * (squares(D(real), 1) + squares(D(pool.query(fake)), 0))).backward()
                optimiser.step()
    return [A2B, B2A, D_A, D_B]


@pair("stale", "D", "opt_D.zero_grad()")
def unrolled(wiring: Wiring, fault: bool) -> list[nn.Module]:
    """G looks through three steps that D would take; the fault leaves what that wrote into D's gradients."""
    G, D = players()
    opt_G, opt_D = adam(G), adam(D)
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            if not fault:
                opt_D.zero_grad()
            fake = G(noise())
            d_loss(D(real), D(fake.detach())).backward()
            opt_D.step()
            ahead = dict(D.named_parameters())
            for _ in range(3):
                loss = d_loss(functional_call(D, ahead, (real,)), functional_call(D, ahead, (fake,)))
                slopes = torch.autograd.grad(loss, list(ahead.values()), create_graph=True)
                ahead = {name: w - 0.1 * slope for (name, w), slope in zip(ahead.items(), slopes, strict=True)}
            opt_G.zero_grad()
            g_loss(functional_call(D, ahead, (fake,))).backward()
            opt_G.step()
    return [G, D]


@pair("terms", "D", "create_graph")
def penalty_every_second_step(wiring: Wiring, fault: bool) -> list[nn.Module]:
    """R1 in a backward pass of its own, held to D's answers by a factor of 0, which hides that it has no graph."""
    torch.manual_seed(0)
    G, D = mlp(LATENT, 2), nn.Sequential(nn.Linear(2, 8), nn.Softplus(), nn.Linear(8, 1))
    opt_G, opt_D = adam(G), adam(D)
    with wiring(G, D, opt_G, opt_D):
        for number, real in enumerate(reals(4)):
            fake = G(noise())
            opt_D.zero_grad(set_to_none=True)
            d_loss(D(real), D(fake.detach())).backward()
            opt_D.step()
            if number % 2 == 0:
                opt_D.zero_grad(set_to_none=True)
                at = real.detach().requires_grad_(True)
                logits = D(at)
                (slope,) = torch.autograd.grad(logits.sum(), at, create_graph=not fault, retain_graph=True)
                r1 = slope.square().sum(1).mean()
                (5 * r1 * 2 + 0 * logits[0, 0]).backward()
                opt_D.step()
            opt_G.zero_grad(set_to_none=True)
            g_loss(D(fake)).backward()
            opt_G.step()
    return [G, D]


@pair("adversarial", "G")
def players_frozen_in_turn(wiring: Wiring, fault: bool) -> list[nn.Module]:
    """`requires_grad_` for whoever moves; the fault makes the fakes while G is still frozen."""
    G, D = players()
    opt_G, opt_D = adam(G), adam(D)
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            G.requires_grad_(False)
            D.requires_grad_(True)
            fake = G(noise())
            opt_D.zero_grad()
            d_loss(D(real), D(fake)).backward()
            opt_D.step()
            G.requires_grad_(True)
            if not fault:
                D.requires_grad_(False)
                fake = G(noise())
            opt_G.zero_grad()
            g_loss(D(fake)).backward()
            opt_G.step()
    return [G, D]


@pair("clipping", "D", "G")
def scaled_by_hand(wiring: Wiring, fault: bool) -> list[nn.Module]:
    """Losses are multiplied by a scale and gradients divided by it; the fault divides the other network's."""
    G, D = players()
    opt_G, opt_D = adam(G), adam(D)
    scale = 1024.0

    def unscaled(network: nn.Module) -> None:
        for weight in network.parameters():
            if weight.grad is not None:
                weight.grad.div_(scale)  # <- here

    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            fake = G(noise())
            opt_G.zero_grad()
            (scale * g_loss(D(fake))).backward()
            unscaled(G)
            if all(bool(torch.isfinite(weight.grad).all()) for weight in G.parameters()):
                opt_G.step()
            opt_D.zero_grad()
            (scale * d_loss(D(real), D(fake.detach()))).backward()
            unscaled(G if fault else D)
            opt_D.step()
    return [G, D]


@pair("direction", "G")
def relativistic_average(wiring: Wiring, fault: bool) -> list[nn.Module]:
    """RaGAN with the real samples' answers detached in G's turn; the fault keeps D's order of the two there."""
    G, D = players()
    opt_G, opt_D = adam(G), adam(D)
    entropy = nn.BCEWithLogitsLoss()

    def loss(up: Tensor, down: Tensor) -> Tensor:
        one, zero = torch.ones_like(up), torch.zeros_like(down)
        return (entropy(up - down.mean(0, keepdim=True), one) + entropy(down - up.mean(0, keepdim=True), zero)) / 2

    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            fake = G(noise())
            D.requires_grad_(False)
            opt_G.zero_grad()
            r, f = D(real).detach(), D(fake)
            (1e-2 * F.l1_loss(fake, real) + 5e-3 * (loss(r, f) if fault else loss(f, r))).backward()  # <- here
            opt_G.step()
            D.requires_grad_(True)
            opt_D.zero_grad()
            loss(D(real), D(fake.detach())).backward()
            opt_D.step()
    return [G, D]


@pair("ema", "G", "0.weight", "never updated")
def wrapped_for_several_processes(wiring: Wiring, fault: bool) -> list[nn.Module]:
    """DistributedDataParallel round both players; the fault updates the average by names that have a prefix."""
    G, D = players()
    average = copy.deepcopy(G)
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    wrapped_G, wrapped_D = (nn.parallel.DistributedDataParallel(net) for net in (G, D))
    opt_G, opt_D = adam(wrapped_G), adam(wrapped_D)
    with wiring(wrapped_G, wrapped_D, opt_G, opt_D, ema=average):
        for real in reals():
            fake = wrapped_G(noise())
            opt_D.zero_grad()
            d_loss(wrapped_D(real), wrapped_D(fake.detach())).backward()
            opt_D.step()
            wrapped_D.requires_grad_(False)
            opt_G.zero_grad()
            g_loss(wrapped_D(fake)).backward()
            opt_G.step()
            wrapped_D.requires_grad_(True)
            before = average.state_dict()
            live = (wrapped_G if fault else wrapped_G.module).state_dict()
            new = {name: 0.9 * before.get(name, value) + 0.1 * value for name, value in live.items()}
            average.load_state_dict(new, strict=False)
    torch.distributed.destroy_process_group()
    return [G, D, average]
