"""The parts in a loop of one's own: networks, optimisers and batches are yours, what you want of equipoise joins in.

    python examples/bare_loop.py        eight Gaussians on a ring, some ten seconds on one core

Here the loss, a penalty, the averaged generator, the sensors and a learning-rate schedule are equipoise's. Each is a plain
object: take those that you want, leave the others.
"""

from __future__ import annotations

import os
from itertools import pairwise

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: small steps stall on spinning threads

import torch
from torch import Tensor, nn

import equipoise
from equipoise import metrics, registry
from equipoise.ema import EMA
from equipoise.initialise import initialise
from equipoise.sensors import Meter, Sensor, pooled_gap
from equipoise.terms import Objective
from equipoise.terms.gradient_penalty import R1
from equipoise.turn import Turn

LATENT_DIM, BATCH = 4, 64


def mlp(features_in: int, features_out: int, width: int = 48) -> nn.Sequential:
    """Any network will do; where it starts matters, and `initialise` knows more ways than PyTorch's own."""
    sizes = [features_in, width, width, width]
    hidden = [part for pair in pairwise(sizes) for part in (nn.Linear(*pair), nn.LeakyReLU(0.2))]
    network = nn.Sequential(*hidden, nn.Linear(width, features_out))
    initialise(network, "kaiming")
    return network


def main(steps: int = 2500) -> metrics.Modes:
    """Train on the ring and return how the samples lie on its eight modes."""
    torch.manual_seed(0)
    ring = equipoise.open_dataset("ring")
    points = torch.from_numpy(ring.images)  # [4096, 2]

    # Yours: two networks and their optimisers.
    generator, discriminator = mlp(LATENT_DIM, 2), mlp(2, 1)
    optimiser_g = torch.optim.Adam(generator.parameters(), lr=4e-3, betas=(0.5, 0.99))
    optimiser_d = torch.optim.Adam(discriminator.parameters(), lr=2e-3, betas=(0.5, 0.99))

    # Equipoise's: what is minimised, what is read, what is averaged, how fast it goes.
    objective = Objective(registry.find("loss", "non-saturating").part, {"r1": R1(gamma=0.1)})
    sensors: list[Sensor] = [entry.part for entry in registry.entries("sensor") if entry.part.role == "D"]
    meter = Meter(["D.loss", "D.r1", *(sensor.name for sensor in sensors)], torch.device("cpu"))
    ema = EMA(generator, halflife_kimg=2.0)
    schedule = equipoise.Schedule("linear", start=1.0, end=0.0, begin=0.5)

    for step in range(steps):
        for optimiser, lr in ((optimiser_g, 4e-3), (optimiser_d, 2e-3)):
            optimiser.param_groups[0]["lr"] = lr * schedule.factor(step, steps)

        # The discriminator's turn: R1 wants the gradient at the real samples.
        real = points[torch.randint(len(points), (BATCH,))].requires_grad_()
        with torch.no_grad():
            fake = generator(torch.randn(BATCH, LATENT_DIM))
        turn = Turn("D", "D", real=real, fake=fake, real_logits=discriminator(real), fake_logits=discriminator(fake))
        values = objective(turn, objective.due("D", step))  # {"loss": [N], "r1": [N]}
        descend(optimiser_d, values)
        meter.add({f"D.{name}": value.detach() for name, value in values.items()})
        with torch.no_grad():
            meter.add({sensor.name: sensor(turn) for sensor in sensors})

        # The generator's turn.
        turn = Turn("G", "G", fake_logits=discriminator(generator(torch.randn(BATCH, LATENT_DIM))))
        descend(optimiser_g, objective(turn, objective.due("G", step)))
        ema.see(BATCH)  # its half-life is counted in real images
        ema.update(torch.ones([]))

        if (step + 1) % 500 == 0:  # the only place that waits for the device
            seen = meter.read()
            gap = pooled_gap(seen["D.real_score"], seen["D.fake_score"])
            print(f"{step + 1:5} steps  loss {seen['D.loss'].mean:.3f}  gap {gap:.2f}  wins {seen['D.win_rate'].mean:.2f}")

    with torch.no_grad():
        samples = ema.average(torch.randn(2000, LATENT_DIM))
    found = metrics.modes(samples, ring.modes, ring.mode_std)
    print(f"{found.hit} of 8 modes, {found.high_quality:.0%} of the samples within three standard deviations of one")
    return found


def descend(optimiser: torch.optim.Optimizer, values: dict[str, Tensor]) -> None:
    """One step along the gradient of the sum of all parts' means."""
    optimiser.zero_grad()
    torch.stack([value.mean() for value in values.values()]).sum().backward()
    optimiser.step()


if __name__ == "__main__":
    main()
