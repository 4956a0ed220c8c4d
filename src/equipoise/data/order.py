"""Which samples a batch has, by its number alone.

Batch number p begins at sample p * batch, and the held-out split at that moment holds for all of it. The
batches of one turn of the split run through epochs of its training samples, each epoch a permutation drawn from
(seed, turn, epoch); with mirroring every sample stands in an epoch twice, once flipped. A batch may join two epochs; a
new turn starts new epochs. So any batch follows from its number alone, whatever the workers, the device or the rank.
"""

from __future__ import annotations

import numpy as np

from equipoise.data.holdout import Holdout, Ints

STREAM = 0xBA7C4  # sets the order's random numbers apart from those of the split


class Order:
    """The samples of each batch; a sample's number plus N stands for its mirror image."""

    def __init__(self, holdout: Holdout, *, batch: int, seed: int, mirror: bool) -> None:
        self.holdout, self.batch, self.seed, self.mirror = holdout, batch, seed, mirror
        self._turn, self._pool = -1, np.empty(0, np.int64)
        self._epochs: dict[tuple[int, int], Ints] = {}

    def __call__(self, position: int) -> Ints:
        """Numbers of the samples in batch `position`: int64 [batch], in 0 to N-1, or 2N-1 with mirroring."""
        turn = self.holdout.turn(position * self.batch)
        pool = self._training(turn)
        start = (position - self._first(turn)) * self.batch
        places = np.arange(start, start + self.batch)
        parts = [
            self._epoch(turn, epoch)[places[places // len(pool) == epoch] % len(pool)]
            for epoch in range(start // len(pool), places[-1] // len(pool) + 1)
        ]
        return np.concatenate(parts)

    def forget(self) -> None:
        """Ask the split anew: it has changed."""
        self._turn, self._epochs = -1, {}

    def _first(self, turn: int) -> int:
        """The first batch that begins in this turn of the split."""
        return -(-turn * self.holdout.period // self.batch)

    def _training(self, turn: int) -> Ints:
        if turn != self._turn:
            pool = self.holdout.training(turn * self.holdout.period)
            self._turn, self._pool = turn, np.concatenate([pool, pool + self.holdout.count]) if self.mirror else pool
        return self._pool

    def _epoch(self, turn: int, epoch: int) -> Ints:
        if (turn, epoch) not in self._epochs:
            while len(self._epochs) >= 2:  # a batch joins at most two epochs, unless the data are fewer than a batch
                del self._epochs[next(iter(self._epochs))]
            generator = np.random.default_rng([STREAM, self.seed, turn, epoch])
            self._epochs[turn, epoch] = generator.permutation(self._pool)
        return self._epochs[turn, epoch]
