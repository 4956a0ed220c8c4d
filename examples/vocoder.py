"""A small vocoder: from coarse frames to a waveform, judged by discriminators that fold the wave by different periods.

    python examples/vocoder.py        some twenty seconds on one core

The generator sees the fundamental frequency and the loudness of each frame and makes the wave. Three discriminators
look at every second, third and fifth sample (HiFi-GAN, Kong et al. 2020, arXiv:2010.05646, on a small scale); least
squares, feature matching and a spectral loss. Each discriminator is observed under a name of its own.
"""

from __future__ import annotations

import math
import os
from typing import NamedTuple

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: small steps stall on spinning threads

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import equipoise
from equipoise.diagnosis import Verdict

BATCH, FRAMES, HOP = 16, 16, 16  # waves of 256 samples
PERIODS = (2, 3, 5)


class Result(NamedTuple):
    """Spectral loss on fresh waves, pairs that each discriminator tells apart, and what the monitor says."""

    before: float
    after: float
    win_rates: dict[str, float]
    share: float  # of the discriminators in G's gradient, over the last looks
    verdict: Verdict


def bursts(count: int) -> tuple[Tensor, Tensor]:
    """Sine bursts with one overtone: frames [N, 2, FRAMES] of pitch and loudness, waves [N, 1, FRAMES * HOP]."""
    pitch = 0.02 + 0.06 * torch.rand(count, 1)  # cycles per sample
    begin, length = torch.rand(count, 1) * 0.5, 0.2 + 0.3 * torch.rand(count, 1)
    clock = torch.arange(FRAMES * HOP)
    time = clock / len(clock)
    envelope = torch.sigmoid(40 * (time - begin)) * torch.sigmoid(40 * (begin + length - time))
    phase = 2 * math.pi * (pitch * clock + torch.rand(count, 1))
    wave = envelope * (0.7 * phase.sin() + 0.2 * (2 * phase).sin())
    loudness = envelope.unflatten(1, (FRAMES, HOP)).mean(2)
    return torch.stack([10 * pitch.expand(-1, FRAMES), loudness], 1), wave[:, None]


class Vocoder(nn.Module):
    """Two upsamplings by four, with dilated convolutions, on frames and noise."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.start = nn.Conv1d(3, width, 3, padding=1)
        self.ups = nn.ModuleList(nn.ConvTranspose1d(width, width, 8, stride=4, padding=2) for _ in range(2))
        self.mixes = nn.ModuleList(nn.Conv1d(width, width, 5, padding=2 * d, dilation=d) for d in (1, 3))
        self.end = nn.Conv1d(width, 1, 7, padding=3)

    def forward(self, frames: Tensor) -> Tensor:
        x = self.start(torch.cat([frames, torch.randn_like(frames[:, :1])], 1))
        for up, mix in zip(self.ups, self.mixes, strict=True):
            x = up(F.leaky_relu(x, 0.1))
            x = x + mix(F.leaky_relu(x, 0.1))
        return torch.tanh(self.end(F.leaky_relu(x, 0.1)))


class PeriodDiscriminator(nn.Module):
    """Folds the wave into rows of one period and convolves along time only; returns logits and its features."""

    def __init__(self, period: int, width: int = 12) -> None:
        super().__init__()
        self.period = period
        sizes = ((1, width), (width, 2 * width), (2 * width, 2 * width))
        self.layers = nn.ModuleList(nn.Conv2d(*size, (5, 1), (3, 1), padding=(2, 0)) for size in sizes)
        self.end = nn.Conv2d(2 * width, 1, (3, 1), padding=(1, 0))

    def forward(self, wave: Tensor) -> tuple[Tensor, list[Tensor]]:
        x = F.pad(wave, (0, -wave.shape[2] % self.period)).unflatten(2, (-1, self.period))
        features = []
        for layer in self.layers:
            features.append(x := F.leaky_relu(layer(x), 0.1))
        return self.end(x).flatten(1), features


def spectral(made: Tensor, real: Tensor) -> Tensor:
    """L1 between log magnitudes at two resolutions."""
    return torch.stack([(spectrum(made, n) - spectrum(real, n)).abs().mean() for n in (32, 128)]).mean()


def spectrum(wave: Tensor, size: int) -> Tensor:
    """Log magnitudes of a short-time Fourier transform."""
    found = torch.stft(wave[:, 0], size, size // 4, window=torch.hann_window(size), return_complex=True).abs()
    return torch.log(found.clamp_min(0.01 * size**0.5))


def main(steps: int = 300, seed: int = 0) -> Result:
    """Train, and compare spectra of fresh waves before and after."""
    torch.manual_seed(seed)
    generator, judges = Vocoder(), {f"D{period}": PeriodDiscriminator(period) for period in PERIODS}
    optimiser_g = torch.optim.AdamW(generator.parameters(), lr=1e-3, betas=(0.8, 0.99))
    of_judges = [weight for judge in judges.values() for weight in judge.parameters()]
    optimiser_d = torch.optim.AdamW(of_judges, lr=1e-3, betas=(0.8, 0.99))
    monitor, before = equipoise.Monitor(loss="least-squares", anchored=True, tick_kimg=0.5), fresh_loss(generator)
    monitor.follow("G", optimiser_g)
    for _ in range(steps):
        frames, real = bursts(BATCH)
        made = generator(frames)
        loss = torch.zeros([])
        for name, judge in judges.items():
            (said, _), (of_made, _) = judge(real), judge(made.detach())
            monitor.observe(name, real_logits=said, fake_logits=of_made)
            loss = loss + (said - 1).square().mean() + of_made.square().mean()
        optimiser_d.zero_grad()
        loss.backward()
        optimiser_d.step()
        adversarial, held = torch.zeros([]), 10 * spectral(made, real)
        for judge in judges.values():
            (logits, features), (_, wanted) = judge(made), judge(real)
            matching = [(a - b.detach()).abs().mean() for a, b in zip(features, wanted, strict=True)]
            adversarial = adversarial + (logits - 1).square().mean() + 2 * torch.stack(matching).sum()
        monitor.observe("G", output=made, adversarial=adversarial, reconstruction=held)
        optimiser_g.zero_grad()
        (adversarial + held).backward()
        optimiser_g.step()
        monitor.step(BATCH)
    return judged(before, fresh_loss(generator), monitor, list(judges))


@torch.no_grad()
def fresh_loss(generator: nn.Module) -> float:
    """The spectral loss on waves that were not trained on."""
    frames, real = bursts(256)
    return float(spectral(generator(frames), real))


def judged(before: float, after: float, monitor: equipoise.Monitor, names: list[str]) -> Result:
    """Say what came of it."""
    history = monitor.history
    wins = {name: history.now(f"{name}/win_rate") for name in names}
    result = Result(before, after, wins, history.now("adversarial_share"), monitor.verdict)
    print(f"spectral loss {before:.2f} -> {after:.2f}; the discriminators have {result.share:.0%} of G's gradient")
    print("pairs told apart: " + ", ".join(f"{name} {value:.0%}" for name, value in wins.items()))
    print("\n".join(one.text() for one in result.verdict.findings) or "Nothing is out of balance.")
    return result


if __name__ == "__main__":
    main()
