"""More loops as the field writes them, written when the check had been mended after the first of these.

`CORRECT` and `BROKEN` hold them by name; none was tried before all were written.
"""

from __future__ import annotations

import itertools
from typing import Any

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


class Attributes(nn.Module):
    """Whether a sample is real, and whether it has one attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.source, self.attribute = mlp(2, 8), nn.Linear(8, 1), nn.Linear(8, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.body(x)
        return self.source(h), self.attribute(h)


@pair("direction", "G")
def one_attribute_is_edited(wiring: Wiring, fault: bool) -> list[nn.Module]:
    """Samples without an attribute are given it: D learns the attribute of real ones only, and G asks for the other
    one. The fault has D's sign in G's adversarial term."""
    torch.manual_seed(0)
    G, D = mlp(3, 2), Attributes()
    opt_G, opt_D = adam(G), adam(D)
    with wiring(G, D, opt_G, opt_D):
        for x in reals():
            att_a = torch.zeros(BATCH, 1)
            att_b = 1 - att_a
            made = G(torch.cat([x, att_b], 1))
            real_src, real_att = D(x)
            fake_src, _ = D(made.detach())
            loss_d = F.relu(1 - real_src).mean() + F.relu(1 + fake_src).mean()
            loss_d = loss_d + F.binary_cross_entropy_with_logits(real_att, att_a)
            opt_D.zero_grad()
            loss_d.backward()
            opt_D.step()
            src, att = D(made)
            adversarial = src.mean() if fault else -src.mean()
            rebuilt = F.l1_loss(G(torch.cat([x, att_a], 1)), x)
            opt_G.zero_grad()
            (adversarial + 10 * F.binary_cross_entropy_with_logits(att, att_b) + 100 * rebuilt).backward()  # <- here
            opt_G.step()
    return [G, D]


@pair("direction", "G")
def objectives_that_are_maximised(wiring: Wiring, fault: bool) -> list[nn.Module]:
    """D's optimiser goes up the likelihood of its answers; the fault has G's go up its loss, too."""
    G, D = players()
    opt_G = torch.optim.Adam(G.parameters(), lr=1e-3, maximize=fault)
    opt_D = torch.optim.Adam(D.parameters(), lr=1e-3, maximize=True)
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            fake = G(noise())
            opt_D.zero_grad()
            likelihood = F.logsigmoid(D(real)).mean() + F.logsigmoid(-D(fake.detach())).mean()
            likelihood.backward()
            opt_D.step()
            opt_G.zero_grad()
            (-F.logsigmoid(D(fake))).mean().backward()  # <- here
            opt_G.step()
    return [G, D]


class Averaging(torch.optim.Optimizer):
    """An optimiser round another one, which keeps averages of what that one moves."""

    def __init__(self, inner: torch.optim.Optimizer) -> None:
        self.optimizer, self.state, self.param_groups = inner, inner.state, inner.param_groups

    def step(self, *args: Any, **kwargs: Any) -> Any:
        result = self.optimizer.step(*args, **kwargs)
        for group in self.optimizer.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    state = self.optimizer.state[p]
                    state.setdefault("ema", p.data.clone())
                    state["ema"].mul_(0.9).add_(p.data, alpha=0.1)
        return result

    def zero_grad(self, set_to_none: bool = True) -> None:
        self.optimizer.zero_grad(set_to_none)


class Timed(nn.Module):
    """Whether a less noisy sample belongs to a noisier one, at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.time, self.layers = nn.Embedding(4, 4), nn.Sequential(nn.Linear(8, 8), nn.Softplus(), nn.Linear(8, 1))

    def forward(self, x: Tensor, t: Tensor, noisier: Tensor) -> Tensor:
        return self.layers(torch.cat([x, noisier, self.time(t)], 1))


@pair("stale", "G", "zero_grad")
def denoising_in_few_steps(wiring: Wiring, fault: bool) -> list[nn.Module]:
    """Diffusion with large steps: D judges pairs of times, three backwards for D, the penalty on what is real; the
    fault clears D twice and G never."""
    torch.manual_seed(0)
    G, D = mlp(2 + LATENT, 2), Timed()
    opt_G, opt_D = Averaging(adam(G)), adam(D)
    sigma = torch.linspace(0.2, 1.0, 5)

    def noised(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        t = torch.randint(0, 4, (len(x),))
        x_t = x + sigma[t][:, None] * torch.randn_like(x)
        return x_t, x_t + 0.3 * torch.randn_like(x), t

    def posterior(x_0: Tensor, x_tp1: Tensor, t: Tensor) -> Tensor:
        keep = sigma[t][:, None]
        return keep * x_tp1 + (1 - keep) * x_0 + 0.1 * torch.randn_like(x_0)

    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            for p in D.parameters():
                p.requires_grad = True
            D.zero_grad()
            x_t, x_tp1, t = noised(real)
            x_t.requires_grad = True
            D_real = D(x_t, t, x_tp1.detach()).view(-1)
            F.softplus(-D_real).mean().backward(retain_graph=True)
            slope = torch.autograd.grad(outputs=D_real.sum(), inputs=x_t, create_graph=True)[0]
            (0.02 * (slope.view(slope.size(0), -1).norm(2, dim=1) ** 2).mean()).backward()
            x_0 = G(torch.cat([x_tp1.detach(), noise()], 1))
            sample = posterior(x_0, x_tp1, t)
            F.softplus(D(sample.detach(), t, x_tp1.detach()).view(-1)).mean().backward()
            opt_D.step()
            for p in D.parameters():
                p.requires_grad = False
            (D if fault else G).zero_grad()
            x_t, x_tp1, t = noised(real)
            sample = posterior(G(torch.cat([x_tp1.detach(), noise()], 1)), x_tp1, t)
            F.softplus(-D(sample, t, x_tp1.detach()).view(-1)).mean().backward()
            opt_G.step()
    return [G, D]


class Inverted(nn.Module):
    """An encoder into the latents of a trained generator, which rests."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.mapping, self.decoder = mlp(2, 4), mlp(LATENT, 4), mlp(4, 2)
        self.mapping.requires_grad_(False)
        self.decoder.requires_grad_(False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        w = self.encoder(x)
        return self.decoder(w), w


@pair("adversarial", "G", "no_grad")
def codes_of_a_trained_generator(wiring: Wiring, fault: bool) -> list[nn.Module]:
    """D tells encoded latents from those that the generator's own mapping makes of noise; reconstruction holds the
    encoder. The fault judges the latents of D's turn in the encoder's."""
    torch.manual_seed(0)
    net, D = Inverted(), mlp(4, 1)
    opt, opt_D = torch.optim.Adam(net.encoder.parameters(), lr=1e-3), adam(D)
    with wiring(net, D, opt, opt_D):
        for x in reals():
            D.requires_grad_(True)
            with torch.no_grad():
                real_w = net.mapping(noise())
                fake_w = net.encoder(x)  # <- here
            opt_D.zero_grad()
            loss = d_loss(D(real_w), D(fake_w))
            loss.backward()
            opt_D.step()
            D.requires_grad_(False)
            rebuilt, w = net(x)
            opt.zero_grad()
            (F.mse_loss(rebuilt, x) + 0.1 * g_loss(D(fake_w if fault else w))).backward()
            opt.step()
    return [net, D]


@correct
def text_that_does_not_match(wiring: Wiring) -> list[nn.Module]:
    """A real sample with another's caption is wrong for D, too; its gradient is penalised at both inputs."""

    class Matching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = nn.Sequential(nn.Linear(2, 8), nn.Softplus()), nn.Linear(11, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.body(x)

        def judge(self, features: Tensor, caption: Tensor) -> Tensor:
            return self.head(torch.cat([features, caption], 1))

    torch.manual_seed(0)
    G, D = mlp(LATENT + 3, 2), Matching()
    opt_G = torch.optim.Adam(G.parameters(), lr=1e-4, betas=(0.0, 0.9))
    opt_D = torch.optim.Adam(D.parameters(), lr=4e-4, betas=(0.0, 0.9))
    with wiring(G, D, opt_G, opt_D):
        for batch in reals():
            real = batch.requires_grad_()
            caption = torch.randn(BATCH, 3).requires_grad_()
            features = D(real)
            matching = D.judge(features, caption)
            err_real = F.relu(1.0 - matching).mean()
            err_wrong = F.relu(1.0 + D.judge(features[: BATCH - 1], caption[1:BATCH])).mean()
            fake = G(torch.cat([noise(), caption], 1))
            err_fake = F.relu(1.0 + D.judge(D(fake.detach()), caption)).mean()
            slopes = torch.autograd.grad(matching, (real, caption), torch.ones_like(matching), create_graph=True)
            norm = torch.cat([slope.flatten(1) for slope in slopes], 1).square().sum(1).sqrt()
            err_d = err_real + (err_fake + err_wrong) / 2.0 + 2.0 * (norm**6).mean()
            opt_D.zero_grad()
            opt_G.zero_grad()
            err_d.backward()
            opt_D.step()
            fake = G(torch.cat([noise(), caption.detach()], 1))
            err_g = -D.judge(D(fake), caption.detach()).mean()
            opt_G.zero_grad()
            opt_D.zero_grad()
            err_g.backward()
            opt_G.step()
    return [G, D]


@correct
def kernel_distance(wiring: Wiring) -> list[nn.Module]:
    """D makes features that a kernel tells apart; D goes up the distance of both kinds and G down."""
    torch.manual_seed(0)
    G, D = mlp(LATENT, 2), mlp(2, 6)
    opt_G, opt_D = adam(G), adam(D)

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return sum(torch.exp(-torch.cdist(a, b).square() / (2 * width)) for width in (1.0, 4.0, 16.0)).mean()

    def distance(real: Tensor, fake: Tensor) -> Tensor:
        return kernel(real, real) + kernel(fake, fake) - 2 * kernel(real, fake)

    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            for _ in range(2):
                opt_D.zero_grad()
                (-distance(D(real), D(G(noise()).detach()))).backward()
                opt_D.step()
            opt_G.zero_grad()
            distance(D(real), D(G(noise()))).backward()
            opt_G.step()
    return [G, D]


@correct
def half_supervised(wiring: Wiring) -> list[nn.Module]:
    """D tells classes, being real is their sum; G matches the means of features that D answers beside the classes."""

    class Classes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = nn.Sequential(nn.Linear(2, 8), nn.ReLU()), nn.Linear(8, 3)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            features = self.body(x)
            return features, self.head(features)

    torch.manual_seed(0)
    G, D = mlp(LATENT, 2), Classes()
    opt_G, opt_D = adam(G), adam(D)
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            labels = torch.randint(3, (BATCH,))
            _, labelled = D(real + 0.1 * torch.randn_like(real))
            _, unlabelled = D(real)
            _, made = D(G(noise()).detach())
            supervised = F.cross_entropy(labelled, labels)
            of_real, of_made = torch.logsumexp(unlabelled, 1), torch.logsumexp(made, 1)
            unsupervised = -of_real.mean() + F.softplus(of_real).mean() + F.softplus(of_made).mean()
            opt_D.zero_grad()
            (supervised + 0.5 * unsupervised).backward()
            opt_D.step()
            features, _ = D(real)
            likeness, _ = D(G(noise()))
            opt_G.zero_grad()
            (features.mean(0) - likeness.mean(0)).square().mean().backward()
            opt_G.step()
    return [G, D]


@pair("terms", "D", "gives it no gradient")
def consistent_under_augmentation(wiring: Wiring, fault: bool) -> list[nn.Module]:
    """Both kinds are augmented alike in both turns, and D is to answer alike with and without; the fault compares
    answers that are both detached."""
    G, D = players()
    opt_G, opt_D = adam(G), adam(D)

    def augmented(x: Tensor) -> Tensor:
        shift = torch.randint(-1, 2, (x.size(0), 1)).to(x.dtype) * 0.1
        scale = 1 + 0.2 * (torch.rand(x.size(0), 1) - 0.5)
        return (x + shift) * scale

    def unlike(a: Tensor, b: Tensor) -> Tensor:
        return F.mse_loss(a.detach() if fault else a, b.detach())

    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            fake = G(noise()).detach()
            real_aug, fake_aug = D(augmented(real)), D(augmented(fake))
            real_own, fake_own = D(real), D(fake)
            loss = F.relu(1 - real_aug).mean() + F.relu(1 + fake_aug).mean()
            loss = loss + 10.0 * unlike(real_own, real_aug) + 10.0 * unlike(fake_own, fake_aug)  # <- here
            opt_D.zero_grad()
            loss.backward()
            opt_D.step()
            opt_G.zero_grad()
            (-D(augmented(G(noise()))).mean()).backward()
            opt_G.step()
    return [G, D]


@pair("scaler", "D", "opt_D.step()")
def steps_every_second_batch(wiring: Wiring, fault: bool) -> list[nn.Module]:
    """Losses are divided and both players step each second time, through one scaler; the fault updates it each time."""
    G, D = players()
    opt_G, opt_D = adam(G), adam(D)
    scaler = torch.amp.GradScaler("cpu", init_scale=64.0)
    with wiring(G, D, opt_G, opt_D):
        for index, real in enumerate(reals(4)):
            last = (index + 1) % 2 == 0
            with torch.autocast("cpu", torch.bfloat16):
                fake = G(noise())
            D.requires_grad_(False)
            with torch.autocast("cpu", torch.bfloat16):
                loss_g = g_loss(D(fake)) / 2
            scaler.scale(loss_g).backward()
            D.requires_grad_(True)
            with torch.autocast("cpu", torch.bfloat16):
                loss_d = d_loss(D(real), D(fake.detach())) / 2
            scaler.scale(loss_d).backward()
            if last:
                for optimiser in (opt_G, opt_D):
                    scaler.unscale_(optimiser)
                    nn.utils.clip_grad_norm_(optimiser.param_groups[0]["params"], 1.0)
                    scaler.step(optimiser)
                    optimiser.zero_grad()
            if last:
                scaler.update()
            elif fault:
                scaler.update(64.0)  # <- here
    return [G, D]


@correct
def through_data_parallel(wiring: Wiring) -> list[nn.Module]:
    """Wrapped networks, batches from loaders that begin anew, a hook that evens out the gradient at G's output, and
    several losses in one call of `backward`."""
    G, D = (nn.DataParallel(net) for net in players())
    opt_G, opt_D = adam(G), adam(D)
    batches = itertools.cycle(reals(1))
    with wiring(G, D, opt_G, opt_D):
        for _ in range(2):
            real, fake = next(batches), G(noise())
            opt_D.zero_grad()
            losses = F.softplus(-D(real)).mean(), F.softplus(D(fake.detach())).mean()
            torch.autograd.backward(losses, [torch.tensor(0.5), torch.tensor(0.5)])
            opt_D.step()
            fake.register_hook(lambda slope: slope / (slope.norm() + 1e-8))
            opt_G.zero_grad()
            torch.autograd.backward([g_loss(D(fake)), 0.1 * fake.square().mean()])
            opt_G.step()
    return [G.module, D.module]


@pair("direction", "G")
def squares_for_d_alone(wiring: Wiring, fault: bool) -> list[nn.Module]:
    """D's answers are beyond its targets, 0 for generated samples and 1 for real ones; G goes along them without a
    target. The fault lets G go down them."""
    torch.manual_seed(0)
    G, D = mlp(LATENT, 2), nn.Linear(2, 1)
    nn.init.constant_(D.weight, 2.0)
    nn.init.constant_(D.bias, -4.0)
    opt_G, opt_D = adam(G), adam(D)
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            fake = G(noise())
            opt_D.zero_grad()
            (F.mse_loss(D(real), torch.ones(BATCH, 1)) + F.mse_loss(D(fake.detach()), torch.zeros(BATCH, 1))).backward()
            opt_D.step()
            opt_G.zero_grad()
            (D(fake).mean() if fault else -D(fake).mean()).backward()  # <- here
            opt_G.step()
    return [G, D]
