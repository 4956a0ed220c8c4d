"""Correct loops of different styles: the wiring check must find nothing wrong with any of them."""

from __future__ import annotations

import copy
from contextlib import contextmanager
from itertools import chain

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from loops_common import BATCH, LATENT, Loop, Wiring, adam, d_loss, g_loss, mlp, noise, players, reals, without_fault

CORRECT: dict[str, Loop] = {}
correct = without_fault(CORRECT)


@correct
def grad_scaler_with_fused_adam(wiring: Wiring) -> list[nn.Module]:
    """One scaler for both players, half-precision forwards, D's gradients clipped after unscaling."""
    G, D = players()
    opt_G, opt_D = (torch.optim.Adam(net.parameters(), lr=1e-3, fused=True) for net in (G, D))
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            opt_D.zero_grad()
            with torch.autocast("cpu", dtype=torch.bfloat16):
                fake = G(noise())
                loss = d_loss(D(real), D(fake.detach()))
            scaler.scale(loss).backward()
            scaler.unscale_(opt_D)
            torch.nn.utils.clip_grad_norm_(D.parameters(), 1.0)
            scaler.step(opt_D)

            opt_G.zero_grad()
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = g_loss(D(fake))
            scaler.scale(loss).backward()
            scaler.step(opt_G)
            scaler.update()
    return [G, D]


@correct
def accumulation(wiring: Wiring) -> list[nn.Module]:
    """Three small batches a step, for each player; gradients are cleared once before the three."""
    G, D = players()
    opt_G, opt_D = adam(G), adam(D)
    with wiring(G, D, opt_G, opt_D):
        for batches in (list(reals(3)), list(reals(3))):
            D.zero_grad(set_to_none=False)
            for real in batches:
                (d_loss(D(real), D(G(noise()).detach())) / 3).backward()
            opt_D.step()

            opt_G.zero_grad(set_to_none=False)
            for _ in batches:
                (g_loss(D(G(noise()))) / 3).backward()
            opt_G.step()
    return [G, D]


@correct
def lightning_in_plain_code(wiring: Wiring) -> list[nn.Module]:
    """Lightning's manual optimisation: each optimiser is toggled, which freezes the other player's parameters."""
    G, D = players()
    opt_G, opt_D = adam(G), adam(D)

    @contextmanager
    def toggled(network: nn.Module, other: nn.Module):
        other.requires_grad_(False)
        yield
        other.requires_grad_(True)

    def training_step(real: Tensor) -> None:
        with toggled(G, D):
            loss = F.binary_cross_entropy_with_logits(D(G(noise())), torch.ones(BATCH, 1))
            loss.backward()
            opt_G.step()
            opt_G.zero_grad()
        with toggled(D, G):
            real_loss = F.binary_cross_entropy_with_logits(D(real), torch.ones(BATCH, 1))
            fake_loss = F.binary_cross_entropy_with_logits(D(G(noise()).detach()), torch.zeros(BATCH, 1))
            ((real_loss + fake_loss) / 2).backward()
            opt_D.step()
            opt_D.zero_grad()

    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            training_step(real)
    return [G, D]


@correct
def wgan_gp_with_five_steps_of_d(wiring: Wiring) -> list[nn.Module]:
    """Five steps of D with a gradient penalty, then one of G."""
    G, D = players()
    opt_G, opt_D = adam(G), adam(D)

    def penalty(real: Tensor, fake: Tensor) -> Tensor:
        share = torch.rand(BATCH, 1)
        between = torch.autograd.Variable(share * real.data + (1 - share) * fake.data, requires_grad=True)
        gradient = torch.autograd.grad(D(between), between, torch.ones(BATCH, 1), create_graph=True, retain_graph=True)[
            0
        ]
        return ((gradient.view(BATCH, -1).norm(2, dim=1) - 1) ** 2).mean()

    with wiring(G, D, opt_G, opt_D):
        for number, real in enumerate(reals(10), 1):
            opt_D.zero_grad()
            fake = G(noise()).detach()
            loss = -D(real).mean() + D(fake).mean() + 10 * penalty(real, fake)
            loss.backward()
            opt_D.step()
            if number % 5 == 0:
                opt_G.zero_grad()
                (-D(G(noise())).mean()).backward()
                opt_G.step()
    return [G, D]


@correct
def two_discriminators(wiring: Wiring) -> list[nn.Module]:
    """Two discriminators, one of them for blurred samples, with an optimiser each."""
    G, fine = players()
    coarse = mlp(1, 1)
    opt_G, opt_fine, opt_coarse = adam(G), adam(fine), adam(coarse)
    both = {"fine": fine, "coarse": coarse}
    with wiring(G, both, opt_G, {"fine": opt_fine, "coarse": opt_coarse}):
        for real in reals():
            fake = G(noise())
            opt_fine.zero_grad()
            opt_coarse.zero_grad()
            loss = d_loss(fine(real), fine(fake.detach()))
            loss += d_loss(coarse(real.mean(1, keepdim=True)), coarse(fake.detach().mean(1, keepdim=True)))
            loss.backward()
            opt_fine.step()
            opt_coarse.step()

            opt_G.zero_grad()
            (g_loss(fine(fake)) + g_loss(coarse(fake.mean(1, keepdim=True)))).backward()
            opt_G.step()
    return [G, fine, coarse]


@correct
def shared_backbone(wiring: Wiring) -> list[nn.Module]:
    """G and D share a layer, which D's optimiser alone moves."""
    torch.manual_seed(0)
    shared = nn.Linear(2, 2)
    head = mlp(LATENT, 2)
    G, D = nn.Sequential(head, shared), nn.Sequential(shared, mlp(2, 1))
    opt_G, opt_D = adam(head), adam(D)
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            opt_D.zero_grad()
            d_loss(D(real), D(G(noise()).detach())).backward()
            opt_D.step()

            opt_G.zero_grad()
            g_loss(D(G(noise()))).backward()
            opt_G.step()
    return [G, D]


# ------------------------------------------------------------------------------------------------ further styles


@correct
def wgan_with_clipped_weights(wiring: Wiring) -> list[nn.Module]:
    """D's weights are clipped through .data after its step; real and fake go backward apart, as in old code."""
    G, D = players()
    opt_G, opt_D = (torch.optim.RMSprop(net.parameters(), lr=5e-3) for net in (G, D))
    one = torch.tensor(1.0)
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            for parameter in D.parameters():
                parameter.requires_grad = True
            for _ in range(3):
                for parameter in D.parameters():
                    parameter.data.clamp_(-0.1, 0.1)
                D.zero_grad()
                D(real).mean(0).view(1).backward(-one.view(1))
                with torch.no_grad():
                    fake = G(noise())
                D(fake).mean(0).view(1).backward(one.view(1))
                opt_D.step()
            for parameter in D.parameters():
                parameter.requires_grad = False
            G.zero_grad()
            D(G(noise())).mean(0).view(1).backward(-one.view(1))
            opt_G.step()
    return [G, D]


@correct
def norms_averages_and_r1(wiring: Wiring) -> list[nn.Module]:
    """Batch and spectral normalisation, dropout, R1 on every second step of its own, an averaged generator."""
    torch.manual_seed(0)
    G = mlp(LATENT, 2, nn.BatchNorm1d(8))
    D = nn.Sequential(
        nn.utils.parametrizations.spectral_norm(nn.Linear(2, 8)), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 1)
    )
    average = torch.optim.swa_utils.AveragedModel(G, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.99))
    average.update_parameters(G)
    opt_G, opt_D = adam(G), adam(D)
    with wiring(G, D, opt_G, opt_D, ema=average):
        for number, real in enumerate(reals(4)):
            opt_D.zero_grad(set_to_none=True)
            d_loss(D(real), D(G(noise()).detach())).backward()
            opt_D.step()
            if number % 2 == 0:
                opt_D.zero_grad(set_to_none=True)
                real = real.detach().requires_grad_(True)
                logits = D(real)
                (gradient,) = torch.autograd.grad(logits.sum(), real, create_graph=True)
                (5.0 * gradient.square().sum(1).mean() + 0 * logits[0, 0]).backward()
                opt_D.step()

            opt_G.zero_grad(set_to_none=True)
            g_loss(D(G(noise()))).backward()
            for parameter in G.parameters():
                if parameter.grad is not None:
                    torch.nan_to_num(parameter.grad, nan=0, posinf=1e5, neginf=-1e5, out=parameter.grad)
            opt_G.step()
            average.update_parameters(G)
            with torch.no_grad():
                G.eval()
                G(noise())
                G.train()
    return [G, D, average]


@correct
def image_translation(wiring: Wiring) -> list[nn.Module]:
    """Conditional least squares with a pixel loss, D frozen in G's turn, a pool of earlier fakes."""
    torch.manual_seed(0)
    G, D = mlp(2, 2), mlp(4, 1)
    opt_G, opt_D = adam(G), adam(D)
    pool: list[Tensor] = []
    criterion = nn.MSELoss()
    with wiring(G, D, opt_G, opt_D):
        for real in reals(3):
            source = real.flip(1)
            fake = G(source)
            D.requires_grad_(False)
            opt_G.zero_grad()
            judged = D(torch.cat((source, fake), 1))
            loss_adversarial, loss_pixel = criterion(judged, torch.ones(1).expand_as(judged)), F.l1_loss(fake, real)
            loss = loss_adversarial + loss_pixel * 100.0
            loss.backward()
            opt_G.step()

            D.requires_grad_(True)
            opt_D.zero_grad()
            pool.append(torch.cat((source, fake), 1).detach())
            judged, judged_real = D(pool[len(pool) // 2]), D(torch.cat((source, real), 1))
            loss_fake = criterion(judged, torch.zeros(1).expand_as(judged))
            loss_real = criterion(judged_real, torch.ones(1).expand_as(judged_real))
            ((loss_real + loss_fake) * 0.5).backward()
            opt_D.step()
            print(end=f"{loss.item():.0f}{loss_fake.item():.0f}"[:0])
    return [G, D]


@correct
def cycle(wiring: Wiring) -> list[nn.Module]:
    """Two generators in one optimiser, two discriminators in another, cycle and identity losses."""
    torch.manual_seed(0)
    A2B, B2A, D_A, D_B = mlp(2, 2), mlp(2, 2), mlp(2, 1), mlp(2, 1)
    opt_G = torch.optim.Adam(chain(A2B.parameters(), B2A.parameters()), lr=1e-3)
    opt_D = torch.optim.Adam(chain(D_A.parameters(), D_B.parameters()), lr=1e-3)
    with wiring([A2B, B2A], {"D_A": D_A, "D_B": D_B}, opt_G, opt_D):
        for b in reals():
            a = b - 1
            fake_b, fake_a = A2B(a), B2A(b)
            for net in (D_A, D_B):
                net.requires_grad_(False)
            opt_G.zero_grad()
            loss = (D_B(fake_b) - 1).square().mean() + (D_A(fake_a) - 1).square().mean()
            loss = loss + 10 * (F.l1_loss(B2A(fake_b), a) + F.l1_loss(A2B(fake_a), b)) + 5 * F.l1_loss(A2B(b), b)
            loss.backward()
            opt_G.step()
            for net in (D_A, D_B):
                net.requires_grad_(True)
            opt_D.zero_grad()
            for net, real, fake in ((D_A, a, fake_a), (D_B, b, fake_b)):
                (((net(real) - 1).square().mean() + net(fake.detach()).square().mean()) * 0.5).backward()
            opt_D.step()
    return [A2B, B2A, D_A, D_B]


class Reversed(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient):
        return -gradient


@correct
def gradient_reversal(wiring: Wiring) -> list[nn.Module]:
    """One loss, one backward: the gradient changes its sign between D and G, and both optimisers step."""
    G, D = players()
    opt_G, opt_D = adam(G), adam(D)
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            opt_G.zero_grad()
            opt_D.zero_grad()
            d_loss(D(real), D(Reversed.apply(G(noise())))).backward()
            opt_D.step()
            opt_G.step()
    return [G, D]


@correct
def both_steps_at_the_end(wiring: Wiring) -> list[nn.Module]:
    """Simultaneous moves: both gradients are taken at the same point by autograd.grad and written by hand."""
    G, D = players()
    opt_G, opt_D = (torch.optim.SGD(net.parameters(), lr=1e-2) for net in (G, D))
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            fake = G(noise())
            real_logits, fake_logits = D(real), D(fake)
            to_d = torch.autograd.grad(d_loss(real_logits, fake_logits), list(D.parameters()), retain_graph=True)
            to_g = torch.autograd.grad(g_loss(fake_logits), list(G.parameters()))
            for net, gradients in ((D, to_d), (G, to_g)):
                for parameter, gradient in zip(net.parameters(), gradients, strict=True):
                    parameter.grad = gradient
            opt_G.step()
            opt_D.step()
    return [G, D]


@correct
def relativistic_and_matching_features(wiring: Wiring) -> list[nn.Module]:
    """Real and fake in one batch, relativistic average losses, features matched against detached ones, LeCam."""

    class Judge(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = mlp(2, 8), nn.Linear(8, 1)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            features = self.body(x)
            return self.head(features), features

    G, D = players()[0], Judge()
    opt_G, opt_D = adam(G), adam(D)
    anchor = torch.zeros(())
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            opt_D.zero_grad()
            logits, _ = D(torch.cat([real, G(noise()).detach()]))
            r, f = logits.chunk(2)
            anchor.lerp_(f.detach().mean(), 0.1)
            lecam = F.relu(r - anchor).square().mean()
            (F.softplus(-(r - f.mean())).mean() + F.softplus(f - r.mean()).mean() + 0.3 * lecam + 1e-8).backward()
            opt_D.step()

            opt_G.zero_grad()
            fake = G(noise())
            f, fake_features = D(fake)
            with torch.no_grad():
                r, real_features = D(real)
            matching = (fake_features.mean(0) - real_features.mean(0)).abs().mean()
            (F.softplus(-(f - r.mean())).mean() + F.softplus(r - f.mean()).mean() + 10 * matching).backward()
            opt_G.step()
    return [G, D]


class Mapped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mapping, self.synthesis = mlp(LATENT, 4), mlp(4, 2)
        self.register_buffer("w_avg", torch.zeros(4))

    def forward(self, z: Tensor) -> Tensor:
        w = self.mapping(z)
        if self.training:
            self.w_avg.lerp_(w.detach().mean(0), 0.01)
        return self.synthesis(w)


@correct
def style_with_path_length(wiring: Wiring) -> list[nn.Module]:
    """Mapping and synthesis called apart, path length with a running mean, players frozen in turn, lazy R1."""
    torch.manual_seed(0)
    G, D = Mapped(), mlp(2, 1)
    average = copy.deepcopy(G).eval().requires_grad_(False)
    G.requires_grad_(False)
    D.requires_grad_(False)
    opt_G, opt_D = adam(G), adam(D)
    mean_length = torch.zeros(())
    with wiring(G, D, opt_G, opt_D, ema=average):
        for number, real in enumerate(reals(3)):
            G.requires_grad_(True)
            opt_G.zero_grad(set_to_none=True)
            F.softplus(-D(G.synthesis(G.mapping(noise())))).mean().backward()
            if number % 2 == 0:
                w = G.mapping(noise())
                fake = G.synthesis(w)
                (slope,) = torch.autograd.grad((fake * torch.randn_like(fake)).sum(), w, create_graph=True)
                lengths = slope.square().sum(1).sqrt()
                running = mean_length.lerp(lengths.mean(), 0.01)
                mean_length.copy_(running.detach())
                ((lengths - running).square().mean() * 2).backward()
            G.requires_grad_(False)
            opt_G.step()

            D.requires_grad_(True)
            opt_D.zero_grad(set_to_none=True)
            F.softplus(D(G(noise()))).mean().backward()
            real = real.detach().requires_grad_(number % 2 == 0)
            logits = D(real)
            loss = F.softplus(-logits).mean()
            if real.requires_grad:
                (slope,) = torch.autograd.grad(logits.sum(), real, create_graph=True, only_inputs=True)
                loss = loss + slope.square().sum(1).mean()
            loss.backward()
            D.requires_grad_(False)
            opt_D.step()
            for averaged, own in zip(average.parameters(), G.parameters(), strict=True):
                averaged.copy_(own.lerp(averaged, 0.9))
            for averaged, own in zip(average.buffers(), G.buffers(), strict=True):
                averaged.copy_(own)
    return [G, D, average]


@correct
def closures(wiring: Wiring) -> list[nn.Module]:
    """Each step gets a closure that clears, judges and goes backward, as frameworks do it."""
    G, D = players()
    opt_G, opt_D = adam(G), adam(D)
    with wiring(G, D, opt_G, opt_D):
        for real in reals():

            def d_closure(real: Tensor = real) -> Tensor:
                opt_D.zero_grad()
                loss = d_loss(D(real), D(G(noise()).detach()))
                loss.backward()
                return loss

            def g_closure() -> Tensor:
                opt_G.zero_grad()
                loss = g_loss(D(G(noise())))
                loss.backward()
                return loss

            opt_D.step(d_closure)
            opt_G.step(closure=g_closure)
    return [G, D]


@correct
def encoder_and_decoder(wiring: Wiring) -> list[nn.Module]:
    """A bidirectional GAN: D judges pairs of a sample and its code, encoder and decoder step together."""
    torch.manual_seed(0)
    encoder, decoder, D = mlp(2, LATENT), mlp(LATENT, 2), mlp(2 + LATENT, 1)
    opt_G = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=1e-3)
    opt_D = adam(D)
    with wiring({"E": encoder, "G": decoder}, D, opt_G, opt_D):
        for real in reals():
            z = noise()
            code, fake = encoder(real), decoder(z)
            r, f = D(torch.cat([real, code], 1)), D(torch.cat([fake, z], 1))
            opt_G.zero_grad()
            (F.softplus(r) + F.softplus(-f)).mean().backward()
            opt_G.step()

            r, f = D(torch.cat([real, code], 1).detach()), D(torch.cat([fake, z], 1).detach())
            opt_D.zero_grad()
            d_loss(r, f).backward()
            opt_D.step()
    return [encoder, decoder, D]


@correct
def adaptive_weight(wiring: Wiring) -> list[nn.Module]:
    """The adversarial term is weighed by the ratio of two gradients' norms at the last layer; hinge loss; logging."""
    torch.manual_seed(0)
    G, D = mlp(2, 2), mlp(2, 1)
    opt_G, opt_D = adam(G), adam(D)
    total = 0.0
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            fake = G(real)
            reconstruction, adversarial = (fake - real).abs().mean(), -D(fake).mean()
            last = G[-1].weight
            norms = [
                torch.autograd.grad(term, last, retain_graph=True)[0].norm() for term in (reconstruction, adversarial)
            ]
            weight = (norms[0] / (norms[1] + 1e-4)).clamp(0, 1e4).detach()
            loss = reconstruction + weight * adversarial
            opt_G.zero_grad()
            loss.backward()
            opt_G.step()

            opt_D.zero_grad()
            loss_d = 0.5 * (F.relu(1 - D(real.detach())).mean() + F.relu(1 + D(fake.detach())).mean())
            loss_d.backward()
            opt_D.step()
            total += loss.detach() + loss_d.detach()
    return [G, D]
