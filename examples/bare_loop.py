"""The parts in a loop of one's own: networks, optimisers and batches are yours, what you want of equipoise joins in.

    python examples/bare_loop.py        eight Gaussians on a ring, some twenty seconds on one core

Here the initialisation, the loss, a penalty, the schedule, the average and the monitor are equipoise's. Each is a plain
object: take those that you want, leave the others. The monitor is the lines marked as such; delete them and the loop
takes the same course.
"""

from __future__ import annotations

import os
from itertools import pairwise

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: small steps stall on spinning threads

import torch
from torch import Tensor, nn

import equipoise
from equipoise import metrics, registry
from equipoise.data import open_dataset
from equipoise.ema import EMA
from equipoise.initialise import initialise
from equipoise.schedules import Schedule
from equipoise.terms import Objective
from equipoise.terms.gradient_penalty import R1
from equipoise.turn import Turn

LATENT_DIM, BATCH, WIDTH = 4, 64, 48


def mlp(features_in: int, features_out: int) -> nn.Sequential:
    """Any network will do."""
    hidden = [(nn.Linear(*sizes), nn.LeakyReLU(0.2)) for sizes in pairwise([features_in, WIDTH, WIDTH, WIDTH])]
    network = nn.Sequential(*(layer for pair in hidden for layer in pair), nn.Linear(WIDTH, features_out))
    initialise(network, "kaiming")
    return network


def main(steps: int = 2500) -> metrics.Modes:
    """Train on the ring and return how the samples lie on its eight modes."""
    torch.manual_seed(0)
    ring = open_dataset("ring")
    assert ring.modes is not None and ring.mode_std is not None
    points, heldout = torch.from_numpy(ring.images).split([3840, 256])  # [3840, 2], [256, 2]
    generator, discriminator = mlp(LATENT_DIM, 2), mlp(2, 1)
    optimiser_g = torch.optim.Adam(generator.parameters(), lr=4e-3, betas=(0.5, 0.99))
    optimiser_d = torch.optim.Adam(discriminator.parameters(), lr=2e-3, betas=(0.5, 0.99))
    decay = torch.optim.lr_scheduler.LambdaLR
    schedule = Schedule("linear", begin=0.5)  # straight to zero over the second half
    schedulers = [decay(one, lambda step: schedule.factor(step, steps)) for one in (optimiser_g, optimiser_d)]

    objective = Objective(registry.find("loss", "non-saturating").part, {"r1": R1(gamma=0.1)})
    ema = EMA(generator, halflife_kimg=2.0)  # thousands of real images
    latents = torch.randn(256, LATENT_DIM, generator=torch.Generator().manual_seed(1))  # of the samples looked at
    seen = lambda: {"samples": generator(latents), "training": points[:256], "heldout": heldout}  # noqa: E731
    monitor = equipoise.Monitor(loss="non-saturating", total=steps * BATCH, look=seen)  # monitor

    for step in range(1, steps + 1):
        # The discriminator's turn. R1 takes the gradient at the real samples, so they must carry one.
        real = points[torch.randint(len(points), (BATCH,))].requires_grad_()
        with torch.no_grad():
            fake = generator(torch.randn(BATCH, LATENT_DIM))
        turn = Turn("D", "D", real=real, fake=fake, real_logits=discriminator(real), fake_logits=discriminator(fake))
        values = objective(turn, objective.due("D", step))  # {"loss": [N], "r1": [N]}
        descend(optimiser_d, values)
        monitor.observe("D", real_logits=turn["real_logits"], fake_logits=turn["fake_logits"])  # monitor
        ema.see(BATCH)

        # The generator's turn.
        fake = generator(torch.randn(BATCH, LATENT_DIM))
        turn = Turn("G", "G", fake_logits=discriminator(fake))
        monitor.observe("G", fake_logits=turn["fake_logits"], output=fake)  # monitor
        descend(optimiser_g, objective(turn, objective.due("G", step)))
        ema.update()

        for scheduler in schedulers:
            scheduler.step()
        monitor.step(BATCH)  # monitor
        if step % 500 == 0:
            now = monitor.history.now
            print(f"{step:5} steps  loss of D over its ideal {now('loss_D'):.3f}  gap {now('gap'):.2f}  "
                  f"win rate {now('win_rate'):.2f}  distance to held-out points {now('energy'):.4f}")  # fmt: skip

    with torch.no_grad():
        found = metrics.modes(ema.average(torch.randn(2000, LATENT_DIM)), ring.modes, ring.mode_std)
    print(f"{found.hit} of 8 modes; {found.high_quality:.0%} of the samples within three standard deviations of one")
    print("\n".join(one.text() for one in monitor.verdict.findings) or "Nothing is out of balance.")
    return found


def descend(optimiser: torch.optim.Optimizer, values: dict[str, Tensor]) -> None:
    """One step along the gradient of the sum of all parts' means."""
    optimiser.zero_grad()
    torch.stack([value.mean() for value in values.values()]).sum().backward()
    optimiser.step()


if __name__ == "__main__":
    main()
