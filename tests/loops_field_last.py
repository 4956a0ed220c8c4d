"""A third set of loops as the field writes them: recurrent, with dictionaries, contrastive, gradients that are put
together by hand. `CORRECT` and `BROKEN` hold them by name; none was tried before all were written.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

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


class Recurrent(nn.Module):
    """A sequence for a sequence, of given lengths."""

    def __init__(self, features_in: int, features_out: int) -> None:
        super().__init__()
        self.body, self.head = nn.GRU(features_in, 8, batch_first=True), nn.Linear(8, features_out)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        states, _ = pad_packed_sequence(self.body(packed)[0], batch_first=True, total_length=x.shape[1])
        return self.head(states)


@pair("adversarial", "G", "data")
def sequences_of_varying_length(wiring: Wiring, fault: bool) -> list[nn.Module]:
    """Recurrent players, every step in time is judged, what is padded does not count; the supervised part has a
    mask of its own. The fault pads through `.data`."""
    torch.manual_seed(0)
    G, D = Recurrent(2, 2), Recurrent(2, 1)
    opt_G, opt_D = adam(G), adam(D)
    with wiring(G, D, opt_G, opt_D):
        for _ in range(2):
            lengths = torch.randint(3, 7, (BATCH,))
            mask = (torch.arange(6)[None, :] < lengths[:, None]).float()[..., None]
            real = (torch.linspace(0, 1, 6)[None, :, None] + 0.1 * torch.randn(BATCH, 6, 2)) * mask

            def masked(loss: Tensor, mask: Tensor = mask) -> Tensor:
                return (loss * mask).sum() / mask.sum()

            made = G(torch.randn(BATCH, 6, 2), lengths)
            made = (made.data if fault else made).masked_fill(mask == 0, 0.0)  # <- here
            opt_D.zero_grad()
            loss_d = masked(F.softplus(-D(real, lengths))) + masked(F.softplus(D(made.detach(), lengths)))
            loss_d.backward()
            opt_D.step()
            opt_G.zero_grad()
            moments = G(real, lengths).mean((0, 1))
            loss_g = masked(F.softplus(-D(made, lengths))) + 10 * (moments - real.mean((0, 1))).abs().mean()
            loss_g.backward()
            opt_G.step()
    return [G, D]


class Rendered(nn.Module):
    """A coarse picture and a fine one, made of it."""

    def __init__(self) -> None:
        super().__init__()
        self.mapping, self.backbone, self.finer = mlp(LATENT + 3, 4), mlp(4, 2), mlp(2, 4)

    def density(self, points: Tensor, ws: Tensor) -> Tensor:
        return self.backbone(ws + points)[:, :1]

    def forward(self, z: Tensor, c: Tensor) -> dict[str, Tensor]:
        raw = self.backbone(self.mapping(torch.cat([z, c], 1)))
        return {"image": self.finer(raw), "image_raw": raw}


class Dual(nn.Module):
    """Judges both pictures together, from a camera."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(9, 8), nn.Softplus(), nn.Linear(8, 1))

    def forward(self, img: dict[str, Tensor], c: Tensor) -> Tensor:
        return self.layers(torch.cat([img["image"], img["image_raw"], c], 1))


@pair("adversarial", "G", "detach")
def pictures_in_dictionaries(wiring: Wiring, fault: bool) -> list[nn.Module]:
    """Two resolutions go through D in one dictionary, with the camera; cameras are swapped now and then, the penalty is
    of both pictures, and density is smoothed in a backward of its own. The fault judges detached copies."""
    torch.manual_seed(0)
    G, D = Rendered(), Dual()
    opt_G, opt_D = adam(G), adam(D)
    with wiring(G, D, opt_G, opt_D):
        for raw in reals():
            real = {"image": torch.cat([raw, raw.flip(1)], 1), "image_raw": raw}
            c = torch.randn(BATCH, 3)
            swapped = torch.where(torch.rand(BATCH, 1) < 0.5, torch.roll(c, 1, 0), c)
            opt_G.zero_grad(set_to_none=True)
            D.requires_grad_(False)
            made = G(noise(), swapped)
            seen = {key: value.detach() if fault else value for key, value in made.items()}  # <- here
            loss = F.softplus(-D(seen, c))
            (loss.mean() + 0.1 * made["image"].square().mean()).backward()
            ws = G.mapping(torch.cat([noise(), torch.zeros_like(c)], 1))
            near, moved = G.density(torch.zeros(BATCH, 4), ws), G.density(0.01 * torch.randn(BATCH, 4), ws)
            (F.l1_loss(near, moved) * 0.25).mul(4).backward()
            opt_G.step()
            D.requires_grad_(True)
            opt_D.zero_grad(set_to_none=True)
            with torch.no_grad():
                made = G(noise(), swapped)
            F.softplus(D(made, c)).mean().backward()
            tmp = {key: value.detach().requires_grad_(True) for key, value in real.items()}
            logits = D(tmp, c)
            slopes = torch.autograd.grad(outputs=[logits.sum()], inputs=list(tmp.values()), create_graph=True)
            penalty = sum(slope.square().sum(1) for slope in slopes)
            (F.softplus(-logits) + penalty[:, None] * 0.5).mean().backward()
            opt_D.step()
    return [G, D]


class Contrasted(nn.Module):
    """Features, projections of two kinds, and a linear head that may leave the features alone."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = mlp(2, 8), mlp(8, 1)
        self.of_real, self.of_fake = nn.Linear(8, 4), nn.Linear(8, 4)

    def forward(self, x: Tensor, sg_linear: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        h = self.body(x)
        seen = h.detach() if sg_linear else h
        return self.head(seen), *(F.normalize(part(h), dim=1) for part in (self.of_real, self.of_fake))


@pair("adversarial", "G", "detach")
def contrastive_discriminator(wiring: Wiring, fault: bool) -> list[nn.Module]:
    """D's body learns by contrast alone, its head on detached features; G's gradient takes the whole way. The fault
    leaves the head's features detached in G's turn."""
    torch.manual_seed(0)
    G, D = mlp(LATENT, 2), Contrasted()
    opt_G, opt_D = adam(G), adam(D)

    def contrast(one: Tensor, other: Tensor) -> Tensor:
        return F.cross_entropy(one @ other.t() / 0.1, torch.arange(len(one)))

    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            views = [real + 0.1 * torch.randn_like(real) for _ in range(2)]
            fake = G(noise()).detach()
            opt_D.zero_grad()
            d_real, view, _ = D(torch.cat(views), sg_linear=True)
            d_fake, _, other = D(fake, sg_linear=True)
            first, second = view.chunk(2)
            loss = contrast(first, second) + contrast(other, other.roll(1, 0)) + d_loss(d_real, d_fake)
            loss.backward()
            opt_D.step()
            opt_G.zero_grad()
            made = G(noise())
            (g_loss(D(made, sg_linear=fault)[0]) + 0.01 * made.square().mean()).backward()
            opt_G.step()
    return [G, D]


@pair("adversarial", "G", "D")
def conflicting_gradients(wiring: Wiring, fault: bool) -> list[nn.Module]:
    """Each of G's losses has its gradient taken by itself; what is against the other is projected away, and the sum is
    written to `.grad`. The fault writes one after the other instead."""
    G, D = players()
    opt_G, opt_D = adam(G), adam(D)

    def projected(slope: Tensor, other: Tensor) -> Tensor:
        product = (slope * other).sum()
        return slope - product.clamp(max=0) / other.square().sum().clamp(min=1e-12) * other

    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            fake = G(noise())
            opt_D.zero_grad()
            d_loss(D(real), D(fake.detach())).backward()
            opt_D.step()
            opt_G.zero_grad()
            weights = list(G.parameters())
            fooled = torch.autograd.grad(g_loss(D(fake)), weights, retain_graph=True)
            near = torch.autograd.grad(F.l1_loss(fake, real), weights)
            for p, a, b in zip(weights, fooled, near, strict=True):
                p.grad = b.clone() if fault else projected(a, b) + projected(b, a)
            opt_G.step()
    return [G, D]


@correct
def normalised_by_its_gradient(wiring: Wiring) -> list[nn.Module]:
    """What counts is D's answer over the norm of its gradient, in both turns."""
    torch.manual_seed(0)
    G, D = mlp(LATENT, 2), nn.Sequential(nn.Linear(2, 8), nn.Softplus(), nn.Linear(8, 1))
    opt_G, opt_D = adam(G), adam(D)

    def normalised(x: Tensor) -> Tensor:
        x.requires_grad_(True)
        f = D(x)
        (slope,) = torch.autograd.grad(f, x, torch.ones_like(f), create_graph=True, retain_graph=True)
        return f / (slope.flatten(1).norm(dim=1)[:, None] + f.abs())

    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            opt_D.zero_grad()
            with torch.no_grad():
                fake = G(noise())
            pred_real, pred_fake = normalised(torch.cat([real, fake])).chunk(2)
            (F.relu(1 - pred_real).mean() + F.relu(1 + pred_fake).mean()).backward()
            opt_D.step()
            for p in D.parameters():
                p.requires_grad_(False)
            opt_G.zero_grad()
            (-normalised(G(noise())).mean()).backward()
            opt_G.step()
            for p in D.parameters():
                p.requires_grad_(True)
    return [G, D]


@correct
def head_that_begins_at_zero(wiring: Wiring) -> list[nn.Module]:
    """D's last layer starts as zeros and G moves first, so that G's first gradient is 0; rates warm up, and mapping and
    synthesis have an optimiser each."""
    torch.manual_seed(0)
    mapping, synthesis, D = mlp(LATENT, 4), mlp(4, 2), mlp(2, 1)
    nn.init.zeros_(D[-1].weight)
    nn.init.zeros_(D[-1].bias)
    opts = {"mapping": adam(mapping), "synthesis": adam(synthesis)}
    opt_D = adam(D)
    with wiring({"mapping": mapping, "synthesis": synthesis}, D, opts, opt_D):
        for real in reals(3):
            for opt in opts.values():
                opt.zero_grad()
            g_loss(D(synthesis(mapping(noise())))).backward()
            for opt in opts.values():
                opt.step()
            opt_D.zero_grad()
            d_loss(D(real), D(synthesis(mapping(noise())).detach())).backward()
            opt_D.step()
    return [mapping, synthesis, D]


@correct
def approximated_penalties(wiring: Wiring) -> list[nn.Module]:
    """The penalties are differences of answers beside each other, and D also foretells what G's features were."""

    class Guided(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head, self.back = mlp(2, 8), nn.Linear(8, 1), nn.Linear(8, 8)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            h = self.body(x)
            return self.head(h), self.back(h)

    class Telling(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(LATENT, 8), nn.Linear(8, 2)

        def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
            h = F.relu(self.first(z))
            return self.last(h), h

    torch.manual_seed(0)
    G, D = Telling(), Guided()
    opt_G, opt_D = adam(G), adam(D)
    warm = torch.optim.lr_scheduler.LambdaLR(opt_G, lambda step: min(1.0, step / 2))
    with wiring(G, D, opt_G, opt_D):
        for real in reals(3):
            fake, features = G(noise())
            opt_D.zero_grad()
            real_logits, _ = D(real)
            fake_logits, foretold = D(fake.detach())
            r1 = (real_logits - D(real + 0.01 * torch.randn_like(real))[0]).square().mean()
            r2 = (fake_logits - D(fake.detach() + 0.01 * torch.randn_like(fake))[0]).square().mean()
            guided = 1 - F.cosine_similarity(foretold, features.detach(), dim=1).mean()
            (d_loss(real_logits, fake_logits) + 100 * (r1 + r2) + 10 * guided).backward()
            opt_D.step()
            opt_G.zero_grad()
            g_loss(D(G(noise())[0])[0]).backward()
            opt_G.step()
            warm.step()
    return [G, D]


@correct
def two_batch_sizes_and_a_memory(wiring: Wiring) -> list[nn.Module]:
    """D gets four times as many samples as G, earlier ones among them, kept in a ring; the last layer of G is weighed
    by a scalar that is learnt."""

    class Weighted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = mlp(LATENT, 2)
            self.extra = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])
            self.gain = nn.Parameter(torch.tensor(0.5))

        def forward(self, z: Tensor) -> Tensor:
            x = self.extra[0](self.layers(z))
            add = self.extra[1](x)
            return x + self.gain * add

    torch.manual_seed(0)
    G, D = Weighted(), mlp(2, 1)
    opt_G, opt_D = adam(G), adam(D)
    ring: list[Tensor] = []
    with wiring(G, D, opt_G, opt_D):
        for real in reals(3):
            fake = G(torch.randn(BATCH // 2, LATENT))
            ring = [*ring, fake.detach()][-2:]
            opt_D.zero_grad()
            d_loss(D(real), D(torch.cat(ring))).backward()
            opt_D.step()
            opt_G.zero_grad()
            g_loss(D(fake)).backward()
            opt_G.step()
    return [G, D]
