"""The monitor in a loop under Accelerate: samples are counted over all processes, and it is saved with the rest.

pip install accelerate
python examples/accelerate_loop.py        eight Gaussians on a ring, some twenty seconds on one core
accelerate launch examples/accelerate_loop.py
"""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: small steps stall on spinning threads

import accelerate
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import equipoise

LATENT_DIM, BATCH, WIDTH = 4, 64, 48


def mlp(features_in: int, features_out: int) -> nn.Sequential:
    """Any network will do."""
    return nn.Sequential(
        nn.Linear(features_in, WIDTH), nn.LeakyReLU(0.2), nn.Linear(WIDTH, WIDTH), nn.LeakyReLU(0.2),
        nn.Linear(WIDTH, features_out),
    )  # fmt: skip


def main(epochs: int = 12, folder: str | Path = "runs/accelerate", resume: bool = False) -> equipoise.Monitor:
    """Train for some epochs of 64 batches, from the checkpoint in the folder if `resume`."""
    accelerator = accelerate.Accelerator(cpu=True)
    accelerate.utils.set_seed(0)
    ring = torch.from_numpy(equipoise.open_dataset("ring").images)  # [4096, 2]
    networks = mlp(LATENT_DIM, 2), mlp(2, 1)
    optimisers = [torch.optim.Adam(network.parameters(), lr=1e-3, betas=(0.5, 0.99)) for network in networks]
    loader = DataLoader(TensorDataset(ring), batch_size=BATCH, shuffle=True)
    generator, discriminator, optimiser_g, optimiser_d, loader = accelerator.prepare(*networks, *optimisers, loader)
    monitor = equipoise.Monitor(loss="non-saturating")  # added
    accelerator.register_for_checkpointing(monitor)  # added
    if resume:
        accelerator.load_state(str(folder))

    for _ in range(epochs):
        for (real,) in loader:
            fake = generator(torch.randn(len(real), LATENT_DIM, device=accelerator.device))

            real_logits, fake_logits = discriminator(real), discriminator(fake.detach())
            monitor.observe("D", real_logits=real_logits, fake_logits=fake_logits)  # added
            optimiser_d.zero_grad()
            accelerator.backward(F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean())
            optimiser_d.step()

            fake_logits = discriminator(fake)
            monitor.observe("G", fake_logits=fake_logits, output=fake)  # added
            optimiser_g.zero_grad()
            accelerator.backward(F.softplus(-fake_logits).mean())
            optimiser_g.step()

            monitor.step(len(real) * accelerator.num_processes)  # added

    accelerator.save_state(str(folder))
    history = monitor.history
    accelerator.print(f"{monitor.samples / 1000:.1f} thousand points; "
                      f"D tells {history.now('win_rate'):.0%} of the pairs apart")  # fmt: skip
    accelerator.print("\n".join(one.text() for one in monitor.verdict.findings) or "Nothing is out of balance.")
    return monitor


if __name__ == "__main__":
    main()
