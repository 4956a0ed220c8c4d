"""Samples that repeat one another, exactly or nearly, found without comparing every pair.

Exact: a hash of the pixels. Near: locality-sensitive hashing by random hyperplanes (Charikar 2002) over the leading
principal components of 8x8 thumbnails proposes pairs, and the pixels decide: hashes alone merge what only looks alike
from afar, such as handwritten ones or clear skies.
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
NEAR = 0.15  # of a near pair: the difference's norm over the images' own contrast


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
    left, right = _candidates(small[first].reshape(len(first), -1))
    keep = np.zeros(len(left), bool)
    for part in _parts(len(left)):
        keep[part] = alike(images[first[left[part]]], images[first[right[part]]])
    return _components(len(first), left[keep], right[keep])[same]


def alike(one: Array, other: Array, bound: float = NEAR) -> Array:
    """Whether pairs of images uint8 [N, C, R, R] are near-duplicates: bool [N].

    The norm of the difference, relative to the norm of the fainter image about its own mean; at 16 pixels a side from
    32 on, since a second compression or scaling changes the finest detail most.
    """
    factor = max(1, one.shape[-1] // 16)
    first, second = (pool(part, factor).reshape(len(part), -1) for part in (one, other))
    contrast = np.minimum(first.var(axis=1), second.var(axis=1))
    return np.asarray(((first - second) ** 2).mean(axis=1) <= bound**2 * contrast)


def named(groups: Ints, names: Sequence[str], most: int = 20) -> tuple[tuple[str, ...], ...]:
    """The first groups of more than one sample, by name (or number)."""
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(groups[order]) != 0])
    several = [part for part in np.split(order, starts[1:])[:] if len(part) > 1] if len(starts) < len(groups) else []
    several.sort(key=lambda part: int(part[0]))
    return tuple(tuple(names[i] if names else f"#{i}" for i in part) for part in several[:most])


def _candidates(small: Array) -> tuple[Ints, Ints]:
    """Pairs of thumbnails [N, d] worth comparing, each once, left < right."""
    count = len(small)
    codes = _whitened(small)
    bits = int(np.clip(np.log2(max(count, 2)) - 1, 1, 20))
    generator = np.random.default_rng(0)
    found = [np.empty(0, np.int64)]
    for _ in range(BANDS):
        planes = generator.standard_normal((codes.shape[1], bits)).astype(np.float32)
        keys = (codes @ planes > 0) @ (1 << np.arange(bits))
        order = np.lexsort((codes[:, 0], keys))
        for shift in range(1, min(REACH, count - 1) + 1):
            one, other = order[:-shift], order[shift:]
            bucket = keys[one] == keys[other]
            if not bucket.any():
                break
            found.append(_close(small, one[bucket], other[bucket]))
        found = [np.unique(np.concatenate(found))]
    pairs = found[0]
    return pairs // count, pairs % count


def _close(small: Array, one: Ints, other: Ints) -> Ints:
    """Of the proposed pairs, those whose thumbnails are near, as left * N + right."""
    left, right = np.minimum(one, other), np.maximum(one, other)
    keep = np.zeros(len(left), bool)
    for part in _parts(len(left), CHUNK * 8):
        first, second = small[left[part]].astype(np.float32), small[right[part]].astype(np.float32)
        contrast = np.minimum(first.var(axis=1), second.var(axis=1))
        # half a grey level of rounding in each thumbnail is no difference
        keep[part] = ((first - second) ** 2).mean(axis=1) <= NEAR**2 * contrast + 0.25
    return left[keep].astype(np.int64) * len(small) + right[keep]


def _whitened(small: Array) -> Array:
    """The leading principal components of thumbnails [N, d], each of unit variance: float32 [N, COMPONENTS]."""
    sample = small[:: max(1, len(small) // 20_000)].astype(np.float32)
    mean = sample.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov(sample - mean, rowvar=False, bias=True).reshape(small.shape[1], -1))
    basis = (vectors[:, -COMPONENTS:] / np.sqrt(np.maximum(values[-COMPONENTS:], 1e-3))).astype(np.float32)
    codes = np.empty((len(small), basis.shape[1]), np.float32)
    for part in _parts(len(small)):
        codes[part] = (small[part] - mean) @ basis
    return codes


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
