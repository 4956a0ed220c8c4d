"""Super-resolution, 4x4 to 8x8 digits: held by an L1 loss, sharpened by a discriminator with a share of the gradient.

    python examples/super_resolution.py        some twenty seconds on one core

Here a discriminator far ahead is normal: it sees small blurs that the L1 loss leaves. So the monitor is told that the
generator is anchored, and watches the adversarial share of the generator's gradient and what it costs in L1.
"""

from __future__ import annotations

import os
from typing import NamedTuple

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: small steps stall on spinning threads

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import equipoise
from equipoise.diagnosis import Verdict
from equipoise.gradient_shares import GradientShares

BATCH = 32


class Result(NamedTuple):
    """How good it became, in dB against the true test images, and what the monitor says."""

    psnr: float
    bicubic: float
    detail: float  # gradient energy of the results over that of the true images: blur is below 1
    share: float  # of the adversarial loss in G's gradient, over the last looks
    verdict: Verdict


class Enlarger(nn.Module):
    """Bicubic enlargement and a learnt correction."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1), nn.LeakyReLU(0.2), nn.Conv2d(width, width, 3, padding=1),
            nn.LeakyReLU(0.2), nn.Conv2d(width, 4, 3, padding=1), nn.PixelShuffle(2),
        )  # fmt: skip

    def forward(self, small: Tensor) -> Tensor:
        made: Tensor = enlarge(small) + self.body(small)
        return made


def enlarge(small: Tensor) -> Tensor:
    """Bicubic, [N, 1, 4, 4] to [N, 1, 8, 8]."""
    return F.interpolate(small, scale_factor=2, mode="bicubic", align_corners=False)


def patches(width: int = 24) -> nn.Sequential:
    """A discriminator with one logit per patch: [N, 1, 8, 8] to [N, 1, 4, 4]."""
    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1), nn.LeakyReLU(0.2), nn.Conv2d(width, width, 4, stride=2, padding=1),
        nn.LeakyReLU(0.2), nn.Conv2d(width, 1, 3, padding=1),
    )  # fmt: skip


def main(steps: int = 900, adversarial: float = 0.2, broken: str = "", seed: int = 0) -> Result:
    """Train with the adversarial loss at a share of G's gradient; `broken` breaks the loop half-way, for the test."""
    torch.manual_seed(seed)
    train, test = (images(f"digits:{part}") for part in ("train", "test"))
    generator, discriminator = Enlarger(), patches()
    optimiser_g = torch.optim.Adam(generator.parameters(), lr=1e-3, betas=(0.5, 0.99))
    optimiser_d = torch.optim.Adam(discriminator.parameters(), lr=1e-3, betas=(0.5, 0.99))
    shares = GradientShares({"l1": 1 - adversarial, "adversarial": adversarial}, decay=0.99)
    monitor = equipoise.Monitor(loss="hinge", anchored=True, total=steps * BATCH, tick_kimg=1.0)
    monitor.follow("G", optimiser_g)

    for step in range(steps):
        real = train[torch.randint(len(train), (BATCH,))]
        made = generator(F.avg_pool2d(real, 2))

        real_logits, fake_logits = discriminator(real), discriminator(made.detach())
        monitor.observe("D", real_logits=real_logits, fake_logits=fake_logits)
        descend(optimiser_d, F.relu(1 - real_logits).mean() + F.relu(1 + fake_logits).mean())

        fake_logits = discriminator(made)
        losses = shares({"l1": F.l1_loss(made, real), "adversarial": -fake_logits.mean()}, made)
        if step >= steps // 2 and broken:
            losses["adversarial"] = losses["adversarial"] * {"explodes": 100.0, "dies": 0.0}[broken]
        monitor.observe("G", fake_logits=fake_logits, output=made, adversarial=losses["adversarial"],
                        reconstruction=F.l1_loss(made, real))  # fmt: skip
        descend(optimiser_g, losses["l1"] + losses["adversarial"])

        monitor.step(BATCH)
    return judged(generator, test, monitor)


def images(name: str) -> Tensor:
    """Digits in [0, 1], [N, 1, 8, 8]."""
    return torch.from_numpy(equipoise.open_dataset(name).images).float() / 255


def descend(optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
    """One step."""
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()


@torch.no_grad()
def judged(generator: nn.Module, test: Tensor, monitor: equipoise.Monitor) -> Result:
    """PSNR on digits that were not trained on, beside bicubic enlargement."""
    small = F.avg_pool2d(test, 2)
    made, plain = generator(small), enlarge(small)
    psnr, bicubic = (float(-10 * (x - test).square().mean().log10()) for x in (made, plain))
    detail = float(roughness(made) / roughness(test))
    history = monitor.history
    result = Result(psnr, bicubic, detail, history.now("adversarial_share"), monitor.verdict)
    print(f"PSNR {psnr:.1f} dB, bicubic {bicubic:.1f} dB; detail {detail:.0%} of the true images' "
          f"(bicubic {float(roughness(plain) / roughness(test)):.0%})")  # fmt: skip
    print(f"D tells {history.now('win_rate'):.0%} of the patches apart, which is normal here; the adversarial loss has")
    print(f"{result.share:.0%} of G's gradient; L1 is {history.now('reconstruction'):.0%} of what it was at the start")
    print("\n".join(one.text() for one in result.verdict.findings) or "Nothing is out of balance.")
    return result


def roughness(image: Tensor) -> Tensor:
    """Mean squared difference of neighbouring pixels."""
    return image.diff(dim=-1).square().mean() + image.diff(dim=-2).square().mean()


if __name__ == "__main__":
    main()
