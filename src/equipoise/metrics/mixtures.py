"""Samples against a mixture whose modes are known: modes hit, high-quality share, reverse KL, overlap."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from equipoise.errors import InputError
from equipoise.metrics._matrices import matrix, tensor64

REACH = 3.0  # standard deviations: nearer to its mode than this, a sample is of high quality


class Modes(NamedTuple):
    """How samples lie on a mixture's modes; samples with NaN are misses."""

    hit: int  # modes with at least one high-quality sample
    high_quality: float  # share of the samples within three standard deviations of a mode
    reverse_kl: float  # nats: KL of the samples' shares of the modes from the true shares; inf without finite samples
    overlap: float  # share of the true mass matched, at most 1: fidelity and balance of the modes in one number


def modes(
    samples: Any,  # [N, d]
    centres: Any,  # [K, d]
    std: float,  # of each mode, in each direction
    shares: Any = None,  # [K] true shares of the modes; default: equal
) -> Modes:
    """Mode count, high-quality share and reverse KL as in PacGAN (Lin et al. 2018, arXiv:1712.04086), and the overlap.

    For the reverse KL each finite sample belongs to its nearest mode, however far. For the overlap p_k is the share
    of all samples that are nearest to mode k and of high quality, q_k its true share, m the mass of a Gaussian within
    three standard deviations (1 - e^-4.5 in the plane): the sum of min(p_k, m q_k).

    Raises:
        InputError: no samples, dimensions that differ, a std that is not positive, shares that fit no modes.
    """
    samples = tensor64(samples).cpu()
    centres = matrix(centres, "centres").cpu()
    if samples.ndim != 2 or len(samples) == 0 or samples.shape[1] != centres.shape[1]:
        raise InputError(
            f"samples shaped {list(samples.shape)} cannot lie on modes shaped {list(centres.shape)}; "
            f"give at least one sample, as [N, {centres.shape[1]}]."
        )
    if not std > 0:
        raise InputError(f"the modes' std is {std}, but high quality is counted in it; give a positive one.")
    true = _shares(shares, len(centres))
    distances = torch.cdist(samples[torch.isfinite(samples).all(dim=1)], centres)
    distance, nearest = distances.min(dim=1)
    good = torch.bincount(nearest[distance < REACH * std], minlength=len(centres)).to(torch.float64) / len(samples)
    mass = torch.special.gammainc(*torch.tensor([centres.shape[1] / 2, REACH**2 / 2], dtype=torch.float64))
    return Modes(
        hit=int((good > 0).sum()),
        high_quality=float(good.sum()),
        reverse_kl=reverse_kl(torch.bincount(nearest, minlength=len(centres)), true),
        overlap=float(torch.minimum(good, mass * true).sum()),
    )


def reverse_kl(
    counts: Any,  # [K], how many samples fell into each bin
    shares: Any = None,  # [K] true shares; default: equal
) -> float:
    """KL divergence, in nats, of the shares found from the true shares: log(K / k) for k of K bins hit equally.

    Infinite where nothing was counted, or where something lies in a bin that should be empty.
    """
    counts = tensor64(counts).cpu()
    true = _shares(shares, len(counts))
    if counts.sum() == 0:
        return math.inf
    found = counts / counts.sum()
    return float((torch.xlogy(found, found) - torch.xlogy(found, true)).sum())


def _shares(shares: Any, number: int) -> Tensor:
    """True shares [K] that sum to one."""
    if shares is None:
        return torch.full((number,), 1 / number, dtype=torch.float64)
    true = tensor64(shares).cpu()
    if true.shape != (number,) or not bool((true >= 0).all()) or not float(true.sum()) > 0:
        raise InputError(
            f"shares shaped {list(true.shape)} came for {number} modes; give one share for each, none negative."
        )
    return true / true.sum()
