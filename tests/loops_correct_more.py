"""More correct loops, of the stranger kinds, written after the check to see whether it accuses any of them."""

from __future__ import annotations

import copy
from itertools import chain

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from loops_common import BATCH, LATENT, Loop, Wiring, adam, d_loss, g_loss, mlp, noise, players, reals, without_fault

CORRECT: dict[str, Loop] = {}
correct = without_fault(CORRECT)


@correct
def least_squares_with_a_biased_d(wiring: Wiring) -> list[nn.Module]:
    """D starts out with answers around -3, so that least squares pulls real and fake ones the same way."""
    G, D = players()
    nn.init.constant_(D[-1].bias, -3.0)
    opt_G, opt_D = adam(G), adam(D)
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            opt_D.zero_grad()
            ((D(real) - 1).square().mean() + D(G(noise()).detach()).square().mean()).backward()
            opt_D.step()
            opt_G.zero_grad()
            (D(G(noise())) - 1).square().mean().backward()
            opt_G.step()
    return [G, D]


@correct
def information(wiring: Wiring) -> list[nn.Module]:
    """A third optimiser for the code that a head on D's body reads back; it moves G as well, and is not handed over."""
    torch.manual_seed(0)
    G, body = mlp(LATENT, 2), mlp(2, 8)
    D, Q = nn.Sequential(body, nn.Linear(8, 1)), nn.Linear(8, LATENT)
    opt_G, opt_D = adam(G), adam(D)
    opt_Q = torch.optim.Adam(chain(G.parameters(), Q.parameters()), lr=1e-3)
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            for optimiser in (opt_D, opt_G, opt_Q):
                optimiser.zero_grad()
            d_loss(D(real), D(G(noise()).detach())).backward()
            opt_D.step()
            opt_G.zero_grad()
            g_loss(D(G(noise()))).backward()
            opt_G.step()
            opt_Q.zero_grad()
            z = noise()
            F.mse_loss(Q(body(G(z))), z).backward()
            opt_Q.step()
    return [G, D, Q]


@correct
def boundary_equilibrium(wiring: Wiring) -> list[nn.Module]:
    """D is an autoencoder, its loss a difference of reconstruction errors with a weight that a controller turns."""
    torch.manual_seed(0)
    G, D = mlp(LATENT, 2), mlp(2, 2)
    opt_G, opt_D = adam(G), adam(D)
    k = 0.0
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            fake = G(noise())
            opt_G.zero_grad()
            loss_g = (D(fake) - fake).abs().mean()
            loss_g.backward()
            opt_G.step()
            opt_D.zero_grad()
            loss_real = (D(real) - real).abs().mean()
            loss_fake = (D(fake.detach()) - fake.detach()).abs().mean()
            (loss_real - k * loss_fake).backward()
            opt_D.step()
            balance = (0.5 * loss_real - loss_fake).item()
            k = min(max(k + 0.1 * balance, 0), 1)
    return [G, D]


@correct
def energy_with_a_margin(wiring: Wiring) -> list[nn.Module]:
    """Hinge on an energy, where fakes are already beyond the margin and pull no more."""
    G, D = players()
    nn.init.constant_(D[-1].bias, 3.0)
    opt_G, opt_D = adam(G), adam(D)
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            opt_D.zero_grad()
            fake = G(noise())
            loss = D(real).square().mean() + F.relu(1 - D(fake.detach()).square()).mean()
            loss.backward()
            opt_D.step()
            opt_G.zero_grad()
            D(fake).square().mean().backward()
            opt_G.step()
    return [G, D]


class Grown(nn.Module):
    """A generator that grows: one block is not in use yet, another is faded in."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = mlp(LATENT, 2), mlp(2, 2), mlp(2, 2)
        self.share = 0.3

    def forward(self, z: Tensor) -> Tensor:
        low = self.first(z)
        return (1 - self.share) * low + self.share * self.second(low)


@correct
def growing(wiring: Wiring) -> list[nn.Module]:
    """Layers that are not in use yet are in the optimiser already."""
    torch.manual_seed(0)
    G, D = Grown(), mlp(2, 1)
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


class Periods(nn.Module):
    """Several discriminators in one, which take both samples at once and return lists of lists."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = nn.ModuleList(mlp(2, 4) for _ in range(2))
        self.heads = nn.ModuleList(nn.Linear(4, 1) for _ in range(2))

    def forward(self, real: Tensor, fake: Tensor) -> tuple[list[Tensor], list[Tensor], list[list[Tensor]]]:
        reals, fakes, features = [], [], []
        for part, head in zip(self.parts, self.heads, strict=True):
            r, f = part(real), part(fake)
            reals.append(head(r))
            fakes.append(head(f))
            features.append([r, f])
        return reals, fakes, features


@correct
def vocoder(wiring: Wiring) -> list[nn.Module]:
    """Real and fake go through D in one call, which returns nested lists; features and pixels are matched."""
    G, D = players()[0], Periods()
    opt_G, opt_D = (torch.optim.AdamW(net.parameters(), lr=1e-3) for net in (G, D))
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            fake = G(noise())
            opt_D.zero_grad()
            r_all, f_all, _ = D(real, fake.detach())
            loss = 0
            for r, f in zip(r_all, f_all, strict=True):
                loss += torch.mean((1 - r) ** 2) + torch.mean(f**2)
            loss.backward()
            opt_D.step()
            opt_G.zero_grad()
            loss_pixel = F.l1_loss(real, fake) * 45
            _, f_all, features = D(real, fake)
            loss_features = 0
            for r, f in features:
                loss_features += torch.mean(torch.abs(r - f))
            loss_adversarial = sum(torch.mean((1 - f) ** 2) for f in f_all)
            loss_all = loss_adversarial + 2 * loss_features + loss_pixel
            loss_all.backward()
            opt_G.step()
            with torch.no_grad():
                F.l1_loss(real, fake).item()
    return [G, D]


@correct
def two_scalers_and_overflow(wiring: Wiring) -> list[nn.Module]:
    """A scaler for each player, the first scale so large that the first steps overflow and are skipped."""
    G, D = players()
    opt_G, opt_D = adam(G), adam(D)
    scaler_G, scaler_D = torch.amp.GradScaler("cpu", init_scale=3e38), torch.amp.GradScaler("cpu", init_scale=2.0)
    with wiring(G, D, opt_G, opt_D):
        for real in reals(6):
            opt_D.zero_grad()
            scaler_D.scale(d_loss(D(real), D(G(noise()).detach()))).backward()
            scaler_D.step(opt_D)
            scaler_D.update()
            opt_G.zero_grad()
            scaler_G.scale(10 * g_loss(D(G(noise())))).backward()
            scaler_G.unscale_(opt_G)
            nn.utils.clip_grad_norm_(G.parameters(), 5.0)
            scaler_G.step(opt_G)
            scaler_G.update()
    return [G, D]


@correct
def big_batches(wiring: Wiring) -> list[nn.Module]:
    """Accumulation, gradients turned by hand for orthogonality, players toggled, an average kept through state_dict."""
    G, D = players()
    average = copy.deepcopy(G)
    opt_G, opt_D = adam(G), adam(D)
    with wiring(G, D, opt_G, opt_D, ema=average):
        for _ in range(2):
            for net, on in ((D, True), (G, False)):
                for parameter in net.parameters():
                    parameter.requires_grad = on
            for _ in range(2):
                opt_D.zero_grad()
                for real in reals(2):
                    with torch.set_grad_enabled(False):
                        fake = G(noise())
                    logits = D(torch.cat([fake, real], 0))
                    fake_logits, real_logits = torch.split(logits, [BATCH, BATCH])
                    ((F.relu(1 - real_logits).mean() + F.relu(1 + fake_logits).mean()) / 2.0).backward()
                opt_D.step()
            for net, on in ((D, False), (G, True)):
                for parameter in net.parameters():
                    parameter.requires_grad = on
            opt_G.zero_grad()
            for _ in range(2):
                (-D(G(noise())).mean() / 2.0).backward()
            with torch.no_grad():
                for parameter in G.parameters():
                    if parameter.dim() > 1:
                        w = parameter.view(parameter.shape[0], -1)
                        grad = 2 * torch.mm(torch.mm(w, w.t()) * (1.0 - torch.eye(w.shape[0])), w)
                        parameter.grad.data += 1e-4 * grad.view(parameter.shape)
            opt_G.step()
            source, target = G.state_dict(), average.state_dict()
            with torch.no_grad():
                for key in source:
                    target[key].data.copy_(target[key].data * 0.9 + source[key].data * 0.1)
    return [G, D, average]


@correct
def latent_optimised(wiring: Wiring) -> list[nn.Module]:
    """The latents take a step along D's gradient before G's loss; the best half of the fakes counts; consistency."""
    G, D = players()
    opt_G, opt_D = adam(G), adam(D)
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            opt_D.zero_grad()
            real_logits = D(real)
            consistency = (real_logits - D(real + 0.1 * torch.randn_like(real))).square().mean()
            (d_loss(real_logits, D(G(noise()).detach())) + 10 * consistency).backward()
            opt_D.step()
            z = noise().requires_grad_()
            (slope,) = torch.autograd.grad(D(G(z)).sum(), z, create_graph=True)
            moved = z + 0.9 * slope
            opt_G.zero_grad()
            logits = D(G(moved))
            best, _ = torch.topk(logits.view(-1), BATCH // 2)
            F.softplus(-best).mean().backward()
            opt_G.step()
    return [G, D]


@correct
def first_layers_frozen(wiring: Wiring) -> list[nn.Module]:
    """Fine-tuning: D's first layer is frozen for good and in the optimiser, D is in eval mode in G's turn."""
    G, D = players()[0], mlp(2, 1, nn.Dropout(0.1))
    opt_G, opt_D = adam(G), adam(D)
    D[0].requires_grad_(False)
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            D.train()
            opt_D.zero_grad()
            d_loss(D(real), D(G(noise()).detach())).backward()
            opt_D.step()
            D.eval()
            opt_G.zero_grad()
            g_loss(D(G(noise()))).backward()
            opt_G.step()
    return [G, D]


@correct
def each_term_goes_backward(wiring: Wiring) -> list[nn.Module]:
    """Every term of both losses has a backward of its own; old spectral normalisation; checkpointed G; logging."""
    torch.manual_seed(0)
    G = mlp(LATENT, 2)
    D = nn.Sequential(nn.utils.spectral_norm(nn.Linear(2, 8)), nn.LeakyReLU(), nn.utils.spectral_norm(nn.Linear(8, 1)))
    opt_G, opt_D = adam(G), adam(D)
    seen: dict[str, float] = {"d": 0.0}
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            opt_D.zero_grad()
            loss_real = F.softplus(-D(real)).mean()
            loss_real.backward()
            fake = torch.utils.checkpoint.checkpoint(G, noise(), use_reentrant=False)
            loss_fake = F.softplus(D(fake.detach())).mean()
            loss_fake.backward()
            seen["d"] += (loss_real + loss_fake).item()
            opt_D.step()
            opt_G.zero_grad()
            g_loss(D(fake)).backward(retain_graph=True)
            (0.1 * fake.square().mean()).backward()
            opt_G.step()
            seen["of none"] = fake.detach()[:0].mean().item()  # NaN
            seen["grad"] = nn.utils.clip_grad_norm_(G.parameters(), float("inf")).item()
    return [G, D]


@correct
def safe_logarithms(wiring: Wiring) -> list[nn.Module]:
    """Probabilities and logarithms, with the values outside of the domain replaced, and a label embedding."""

    class Conditional(nn.Module):
        def __init__(self, features_in: int, features_out: int) -> None:
            super().__init__()
            self.body, self.embedding = mlp(features_in, features_out), nn.Embedding(3, features_in)

        def forward(self, x: Tensor, label: Tensor) -> Tensor:
            return self.body(x + self.embedding(label))

    torch.manual_seed(0)
    G, D = Conditional(LATENT, 2), Conditional(2, 1)
    opt_G, opt_D = adam(G), adam(D)
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            label = torch.randint(3, (BATCH,))
            opt_D.zero_grad()
            p_real = torch.sigmoid(D(real, label)).squeeze(1)
            p_fake = torch.sigmoid(D(G(noise(), label).detach(), label)).squeeze(1)
            (F.binary_cross_entropy(p_real, torch.full((BATCH,), 0.9)) - torch.log(1 - p_fake + 1e-8).mean()).backward()
            opt_D.step()
            opt_G.zero_grad()
            fake = G(noise(), label)
            spread = torch.where(fake > 0, torch.log(fake.clamp(min=1e-3)), torch.zeros_like(fake))
            (-torch.log(torch.sigmoid(D(fake, label)) + 1e-8).mean() + 1e-3 * spread.mean()).backward()
            opt_G.step()
    return [G, D]


@correct
def autoencoder_and_gan(wiring: Wiring) -> list[nn.Module]:
    """A variational autoencoder whose decoder is the generator: three parts of the loss, D's features as a measure."""

    class Judge(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = mlp(2, 8), nn.Linear(8, 1)

        def features(self, x: Tensor) -> Tensor:
            return self.body(x)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.features(x))

    torch.manual_seed(0)
    encoder, decoder, D = mlp(2, 2 * LATENT), mlp(LATENT, 2), Judge()
    opt_E, opt_G, opt_D = adam(encoder), adam(decoder), adam(D)
    with wiring({"E": encoder, "G": decoder}, D, {"E": opt_E, "G": opt_G}, opt_D):
        for real in reals():
            mean, log_variance = encoder(real).chunk(2, 1)
            z = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
            rebuilt, fake = decoder(z), decoder(noise())
            opt_D.zero_grad()
            judged = D(rebuilt.detach()), D(fake.detach())
            (F.softplus(-D(real)).mean() + sum(F.softplus(one).mean() for one in judged) / 2).backward()
            opt_D.step()
            opt_E.zero_grad()
            opt_G.zero_grad()
            prior = -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum(1).mean()
            likeness = (D.features(rebuilt) - D.features(real).detach()).square().mean()
            (prior + likeness + 0.1 * (g_loss(D(rebuilt)) + g_loss(D(fake)))).backward()
            opt_E.step()
            opt_G.step()
    return [encoder, decoder, D]


@correct
def one_module_for_all(wiring: Wiring) -> list[nn.Module]:
    """Both players in one module whose forward plays a turn; gradients go to chosen inputs only; a schedule."""

    class Game(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.G, self.D = players()

        def forward(self, real: Tensor, turn: str) -> Tensor:
            fake = self.G(noise())
            if turn == "D":
                return d_loss(self.D(real), self.D(fake.detach()))
            return g_loss(self.D(fake))

    game = Game()
    opt_G, opt_D = (torch.optim.SGD(net.parameters(), lr=1e-2, momentum=0.5) for net in (game.G, game.D))
    warm = [torch.optim.lr_scheduler.LambdaLR(one, lambda step: min(1.0, step / 2)) for one in (opt_G, opt_D)]
    with wiring(game.G, game.D, opt_G, opt_D):
        for real in reals(3):
            for turn, net, optimiser in (("D", game.D, opt_D), ("G", game.G, opt_G)):
                optimiser.zero_grad()
                game(real, turn).backward(inputs=list(net.parameters()))
                optimiser.step()
            for one in warm:
                one.step()
    return [game]


@correct
def some_reals_are_generated(wiring: Wiring) -> list[nn.Module]:
    """Generated samples are slipped in among the real ones now and then, to mislead a D that is too sure."""
    G, D = players()
    opt_G, opt_D = adam(G), adam(D)
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            with torch.no_grad():
                fake = G(noise())
            misled = torch.where(torch.rand(BATCH, 1) < 0.2, G(noise()).detach(), real)
            opt_D.zero_grad()
            d_loss(D(misled), D(fake)).backward()
            opt_D.step()
            opt_G.zero_grad()
            g_loss(D(G(noise()))).backward()
            opt_G.step()
    return [G, D]


@correct
def consensus(wiring: Wiring) -> list[nn.Module]:
    """The norm of both players' gradients is penalised, and that penalty moves both."""
    G, D = players()
    opt_G, opt_D = (torch.optim.SGD(net.parameters(), lr=1e-2) for net in (G, D))
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            opt_G.zero_grad()
            opt_D.zero_grad()
            fake_logits = D(G(noise()))
            losses = {D: d_loss(D(real), fake_logits), G: g_loss(fake_logits)}
            penalty = torch.zeros(())
            for net, loss in losses.items():
                gradients = torch.autograd.grad(loss, list(net.parameters()), create_graph=True)
                penalty = penalty + sum(gradient.square().sum() for gradient in gradients)
            for net, loss in losses.items():
                loss.backward(inputs=list(net.parameters()), retain_graph=True)
            (0.1 * penalty).backward()
            opt_G.step()
            opt_D.step()
    return [G, D]
