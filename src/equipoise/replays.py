"""Moves replayed as CUDA graphs: the device runs a small step's kernels faster than the host can launch them.

Each kind of move is made as usual a few times, then recorded once and replayed from there on. A move reads and changes
tensors that stay where they are and nothing of the host, which is what makes it the same when it is replayed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from equipoise.errors import InputError
from equipoise.turn import Role

USUAL = 3  # moves of a kind before it is recorded: they make what later ones use again, and choose algorithms

Make = Callable[[Role, Tensor, Tensor | None, frozenset[str]], None]  # a move: whose, images, labels, terms due
Recorder = Callable[[Callable[[], None]], Callable[[], None]]


class Replays:
    """Makes moves, by replaying them where they are of a kind that was recorded."""

    def __init__(
        self,
        make: Make,
        state: Callable[[Role], Any],  # what else of the host a move depends on, hashable
        record: Recorder,  # takes what makes a move, returns what makes it again
    ) -> None:
        self._make, self._state, self._record = make, state, record
        self._made: dict[Any, int] = {}
        self._recorded: dict[Any, tuple[list[Tensor], Callable[[], None]]] = {}

    @property
    def recorded(self) -> int:
        """How many kinds of move are recorded by now."""
        return len(self._recorded)

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

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream: torch.cuda.Stream | None = None
        self._pool: Any = None

    def __call__(self, move: Callable[[], None]) -> Callable[[], None]:
        """Record a move, without making it; returns what makes it."""
        with torch.cuda.device(self._device):  # a graph belongs to one device, and is replayed there
            graph, before = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
            self._stream = self._stream or torch.cuda.Stream()
            try:
                # other threads, such as one that pins batches, may go on calling CUDA meanwhile
                with torch.cuda.graph(graph, self._pool, self._stream, capture_error_mode="thread_local"):
                    move()
            except RuntimeError as error:
                torch.cuda.set_stream(before)
                cause = error.__context__ if isinstance(error.__context__, RuntimeError) else error
                if isinstance(cause, torch.OutOfMemoryError) or "out of memory" in str(cause):
                    raise cause from None
                told = str(cause).partition("\n")[0] or type(cause).__name__
                raise InputError(
                    f"a move could not be captured as a CUDA graph ({told}), since something in "
                    "it waits for the device or changes from move to move; set captured=false, in a new process"
                ) from None
            self._pool = graph.pool()

        def replay() -> None:
            with torch.cuda.device(self._device):
                graph.replay()

        return replay
