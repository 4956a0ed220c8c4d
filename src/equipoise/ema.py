"""The generator's moving average (Yazici et al. 2019, arXiv:1806.04498), with a half-life counted in real images.

Batch normalisation's running statistics belong to the weights that produced them. Averaging or copying them from the
live generator gives the averaged weights statistics of another network, and samples can be ruined by it. So they are
neither averaged nor copied for use: `recalibrate` measures them anew, with the averaged weights, whenever samples are
wanted.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from equipoise.errors import InputError
from equipoise.networks.protocols import latent_dim


class EMA:
    """An averaged copy of a generator, `average`, updated on the device; `halflife` is a 0-d dial.

    The decay of an update is 2^(-images / half-life), where images are the real ones shown since the last update,
    however many discriminator moves and processes showed them, and half-life = min(`halflife`, `ramp` * images seen),
    the ramp-up of Karras et al. 2020 (arXiv:2006.06676): with a half-life of 0 the average equals the live weights.
    """

    def __init__(
        self,
        generator: nn.Module,
        halflife_kimg: float = 10.0,  # thousands of real images, 0 or more
        ramp: float = 0.05,  # share of the images seen so far that caps the half-life; 0 turns the cap off
    ) -> None:
        if not (halflife_kimg >= 0 and ramp >= 0):
            raise InputError(f"ema: halflife_kimg={halflife_kimg}, ramp={ramp}: both must be 0 or more")
        self.live = generator
        self.average = copy.deepcopy(generator).eval().requires_grad_(False)
        device = next(generator.parameters()).device
        self.halflife = torch.tensor(float(halflife_kimg), device=device)
        self.ramp = float(ramp)
        self.seen = torch.zeros([], device=device)  # thousands of real images
        self.unseen = torch.zeros([], device=device)  # the same, shown since the last update
        self._pairs = list(zip(self.average.parameters(), generator.parameters(), strict=True))
        self._buffers = list(zip(self.average.buffers(), generator.buffers(), strict=True))

    @torch.no_grad()
    def see(self, samples: int) -> None:
        """Count `samples` more real images, over all processes."""
        self.unseen += samples / 1000

    @torch.no_grad()
    def update(self, ok: Tensor | None = None) -> None:
        """Follow the live generator; with `ok` 0.0 nothing changes, and the next update covers these images too."""
        ok = torch.ones_like(self.seen) if ok is None else ok
        self.seen += ok * self.unseen
        halflife = torch.minimum(self.halflife, self.ramp * self.seen) if self.ramp else self.halflife
        decay = torch.where(halflife > 0, torch.exp2(-self.unseen / halflife.clamp(min=1e-12)), 0.0)
        decay = torch.where(ok > 0, decay, 1.0)
        self.unseen *= 1 - ok
        average, live = [list(side) for side in zip(*self._pairs, strict=True)]
        torch._foreach_mul_(average, decay)
        torch._foreach_add_(average, torch._foreach_mul(live, 1 - decay))
        moved = ok > 0
        for averaged, own in self._buffers:
            averaged.copy_(torch.where(moved, own, averaged))

    def state_dict(self) -> dict[str, Tensor]:
        """The clock; the averaged weights are a network of their own."""
        return {"seen": self.seen, "unseen": self.unseen}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore what `state_dict` gave."""
        for name, value in self.state_dict().items():
            value.copy_(state[name])


@torch.no_grad()
def recalibrate(
    generator: nn.Module,
    classes: int = 0,  # number of classes to draw labels from, 0 without labels
    batch: int = 100,
    batches: int = 20,
) -> None:
    """Measure batch normalisation's statistics anew on `batches` batches of the generator's own samples.

    A plain mean over batches ("standing statistics", Brock et al. 2019, arXiv:1809.11096). It draws from a generator of
    its own, so that the run's random numbers stay untouched, and does nothing for a network without such layers.
    """
    norms = [m for m in generator.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
    if not norms:
        return
    mode, momenta = generator.training, [norm.momentum for norm in norms]
    generator.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # PyTorch's way to ask for the plain mean
        norm.train()
    like, source = next(generator.parameters()), torch.Generator().manual_seed(0)
    for _ in range(batches):
        latents = torch.randn(batch, latent_dim(generator), generator=source).to(like)
        labels = torch.randint(classes, (batch,), generator=source).to(like.device) if classes else None
        generator(latents, labels)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    generator.train(mode)
