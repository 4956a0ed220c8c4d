"""Loops as the field's own code writes them, each once as it should be and once with a fault that such code invites.

`CORRECT` and `BROKEN` hold them by name. All were written before the check was tried on them. Those without a fault
beside them are there to be accused of nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

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
    reals,
    without_fault,
)

BROKEN: dict[str, Broken] = {}
CORRECT: dict[str, Loop] = {}
pair = both_ways(CORRECT, BROKEN)
correct = without_fault(CORRECT)


def squares(logits: Tensor, target: float) -> Tensor:
    return (logits - target).square().mean()


def frozen(network: nn.Module, on: bool) -> None:
    for parameter in network.parameters():
        parameter.requires_grad = not on


# ---------------------------------------------------------------------------------------------------- sound


class Codec(nn.Module):
    """Encoder, a codebook that follows by averages and is no parameter, straight-through, decoder: [N, 1, T]."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Conv1d(1, 4, 4, 4), nn.ConvTranspose1d(4, 1, 4, 4)
        self.register_buffer("codes", torch.randn(8, 4))

    def forward(self, wave: Tensor) -> tuple[Tensor, Tensor]:
        z = self.encoder(wave).transpose(1, 2)
        flat = z.reshape(-1, 4)
        nearest = torch.cdist(flat, self.codes).argmin(1)
        q = F.embedding(nearest, self.codes).view_as(z)
        if self.training:
            one_hot = F.one_hot(nearest, 8).type_as(flat)
            means = (one_hot.t() @ flat) / one_hot.sum(0)[:, None].clamp(min=1)
            self.codes.data.mul_(0.9).add_(means.detach(), alpha=0.1)
        commitment = F.mse_loss(q.detach(), z)
        return self.decoder((z + (q - z).detach()).transpose(1, 2)), commitment


class Spectral(nn.Module):
    """A discriminator of spectrograms; its features and its logits."""

    def __init__(self, window: int) -> None:
        super().__init__()
        self.window = window
        self.first, self.last = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 1, 3, padding=1)

    def forward(self, wave: Tensor) -> tuple[Tensor, list[Tensor]]:
        window = torch.hann_window(self.window)
        z = torch.stft(wave.squeeze(1), self.window, self.window // 2, window=window, return_complex=True)
        features = F.leaky_relu(self.first(torch.stack([z.real, z.imag], 1)), 0.2)
        return self.last(features), [features]


@pair("adversarial", "G", "through D")
def codec_with_a_balancer(wiring: Wiring, fault: bool) -> list[nn.Module]:
    """Each loss's gradient is taken at the output alone, all are brought to given sizes, summed and passed back from
    there; the fault keeps the last one instead of the sum."""
    torch.manual_seed(0)
    G, D = Codec(), nn.ModuleList([Spectral(8), Spectral(16)])
    opt_G, opt_D = adam(G), adam(D)
    shares = {"adversarial": 3.0, "features": 3.0, "wave": 1.0}

    def balanced(losses: dict[str, Tensor], output: Tensor) -> None:
        slopes = {k: torch.autograd.grad(loss, [output], retain_graph=True)[0] for k, loss in losses.items()}
        total: Tensor | int = 0
        for key, slope in slopes.items():
            norm = slope.norm(dim=(1, 2)).mean()
            part = shares[key] / sum(shares.values()) * slope / (1e-12 + norm)
            total = part if fault else total + part
        output.backward(total)

    with wiring(G, {"scales": D[0], "more": D[1]}, opt_G, opt_D):
        for _ in range(2):
            wave = torch.sin(torch.arange(64) * 0.3 + 6.28 * torch.rand(4, 1, 1))
            made, commitment = G(wave)
            loss_d = 0
            for part in D:
                real, fake = part(wave)[0], part(made.detach())[0]
                loss_d += F.relu(1 - real).mean() + F.relu(1 + fake).mean()
            opt_D.zero_grad()
            loss_d.backward()
            opt_D.step()
            frozen(D, True)
            losses = {"adversarial": torch.zeros(1), "features": torch.zeros(1), "wave": F.l1_loss(wave, made)}
            for part in D:
                (_, wanted), (fake, got) = part(wave), part(made)
                losses["adversarial"] = losses["adversarial"] - fake.mean() / 2
                for a, b in zip(wanted, got, strict=True):
                    losses["features"] = losses["features"] + F.l1_loss(b, a.detach()) / a.detach().abs().mean()
            commitment.backward(retain_graph=True)
            balanced(losses, made)
            opt_G.step()
            opt_G.zero_grad()
            frozen(D, False)
    return [G, D]


class Folded(nn.Module):
    """A waveform folded by a period; the last feature is the answers themselves, not yet flattened."""

    def __init__(self, period: int, flat: bool = True) -> None:
        super().__init__()
        self.period, self.flat = period, flat
        self.layers = nn.ModuleList([nn.Conv2d(1, 4, (3, 1), (2, 1)), nn.Conv2d(4, 1, (3, 1), padding=(1, 0))])

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        x, features = x.unflatten(2, (-1, self.period)), []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.1) if layer is not self.layers[-1] else layer(x)
            features.append(x)
        return (torch.flatten(x, 1, -1) if self.flat else x), features


def matched(wanted: list[Tensor], got: list[Tensor]) -> Tensor:
    loss = torch.zeros(())
    for a, b in zip(wanted, got, strict=True):
        loss = loss + torch.mean(torch.abs(a - b))
    return 2 * loss


def waves(count: int = 2) -> Iterator[tuple[Tensor, Tensor]]:
    """Waveforms [N, 1, T] and what they are to be made of."""
    source = torch.Generator().manual_seed(3)
    for _ in range(count):
        phase = 6.28 * torch.rand(4, 1, 1, generator=source)
        time = torch.arange(48).view(1, 1, -1) * 0.4
        yield torch.sin(time + phase), torch.cat([torch.cos(time + phase), torch.ones(4, 1, 48)], 1)


def hinged_vocoder(wiring: Wiring, D: Folded, sign: float) -> list[nn.Module]:
    """D begins with answers that are higher for generated samples; every feature is matched, and its answers, too."""
    torch.manual_seed(0)
    G = nn.Conv1d(2, 1, 5, padding=2)
    nn.init.constant_(G.weight, 0.0)
    nn.init.constant_(G.bias, 2.0)
    with torch.no_grad():
        for layer in D.layers:
            layer.weight.abs_()
    opt_G, opt_D = adam(G), adam(D)
    with wiring(G, D, opt_G, opt_D):
        for wave, condition in waves():
            made = G(condition)
            opt_D.zero_grad()
            (F.relu(1 - D(wave)[0]).mean() + F.relu(1 + D(made.detach())[0]).mean()).backward()
            opt_D.step()
            opt_G.zero_grad()
            (_, wanted), (fake, got) = D(wave), D(made)
            (-sign * fake.mean() + matched(wanted, got) + 45 * F.l1_loss(made, wave)).backward()  # <- here
            opt_G.step()
    return [G, D]


@pair("direction", "G")
def answers_matched_like_features(wiring: Wiring, fault: bool) -> list[nn.Module]:
    """The list of features ends with the answers; the fault has the wrong sign in G's turn."""
    torch.manual_seed(1)
    return hinged_vocoder(wiring, Folded(2), -1.0 if fault else 1.0)


@correct
def the_very_answers_matched(wiring: Wiring) -> list[nn.Module]:
    """The same where the answers and the last feature are one tensor."""
    torch.manual_seed(1)
    return hinged_vocoder(wiring, Folded(2, flat=False), 1.0)


@pair("clipping", "D", "G")
def speech_in_half_precision(wiring: Wiring, fault: bool) -> list[nn.Module]:
    """One scaler, slices of the waveform, a clipping of the author's own; the fault clips G in D's turn."""
    torch.manual_seed(0)
    G, D = nn.Conv1d(2, 1, 5, padding=2), Folded(3)
    opt_G, opt_D = (torch.optim.AdamW(net.parameters(), 2e-4, betas=(0.8, 0.99), eps=1e-9) for net in (G, D))
    scaler = torch.amp.GradScaler("cpu", init_scale=16.0)

    def clip_values(network: nn.Module, value: float) -> float:
        total = 0.0
        for p in [p for p in network.parameters() if p.grad is not None]:
            total += p.grad.data.norm(2).item() ** 2
            p.grad.data.clamp_(min=-value, max=value)  # <- here
        return total**0.5

    with wiring(G, D, opt_G, opt_D):
        for wave, condition in waves(3):
            with torch.autocast("cpu", torch.bfloat16):
                made = G(condition)[:, :, 6:36]
                real, fake = D(wave[:, :, 6:36])[0], D(made.detach())[0]
                with torch.autocast("cpu", enabled=False):
                    loss_d = torch.mean((1 - real.float()) ** 2) + torch.mean(fake.float() ** 2)
            opt_D.zero_grad()
            scaler.scale(loss_d).backward()
            scaler.unscale_(opt_D)
            clip_values(G if fault else D, 0.5)
            scaler.step(opt_D)
            with torch.autocast("cpu", torch.bfloat16):
                (_, wanted), (fake, got) = D(wave[:, :, 6:36]), D(made)
                with torch.autocast("cpu", enabled=False):
                    loss_g = F.l1_loss(wave[:, :, 6:36], made.float()) * 45
                    loss_g = loss_g + torch.mean((1 - fake.float()) ** 2) + matched(wanted[:-1], got[:-1])
            opt_G.zero_grad()
            scaler.scale(loss_g).backward()
            scaler.unscale_(opt_G)
            clip_values(G, 0.5)
            scaler.step(opt_G)
            scaler.update()
    return [G, D]


class Metric(nn.Module):
    """D foretells a score of an estimate beside its clean version."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = mlp(4, 1)

    def forward(self, clean: Tensor, estimate: Tensor) -> Tensor:
        return torch.sigmoid(self.layers(torch.cat([clean, estimate], 1)))


@pair("shapes", "D", "[16, 1]")
def metric_foretold(wiring: Wiring, fault: bool) -> list[nn.Module]:
    """D learns a measured score of each generated sample and 1 for clean ones; the fault forgets to flatten."""
    torch.manual_seed(0)
    G, D = mlp(2, 2), Metric()
    opt_G, opt_D = adam(G), adam(D)
    ones = torch.ones(BATCH)

    def score(clean: Tensor, estimate: Tensor) -> Tensor:
        measured = [1 / (1 + float(abs(a - b).sum())) for a, b in zip(clean.numpy(), estimate.numpy(), strict=True)]
        return torch.tensor(measured)

    with wiring(G, D, opt_G, opt_D):
        for clean in reals():
            estimate = G(clean + 0.5 * torch.randn_like(clean))
            opt_G.zero_grad()
            (0.05 * F.mse_loss(D(clean, estimate).flatten(), ones) + F.mse_loss(estimate, clean)).backward()
            opt_G.step()
            target = score(clean.detach(), estimate.detach())
            judged = D(clean, estimate.detach())
            top = F.mse_loss(D(clean, clean).flatten(), ones)
            loss = top + F.mse_loss(judged if fault else judged.flatten(), target)  # <- here
            opt_D.zero_grad()
            loss.backward()
            opt_D.step()
    return [G, D]


# ---------------------------------------------------------------------------------------------------- images


class Styled(nn.Module):
    """Mapping and synthesis, called apart."""

    def __init__(self) -> None:
        super().__init__()
        self.mapping, self.synthesis = mlp(LATENT, 4), mlp(4, 2)
        self.register_buffer("w_avg", torch.zeros(4))

    def forward(self, z: Tensor) -> Tensor:
        return self.synthesis(self.mapping(z))


@pair("stale", "G", "opt_G.zero_grad()")
def four_phases(wiring: Wiring, fault: bool) -> list[nn.Module]:
    """Gmain, Greg, Dmain, Dreg with accumulation, everything frozen outside of its phase; two backwards in Dmain;
    the fault clears gradients in the main phases only."""
    torch.manual_seed(0)
    G, D = Styled().requires_grad_(False), nn.Sequential(nn.Linear(2, 8), nn.Softplus(), nn.Linear(8, 1))
    D.requires_grad_(False)
    G_ema = copy.deepcopy(G).eval()
    opt_G, opt_D = adam(G), adam(D)
    phases = [("Gmain", G, opt_G, 1), ("Greg", G, opt_G, 2), ("Dmain", D, opt_D, 1), ("Dreg", D, opt_D, 2)]
    pl_mean = torch.zeros([])

    def run_G(z: Tensor) -> tuple[Tensor, Tensor]:
        ws = G.mapping(z)
        if G.training:
            G.w_avg.copy_(ws.detach().mean(dim=0).lerp(G.w_avg, 0.995))
        return G.synthesis(ws), ws

    def run_D(img: Tensor) -> Tensor:
        return D(img + 0.05 * torch.randn_like(img))

    def accumulate(phase: str, real: Tensor, z: Tensor, gain: float) -> None:
        if phase == "Gmain":
            img, _ = run_G(z)
            F.softplus(-run_D(img)).mean().mul(gain).backward()
        if phase == "Greg":
            img, ws = run_G(z[: BATCH // 2])
            (slopes,) = torch.autograd.grad((img * torch.randn_like(img)).sum(), ws, create_graph=True)
            lengths = slopes.square().sum(1).sqrt()
            mean = pl_mean.lerp(lengths.mean(), 0.01)
            pl_mean.copy_(mean.detach())
            (img[:, 0] * 0 + 2 * (lengths - mean).square()).mean().mul(gain).backward()
        if phase == "Dmain":
            img, _ = run_G(z)
            F.softplus(run_D(img)).mean().mul(gain).backward()
        if phase in ("Dmain", "Dreg"):
            seen = real.detach().requires_grad_(phase == "Dreg")
            logits = run_D(seen)
            loss, penalty = 0, 0
            if phase == "Dmain":
                loss = F.softplus(-logits)
            else:
                (slope,) = torch.autograd.grad(logits.sum(), seen, create_graph=True)
                penalty = slope.square().sum(1) * 0.5
            (logits * 0 + loss + penalty).mean().mul(gain).backward()

    with wiring(G, D, opt_G, opt_D, ema=G_ema):
        for number, batch in enumerate(reals(4)):
            for phase, module, opt, interval in phases:
                if number % interval:
                    continue
                if not (fault and interval > 1):
                    opt.zero_grad(set_to_none=True)
                module.requires_grad_(True)
                for real, z in zip(batch.split(8), noise().split(8), strict=True):
                    accumulate(phase, real, z, gain=interval)
                module.requires_grad_(False)
                for param in module.parameters():
                    if param.grad is not None:
                        torch.nan_to_num(param.grad, nan=0, posinf=1e5, neginf=-1e5, out=param.grad)
                opt.step()
            with torch.no_grad():
                for p_ema, p in zip(G_ema.parameters(), G.parameters(), strict=True):
                    p_ema.copy_(p.lerp(p_ema, 0.9))
                for b_ema, b in zip(G_ema.buffers(), G.buffers(), strict=True):
                    b_ema.copy_(b)
    return [G, D, G_ema]


@pair("terms", "G", "no_grad")
def super_resolution(wiring: Wiring, fault: bool) -> list[nn.Module]:
    """Relativistic averages with both answers' parts going backward apart, artefacts weighed by the average's picture,
    a frozen network for the perceptual loss; the fault takes its features without gradients."""
    torch.manual_seed(0)
    G, D, seeing = mlp(1, 2), mlp(2, 1), mlp(2, 4).eval()
    frozen(seeing, True)
    G_ema = copy.deepcopy(G).eval()
    opt_G, opt_D = adam(G), adam(D)

    def adversarial(logits: Tensor, real: bool) -> Tensor:
        return F.binary_cross_entropy_with_logits(logits, logits.new_ones(logits.size()) * real)

    def perceptual(made: Tensor, wanted: Tensor) -> Tensor:
        with torch.set_grad_enabled(not fault):
            got = seeing(made)  # <- here
        return F.l1_loss(got, seeing(wanted.detach()))

    with wiring(G, D, opt_G, opt_D, ema=G_ema):
        for gt in reals():
            lq = gt.mean(1, keepdim=True)
            frozen(D, True)
            opt_G.zero_grad()
            output = G(lq)
            with torch.no_grad():
                steady = G_ema(lq)
            total: Tensor | int = 0
            total += 1e-2 * F.l1_loss(output, gt)
            mask = ((gt - output).abs() > (gt - steady).abs()).detach().float()
            total += F.l1_loss(mask * output, mask * gt)
            total += perceptual(output, gt)
            real, fake = D(gt).detach(), D(output)
            total += 5e-3 * (adversarial(real - fake.mean(), False) + adversarial(fake - real.mean(), True)) / 2
            total.backward()
            opt_G.step()
            frozen(D, False)
            opt_D.zero_grad()
            fake = D(output).detach()
            (adversarial(D(gt) - fake.mean(), True) * 0.5).backward()
            fake, real = D(output.detach()), D(gt)
            (adversarial(fake - real.detach().mean(), False) * 0.5).backward()
            opt_D.step()
            with torch.no_grad():
                live = dict(G.named_parameters())
                for name, param in G_ema.named_parameters():
                    param.data.mul_(0.9).add_(live[name].data, alpha=0.1)
    return [G, D, G_ema]


class Coarse(nn.Module):
    """Two scales, each a list of a feature and the logits."""

    def __init__(self) -> None:
        super().__init__()
        self.bodies = nn.ModuleList(nn.Sequential(nn.Linear(4, 8), nn.LeakyReLU(0.2)) for _ in range(2))
        self.heads = nn.ModuleList(nn.Linear(8, 1) for _ in range(2))

    def forward(self, x: Tensor) -> list[list[Tensor]]:
        features = [body(x) for body in self.bodies]
        return [[seen, head(seen)] for seen, head in zip(features, self.heads, strict=True)]


@pair("adversarial", "G")
def generated_and_real_in_one_batch(wiring: Wiring, fault: bool) -> list[nn.Module]:
    """Semantic synthesis: both kinds go through D as one batch and are parted again; fakes for D are leaves that ask
    for a gradient. The fault takes the halves the wrong way round, in both turns."""
    torch.manual_seed(0)
    G, D = mlp(LATENT, 2), Coarse()
    opt_G, opt_D = adam(G), adam(D)

    def discriminate(label: Tensor, fake: Tensor, real: Tensor) -> tuple[list[list[Tensor]], list[list[Tensor]]]:
        joined = torch.cat([torch.cat([label, fake], 1), torch.cat([label, real], 1)], 0)
        out = D(joined)
        halves = [[t[: t.size(0) // 2] for t in p] for p in out], [[t[t.size(0) // 2 :] for t in p] for p in out]
        return (halves[1], halves[0]) if fault else halves

    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            label = real.round()
            fake = G(noise())
            pred_fake, pred_real = discriminate(label, fake, real)
            losses = {"GAN": sum(-p[-1].mean() for p in pred_fake)}
            feat = torch.zeros(1)
            for wanted, got in zip(pred_real, pred_fake, strict=True):
                feat += F.l1_loss(got[0], wanted[0].detach()) * 10 / 2
            losses["GAN_Feat"] = feat
            loss = sum(losses.values()).mean()
            opt_G.zero_grad()
            loss.backward()
            opt_G.step()
            with torch.no_grad():
                fake = G(noise())
                fake = fake.detach()
                fake.requires_grad_()
            pred_fake, pred_real = discriminate(label, fake, real)
            d_fake = sum(-torch.min(-p[-1] - 1, torch.zeros_like(p[-1])).mean() for p in pred_fake)
            d_real = sum(-torch.min(p[-1] - 1, torch.zeros_like(p[-1])).mean() for p in pred_real)
            opt_D.zero_grad()
            (d_fake + d_real).mean().backward()
            opt_D.step()
    return [G, D]


class Domains(nn.Module):
    """Whether a sample is real, and which of three domains it is of."""

    def __init__(self) -> None:
        super().__init__()
        self.main, self.source, self.domain = mlp(2, 8), nn.Linear(8, 1), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.main(x)
        return self.source(h), self.domain(h)


@pair("adversarial", "G")
def translation_between_domains(wiring: Wiring, fault: bool) -> list[nn.Module]:
    """Wasserstein with penalty, a class of domains for both, reconstruction, two steps of D for one of G; the fault
    asks D about the real sample where G's own was meant."""
    torch.manual_seed(0)
    G, D = mlp(5, 2), Domains()
    opt_G, opt_D = adam(G), adam(D)
    with wiring(G, D, opt_G, opt_D):
        for number, x_real in enumerate(reals(4)):
            label_org = torch.randint(3, (BATCH,))
            label_trg = label_org[torch.randperm(BATCH)]
            c_org, c_trg = (F.one_hot(label, 3).float() for label in (label_org, label_trg))
            out_src, out_cls = D(x_real)
            d_real, d_cls = -torch.mean(out_src), F.cross_entropy(out_cls, label_org)
            x_fake = G(torch.cat([x_real, c_trg], 1))
            out_src, out_cls = D(x_fake.detach())
            d_fake = torch.mean(out_src)
            alpha = torch.rand(BATCH, 1)
            x_hat = (alpha * x_real.data + (1 - alpha) * x_fake.data).requires_grad_(True)
            out_src, _ = D(x_hat)
            (dydx,) = torch.autograd.grad(out_src, x_hat, torch.ones_like(out_src), create_graph=True)
            penalty = torch.mean((dydx.flatten(1).square().sum(1).sqrt() - 1) ** 2)
            d_all = d_real + d_fake + d_cls + 10 * penalty
            opt_G.zero_grad()
            opt_D.zero_grad()
            d_all.backward()
            opt_D.step()
            if number % 2:
                x_fake = G(torch.cat([x_real, c_trg], 1))
                out_src, out_cls = D(x_fake)
                if fault:
                    out_src, _ = D(x_real)
                g_fake, g_cls = -torch.mean(out_src), F.cross_entropy(out_cls, label_trg)
                x_rec = G(torch.cat([x_fake, c_org], 1))
                g_rec = torch.mean(torch.abs(x_real - x_rec))
                g_all = g_fake + 10 * g_rec + g_cls
                opt_G.zero_grad()
                opt_D.zero_grad()
                g_all.backward()
                opt_G.step()
    return [G, D]


@pair("optimisers", "G", "Q.0.weight")
def information_through_a_shared_trunk(wiring: Wiring, fault: bool) -> list[nn.Module]:
    """D's trunk and two heads on it, the one that reads the code moved with G; the fault leaves that one out."""
    torch.manual_seed(0)
    G, trunk, head, Q = mlp(LATENT, 2), mlp(2, 8), nn.Sequential(nn.Linear(8, 1), nn.Sigmoid()), mlp(8, LATENT)
    opt_D = torch.optim.Adam([{"params": trunk.parameters()}, {"params": head.parameters()}], lr=2e-3, betas=(0.5, 0.9))
    groups = [{"params": G.parameters()}] if fault else [{"params": G.parameters()}, {"params": Q.parameters()}]
    opt_G = torch.optim.Adam(groups, lr=1e-2, betas=(0.5, 0.9))
    entropy = nn.BCELoss()
    with wiring({"G": G, "Q": Q}, {"trunk": trunk, "head": head}, opt_G, opt_D):
        for real in reals():
            opt_D.zero_grad()
            label = torch.full((BATCH,), 1.0)
            loss_real = entropy(head(trunk(real)).view(-1), label)
            loss_real.backward()
            label.fill_(0)
            z = noise()
            fake = G(z)
            loss_fake = entropy(head(trunk(fake.detach())).view(-1), label)
            loss_fake.backward()
            opt_D.step()
            opt_G.zero_grad()
            seen = trunk(fake)
            label.fill_(1)
            loss_g = entropy(head(seen).view(-1), label)
            code = F.mse_loss(Q(seen)[:, :2], z[:, :2]) * 0.1
            (loss_g + code).backward()
            opt_G.step()
    return [G, trunk, head, Q]


@correct
def information_with_a_third_optimiser(wiring: Wiring) -> list[nn.Module]:
    """D answers validity, class and code; a third optimiser, not handed over, moves both players along the latter."""
    torch.manual_seed(0)
    G, D = mlp(LATENT + 3, 2), nn.ModuleDict({"body": mlp(2, 8), "valid": nn.Linear(8, 1), "label": nn.Linear(8, 3)})

    class Judge(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parts = D

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            h = self.parts["body"](x)
            return self.parts["valid"](h), self.parts["label"](h)

    judge = Judge()
    opt_G, opt_D = adam(G), adam(judge)
    opt_info = torch.optim.Adam(chain(G.parameters(), judge.parameters()), lr=1e-3)
    valid, invalid = torch.ones(BATCH, 1), torch.zeros(BATCH, 1)
    with wiring(G, judge, opt_G, opt_D):
        for real in reals():
            opt_G.zero_grad()
            label = torch.randint(3, (BATCH,))
            made = G(torch.cat([noise(), F.one_hot(label, 3).float()], 1))
            F.mse_loss(judge(made)[0], valid).backward()
            opt_G.step()
            opt_D.zero_grad()
            real_loss = F.mse_loss(judge(real)[0], valid)
            ((real_loss + F.mse_loss(judge(made.detach())[0], invalid)) / 2).backward()
            opt_D.step()
            opt_info.zero_grad()
            made = G(torch.cat([noise(), F.one_hot(label, 3).float()], 1))
            F.cross_entropy(judge(made)[1], label).backward()
            opt_info.step()
    return [G, judge]


@pair("direction", "G")
def backward_with_signs(wiring: Wiring, fault: bool) -> list[nn.Module]:
    """The first Wasserstein code: signs come as gradients given to `backward`; weights are clamped, iterations counted;
    the fault gives G the other sign."""
    torch.manual_seed(0)
    G, D = mlp(LATENT, 2), mlp(2, 1)
    opt_G, opt_D = (torch.optim.RMSprop(net.parameters(), lr=5e-3) for net in (G, D))
    one = torch.tensor(1.0)
    mone = one * -1
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            for p in D.parameters():
                p.requires_grad = True
            for _ in range(3):
                for p in D.parameters():
                    p.data.clamp_(-0.5, 0.5)
                D.zero_grad()
                errD_real = D(real).mean(0).view([])
                errD_real.backward(one)
                with torch.no_grad():
                    fake = G(noise())
                errD_fake = D(fake).mean(0).view([])
                errD_fake.backward(mone)
                opt_D.step()
            for p in D.parameters():
                p.requires_grad = False
            G.zero_grad()
            errG = D(G(noise())).mean(0).view([])
            errG.backward(mone if fault else one)  # <- here
            opt_G.step()
    return [G, D]


@correct
def noisy_labels_and_flips(wiring: Wiring) -> list[nn.Module]:
    """Targets from 0.7 to 1.2 and from 0 to 0.3, a few of them swapped, noise on what D sees; least squares, D's
    answers a little beyond."""
    torch.manual_seed(0)
    G, D = mlp(LATENT, 2), nn.Linear(2, 1)
    nn.init.constant_(D.weight, 0.7)
    nn.init.constant_(D.bias, -1.0)
    opt_G, opt_D = adam(G), adam(D)

    def noisy(x: Tensor) -> Tensor:
        return x + 0.1 * torch.randn_like(x)

    def labels(real: bool) -> Tensor:
        given = torch.empty(BATCH, 1).uniform_(0.7, 1.2) if real else torch.empty(BATCH, 1).uniform_(0, 0.3)
        return torch.where(torch.rand(BATCH, 1) < 0.05, 1 - given, given)

    with wiring(G, D, opt_G, opt_D):
        for real in reals(4):
            fake = G(noise())
            opt_D.zero_grad()
            F.mse_loss(D(noisy(real)), labels(True)).backward()
            F.mse_loss(D(noisy(fake.detach())), labels(False)).backward()
            opt_D.step()
            opt_G.zero_grad()
            F.mse_loss(D(noisy(fake)), labels(True)).backward()
            opt_G.step()
    return [G, D]


@pair("shapes", "D", "[16, 1]")
def pairs_with_two_penalties(wiring: Wiring, fault: bool) -> list[nn.Module]:
    """Relativistic pairs, the gradient penalised at real and at generated samples, a loss for every sample; the fault
    flattens the answers for generated ones alone."""
    torch.manual_seed(0)
    G, D = mlp(LATENT, 2), nn.Sequential(nn.Linear(2, 8), nn.Softplus(), nn.Linear(8, 1))
    opt_G, opt_D = adam(G), adam(D)

    def penalty(samples: Tensor, critics: Tensor) -> Tensor:
        (gradient,) = torch.autograd.grad(outputs=critics.sum(), inputs=samples, create_graph=True)
        return gradient.square().sum([1])

    with wiring(G, D, opt_G, opt_D):
        for batch in reals():
            opt_D.zero_grad()
            real, fake = batch.detach().requires_grad_(True), G(noise()).detach().requires_grad_(True)
            real_logits, fake_logits = D(real), D(fake)
            r1, r2 = penalty(real, real_logits), penalty(fake, fake_logits)
            difference = real_logits - (fake_logits.view(-1) if fault else fake_logits)  # <- here
            loss = F.softplus(-difference).view(BATCH, -1).mean(1) + 0.5 * (r1 + r2)
            loss.mean().backward()
            opt_D.step()
            opt_G.zero_grad()
            difference = D(G(noise())) - D(batch.detach())
            F.softplus(-difference).mean().backward()
            opt_G.step()
    return [G, D]


# ---------------------------------------------------------------------------------------------------- frozen parts


class Guidance(nn.Module):
    """A score network that follows the generator, with a head on its features that tells real from generated; its
    forward computes the losses of whoever's turn it is. The true score comes from a frozen network."""

    def __init__(self) -> None:
        super().__init__()
        self.true, self.body, self.out, self.head = mlp(3, 2), mlp(3, 8), nn.Linear(8, 2), mlp(8, 1)
        frozen(self.true, True)

    def features(self, x: Tensor, t: Tensor) -> Tensor:
        return self.body(torch.cat([x, t], 1))

    def forward(self, made: Tensor, real: Tensor | None = None) -> dict[str, Tensor]:
        t = torch.rand(len(made), 1)
        if real is None:
            with torch.no_grad():
                noised = (1 - t) * made + t * torch.randn_like(made)
                x_true, x_fake = self.true(torch.cat([noised, t], 1)), self.out(self.features(noised, t))
                grad = torch.nan_to_num((x_fake - x_true) / (made - x_true).abs().mean(1, keepdim=True))
            loss_dm = 0.5 * F.mse_loss(made.float(), (made - grad).detach().float(), reduction="mean")
            realism = self.head(self.features(made, t))
            return {"loss_dm": loss_dm, "gen_cls_loss": F.softplus(-realism).mean()}
        noised = (1 - t) * made.detach() + t * torch.randn_like(made)
        loss_fake = (self.out(self.features(noised, t)) - made.detach()).square().mean()
        fake_logits, real_logits = (self.head(self.features(x, t)) for x in (made.detach(), real))
        return {"loss_fake": loss_fake, "cls_loss": d_loss(real_logits, fake_logits)}


@pair("stale", "D", "opt_D.zero_grad()")
def distribution_matching(wiring: Wiring, fault: bool) -> list[nn.Module]:
    """One-step distillation: two steps of the guidance for one of the generator, gradients cleared after each step;
    the fault forgets those that the generator's turn left in the guidance."""
    torch.manual_seed(0)
    G, D = mlp(LATENT, 2), Guidance()
    opt_G = torch.optim.AdamW([p for p in G.parameters() if p.requires_grad], lr=1e-3)
    opt_D = torch.optim.AdamW([p for p in D.parameters() if p.requires_grad], lr=1e-3)
    with wiring(G, D, opt_G, opt_D):
        for number, real in enumerate(reals(4)):
            made = G(noise())
            if number % 2 == 0:
                losses = D(made)
                (losses["loss_dm"] + 5e-3 * losses["gen_cls_loss"]).backward()
                nn.utils.clip_grad_norm_(G.parameters(), 10.0)
                opt_G.step()
                opt_G.zero_grad()
                if not fault:
                    opt_D.zero_grad()
            losses = D(made.detach(), real)
            (losses["loss_fake"] + 1e-2 * losses["cls_loss"]).backward()
            nn.utils.clip_grad_norm_(D.parameters(), 10.0)
            opt_D.step()
            opt_D.zero_grad()
            opt_G.zero_grad()
    return [G, D]


@pair("adversarial", "G", "no_grad")
def heads_on_projected_features(wiring: Wiring, fault: bool) -> list[nn.Module]:
    """D is heads on frozen features with random projections, which nobody handed over; the fault uses the features
    of D's turn once more in G's."""
    torch.manual_seed(0)
    G, features = mlp(LATENT, 2), nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.ReLU()).eval()
    projections = nn.ModuleList([nn.Linear(8, 4), nn.Linear(8, 3)])
    frozen(features, True)
    frozen(projections, True)
    D = nn.ModuleList([mlp(4, 1), mlp(3, 1)])
    opt_G, opt_D = adam(G), adam(D)

    def project(x: Tensor) -> list[Tensor]:
        return [projection(features(x)) for projection in projections]  # <- here

    def judge(seen: list[Tensor]) -> Tensor:
        return torch.cat([head(one) for head, one in zip(D, seen, strict=True)], 1)

    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            fake = G(noise())
            frozen(D, False)
            with torch.no_grad():
                of_real, of_fake = project(real), project(fake)
            opt_D.zero_grad()
            (F.relu(1 - judge(of_real)).mean() + F.relu(1 + judge(of_fake)).mean()).backward()
            opt_D.step()
            frozen(D, True)
            opt_G.zero_grad()
            adversarial = (-judge(of_fake if fault else project(fake))).mean()
            (adversarial + 0.1 * fake.square().mean()).backward()
            opt_G.step()
    return [G, D]


class Adapted(nn.Module):
    """A frozen layer and a low-rank addition to it, which begins at 0."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base, self.down, self.up = base, nn.Linear(base.in_features, 2, bias=False), None
        self.up = nn.Linear(2, base.out_features, bias=False)
        nn.init.zeros_(self.up.weight)
        frozen(base, True)

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + self.up(self.down(x))


@correct
def fine_tuning_with_adapters(wiring: Wiring) -> list[nn.Module]:
    """Only the additions are trained, D's first layers rest, groups have their own rates, steps are batched over
    tensors, an average follows."""
    torch.manual_seed(0)
    G, D = nn.Sequential(Adapted(nn.Linear(LATENT, 8)), nn.ReLU(), Adapted(nn.Linear(8, 2))), mlp(2, 1)
    D[0].requires_grad_(False)
    trained = [p for p in G.parameters() if p.requires_grad]
    ups = [p for name, p in G.named_parameters() if "up" in name]
    downs = [p for name, p in G.named_parameters() if "down" in name]
    groups = [{"params": ups, "lr": 1e-2}, {"params": downs, "lr": 1e-3, "weight_decay": 0.0}]
    opt_G, opt_D = torch.optim.AdamW(groups, foreach=True), torch.optim.Adam(D[2].parameters(), lr=1e-2, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(opt_G, lambda step: 0.9**step)
    ema = AveragedModel(G, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    with wiring(G, D, opt_G, opt_D, ema=ema):
        for real in reals():
            for p in trained:
                p.requires_grad_(False)
            opt_D.zero_grad(set_to_none=True)
            d_loss(D(real), D(G(noise()))).backward()
            opt_D.step()
            for p in trained:
                p.requires_grad_(True)
            opt_G.zero_grad(set_to_none=True)
            g_loss(D(G(noise()))).backward()
            nn.utils.clip_grad_norm_(trained, 1.0, foreach=True)
            opt_G.step()
            schedule.step()
            ema.update_parameters(G)
    return [G, D, ema]


# ---------------------------------------------------------------------------------------------------- other data


@pair("modes", "G", "1")
def codes_like_a_prior(wiring: Wiring, fault: bool) -> list[nn.Module]:
    """An adversarial autoencoder: D tells drawn codes from encoded ones, reconstruction has optimisers of its own, the
    encoder is in eval mode for D; the fault leaves it there."""
    torch.manual_seed(0)
    Q = nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, LATENT))
    P, D = mlp(LATENT, 2), nn.Sequential(mlp(LATENT, 1), nn.Sigmoid())
    opt_P, opt_rebuild, opt_Q, opt_D = adam(P), adam(Q), adam(Q), adam(D)
    tiny = 1e-15
    with wiring(Q, D, opt_Q, opt_D):
        for real in reals():
            for net in (P, Q, D):
                net.zero_grad()
            F.mse_loss(P(Q(real)), real).backward()
            opt_P.step()
            opt_rebuild.step()
            Q.eval()
            for net in (P, Q, D):
                net.zero_grad()
            drawn = torch.randn(BATCH, LATENT) * 2.0
            coded = Q(real)
            (-torch.mean(torch.log(D(drawn) + tiny) + torch.log(1 - D(coded.detach()) + tiny))).backward()
            opt_D.step()
            if not fault:
                Q.train()
            for net in (P, Q, D):
                net.zero_grad()
            (-torch.mean(torch.log(D(Q(real)) + tiny))).backward()
            opt_Q.step()
            Q.train()
    return [P, Q, D]


class Packed(nn.Module):
    """A discriminator of several rows at once, which knows its own penalty."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(10, 8), nn.LeakyReLU(0.2), nn.Dropout(0.5), nn.Linear(8, 1))

    def penalty(self, real: Tensor, fake: Tensor) -> Tensor:
        alpha = torch.rand(real.size(0) // 2, 1, 1).repeat(1, 2, real.size(1)).view(-1, real.size(1))
        between = alpha * real + (1 - alpha) * fake
        judged = self(between)
        slopes = torch.autograd.grad(outputs=judged, inputs=between, grad_outputs=torch.ones(judged.size()),
                                     create_graph=True, retain_graph=True, only_inputs=True)[0]  # fmt: skip
        return ((slopes.view(-1, 2 * real.size(1)).norm(2, dim=1) - 1) ** 2).mean() * 10

    def forward(self, rows: Tensor) -> Tensor:
        return self.layers(rows.view(-1, 10))


@pair("stale", "G", "opt_G.zero_grad()")
def tables_with_conditions(wiring: Wiring, fault: bool) -> list[nn.Module]:
    """Columns of two kinds, one of them drawn softly; the penalty goes backward before the loss, and both run into G,
    which is cleared in time; the fault clears it at the beginning instead."""
    torch.manual_seed(0)
    G, D = nn.Sequential(nn.Linear(LATENT + 3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 5)), Packed()
    opt_G = torch.optim.Adam(G.parameters(), lr=2e-4, betas=(0.5, 0.9), weight_decay=1e-6)
    opt_D = torch.optim.Adam(D.parameters(), lr=2e-4, betas=(0.5, 0.9), weight_decay=1e-6)

    def table(z: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        out = G(torch.cat([z, condition], dim=1))
        return torch.cat([torch.tanh(out[:, :2]), F.gumbel_softmax(out[:, 2:], tau=0.2)], dim=1), out[:, 2:]

    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            condition = F.one_hot(torch.randint(3, (BATCH,)), 3).float()
            if fault:
                opt_G.zero_grad(set_to_none=False)
            made, _ = table(noise(), condition)
            rows = torch.cat([torch.tanh(real - 2), condition[torch.randperm(BATCH)]], dim=1)
            y_fake, y_real = D(made), D(rows)
            pen = D.penalty(rows, made)
            loss_d = -(torch.mean(y_real) - torch.mean(y_fake))
            opt_D.zero_grad(set_to_none=False)
            pen.backward(retain_graph=True)
            loss_d.backward()
            opt_D.step()
            made, logits = table(noise(), condition)
            loss_g = -torch.mean(D(made)) + F.cross_entropy(logits, torch.argmax(condition, dim=1))
            if not fault:
                opt_G.zero_grad(set_to_none=False)
            loss_g.backward()
            opt_G.step()
    return [G, D]


@correct
def rewards_for_a_policy(wiring: Wiring) -> list[nn.Module]:
    """Sequences of tokens: what D thinks of a sequence is G's reward, and no gradient comes through D by intention."""
    torch.manual_seed(0)
    G, D = mlp(LATENT, 6), mlp(6, 1)
    opt_G, opt_D = adam(G), adam(D)
    with wiring(G, D, opt_G, opt_D):
        for _ in range(2):
            policy = torch.distributions.Categorical(logits=G(noise()))
            tokens = policy.sample()
            with torch.no_grad():
                reward = F.logsigmoid(D(F.one_hot(tokens, 6).float())).squeeze(1)
                advantage = reward - reward.mean()
            loss = -(policy.log_prob(tokens) * advantage).mean() - 0.01 * policy.entropy().mean()
            opt_G.zero_grad()
            loss.backward()
            opt_G.step()
            true = F.one_hot(torch.randint(3, (BATCH,)), 6).float()
            opt_D.zero_grad()
            d_loss(D(true), D(F.one_hot(tokens, 6).float())).backward()
            opt_D.step()
    return [G, D]


@contextmanager
def only(network: nn.Module, others: list[nn.Module]) -> Iterator[None]:
    """Of several networks one alone has gradients."""
    before = {p: p.requires_grad for other in others for p in other.parameters()}
    for p in before:
        p.requires_grad_(False)
    for p in network.parameters():
        p.requires_grad_(True)
    yield
    for p, on in before.items():
        p.requires_grad_(on)


@pair("stale", "F", "opt_F.zero_grad()")
def patches_contrasted(wiring: Wiring, fault: bool) -> list[nn.Module]:
    """Unpaired translation with one generator: patches of its encoder are contrasted through a small network with an
    optimiser of its own; sources and targets go through G together. The fault never clears that network."""
    torch.manual_seed(0)
    encoder, decoder, F_net, D = mlp(2, 8), mlp(8, 2), mlp(8, 4), mlp(2, 1)
    G = nn.Sequential(encoder, decoder)
    opt_G, opt_F, opt_D = adam(G), adam(F_net), adam(D)

    def contrast(source: Tensor, target: Tensor) -> Tensor:
        q, k = (F.normalize(F_net(G[0](x)), dim=1) for x in (target, source))
        return F.cross_entropy(q @ k.detach().t() / 0.07, torch.arange(len(q)), reduction="none").mean()

    with wiring({"G": G, "F": F_net}, D, {"G": opt_G, "F": opt_F}, opt_D):
        for real_B in reals():
            real_A = -real_B
            fake_B, same_B = G(torch.cat((real_A, real_B), dim=0)).chunk(2)
            with only(D, [G, F_net]):
                opt_D.zero_grad()
                pred_fake = D(fake_B.detach())
                ((squares(pred_fake, 0.0).mean() + squares(D(real_B), 1.0).mean()) * 0.5).backward()
                opt_D.step()
            frozen(D, True)
            opt_G.zero_grad()
            if not fault:
                opt_F.zero_grad()
            gan = squares(D(fake_B), 1.0).mean()
            (gan + (contrast(real_A, fake_B) + contrast(real_B, same_B)) * 0.5).backward()
            opt_G.step()
            opt_F.step()
            frozen(D, False)
    return [G, F_net, D]


@pair("ema", "G", "never updated")
def conditional_transformer(wiring: Wiring, fault: bool) -> list[nn.Module]:
    """Weight decay for matrices only, tied embeddings, a projection head, gradients accumulated with the loss divided,
    a scheduler for each; the average is made from a factory. The fault averages what was loaded from a checkpoint."""

    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.label, self.into, self.mix = nn.Embedding(3, 8), nn.Linear(LATENT, 8), nn.LayerNorm(8)
            self.attend, self.out = nn.MultiheadAttention(8, 2, batch_first=True), nn.Linear(8, 2)

        def forward(self, z: Tensor, y: Tensor) -> Tensor:
            h = torch.stack([self.into(z), self.label(y)], 1)
            h = self.mix(h + self.attend(h, h, h, need_weights=False)[0])
            return self.out(h.mean(1))

    class Projection(nn.Module):
        def __init__(self, label: nn.Embedding) -> None:
            super().__init__()
            self.body, self.score, self.label = mlp(2, 8), nn.Linear(8, 1), label

        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            h = self.body(x)
            return self.score(h) + (self.label(y).detach() * h).sum(1, keepdim=True)

    torch.manual_seed(0)
    G = Tied()
    D = Projection(copy.deepcopy(G.label).requires_grad_(False))

    def optimiser(network: nn.Module) -> torch.optim.Optimizer:
        trained = [p for p in network.parameters() if p.requires_grad]
        groups = [{"params": [p for p in trained if p.dim() >= 2], "weight_decay": 0.1},
                  {"params": [p for p in trained if p.dim() < 2], "weight_decay": 0.0}]  # fmt: skip
        return torch.optim.AdamW(groups, lr=1e-3, betas=(0.0, 0.99))

    average = AveragedModel(G, multi_avg_fn=get_ema_multi_avg_fn(0.99))
    opts = {"G": optimiser(G), "D": optimiser(D)}
    schedules = [torch.optim.lr_scheduler.CosineAnnealingLR(opt, 10) for opt in opts.values()]
    loaded = copy.deepcopy(G)
    with wiring(G, D, opts["G"], opts["D"], ema=average):
        for real in reals():
            y = torch.randint(3, (BATCH,))
            for part, label in zip(real.chunk(2), y.chunk(2), strict=True):
                z = torch.randn(BATCH // 2, LATENT)
                (d_loss(D(part, label), D(G(z, label).detach(), label)) / 2).backward()
            opts["D"].step()
            opts["D"].zero_grad()
            for label in y.chunk(2):
                (g_loss(D(G(torch.randn(BATCH // 2, LATENT), label), label)) / 2).backward()
            opts["G"].step()
            for opt in opts.values():
                opt.zero_grad()
            for schedule in schedules:
                schedule.step()
            average.update_parameters(loaded if fault else G)
    return [G, D, average]
