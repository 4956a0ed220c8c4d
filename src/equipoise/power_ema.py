"""Power-function averages of a generator, from which any other width is made after training.

Karras et al. 2024 (EDM2, arXiv:2312.02696), section 3: an average whose width is a fixed share of the run so far, kept
at two or three widths; snapshots of these are a basis in which the profile of any width between is solved for.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from equipoise.errors import InputError

Array = NDArray[np.float64]
WIDEST = 0.28  # relative standard deviation of the profile t^0, the widest that a power above 0 gives: 1 / sqrt(12)


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
    weights whole, since all that was seen came since the last.
    """

    def __init__(
        self,
        generator: nn.Module,
        widths: Sequence[float] = (0.05, 0.10),  # of the run so far: above 0 to below 0.28
    ) -> None:
        self.widths = tuple(float(width) for width in widths)
        self.powers = [exponent(width) for width in self.widths]
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
        """Write one file for each width, `KKKKKK-0.050.safetensors`, into a run's folder `ema`."""
        folder.mkdir(exist_ok=True)
        for width, average in zip(self.widths, self.averages, strict=True):
            weights = {
                name: tensor.detach().cpu().contiguous().clone() for name, tensor in average.state_dict().items()
            }
            path = folder / f"{samples // 1000:06d}-{width:.3f}.safetensors"
            new = path.with_suffix(".tmp")
            save_file(weights, new, metadata={"samples": str(samples), "width": repr(width)})
            new.replace(path)


def coefficients(
    snapshots: Sequence[tuple[float, float]],  # (images seen, width) of each
    width: float,
    at: float,  # images seen at the moment wanted
) -> Array:
    """The weights with which stored averages add up to the one of another width: a least-squares fit of the profiles.

    With profiles p(t) = t^g on [0, T], normalised, <p_a, p_b> has a closed form (EDM2, appendix C), so that the system
    is of the snapshots' number and no integral is taken.
    """
    powers = np.array([exponent(one) for _, one in snapshots])
    times = np.array([time for time, _ in snapshots], dtype=np.float64)
    gram = overlap(times[:, None], powers[:, None], times[None, :], powers[None, :])
    aim = overlap(times, powers, at, exponent(width))
    return np.asarray(np.linalg.lstsq(gram, aim, rcond=None)[0], dtype=np.float64)


def overlap(time_a: Array | float, power_a: Array | float, time_b: Array | float,
            power_b: Array | float) -> Array:  # fmt: skip
    """The integral of two profiles (g + 1) t^g / T^(g + 1), each 0 after its T."""
    first, last = np.minimum(time_a, time_b), np.maximum(time_a, time_b)
    of_last = np.where(time_a < time_b, power_b, power_a)
    ratio = (first / last) ** of_last
    made: Array = (power_a + 1) * (power_b + 1) * ratio / ((power_a + power_b + 1) * last)
    return made


def reconstruct(run: Path, width: float) -> dict[str, Tensor]:
    """The generator's weights averaged at `width`, made of the snapshots in `run/ema`, for the newest of them.

    Raises InputError where there are none, or the width lies outside what they can give.
    """
    files = sorted((run / "ema").glob("*.safetensors"))
    if not files:
        raise InputError(f"{run} kept no power-function averages; train with --set ema_widths=[0.05,0.1]")
    facts = [_facts(file) for file in files]
    widths = sorted({one for _, one in facts})
    if not 0.6 * widths[0] <= width <= 1.6 * widths[-1]:
        raise InputError(
            f"--ema {width} lies too far from the widths kept ({widths[0]} to {widths[-1]}); ask for one nearer"
        )
    newest = max(time for time, _ in facts)
    weights = coefficients(facts, width, newest)
    total: dict[str, Tensor] = {}
    for file, weight in zip(files, weights, strict=True):
        for name, tensor in load_file(file).items():
            if tensor.is_floating_point():
                total[name] = total.get(name, torch.zeros_like(tensor, dtype=torch.float64)) + weight * tensor.double()
            else:
                total[name] = tensor
    kinds = {name: tensor.dtype for name, tensor in load_file(files[-1]).items()}
    return {name: tensor.to(kinds[name]) for name, tensor in total.items()}


def _facts(file: Path) -> tuple[float, float]:
    """Images seen and width of a snapshot."""
    with safe_open(str(file), framework="pt") as opened:
        facts = opened.metadata()
    return float(facts["samples"]), float(facts["width"])
