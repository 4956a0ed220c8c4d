"""Samples that repeat one another, exactly or nearly, found without comparing every pair.

Exact: a hash of the pixels. Near: locality-sensitive hashing by random hyperplanes (Charikar 2002) over the leading
principal components of 8x8 thumbnails proposes pairs, and the pixels decide: hashes alone merge what only looks alike
from afar, such as handwritten ones or clear skies. How small a difference counts is measured on the data: handwritten
ones lie closer together than two scans of the same photograph, so a bound that suits photographs would merge them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Ints = npt.NDArray[np.int64]

SIDE = 8  # of a thumbnail
CHUNK = 4096  # samples held at once
COMPONENTS = 16  # of the thumbnails, hashed
BANDS = 8  # independent hashes: a pair is compared where it agrees in one of them
REACH = 48  # neighbours compared within a bucket
LOWEST, HIGHEST = 0.08, 0.25  # limits of the bound on a near pair's distance, the difference over the contrast
QUERIES, SEARCHED = 256, 200_000  # samples whose nearest neighbours are measured, and among how many


def exact(samples: Array) -> Ints:
    """Number each sample [N] by its content: equal numbers, equal samples."""
    keys = np.empty(len(samples), np.uint64)
    for index, sample in enumerate(samples):
        keys[index] = int.from_bytes(hashlib.blake2b(sample.tobytes(), digest_size=8).digest(), "little")
    return np.unique(keys, return_inverse=True)[1].astype(np.int64)


def thumbnails(images: Array) -> Array:
    """Block means uint8 [N, C, 8, 8] of uint8 images [N, C, R, R], R a multiple of 8."""
    small = np.empty((len(images), images.shape[1], SIDE, SIDE), np.uint8)
    for part in _parts(len(images)):
        small[part] = np.rint(pool(images[part], images.shape[-1] // SIDE))
    return small


def pool(images: Array, factor: int) -> Array:
    """Means over blocks of `factor` x `factor` pixels: float32 [N, C, H/factor, W/factor]."""
    count, channels, height, width = images.shape
    blocks = images.reshape(count, channels, height // factor, factor, width // factor, factor)
    return np.asarray(blocks.mean(axis=(3, 5), dtype=np.float32))


def near(images: Array, small: Array, same: Ints) -> Ints:
    """Group near-duplicates: int64 [N], from the images, their thumbnails and the numbers `exact` gave them."""
    first = np.unique(same, return_index=True)[1]  # one sample for each content
    limit = bound(images, first)
    left, right = _candidates(small[first].reshape(len(first), -1), limit)
    keep = np.zeros(len(left), bool)
    for part in _parts(len(left)):
        keep[part] = distance(images[first[left[part]]], images[first[right[part]]]) <= limit
    return _components(len(first), left[keep], right[keep])[same]


def distance(one: Array, other: Array) -> Array:
    """Of pairs of images uint8 [N, C, R, R]: the difference over the contrast of the fainter one, by norm."""
    first, second = _coarse(one), _coarse(other)
    contrast = np.minimum(first.var(axis=1), second.var(axis=1))
    return np.asarray(np.sqrt(((first - second) ** 2).mean(axis=1) / np.maximum(contrast, 1e-9)))


def bound(images: Array, among: Ints) -> float:
    """The distance below which two images of these data repeat one another rather than resemble.

    Well below the distances at which images have their nearest neighbours: 0.3 of the median and half the 20th part.
    """
    among = among[:: max(1, len(among) // SEARCHED)]
    chosen = among[:: max(1, len(among) // QUERIES)][:QUERIES]
    queries = _coarse(images[chosen])
    nearest = np.full(len(queries), np.inf, np.float32)
    for part in _parts(len(among)):
        others = _coarse(images[among[part]])
        squares = (
            (queries**2).mean(axis=1)[:, None] + (others**2).mean(axis=1) - 2 / others.shape[1] * queries @ others.T
        )
        ratio = squares / np.maximum(np.minimum(queries.var(axis=1)[:, None], others.var(axis=1)), 1e-9)
        ratio[chosen[:, None] == among[part]] = np.inf
        nearest = np.minimum(nearest, ratio.min(axis=1))
    usual = np.sqrt(np.maximum(nearest[np.isfinite(nearest)], 0))
    if not len(usual):
        return LOWEST
    return float(np.clip(min(0.3 * np.median(usual), 0.5 * np.quantile(usual, 0.05)), LOWEST, HIGHEST))


def _coarse(images: Array) -> Array:
    """Images as float32 [N, d], at most 16 pixels a side: compression and scaling change the finest detail most."""
    return pool(images, max(1, images.shape[-1] // 16)).reshape(len(images), -1)


def named(groups: Ints, names: Sequence[str], most: int = 20) -> tuple[tuple[str, ...], ...]:
    """The first groups of more than one sample, by name (or number)."""
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(groups[order]) != 0])
    several = [part for part in np.split(order, starts[1:])[:] if len(part) > 1] if len(starts) < len(groups) else []
    several.sort(key=lambda part: int(part[0]))
    return tuple(tuple(names[i] if names else f"#{i}" for i in part) for part in several[:most])


def _candidates(small: Array, limit: float) -> tuple[Ints, Ints]:
    """Pairs of thumbnails [N, d] nearer than `limit`, each once, left < right."""
    count = len(small)
    codes, spread = _projected(small)
    energy = np.concatenate([small[part].var(axis=1) * small.shape[1] for part in _parts(count)])  # about the own mean
    bits = int(np.clip(np.log2(max(count, 2)) - 1, 1, 20))
    generator = np.random.default_rng(0)
    found = np.empty(0, np.int64)
    for _ in range(BANDS):
        planes = generator.standard_normal((codes.shape[1], bits)).astype(np.float32) / spread[:, None]
        keys = (codes @ planes > 0) @ (1 << np.arange(bits))
        pairs = _neighbours(keys, codes, (limit * limit * energy + 0.25 * small.shape[1]).astype(np.float32))
        found = np.union1d(found, pairs)
    left, right = found // count, found % count
    keep = np.zeros(len(left), bool)
    for part in _parts(len(left)):
        difference = small[left[part]].astype(np.float32) - small[right[part]]
        allowed = limit**2 * np.minimum(energy[left[part]], energy[right[part]])
        # half a grey level of rounding in each thumbnail is no difference
        keep[part] = (difference**2).sum(axis=1) <= allowed + 0.25 * small.shape[1]
    return left[keep], right[keep]


def _neighbours(keys: Ints, codes: Array, allowed: Array) -> Ints:
    """Pairs of one bucket, `REACH` apart at most, whose codes differ by no more than allowed; as left * N + right."""
    count = len(keys)
    order = np.lexsort((codes[:, -1], keys))
    found = [np.empty(0, np.int64)]
    for shift in range(1, min(REACH, count - 1) + 1):
        same = keys[order[:-shift]] == keys[order[shift:]]
        if not same.any():
            break
        one, other = order[:-shift][same], order[shift:][same]
        near = ((codes[one] - codes[other]) ** 2).sum(axis=1) <= np.minimum(allowed[one], allowed[other])
        found.append(np.minimum(one, other)[near] * count + np.maximum(one, other)[near])
    return np.concatenate(found)


def _projected(small: Array) -> tuple[Array, Array]:
    """Coordinates of thumbnails [N, d] along their leading principal components, and the deviation along each.

    The axes are orthonormal, so coordinates never lie further apart than the thumbnails.
    """
    sample = small[:: max(1, len(small) // 20_000)].astype(np.float32)
    mean = sample.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov(sample - mean, rowvar=False, bias=True).reshape(small.shape[1], -1))
    basis = vectors[:, -COMPONENTS:].astype(np.float32)
    codes = np.concatenate([(small[part] - mean) @ basis for part in _parts(len(small))])
    return codes, np.sqrt(np.maximum(values[-COMPONENTS:], 1e-3)).astype(np.float32)


def _components(count: int, left: Ints, right: Ints) -> Ints:
    """Number the connected components of a graph: union-find with path halving."""
    parent = list(range(count))

    def root(node: int) -> int:
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for one, other in zip(left.tolist(), right.tolist(), strict=True):
        low, high = sorted((root(one), root(other)))
        parent[high] = low
    roots = np.array([root(node) for node in range(count)], np.int64)
    return np.unique(roots, return_inverse=True)[1].astype(np.int64)


def _parts(count: int, size: int = CHUNK) -> Iterator[slice]:
    return (slice(start, min(start + size, count)) for start in range(0, count, size))
