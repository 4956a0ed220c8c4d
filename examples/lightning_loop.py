"""The monitor in a LightningModule: two lines in `training_step`, a callback, and it is saved in the checkpoints.

pip install lightning
python examples/lightning_loop.py        eight Gaussians on a ring, some twenty seconds on one core
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: small steps stall on spinning threads

import lightning
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import equipoise
from equipoise.lightning import MonitorCallback  # added

LATENT_DIM, BATCH, WIDTH = 4, 64, 48


def mlp(features_in: int, features_out: int) -> nn.Sequential:
    """Any network will do."""
    return nn.Sequential(
        nn.Linear(features_in, WIDTH), nn.LeakyReLU(0.2), nn.Linear(WIDTH, WIDTH), nn.LeakyReLU(0.2),
        nn.Linear(WIDTH, features_out),
    )  # fmt: skip


class Ring(lightning.LightningModule):  # type: ignore[misc]  # Lightning may be missing where types are checked
    """A GAN as Lightning writes them: manual optimisation, since each batch moves two players."""

    def __init__(self, monitor: equipoise.Monitor) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.generator, self.discriminator, self.monitor = mlp(LATENT_DIM, 2), mlp(2, 1), monitor

    def training_step(self, batch: list[Tensor], number: int) -> None:
        """Both players' updates."""
        optimiser_g, optimiser_d = self.optimizers()
        real = batch[0]
        fake = self.generator(torch.randn(len(real), LATENT_DIM, device=self.device))

        real_logits, fake_logits = self.discriminator(real), self.discriminator(fake.detach())
        self.monitor.observe("D", real_logits=real_logits, fake_logits=fake_logits)  # added
        self.descend(optimiser_d, F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean())

        fake_logits = self.discriminator(fake)
        self.monitor.observe("G", fake_logits=fake_logits, output=fake)  # added
        self.descend(optimiser_g, F.softplus(-fake_logits).mean())

    def descend(self, optimiser: Any, loss: Tensor) -> None:
        """One step."""
        optimiser.zero_grad()
        self.manual_backward(loss)
        optimiser.step()

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """G's and D's."""
        pairs = ((self.generator, 1e-3), (self.discriminator, 1e-3))
        return [torch.optim.Adam(network.parameters(), lr=lr, betas=(0.5, 0.99)) for network, lr in pairs]


def main(steps: int = 800, folder: str | Path = "runs/lightning", resume: bool = False) -> equipoise.Monitor:
    """Train for `steps` batches in all, from the checkpoint in the folder if `resume`; the monitor goes on with it."""
    lightning.seed_everything(0, verbose=False)
    ring = torch.from_numpy(equipoise.open_dataset("ring").images)  # [4096, 2]
    loader = DataLoader(TensorDataset(ring), batch_size=BATCH, shuffle=True)
    monitor = equipoise.Monitor(loss="non-saturating")  # added
    trainer = lightning.Trainer(
        max_steps=2 * steps,  # Lightning counts the steps of both optimisers
        callbacks=[MonitorCallback(monitor)],  # added
        accelerator="cpu", enable_progress_bar=False, enable_model_summary=False, logger=False,
        enable_checkpointing=False,
    )  # fmt: skip
    last = Path(folder) / "last.ckpt"
    trainer.fit(Ring(monitor), loader, ckpt_path=last if resume else None)
    trainer.save_checkpoint(last)
    history = monitor.history
    print(f"{monitor.samples / 1000:.1f} thousand points; D tells {history.now('win_rate'):.0%} of the pairs apart")
    print("\n".join(one.text() for one in monitor.verdict.findings) or "Nothing is out of balance.")
    return monitor


if __name__ == "__main__":
    main()
