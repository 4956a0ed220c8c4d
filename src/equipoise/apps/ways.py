"""Ways through a generator's latent space: closed or open, past latents, classes and truncations, moment by moment."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from equipoise import samples
from equipoise.errors import InputError
from equipoise.networks.conditioning import Blended
from equipoise.networks.protocols import num_classes

BLOCK = 256  # samples generated at once


@dataclass(frozen=True)
class Way:
    """What a number of walks pass, stop by stop; each part has its own number of stops, and one that has one rests."""

    latents: Tensor  # [stops, walks, latent_dim]
    shares: Tensor | None  # of the classes, [stops, walks, classes]; None without classes
    truncations: Tensor  # [stops]

    @property
    def stops(self) -> int:
        """Of the part that has most."""
        return max(len(part) for part in (self.latents, self.shares, self.truncations) if part is not None)

    def at(self, frames: int, closed: bool) -> tuple[Tensor, Tensor | None]:
        """Latents [frames, walks, latent_dim], truncated, and shares [frames, walks, classes]."""
        latents = along(self.latents, frames, closed, slerp)
        truncations = along(self.truncations[:, None, None], frames, closed, torch.lerp)
        return latents * truncations, None if self.shares is None else along(self.shares, frames, closed, torch.lerp)


def slerp(start: Tensor, end: Tensor, share: Tensor) -> Tensor:
    """Spherical interpolation of Gaussian latents [..., d] (Shoemake 1985; White 2016, arXiv:1609.04468).

    A straight line between two draws from a Gaussian passes where hardly any draw lies, nearer to the middle; on the
    arc, latents of equal norm keep it. Where the two point the same or opposite ways, there is no arc: a line it is.
    """
    cosine = (F.normalize(start, dim=-1) * F.normalize(end, dim=-1)).sum(-1, keepdim=True)
    angle = torch.acos(cosine.clamp(-1, 1))
    sine = torch.sin(angle)
    arc = (torch.sin((1 - share) * angle) * start + torch.sin(share * angle) * end) / sine
    return torch.where(sine > 1e-3, arc, torch.lerp(start, end, share))


def along(
    stops: Tensor,  # [stops, ...]
    frames: int,
    closed: bool,  # come back to the first stop after the last, or end at the last
    between: Callable[[Tensor, Tensor, Tensor], Tensor],  # (from, to, share of the way)
) -> Tensor:
    """Where a way is at each of so many moments, equally far apart, from its first stop on: [frames, ...]."""
    legs, steps = (len(stops), frames) if closed else (len(stops) - 1, max(frames - 1, 1))
    places = [divmod(frame * legs, steps) for frame in range(frames)]
    start = torch.tensor([leg for leg, _ in places])
    share = torch.tensor([rest / steps for _, rest in places]).reshape(-1, *[1] * (stops.dim() - 1))
    found = between(stops[start], stops[(start + 1) % len(stops)], share)
    return torch.where(share == 0, stops[start], found)


@torch.no_grad()
def walk(generator: nn.Module, way: Way, frames: int, closed: bool = True) -> Iterator[Tensor]:
    """Samples [walks, ...] of each moment of a way, in order."""
    latents, shares = way.at(frames, closed)
    caller = generator if shares is None else Blended(generator)
    step = max(1, BLOCK // latents.shape[1])
    for first in range(0, frames, step):
        block = slice(first, first + step)
        known = None if shares is None else shares[block].flatten(0, 1)
        made = samples.generate(caller, latents[block].flatten(0, 1), known)
        yield from made.unflatten(0, (-1, latents.shape[1]))


def plan_way(
    generator: nn.Module,
    seeds: Sequence[int],  # dealt to the walks in turn: the first stop has the first seeds
    walks: int,
    classes: Sequence[int] = (),  # to pass; a single one stays; none: those of the seeds
    truncations: Sequence[float] = (1.0,),
) -> Way:
    """The way of some walks from the seeds, classes and truncations that they are to pass."""
    if len(seeds) % walks:
        raise InputError(
            f"{len(seeds)} seeds cannot be dealt to {walks} walks; give a multiple of rows x columns, or other rows"
        )
    latents, labels = samples.draw(generator, seeds, classes[0] if classes else None)
    shares = None
    if labels is not None:
        known = torch.tensor(classes).expand(walks, -1).T if len(classes) > 1 else labels.reshape(-1, walks)
        shares = F.one_hot(known, num_classes(generator)).float()
    shrink = torch.tensor([samples.check_truncation(truncation) for truncation in truncations])
    return Way(latents.reshape(-1, walks, latents.shape[1]), shares, shrink)
