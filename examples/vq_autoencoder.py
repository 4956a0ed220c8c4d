"""A VQ-autoencoder of 8x8 digits whose discriminator starts when it is ready, not at a step copied from elsewhere.

    python examples/vq_autoencoder.py        some twenty seconds on one core

Four by four codes of a small codebook, a reconstruction loss, and an adversarial loss whose weight balances both at the
decoder's last layer (VQGAN, Esser et al. 2021, arXiv:2012.09841). The discriminator trains alone until it can tell
reconstructions from digits that it never sees; then the adversarial weight fades in.
"""

from __future__ import annotations

import os
from typing import Any, NamedTuple

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: small steps stall on spinning threads

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import equipoise
from equipoise.adaptive_weight import AdaptiveWeight
from equipoise.diagnosis import Verdict
from equipoise.readiness import Readiness

BATCH, CODES, DIM = 32, 64, 8


class Result(NamedTuple):
    """When D came in, what the reconstruction of test digits costs before and after, and what the monitor says."""

    started_kimg: float | None  # None: D never was ready
    before: float  # L1 on test digits when it came in
    after: float  # and at the end
    share: float  # of the adversarial loss in G's gradient, over the last looks
    verdict: Verdict


class Autoencoder(nn.Module):
    """Images [N, 1, 8, 8] to codes [N, DIM, 4, 4] and back; the nearest entry of the codebook stands for each code."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, width, 4, stride=2, padding=1), nn.LeakyReLU(0.2), nn.Conv2d(width, DIM, 1),
        )  # fmt: skip
        self.codebook = nn.Parameter(torch.randn(CODES, DIM) * 0.1)
        self.decoder = nn.Sequential(
            nn.Conv2d(DIM, width, 3, padding=1), nn.LeakyReLU(0.2), nn.Conv2d(width, 4 * width, 3, padding=1),
            nn.PixelShuffle(2), nn.LeakyReLU(0.2),
        )  # fmt: skip
        self.last = nn.Conv2d(width, 1, 3, padding=1)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """The reconstruction, and the loss that brings codes and codebook together (arXiv:1711.00937, eq. 3)."""
        code = self.encoder(image).movedim(1, -1)  # [N, 4, 4, DIM]
        near = self.codebook[torch.cdist(code.detach().flatten(0, 2), self.codebook.detach()).argmin(1)].view_as(code)
        commitment = (near - code.detach()).square().mean() + 0.25 * (near.detach() - code).square().mean()
        passed = code + (near - code).detach()  # the gradient passes straight through
        return self.last(self.decoder(passed.movedim(-1, 1))), commitment


def patches(width: int = 32) -> nn.Sequential:
    """A discriminator with one logit per patch: [N, 1, 8, 8] to [N, 1, 4, 4]."""
    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1), nn.LeakyReLU(0.2), nn.Conv2d(width, width, 4, stride=2, padding=1),
        nn.LeakyReLU(0.2), nn.Conv2d(width, 1, 3, padding=1),
    )  # fmt: skip


def main(
    steps: int = 900,
    broken: str = "",  # for the test: a discriminator that is "blind" from the start, or "dies" half-way; a "slow" G
    seed: int = 0,
    begin: int | None = None,  # the step at which D and the adversarial loss begin, as published; None: by readiness
    **readiness: Any,  # what is not to be as it is here
) -> Result:
    """Train."""
    torch.manual_seed(seed)
    train, test = (torch.from_numpy(equipoise.open_dataset(f"digits:{part}").images).float() / 255
                   for part in ("train", "test"))  # fmt: skip
    generator, discriminator = Autoencoder(), patches()
    optimiser_g = torch.optim.Adam(generator.parameters(), lr=2e-5 if broken == "slow" else 2e-3, betas=(0.5, 0.99))
    optimiser_d = torch.optim.Adam(discriminator.parameters(), lr=0.0 if broken == "blind" else 1e-3, betas=(0.5, 0.99))
    adaptive, start = AdaptiveWeight(scale=0.5), Readiness(**{"fade_kimg": 3.0, **readiness})
    steering = (start,) if begin is None else ()
    monitor = equipoise.Monitor(*steering, loss="hinge", mode="act", anchored=True, tick_kimg=0.5)
    monitor.follow("G", optimiser_g)
    costs: list[float] = []  # of test digits, at looks

    for step in range(steps):
        if broken == "dies" and step == steps // 2:
            discriminator.load_state_dict({name: 0 * value for name, value in discriminator.state_dict().items()})
        real, unseen = (images[torch.randint(len(images), (BATCH,))] for images in (train, test))
        made, commitment = generator(real)

        real_logits, fake_logits = discriminator(real), discriminator(made.detach())
        with torch.no_grad():
            heldout_logits = discriminator(unseen)
        monitor.observe("D", real_logits=real_logits, fake_logits=fake_logits, heldout_logits=heldout_logits)
        if begin is not None and step in (0, begin):
            start.weight.fill_(step == begin)
            start.phase, start.on_kimg = ("on", step * BATCH / 1000) if step == begin else ("alone", None)
        if begin is None or step >= begin:
            descend(optimiser_d, F.relu(1 - real_logits).mean() + F.relu(1 + fake_logits).mean())

        reconstruction, adversarial = F.l1_loss(made, real), -discriminator(made).mean()
        adversarial = start.weight * adaptive(reconstruction, adversarial, generator.last.weight) * adversarial
        monitor.observe("G", output=made, adversarial=adversarial, reconstruction=reconstruction)
        descend(optimiser_g, reconstruction + commitment + adversarial)

        if looked := monitor.step(BATCH):
            if start.phase == "alone" or not costs:
                costs[:] = [cost(generator, test)]
            print("".join(f"{move.text()}\n" for move in looked.moves if move.said), end="")
    print("".join(f"{move.text()}\n" for move in monitor.finish()), end="")
    return judged(start, costs[0], cost(generator, test), monitor)


def descend(optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
    """One step."""
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()


@torch.no_grad()
def cost(generator: Autoencoder, images: Tensor) -> float:
    """L1 of reconstructions."""
    return float(F.l1_loss(generator(images)[0], images))


def judged(start: Readiness, before: float, after: float, monitor: equipoise.Monitor) -> Result:
    """Say what came of it."""
    history = monitor.history
    result = Result(start.on_kimg, before, after, history.now("adversarial_share"), monitor.verdict)
    when = "never came in" if start.on_kimg is None else f"came in at {start.on_kimg:.1f} thousand digits"
    print(f"D {when}; L1 on test digits {before:.3f} before, {after:.3f} at the end; the adversarial loss has "
          f"{result.share:.0%} of G's gradient")  # fmt: skip
    print("\n".join(one.text() for one in result.verdict.findings) or "Nothing is out of balance.")
    return result


if __name__ == "__main__":
    main()
