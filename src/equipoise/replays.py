"""Moves replayed as CUDA graphs: the device runs a small step's kernels faster than the host can launch them.

Each kind of move is made as usual a few times, then recorded once and replayed from there on. A move reads and changes
tensors that stay where they are and nothing of the host, which is what makes it the same when it is replayed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from equipoise.errors import TrainingFailed
from equipoise.turn import Role

USUAL = 3  # moves of a kind before it is recorded: they make what later ones use again, and choose algorithms

Make = Callable[[Role, Tensor, Tensor | None, frozenset[str]], None]  # a move: whose, images, labels, terms due
Recorder = Callable[[Callable[[], None]], Callable[[], None]]


class Uncaptured(TrainingFailed):
    """A move cannot be captured. What lies on the device is not to be read after it."""


class Replays:
    """Makes moves, by replaying them where they are of a kind that was recorded."""

    def __init__(
        self,
        make: Make,
        state: Callable[[Role], Any],  # what else of the host a move depends on, hashable
        record: Recorder | None = None,  # None: as CUDA graphs
    ) -> None:
        self._make, self._state, self._record = make, state, record or Graphs()
        self._made: dict[Any, int] = {}
        self._recorded: dict[Any, tuple[list[Tensor], Callable[[], None]]] = {}

    def __call__(self, role: Role, images: Tensor, labels: Tensor | None, due: frozenset[str]) -> None:
        """Make one move: as usual, or by a replay over these images and labels."""
        given = [images] if labels is None else [images, labels]
        kind = (role, due, self._state(role), *((t.shape, t.dtype, t.stride()) for t in given))
        if kind not in self._recorded:
            self._made[kind] = self._made.get(kind, 0) + 1
            if self._made[kind] <= USUAL:
                self._make(role, images, labels, due)
                return
            held = [tensor.clone() for tensor in given]
            replay = self._record(lambda: self._make(role, held[0], None if labels is None else held[1], due))
            self._recorded[kind] = held, replay
        held, replay = self._recorded[kind]
        torch._foreach_copy_(held, given)
        replay()


class Graphs:
    """Records as CUDA graphs, which share their memory: one runs at a time, and none leaves anything there."""

    def __init__(self) -> None:
        self._pool: Any = None

    def __call__(self, move: Callable[[], None]) -> Callable[[], None]:
        """Record a move, without making it; returns what makes it."""
        graph = torch.cuda.CUDAGraph()
        try:
            # other threads, such as one that pins batches, may go on calling CUDA meanwhile
            with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
                move()
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            raise Uncaptured(
                f"a move could not be captured as a CUDA graph ({str(error).splitlines()[0]}), since something in it "
                "waits for the device or changes from move to move; set captured=false"
            ) from None
        self._pool = graph.pool()
        replay: Callable[[], None] = graph.replay
        return replay
