"""Adversarial loops unlike the examples, healthy or with one fault each, and what the monitor says of them.

    python tests/loops_monitored.py [NAME ...] [--device cuda] [--seed 0]    seconds each

On CUDA, `observe` may not wait for the device. Heads in lists, accumulation, WGAN-GP with five steps of D, a vocoder,
a VAE-GAN with a learned weight, adversarial distillation in bfloat16 with a NaN, domain-adversarial features, and image
translation with dropout.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import time

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import equipoise
from equipoise.adaptive_weight import AdaptiveWeight
from equipoise.errors import InputError
from equipoise.monitor import Monitor

FAULTS = ("healthy", "D's rate x30", "G's rate /100")
ANCHORED = (*FAULTS, "weight x100")
SETTLED = 150  # steps after which nothing new is shown: what is set up for a reading is copied to the device once
LOOPS = {}


def loop(*faults):
    """Keep a function of a fault and the length of the run that returns its monitor."""

    def keep(function):
        LOOPS[function.__name__] = (function, faults)
        return function

    return keep


class Watching(Monitor):
    """A monitor that counts what it found at each look, and lets nothing of `observe` wait for a CUDA device."""

    def __init__(self, **settings):
        self.found = collections.Counter()
        super().__init__(on_tick=self.count, **settings)

    def count(self, decision):
        for one in decision.verdict.findings:
            self.found[f"{one.severity.name.lower()} {one.name}{f' ({one.player})' if one.player else ''}"] += 1

    def observe(self, *args, **fields):
        with unwaiting() if self.steps > SETTLED else contextlib.nullcontext():
            super().observe(*args, **fields)


@contextlib.contextmanager
def unwaiting():
    on_cuda = torch.get_default_device().type == "cuda"
    if on_cuda:
        torch.cuda.set_sync_debug_mode("error")
    yield
    if on_cuda:
        torch.cuda.set_sync_debug_mode("default")


def digits(part):
    """Images [N, 1, 8, 8] and labels [N]."""
    found = equipoise.open_dataset(f"digits:{part}")
    images, labels = (torch.from_numpy(one).to(torch.get_default_device()) for one in (found.images, found.labels))
    return images.float() / 255, labels.long()


def batch(data, size=32):
    return data[torch.randint(len(data), (size,))]


def mlp(features_in, hidden, features_out):
    return nn.Sequential(
        nn.Linear(features_in, hidden), nn.LeakyReLU(0.2), nn.Linear(hidden, hidden), nn.LeakyReLU(0.2),
        nn.Linear(hidden, features_out),
    )  # fmt: skip


def adams(g, d, fault, rate_g=2e-3, rate_d=2e-3, betas=(0.5, 0.99)):
    """Both optimisers, of parameters, with the fault in their rates if it is one of those."""
    rate_g, rate_d = rate_g / (100 if fault == "G's rate /100" else 1), rate_d * (30 if fault == "D's rate x30" else 1)
    return torch.optim.Adam(g, lr=rate_g, betas=betas), torch.optim.Adam(d, lr=rate_d, betas=betas)


def weight(value, fault):
    return value * (100 if fault == "weight x100" else 1)


def descend(optimiser, loss):
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()


class Heads(nn.Module):
    """Two heads of unequal size: a map of patches and one number."""

    def __init__(self, width):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, width, 3, 2, 1), nn.LeakyReLU(0.2))
        self.patches = nn.Conv2d(width, 1, 3, padding=1)
        self.whole = nn.Sequential(nn.Flatten(), nn.Linear(width * 16, 1))

    def forward(self, images):
        hidden = self.body(images)
        return [self.patches(hidden), self.whole(hidden)]


@loop(*FAULTS, "detached")
def two_discriminators(fault="healthy", steps=500):
    """Hinge, two discriminators with two heads each, batches accumulated in two parts, G free."""
    generator = nn.Sequential(mlp(16, 96, 64), nn.Unflatten(1, (1, 8, 8)))
    players = {"fine": Heads(16), "coarse": Heads(8)}
    optimiser_g, optimiser_d = adams(
        generator.parameters(), [p for one in players.values() for p in one.parameters()], fault
    )
    (train, _), (test, _), latents = digits("train"), digits("test"), torch.randn(200, 16)
    monitor = Watching(
        loss="hinge",
        total=32 * steps,
        look=lambda: {"samples": generator(latents), "training": train[:200], "heldout": test[:200]},
    )
    monitor.follow("G", optimiser_g)
    monitor.follow("D", optimiser_d)
    for _ in range(steps):
        optimiser_d.zero_grad()
        for _ in range(2):
            real, fake = batch(train, 16), generator(torch.randn(16, 16)).detach()
            for name, player in players.items():
                real_logits, fake_logits = player(real), player(fake)
                monitor.observe(name, real_logits=real_logits, fake_logits=fake_logits)
                sum(
                    (F.relu(1 - r).mean() + F.relu(1 + f).mean()) / 4
                    for r, f in zip(real_logits, fake_logits, strict=True)
                ).backward()
        optimiser_d.step()
        optimiser_g.zero_grad()
        for _ in range(2):
            fake = generator(torch.randn(16, 16))
            monitor.observe("G", output=fake)
            judged = fake.detach() if fault == "detached" else fake
            (-sum(head.mean() for player in players.values() for head in player(judged)) / 8).backward()
        optimiser_g.step()
        monitor.step(32)
    return monitor


@loop(*FAULTS, "no penalty")
def wgan_gp(fault="healthy", steps=300):
    """Four Gaussians, five observed steps of D for each of G."""
    centres = torch.tensor([[1.0, 1.0], [-1, 1], [1, -1], [-1, -1]])

    def draw(size):
        return centres[torch.randint(4, (size,))] + 0.1 * torch.randn(size, 2)

    generator, critic = mlp(4, 64, 2), mlp(2, 64, 1)
    optimiser_g, optimiser_d = adams(generator.parameters(), critic.parameters(), fault, 1e-3, 1e-3, (0.0, 0.9))
    train, test, latents = draw(300), draw(300), torch.randn(300, 4)
    monitor = Watching(
        loss="wasserstein",
        total=64 * steps,
        look=lambda: {"samples": generator(latents), "training": train, "heldout": test},
    )
    monitor.follow("G", optimiser_g)
    monitor.follow("D", optimiser_d)
    for _ in range(steps):
        for _ in range(5):
            real, fake, share = draw(64), generator(torch.randn(64, 4)).detach(), torch.rand(64, 1)
            between = (share * real + (1 - share) * fake).requires_grad_()
            slope = torch.autograd.grad(critic(between).sum(), between, create_graph=True)[0].norm(dim=1)
            real_logits, fake_logits = critic(real), critic(fake)
            monitor.observe("D", real_logits=real_logits, fake_logits=fake_logits)
            penalty = (slope - 1).square().mean() * (0 if fault == "no penalty" else 10)
            descend(optimiser_d, fake_logits.mean() - real_logits.mean() + penalty)
        fake = generator(torch.randn(64, 4))
        monitor.observe("G", output=fake)
        descend(optimiser_g, -critic(fake).mean())
        monitor.step(64)
    return monitor


class Folded(nn.Module):
    """A wave [N, 1, T] folded by a period; returns logits and features."""

    def __init__(self, period, width=8):
        super().__init__()
        self.period = period
        self.layers = nn.ModuleList([nn.Conv1d(period, width, 5, 2, 2), nn.Conv1d(width, width, 5, 2, 2)])
        self.last = nn.Conv1d(width, 1, 3, padding=1)

    def forward(self, wave):
        hidden, features = wave.view(len(wave), -1, self.period).transpose(1, 2), []
        for layer in self.layers:
            hidden = F.leaky_relu(layer(hidden), 0.2)
            features.append(hidden)
        return self.last(hidden), features


def waves(size):
    """Three sines [N, 1, 240]."""
    moments = torch.arange(240) / 240
    rates, sizes, phases = torch.rand(size, 3, 1) * 20 + 2, torch.rand(size, 3, 1), torch.rand(size, 3, 1)
    return (sizes * torch.sin(6.2832 * (rates * moments + phases))).sum(1, keepdim=True)


def spectra(wave):
    """Logarithms of magnitudes [N, 31, 13]."""
    short = torch.stft(wave[:, 0], 60, 20, window=torch.hann_window(60), return_complex=True)
    return short.abs().clamp(min=1e-3).log()


@loop(*ANCHORED, "detached", "detached, D frozen")
def vocoder(fault="healthy", steps=500):
    """Least squares, two discriminators, feature matching, and L1 of spectra that holds G."""
    body = nn.Sequential(
        nn.Conv1d(31, 48, 3, padding=1), nn.LeakyReLU(0.2), nn.Conv1d(48, 80, 3, padding=1), nn.LeakyReLU(0.2),
        nn.Conv1d(80, 20, 3, padding=1),
    )  # fmt: skip
    players = {"mpd2": Folded(2), "mpd3": Folded(3)}
    optimiser_g, optimiser_d = adams(
        body.parameters(), [p for one in players.values() for p in one.parameters()], fault, betas=(0.8, 0.99)
    )
    monitor = Watching(loss="least-squares", anchored=True, total=16 * steps)
    monitor.follow("G", optimiser_g)
    monitor.follow("D", optimiser_d)
    for _ in range(steps):
        real = waves(16)
        fake, loss_d = body(spectra(real))[:, :, :12].transpose(1, 2).reshape(16, 1, 240), 0
        for name, player in players.items():
            real_logits, fake_logits = player(real)[0], player(fake.detach())[0]
            monitor.observe(name, real_logits=real_logits, fake_logits=fake_logits)
            loss_d = loss_d + (real_logits - 1).square().mean() + fake_logits.square().mean()
        descend(optimiser_d, loss_d)
        for player in players.values():
            player.requires_grad_(fault != "detached, D frozen")
        adversarial = 0
        for player in players.values():
            logits, features = player(fake.detach() if "detached" in fault else fake)
            matched = sum(F.l1_loss(a, b.detach()) for a, b in zip(features, player(real)[1], strict=True))
            adversarial = adversarial + weight(0.1, fault) * ((logits - 1).square().mean() + matched)
        for player in players.values():
            player.requires_grad_(True)
        reconstruction = F.l1_loss(spectra(fake), spectra(real))
        monitor.observe("G", output=fake, adversarial=adversarial, reconstruction=reconstruction)
        descend(optimiser_g, reconstruction + adversarial)
        monitor.step(16)
    return monitor


@loop(*ANCHORED, "D dies")
def vae_gan(fault="healthy", steps=500):
    """A learned variance weighs the reconstruction, an adaptive weight the adversarial loss, which starts late."""
    encoder, decoder, judge = mlp(64, 64, 16), mlp(8, 64, 64), mlp(64, 64, 1)
    variance = nn.Parameter(torch.zeros([]))  # its logarithm
    optimiser_g, optimiser_d = adams(
        [*encoder.parameters(), *decoder.parameters(), variance], judge.parameters(), fault, rate_d=1e-3
    )
    (train, _), (test, _), adaptive = digits("train"), digits("test"), AdaptiveWeight(scale=0.5)
    monitor = Watching(loss="non-saturating", anchored=True, total=32 * steps)
    monitor.follow("G", optimiser_g)
    monitor.follow("D", optimiser_d)
    for step in range(steps):
        real = batch(train).flatten(1)
        mean, spread = encoder(real).chunk(2, 1)
        made = decoder(mean + torch.randn_like(mean) * (spread / 2).exp())
        divergence = (mean.square() + spread.exp() - 1 - spread).sum(1).mean() / 2
        errors = (made - real).square().sum(1).mean()
        reconstruction = errors / 2 * (-variance).exp() + 32 * variance + 0.1 * divergence
        adversarial = torch.zeros([])
        if step >= steps // 5:
            unseen = judge(batch(test).flatten(1)).detach() if step % 10 == 0 else None  # now and then
            real_logits, fake_logits = judge(real), judge(made.detach())
            monitor.observe("D", real_logits=real_logits, fake_logits=fake_logits, heldout_logits=unseen)
            descend(optimiser_d, F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean())
            if fault == "D dies" and step == steps * 3 // 5:
                judge.load_state_dict({name: 0 * value for name, value in judge.state_dict().items()})
            adversarial = F.softplus(-judge(made)).mean()
            adversarial = weight(adaptive(reconstruction, adversarial, decoder[-1].weight), fault) * adversarial
        monitor.observe("G", output=made, adversarial=adversarial, reconstruction=reconstruction)
        descend(optimiser_g, reconstruction + adversarial)
        monitor.step(32)
    return monitor


@loop(*ANCHORED, "detached", "no NaN")
def distillation(fault="healthy", steps=500):
    """A student held by a frozen teacher, in bfloat16, moving at every second step; one batch is NaN and is skipped."""
    teacher, student, judge = mlp(16, 64, 64).requires_grad_(False), mlp(16, 64, 64), mlp(64, 64, 1)
    optimiser_g, optimiser_d = adams(student.parameters(), judge.parameters(), fault, 1e-3, 1e-3)
    device = torch.get_default_device().type
    monitor = Watching(loss="hinge", anchored=True, total=64 * steps)
    for step in range(steps):
        with torch.autocast(device, torch.bfloat16):
            latents = torch.randn(64, 16)
            made = student(latents)
            real_logits, fake_logits = judge(teacher(torch.randn(64, 16))), judge(made.detach())
            if step == steps // 2 and fault != "no NaN":
                real_logits = real_logits * float("nan")
            monitor.observe("D", real_logits=real_logits, fake_logits=fake_logits)
            loss_d = F.relu(1 - real_logits).mean() + F.relu(1 + fake_logits).mean()
        if torch.isfinite(loss_d):
            descend(optimiser_d, loss_d)
        if step % 2:
            with torch.autocast(device, torch.bfloat16):
                adversarial = -weight(0.2, fault) * judge(made.detach() if fault == "detached" else made).mean()
                reconstruction = F.mse_loss(made, teacher(latents))
            monitor.observe("G", output=made, adversarial=adversarial, reconstruction=reconstruction)
            descend(optimiser_g, adversarial + reconstruction)
        monitor.step(64)
    return monitor


@loop(*ANCHORED)
def domains(fault="healthy", steps=400):
    """D tells two domains' features apart; the loss of a classifier of one of them is what holds the features."""
    features, classifier, judge = mlp(64, 64, 32), nn.Linear(32, 10), mlp(32, 32, 1)
    optimiser_g, optimiser_d = adams(
        [*features.parameters(), *classifier.parameters()], judge.parameters(), fault, 1e-3, 1e-3
    )
    (train, labels), (test, _) = digits("train"), digits("test")
    monitor = Watching(loss="non-saturating", anchored=True, total=32 * steps)
    for _ in range(steps):
        rows = torch.randint(len(train), (32,))
        both = features(torch.cat([train[rows].flatten(1), 1 - batch(test).flatten(1)]))
        source, target = both.chunk(2)
        real_logits, fake_logits = judge(source.detach()), judge(target.detach())
        monitor.observe("D", real_logits=real_logits, fake_logits=fake_logits)
        descend(optimiser_d, F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean())
        held = F.cross_entropy(classifier(source), labels[rows])
        adversarial = weight(0.1, fault) * F.softplus(-judge(target)).mean()
        monitor.observe("G", output=both, adversarial=adversarial, reconstruction=held)
        descend(optimiser_g, held + adversarial)
        monitor.step(32)
    return monitor


@loop(*ANCHORED, "switched off")
def translation(fault="healthy", steps=400):
    """A blurred image and its original, judged as pairs; dropout in G, held-out logits now and then."""
    generator = nn.Sequential(
        nn.Conv2d(1, 24, 3, padding=1), nn.ReLU(), nn.Dropout2d(0.3), nn.Conv2d(24, 24, 3, padding=1), nn.ReLU(),
        nn.Dropout2d(0.3), nn.Conv2d(24, 1, 3, padding=1),
    )  # fmt: skip
    judge = nn.Sequential(
        nn.Conv2d(2, 16, 3, padding=1), nn.LeakyReLU(0.2), nn.Conv2d(16, 16, 4, 2, 1), nn.LeakyReLU(0.2),
        nn.Conv2d(16, 1, 3, padding=1),
    )  # fmt: skip
    optimiser_g, optimiser_d = adams(generator.parameters(), judge.parameters(), fault, 1e-3, 1e-3)
    (train, _), (test, _) = digits("train"), digits("test")
    monitor = Watching(loss="least-squares", anchored=True, total=32 * steps)

    def blurred(images: Tensor) -> Tensor:
        return F.avg_pool2d(F.pad(images, (1, 1, 1, 1)), 3, 1)

    def paired(images):
        return torch.cat([blurred(images), images], 1)

    for step in range(steps):
        real = batch(train)
        made = generator(blurred(real))
        real_logits, fake_logits = judge(paired(real)), judge(torch.cat([blurred(real), made.detach()], 1))
        unseen = judge(paired(batch(test))).detach() if step % 25 == 0 else None
        monitor.observe("D", real_logits=real_logits, fake_logits=fake_logits, heldout_logits=unseen)
        descend(optimiser_d, ((real_logits - 1).square().mean() + fake_logits.square().mean()) / 2)
        adversarial = (judge(torch.cat([blurred(real), made], 1)) - 1).square().mean() / 2
        adversarial = adversarial * (0 if fault == "switched off" and step > steps // 2 else weight(1, fault))
        reconstruction = 10 * F.l1_loss(made, real)
        monitor.observe("G", output=made, adversarial=adversarial, reconstruction=reconstruction)
        descend(optimiser_g, adversarial + reconstruction)
        monitor.step(32)
    return monitor


def told(name, fault, seed):
    """A paragraph: findings over the looks of the run, first and last readings, the last verdict."""
    torch.manual_seed(seed)
    began = time.perf_counter()
    try:
        monitor = LOOPS[name][0](fault)
    except InputError as refused:
        return f"== {name}, {fault}: refused: {refused}"
    history = monitor.history
    names = [one for one in history.signals if "/" not in one]
    early, now = ({one: float(f"{of(one):.3g}") for one in names} for of in (history.early, history.now))
    verdict = monitor.verdict.text().split("\n\ncannot be told")[0]
    return "\n".join(
        [
            f"== {name}, {fault}: {time.perf_counter() - began:.0f} s, {monitor.ticks} looks, {dict(monitor.found)}",
            f"early {early}",
            f"now   {now}",
            verdict,
        ]
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=list(LOOPS))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    torch.set_default_device(asked.device)
    torch.set_num_threads(1)
    for name in asked.names:
        for fault in LOOPS[name][1]:
            print(told(name, fault, asked.seed), flush=True)
