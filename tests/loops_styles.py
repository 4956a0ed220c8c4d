"""Loops after published training code on which the check had failed: two accused, the others' faults missed.

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


@faults(
    generated_ones_for_real_ones=("inputs", "very same samples"),
    penalty_of_first_order=("terms", "autograd.grad without create_graph"),
    lazy_phases_not_cleared=("stale", "had not been cleared"),
)
def phases_with_gradients_in_one_vector(wiring: Wiring, fault: str) -> list[nn.Module]:
    """Lazy penalties in phases of their own; all gradients are joined, repaired and split again before each step."""
    G, D = players()
    phases = [(name, net, adam(net)) for name, net in (("G", G), ("D", D))]
    G.requires_grad_(False), D.requires_grad_(False)

    def backward(name: str, real: Tensor, lazy: bool) -> None:
        made = G(noise())
        if name == "G" and not lazy:
            g_loss(D(made)).backward()
        elif name == "G":
            wide = torch.autograd.grad((made * torch.randn_like(made)).sum(), G[0].weight, create_graph=True)[0]
            (made[:, 0] * 0 + wide.square().sum()).mean().backward()
        elif not lazy:
            F.softplus(D(made)).mean().backward()
            F.softplus(-D(made.detach() if fault == "generated_ones_for_real_ones" else real)).mean().backward()
        else:
            at = real.detach().requires_grad_()
            graph = fault != "penalty_of_first_order"
            slope = torch.autograd.grad(D(at).sum(), at, create_graph=graph)[0].square().sum(1)
            (D(real)[:, 0] * 0 + slope).mean().backward()

    with wiring(G, D, phases[0][2], phases[1][2]):
        for number, batch in enumerate(reals(4)):
            for name, network, optimiser in phases:
                for lazy in (False, True) if number % 2 == 0 else (False,):
                    if not (lazy and fault == "lazy_phases_not_cleared"):
                        optimiser.zero_grad(set_to_none=True)
                    network.requires_grad_(True)
                    for real in batch.split(BATCH // 2):
                        backward(name, real, lazy)
                    network.requires_grad_(False)
                    weights = [weight for weight in network.parameters() if weight.grad is not None]
                    joined = torch.nan_to_num(torch.cat([weight.grad.flatten() for weight in weights]))
                    for weight, part in zip(weights, joined.split([w.numel() for w in weights]), strict=True):
                        weight.grad = part.reshape(weight.shape)
                    optimiser.step()
    return [G, D]


@faults(average_of_one_forgotten=("ema", "style.0.weight"))
def mapping_with_a_rate_of_its_own(wiring: Wiring, fault: str) -> list[nn.Module]:
    """A hundredth of the rate for the mapping, whose average moves by less than its largest numbers can tell."""
    torch.manual_seed(0)
    nets = {"mapping": mlp(LATENT, LATENT), "style": mlp(LATENT, 2)}
    D = mlp(2, 1)
    with torch.no_grad():
        nets["mapping"][0].bias.add_(1)
    opts = {"mapping": torch.optim.Adam(nets["mapping"].parameters(), 1e-6), "style": adam(nets["style"])}
    opt_D, means = adam(D), {name: copy.deepcopy(net) for name, net in nets.items()}
    with wiring(nets, D, opts, opt_D, ema=means):
        for real in reals():
            fake = nets["style"](nets["mapping"](noise()))
            opt_D.zero_grad()
            d_loss(D(real), D(fake.detach())).backward()
            opt_D.step()
            for optimiser in opts.values():
                optimiser.zero_grad()
            g_loss(D(fake)).backward()
            for name, optimiser in opts.items():
                optimiser.step()
                if not (fault and name == "style"):
                    for mean, own in zip(means[name].parameters(), nets[name].parameters(), strict=True):
                        mean.data = torch.lerp(own.data, mean.data, 0.999)
    return [*nets.values(), D]


@faults(decay_of_the_wrong_sign=("ema", "moved away from G"))
def a_gain_that_swings(wiring: Wiring, fault: str) -> list[nn.Module]:
    """A single number that goes far up and comes back below where it was: its average is still above."""
    G, D = players()
    G.register_parameter("gain", nn.Parameter(torch.ones([])))
    opt_G, opt_D, average = torch.optim.SGD(G.parameters(), 1.0), adam(D), copy.deepcopy(G)
    with wiring(G, D, opt_G, opt_D, ema=average):
        for real, push in zip(reals(), (-1.0, 1.2), strict=True):
            opt_D.zero_grad()
            d_loss(D(real), D((G.gain * G(noise())).detach())).backward()
            opt_D.step()
            opt_G.zero_grad()
            (g_loss(D(G.gain * G(noise()))) + push * G.gain).backward()
            opt_G.step()
            with torch.no_grad():
                for mean, own in zip(average.parameters(), G.parameters(), strict=True):
                    mean.lerp_(own, -0.1 if fault else 0.1)
    return [G, D]


class Losses(nn.Module):
    """A discriminator that answers with its loss."""

    def __init__(self) -> None:
        super().__init__()
        self.judge = mlp(2, 1)

    def forward(self, samples: Tensor, real: bool, mine: bool = True) -> Tensor:
        answers = self.judge(samples)
        return F.relu(1 + (-answers if real else answers)).mean() if mine else (-answers if real else answers).mean()


@faults(both_called_real=("direction", "D", "both called real"), sign_of_g=("direction", "G helps D"))
def losses_that_d_computes_itself(wiring: Wiring, fault: str) -> list[nn.Module]:
    torch.manual_seed(0)
    G, D = mlp(LATENT, 2), Losses()
    opt_G, opt_D = adam(G), adam(D)
    with wiring(G, D, opt_G, opt_D):
        for real in reals(3):
            fake = G(noise())
            opt_D.zero_grad()
            (D(real, True) + D(fake.detach(), fault == "both_called_real")).backward()
            opt_D.step()
            opt_G.zero_grad()
            D(fake, fault != "sign_of_g", mine=False).backward()
            opt_G.step()
    return [G, D]


class Matching(nn.Module):
    """Features of samples, and a head that is asked by a method of its own about them and a text."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = mlp(2, 8), nn.Sequential(nn.Linear(8 + 2, 8), nn.LeakyReLU(0.2), nn.Linear(8, 1))

    def forward(self, samples: Tensor) -> Tensor:
        features: Tensor = self.body(samples)
        return features

    def match(self, features: Tensor, text: Tensor) -> Tensor:
        answers: Tensor = self.head(torch.cat([features, text], 1))
        return answers


@faults(sign_of_g=("direction", "G helps D"), features_without_gradient=("adversarial", "no_grad"))
def samples_that_match_a_text(wiring: Wiring, fault: str) -> list[nn.Module]:
    """Real samples beside the text of another are called wrong, as generated ones are."""
    torch.manual_seed(0)
    G, D = mlp(LATENT + 2, 2), Matching()
    opt_G, opt_D = adam(G), adam(D)
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            text = real.sign() + 0.1 * torch.randn_like(real)
            fake = G(torch.cat([noise(), text], 1))
            features = D(real)
            wrong = D.match(features.roll(1, 0), text), D.match(D(fake.detach()), text)
            opt_D.zero_grad()
            (F.relu(1 - D.match(features, text)).mean() + sum(F.relu(1 + one).mean() for one in wrong) / 2).backward()
            opt_D.step()
            with torch.set_grad_enabled(fault != "features_without_gradient"):
                features = D(fake)
            answers = D.match(features, text)
            opt_G.zero_grad()
            (answers if fault == "sign_of_g" else -answers).mean().backward()
            opt_G.step()
    return [G, D]


@faults(sign_of_g=("direction", "G helps D"))
def parts_that_are_called_one_by_one(wiring: Wiring, fault: str) -> list[nn.Module]:
    """A trunk and two heads, one of which G's optimiser moves, as it tells which code a sample was made of."""
    torch.manual_seed(0)
    G, trunk, judge, codes = mlp(LATENT + 3, 2), mlp(2, 8), nn.Linear(8, 1), nn.Linear(8, 3)
    opt_G = torch.optim.Adam(chain(G.parameters(), codes.parameters()), 1e-3)
    opt_D = torch.optim.Adam(chain(trunk.parameters(), judge.parameters()), 1e-3)
    with wiring([G, codes], nn.Sequential(trunk, judge), opt_G, opt_D):
        for real in reals():
            code = torch.randint(0, 3, (BATCH,))
            fake = G(torch.cat([noise(), F.one_hot(code, 3).float()], 1))
            opt_D.zero_grad()
            d_loss(judge(trunk(real)), judge(trunk(fake.detach()))).backward()
            opt_D.step()
            opt_G.zero_grad()
            features = trunk(fake)
            answers = judge(features)
            (g_loss(-answers if fault else answers) + F.cross_entropy(codes(features), code)).backward()
            opt_G.step()
    return [G, trunk, judge, codes]


@faults(labels_not_turned=("direction", "G helps D"), asked_about_the_source=("adversarial", "is no part of it"))
def target_brought_to_a_frozen_source(wiring: Wiring, fault: str) -> list[nn.Module]:
    """D tells two domains by two answers and a softmax; the source's network stays as it is."""
    torch.manual_seed(0)
    source = mlp(2, 4).requires_grad_(False)
    target, D = copy.deepcopy(source).requires_grad_(True), mlp(4, 2)
    opt_G, opt_D = adam(target), adam(D)
    labels = torch.arange(2).repeat_interleave(BATCH)
    with wiring(target, D, opt_G, opt_D):
        for real in reals():
            opt_D.zero_grad()
            F.cross_entropy(D(torch.cat([source(real), target(-real)]).detach()), labels).backward()
            opt_D.step()
            opt_D.zero_grad(), opt_G.zero_grad()
            asked = source(-real) if fault == "asked_about_the_source" else target(-real)
            goal = labels[BATCH:] if fault == "labels_not_turned" else labels[:BATCH]
            F.cross_entropy(D(asked), goal).backward()
            opt_G.step()
    return [target, D]


@faults(
    perception_without_gradient=("terms", "G", "no_grad"),
    judgement_detached=("adversarial", "detach"),
)
def perception_for_each_sample(wiring: Wiring, fault: str) -> list[nn.Module]:
    """The distance in a frozen network's features, one a sample, is added to that of each number; codes beside it."""
    torch.manual_seed(0)
    G, seen, D = mlp(4, 4), mlp(4, 3).requires_grad_(False), mlp(4, 1)
    codes = nn.Embedding(8, 4)
    opt_G, opt_D = torch.optim.Adam(chain(G.parameters(), codes.parameters()), 1e-3), adam(D)
    with wiring([G, codes], D, opt_G, opt_D):
        for real in reals():
            real = real.repeat(1, 2)
            code = codes(torch.cdist(real, codes.weight).argmin(1))
            made = G(real + (code - real).detach())
            with torch.set_grad_enabled(fault != "perception_without_gradient"):
                seen_as = (seen(real) - seen(made)).square().mean(1, keepdim=True)
            judged = -D(made).mean()
            judged = judged.detach() if fault == "judgement_detached" else judged
            opt_G.zero_grad()
            (((real - made).abs() + seen_as).mean() + 0.1 * judged + F.mse_loss(code, real)).backward()
            opt_G.step()
            opt_D.zero_grad()
            d_loss(D(real), D(made.detach())).backward()
            opt_D.step()
    return [G, codes, D]


@faults(one_never_steps=("own", "one of opt_D", "SGD", "D.0.weight"), one_not_cleared=("stale", "had not been cleared"))
def matrices_and_the_rest(wiring: Wiring, fault: str) -> list[nn.Module]:
    G, D = players()

    def pair(network: nn.Module) -> list[torch.optim.Optimizer]:
        weights = list(network.parameters())
        matrices = torch.optim.SGD([one for one in weights if one.dim() == 2], 1e-2)
        return [matrices, torch.optim.Adam([one for one in weights if one.dim() < 2], 1e-2)]

    opt_G, opt_D = pair(G), pair(D)
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            fake = G(noise())
            for optimiser in opt_D[1:] if fault == "one_not_cleared" else opt_D:
                optimiser.zero_grad()
            d_loss(D(real), D(fake.detach())).backward()
            for optimiser in opt_D[1:] if fault == "one_never_steps" else opt_D:
                optimiser.step()
            for optimiser in opt_G:
                optimiser.zero_grad()
            g_loss(D(fake)).backward()
            for optimiser in opt_G:
                optimiser.step()
    return [G, D]


@faults(cleared_between=("discarded", "D", "nothing had used it"))
def real_and_generated_apart(wiring: Wiring, fault: str) -> list[nn.Module]:
    """D's losses go backward one after the other; G's are measured first, by backward passes that are cleared again."""
    G, D = players()
    opt_G, opt_D = adam(G), adam(D)
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            made = G(noise())
            size = []
            for loss in (F.l1_loss(made, real), g_loss(D(made))):
                opt_G.zero_grad()
                loss.backward(retain_graph=True)
                size.append(torch.cat([weight.grad.flatten() for weight in G.parameters()]).norm())
            opt_G.zero_grad()
            (F.l1_loss(made, real) + size[0] / size[1] * g_loss(D(made))).backward()
            opt_G.step()
            opt_D.zero_grad()
            F.softplus(-D(real)).mean().backward()
            if fault:
                opt_D.zero_grad()  # <- here
            F.softplus(D(made.detach())).mean().backward()
            opt_D.step()
    return [G, D]


@faults(
    clamped_too_early=("scaler", "clamp_", "still multiplied by the scale"),
    scaled_by_the_other=("scaler", "another scaler"),
)
def scalers_and_values_clamped_by_hand(wiring: Wiring, fault: str) -> list[nn.Module]:
    """A penalty's gradient goes through D's scaler, too; values are clamped one by one."""
    G, D = players()
    opt_G, opt_D = (torch.optim.SGD(network.parameters(), 1e-2) for network in (G, D))
    for_g, for_d = (torch.amp.GradScaler("cpu", init_scale=scale) for scale in (64.0, 16.0))

    def clamp(network: nn.Module) -> None:
        for weight in network.parameters():
            weight.grad.data.clamp_(-1.0, 1.0)

    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            at = real.clone().requires_grad_()
            answers = D(at)
            slope = torch.autograd.grad(for_d.scale(answers.sum()), at, create_graph=True)[0] / for_d.get_scale()
            loss = d_loss(answers, D(G(noise()).detach())) + slope.square().sum(1).mean()
            opt_D.zero_grad()
            (for_g if fault == "scaled_by_the_other" else for_d).scale(loss).backward()
            for_d.unscale_(opt_D)
            clamp(D)
            for_d.step(opt_D)
            for_d.update()
            opt_G.zero_grad()
            for_g.scale(g_loss(D(G(noise())))).backward()
            if fault == "clamped_too_early":
                clamp(G)
            for_g.unscale_(opt_G)
            clamp(G)
            for_g.step(opt_G)
            for_g.update()
    return [G, D]


@faults(a_layer_left_out=("reached", "G.0.bias", "`inputs`"), nothing_asked_for=("stale", "which is D's"))
def at_once_and_by_inputs(wiring: Wiring, fault: str) -> list[nn.Module]:
    """Both losses of one judgement; each goes backward into its own player's weights only."""
    G, D = players()
    opt_G, opt_D = adam(G), adam(D)
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            opt_G.zero_grad(), opt_D.zero_grad()
            answers = D(G(noise()))
            mine = None if fault == "nothing_asked_for" else list(D.parameters())
            d_loss(D(real), answers).backward(retain_graph=True, inputs=mine)
            mine = list(G.parameters())[2 if fault == "a_layer_left_out" else 0 :]
            g_loss(answers).backward(inputs=mine)
            opt_D.step(), opt_G.step()
    return [G, D]


class Periods(nn.Module):
    """Judges side by side, each asked about real and generated samples in one call."""

    def __init__(self, judges: list[nn.Module], listed: bool) -> None:
        super().__init__()
        self.judges = nn.ModuleList(judges) if listed else judges

    def forward(self, real: Tensor, made: Tensor) -> list[list[Tensor]]:
        pairs = [(judge[:2](one), one) for judge in self.judges for one in (real, made)]
        answers = [
            judge[2:](seen) for judge, (seen, _) in zip([j for j in self.judges for _ in "rf"], pairs, strict=True)
        ]
        return [answers[::2], answers[1::2], [seen for seen, _ in pairs[::2]], [seen for seen, _ in pairs[1::2]]]


@faults(
    real_ones_twice=("inputs", "fine is shown the same samples twice"),
    features_against_themselves=("terms", "G", "compares something with itself"),
    layers_in_a_plain_list=("optimisers", "fine computes with 4 trainable tensors", "ModuleList"),
)
def judges_of_periods_and_scales(wiring: Wiring, fault: str) -> list[nn.Module]:
    torch.manual_seed(0)
    G, coarse = mlp(LATENT, 2), Periods([mlp(2, 1)], True)
    fine = Periods([mlp(2, 1)], fault != "layers_in_a_plain_list")
    opt_G, opt_D = adam(G), torch.optim.Adam(chain(coarse.parameters(), fine.parameters()), 1e-3)
    with wiring(G, {"coarse": coarse, "fine": fine}, opt_G, opt_D):
        for real in reals():
            made = G(noise())
            opt_D.zero_grad()
            loss = torch.zeros([])
            for D in (coarse, fine):
                rights, wrongs, *_ = D(real, real if fault == "real_ones_twice" and D is fine else made.detach())
                for right, wrong in zip(rights, wrongs, strict=True):
                    loss = loss + (1 - right).square().mean() + wrong.square().mean()
            loss.backward()
            opt_D.step()
            opt_G.zero_grad()
            loss = 10 * (made - real).abs().mean()
            for D in (coarse, fine):
                _, wrongs, theirs, ours = D(real, made)
                theirs = ours if fault == "features_against_themselves" else theirs
                for wrong, one, other in zip(wrongs, theirs, ours, strict=True):
                    loss = loss + (1 - wrong).square().mean() + (one.detach() - other).abs().mean()
            loss.backward()
            opt_G.step()
    return [G, coarse, fine]


@faults(the_source_twice=("inputs", "D is shown the same samples twice"))
def two_domains_in_one_batch(wiring: Wiring, fault: str) -> list[nn.Module]:
    torch.manual_seed(0)
    E, D = mlp(2, 4), mlp(4, 1)
    opt_G, opt_D = adam(E), adam(D)
    labels = torch.arange(2.0).repeat_interleave(BATCH)[:, None]
    with wiring(E, D, opt_G, opt_D):
        for real in reals():
            one, other = E(real), E(-real)
            joined = torch.cat([one, one if fault else other])
            opt_D.zero_grad()
            F.binary_cross_entropy_with_logits(D(joined.detach()), labels).backward()
            opt_D.step()
            opt_G.zero_grad()
            (F.binary_cross_entropy_with_logits(D(joined), 1 - labels) + F.mse_loss(one[:, :2], real)).backward()
            opt_G.step()
    return [E, D]


@faults(cleared_never=("stale", "D", "had not been cleared"))
def gradients_put_together_by_hand(wiring: Wiring, fault: str) -> list[nn.Module]:
    """G's two losses go backward one by one, their conflict is taken out; D looks ahead by twice this gradient less the
    one before."""
    G, D = players()
    opt_G, opt_D = adam(G), torch.optim.SGD(D.parameters(), 1e-2)
    before: dict[nn.Parameter, Tensor] = {}

    def gradient(loss: Tensor) -> Tensor:
        opt_G.zero_grad()
        loss.backward(retain_graph=True)
        return torch.cat([weight.grad.flatten() for weight in G.parameters()])

    with wiring(G, D, opt_G, opt_D):
        for real in reals(3):
            made = G(noise())
            if not fault:
                opt_D.zero_grad()
            d_loss(D(real), D(made.detach())).backward()
            for weight in D.parameters():
                now = weight.grad.clone()
                weight.grad = 2 * now - before.get(weight, now)
                before[weight] = now
            opt_D.step()
            judged, near = gradient(g_loss(D(made))), gradient(F.mse_loss(made, real))
            near = near - torch.clamp(near @ judged, max=0) / judged.square().sum() * judged
            parts = (judged + near).split([weight.numel() for weight in G.parameters()])
            for weight, part in zip(G.parameters(), parts, strict=True):
                weight.grad = part.view_as(weight)
            opt_G.step()
    return [G, D]


@faults(change_without_gradient=("terms", "detach"))
def frames_beside_the_ones_before(wiring: Wiring, fault: str) -> list[nn.Module]:
    """Each of three frames is to be near the one before, the first near itself."""
    torch.manual_seed(0)
    G, D = mlp(LATENT, 6), mlp(6, 1)
    opt_G, opt_D = adam(G), adam(D)
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            made = G(noise())
            opt_D.zero_grad()
            d_loss(D(real.repeat(1, 3)), D(made.detach())).backward()
            opt_D.step()
            frames = made.view(BATCH, 3, 2).unbind(1)
            before, change = frames[0], torch.zeros([])
            for frame in frames:
                change = change + F.l1_loss(frame.detach() if fault else frame, before.detach())
                before = frame
            opt_G.zero_grad()
            (g_loss(D(made)) + change).backward()
            opt_G.step()
    return [G, D]


class Conditioned(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.judge = mlp(6, 1)

    def forward(self, style: Tensor, text: Tensor, samples: Tensor) -> Tensor:
        answers: Tensor = self.judge(torch.cat([style, text, samples], 1))
        return answers


@faults()
def conditions_that_are_off_and_a_pool_from_before(wiring: Wiring, fault: str) -> list[nn.Module]:
    """Twice the same zeros go into D each time, and what it takes for generated was made before."""
    torch.manual_seed(0)
    G, D = mlp(LATENT, 2), Conditioned()
    opt_G, opt_D, pool = adam(G), adam(D), [G(noise()).detach() for _ in range(2)]
    with wiring(G, D, opt_G, opt_D):
        for real, old in zip(reals(), pool, strict=True):
            style, text = torch.zeros(BATCH, 2), torch.zeros(BATCH, 2)
            opt_D.zero_grad()
            d_loss(D(style, text, real), D(style, text, old)).backward()
            opt_D.step()
            opt_G.zero_grad()
            g_loss(D(style, text, G(noise()))).backward()
            opt_G.step()
    return [G, D]


@faults(labels_of_g=("direction", "G helps D"), labels_of_d=("direction", "G helps D"))
def rows_that_change_places(wiring: Wiring, fault: str) -> list[nn.Module]:
    """Real and generated samples are joined, shuffled and turned round before D sees them, their labels with them."""
    G, D = players()
    opt_G, opt_D = adam(G), adam(D)
    labels = torch.arange(2.0).repeat_interleave(BATCH)[:, None]
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            made, order = G(noise()), torch.randperm(2 * BATCH)
            joined = torch.cat([made.detach(), real])[order].flip(0)
            opt_D.zero_grad()
            right = 1 - labels if fault == "labels_of_d" else labels
            F.binary_cross_entropy_with_logits(D(joined), right[order].flip(0)).backward()
            opt_D.step()
            opt_G.zero_grad()
            goal = 0.0 if fault == "labels_of_g" else 1.0
            F.binary_cross_entropy_with_logits(D(made), torch.full((BATCH, 1), goal)).backward()
            opt_G.step()
    return [G, D]


class Judged(nn.Module):
    """A generator that asks its judge itself, and answers with its losses, or with samples beside them."""

    def __init__(self, judge: nn.Module, fault: str) -> None:
        super().__init__()
        self.make, self.hidden, self.fault = mlp(LATENT, 2), [judge], fault

    def forward(self, latents: Tensor, near: Tensor, samples: bool) -> list[Tensor]:
        made = self.make(latents)
        shown = made.detach() if self.fault == "shown_detached" else made
        losses = [g_loss(self.hidden[0](shown)), F.mse_loss(made, near)]
        return [*losses, made] if samples else losses


@faults(shown_detached=("adversarial", "detach"))
def losses_that_g_computes_itself(wiring: Wiring, fault: str) -> list[nn.Module]:
    torch.manual_seed(0)
    D = mlp(2, 1)
    G = Judged(D, fault)
    opt_G, opt_D = adam(G), adam(D)
    with wiring(G, D, opt_G, opt_D):
        for samples in (True, False):
            for real in reals(2):
                with torch.no_grad():
                    fake = G.make(noise())
                opt_D.zero_grad()
                d_loss(D(real), D(fake)).backward()
                opt_D.step()
                judged, near, *_ = G(noise(), real, samples)
                opt_G.zero_grad()
                (judged + near).backward()
                opt_G.step()
    return [G, D]


class Costs(Losses):
    """A discriminator that answers with a loss for each sample."""

    def forward(self, samples: Tensor, real: bool, mine: bool = True) -> Tensor:
        answers = self.judge(samples)
        return F.softplus(-answers if real or not mine else answers)


@faults(judged_detached=("adversarial", "detach"))
def losses_of_d_for_each_sample(wiring: Wiring, fault: str) -> list[nn.Module]:
    torch.manual_seed(0)
    G, D = mlp(LATENT, 2), Costs()
    opt_G, opt_D = adam(G), adam(D)
    with wiring(G, D, opt_G, opt_D):
        for real in reals():
            fake = G(noise())
            opt_D.zero_grad()
            (D(real, True).mean() + D(fake.detach(), False).mean()).backward()
            opt_D.step()
            opt_G.zero_grad()
            near = 0.1 * F.mse_loss(fake, real)
            (D(fake.detach() if fault else fake, True, mine=False).mean() + near).backward()
            opt_G.step()
    return [G, D]
