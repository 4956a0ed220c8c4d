"""Power-function averages of a generator, from which any other width is made after training.

Karras et al. 2024 (EDM2, https://arxiv.org/abs/2312.02696), section 3: an average whose width is a fixed share of the
run so far, kept at two or three widths; snapshots of these are a basis in which the profile of another width is solved
for.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from equipoise.errors import InputError
from equipoise.files import atomic_write

Array = NDArray[np.float64]
WIDEST = 0.28  # of the relative standard deviations; 1 / sqrt(12) = 0.2887 is that of t^0
MISFIT = 0.1  # of a profile's norm that may be missing where another width is made

# ------------------------------------------------------------------------------------------------ while training


def exponent(width: float) -> float:
    """The power g of the profile t^g whose relative standard deviation is `width`: 6.937204 for 0.1.

    The largest real root of g^3 + 7 g^2 + (16 - s^-2) g + (12 - s^-2) = 0, from s = sqrt((g+1) / ((g+2)^2 (g+3))).
    """
    if not 0 < width < WIDEST:
        raise InputError(f"an average of relative width {width} cannot be formed; give above 0 to below {WIDEST}")
    inverse = width**-2
    roots = np.roots([1.0, 7.0, 16.0 - inverse, 12.0 - inverse])
    return float(roots.real.max())


def beta(power: float, seen: float, new: float) -> float:
    """The decay (1 - new / seen)^(g + 1) of an update after `seen` images, `new` of which came since the last."""
    return float((1 - new / seen) ** (power + 1))


class PowerEMA:
    """Averages of a generator at several relative widths, on the device; the clock is the number of real images seen.

    An update that was refused changes nothing, and the next one covers its images too. The first update takes the live
    weights whole, since all that was seen came since the last. Buffers are the live generator's, as for `EMA`.
    """

    def __init__(
        self,
        generator: nn.Module,
        widths: Sequence[float] = (0.05, 0.10),  # of the run so far: above 0 to below 0.28
    ) -> None:
        self.widths = tuple(float(width) for width in widths)
        self.powers = [exponent(width) for width in self.widths]
        if len({f"{width:.3f}" for width in self.widths}) < len(self.widths):
            raise InputError(f"the widths {list(self.widths)} are kept by three decimals; give each of them once")
        self.live = generator
        self.averages = [copy.deepcopy(generator).eval().requires_grad_(False) for _ in self.widths]
        device = next(generator.parameters()).device
        self.seen = torch.zeros([], device=device, dtype=torch.float64 if device.type != "mps" else torch.float32)
        self.unseen = torch.zeros_like(self.seen)

    @torch.no_grad()
    def see(self, samples: int) -> None:
        """Count `samples` more real images, over all processes."""
        self.unseen += samples

    @torch.no_grad()
    def update(self, ok: Tensor | None = None) -> None:
        """Follow the live generator; with `ok` 0.0 nothing changes."""
        ok = torch.ones_like(self.seen) if ok is None else ok.to(self.seen.dtype)
        self.seen += ok * self.unseen
        share = 1 - self.unseen / self.seen.clamp(min=1.0)
        live: list[Tensor] = list(self.live.parameters())
        for power, average in zip(self.powers, self.averages, strict=True):
            decay = torch.where(ok > 0, share ** (power + 1), 1.0).to(live[0].dtype)
            own: list[Tensor] = list(average.parameters())
            torch._foreach_mul_(own, decay)
            torch._foreach_add_(own, torch._foreach_mul(live, 1 - decay))
            for averaged, buffer in zip(average.buffers(), self.live.buffers(), strict=True):
                averaged.copy_(torch.where(ok > 0, buffer, averaged))
        self.unseen *= 1 - ok

    def state_dict(self) -> dict[str, Tensor]:
        """Clock and averages."""
        found = {"seen": self.seen, "unseen": self.unseen}
        for number, average in enumerate(self.averages):
            found |= {f"{number}.{name}": tensor for name, tensor in average.state_dict().items()}
        return found

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore what `state_dict` gave."""
        for name, value in self.state_dict().items():
            value.copy_(state[name])

    def save(self, folder: Path, samples: int) -> None:
        """Write one file for each width, `KKKKKK-0.050.safetensors`, into a run's folder `ema`.

        The host reads the clock, which the averages stand at: it may lag behind `samples`, the run's.
        """
        folder.mkdir(exist_ok=True)
        for width, average in zip(self.widths, self.averages, strict=True):
            weights = {name: one.detach().cpu().contiguous().clone() for name, one in average.state_dict().items()}
            facts = json.dumps({"samples": round(float(self.seen)), "width": width})  # one entry: their order is random
            data = save(weights, metadata={"average": facts})
            atomic_write(folder / f"{samples // 1000:06d}-{width:.3f}.safetensors", data)


# ------------------------------------------------------------------------------------------------ after training


def coefficients(
    snapshots: Sequence[tuple[float, float]],  # (images seen, width) of each
    width: float,
    at: float,  # images seen at the moment wanted
) -> Array:
    """The weights with which stored averages add up to the one of another width: a least-squares fit of the profiles.

    With profiles p(t) ~ t^g on [0, T], normalised, <p_a, p_b> has a closed form (EDM2, appendix C), so that the system
    is of the snapshots' number and no integral is taken. An average that is among them is itself.
    """
    if (at, width) in snapshots:
        return np.array([one == (at, width) for one in snapshots], dtype=np.float64)
    gram, aim, norms, norm = _system(snapshots, width, at)
    found: Array = np.linalg.lstsq(gram, aim, rcond=1e-13)[0] / norms * norm
    return found


def misfit(snapshots: Sequence[tuple[float, float]], weights: Array, width: float, at: float) -> float:
    """The distance of the profile that the weighted snapshots have from the one wanted, over the norm of that: 0 to 1.

    Were the live weights white noise in time, it would be the relative error of the average.
    """
    gram, aim, norms, norm = _system(snapshots, width, at)
    scaled = weights * norms / norm
    return float(max(0.0, float(1 - 2 * aim @ scaled + scaled @ gram @ scaled)) ** 0.5)


def _system(snapshots: Sequence[tuple[float, float]], width: float, at: float) -> tuple[Array, Array, Array, float]:
    """The overlaps of the stored profiles with each other and with the wanted one, all of norm 1, and their norms."""
    powers = np.array([exponent(one) for _, one in snapshots])
    times = np.array([time for time, _ in snapshots], dtype=np.float64)
    power = exponent(width)
    norms = np.sqrt(overlap(times, powers, times, powers))
    norm = float(np.sqrt(overlap(at, power, at, power)))
    gram = overlap(times[:, None], powers[:, None], times[None, :], powers[None, :]) / norms[:, None] / norms
    return gram, overlap(times, powers, at, power) / norms / norm, norms, norm


def overlap(time_a: Array | float, power_a: Array | float, time_b: Array | float,
            power_b: Array | float) -> Array:  # fmt: skip
    """The integral of the product of two profiles (g + 1) t^g / T^(g + 1), each 0 after its T."""
    first, last = np.minimum(time_a, time_b), np.maximum(time_a, time_b)
    of_last = np.where(np.less(time_a, time_b), power_b, power_a)
    ratio = (first / last) ** of_last
    made: Array = (power_a + 1) * (power_b + 1) * ratio / ((power_a + power_b + 1) * last)
    return made


class Snapshot(NamedTuple):
    """A file of an average, and what it is the average of."""

    file: Path
    samples: float  # images seen
    width: float


def snapshots(run: Path) -> list[Snapshot]:
    """What a run has kept in its folder `ema`, oldest first; an InputError where it kept nothing."""
    found = []
    for file in sorted((run / "ema").glob("[0-9]*.safetensors")):
        try:
            with safe_open(file, "pt") as opened:
                facts = json.loads(opened.metadata()["average"])
            found.append(Snapshot(file, float(facts["samples"]), float(facts["width"])))
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            raise InputError(f"{file} cannot be read as an average ({error!r}); remove it, or restore it") from None
    if not found:
        raise InputError(f"{run} kept no power-function averages; train with --set ema_widths=0.05,0.1")
    return sorted(found, key=lambda one: (one.samples, one.width))


def reconstruct(
    run: Path,
    width: float,  # relative, above 0 to below 0.28
    at: str | None = None,  # name of the snapshot for whose moment: KKKKKK; None: the newest
    parameters: Collection[str] | None = None,  # what to add up; None: all floating point tensors
) -> dict[str, Tensor]:
    """The generator's weights averaged at `width`, made in double precision of the snapshots in `run/ema` up to then.

    What is not added up is as in the newest of them. Raises InputError where there are none, or where they cannot give
    that width: where more than a tenth of its profile would be missing.
    """
    kept = snapshots(run)
    names = sorted({one.file.name.partition("-")[0] for one in kept})
    if at is not None and at not in names:
        raise InputError(f"{run / 'ema'} holds no averages of {at!r}; there are those of {', '.join(names)}")
    moment = max(one.samples for one in kept if one.file.name.startswith(f"{at or names[-1]}-"))
    used = [one for one in kept if one.samples <= moment]
    facts = [(one.samples, one.width) for one in used]
    weights = coefficients(facts, width, moment)
    missing = misfit(facts, weights, width, moment)
    if missing > MISFIT:
        raise InputError(
            f"an average of width {width} cannot be made of {len(used)} snapshots of width "
            f"{' and '.join(f'{one:g}' for one in sorted({one.width for one in used}))}, for {missing:.0%} of its "
            "profile would be missing; ask for a width nearer to these, or train with that one among ema_widths or "
            "with more snapshots (--snapshot-kimg)"
        )
    newest = load_file(used[-1].file)
    chosen = {name for name, one in newest.items() if one.is_floating_point()} if parameters is None else parameters
    total = {name: torch.zeros_like(newest[name], dtype=torch.float64) for name in chosen}
    for one, weight in zip(used, weights, strict=True):
        stored = load_file(one.file) if weight else {}
        for name in chosen if weight else ():
            total[name] += weight * stored[name].double()
    return newest | {name: one.to(newest[name].dtype) for name, one in total.items()}
