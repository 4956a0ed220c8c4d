"""Endless training batches whose whole state is one integer: how many have been served."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import numpy as np

from equipoise.data.dataset import Dataset
from equipoise.data.holdout import Holdout, Ints
from equipoise.data.order import STREAM, Order
from equipoise.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch
    from torch import Tensor

SHARE = 0.4  # of the free memory of a GPU that the data may take


class Served:
    """Batches by number, on the host; the whole of what a worker process holds."""

    def __init__(self, dataset: Dataset, order: Order, rank: int, world: int) -> None:
        self.images, self.labels, self.order, self.rank, self.world = dataset.images, dataset.labels, order, rank, world

    def ids(self, position: int) -> Ints:
        """This rank's share of batch `position`."""
        share = self.order.batch // self.world
        return self.order(position)[self.rank * share : (self.rank + 1) * share]

    def __getitem__(self, position: int) -> tuple[Tensor, Tensor | None]:
        return self.gather(self.ids(position))

    def gather(self, ids: Ints) -> tuple[Tensor, Tensor | None]:
        """Samples and labels on the host."""
        import torch

        index, flipped = ids % len(self.images), ids >= len(self.images)
        images = np.array(self.images[index])  # a copy out of the memory map
        if flipped.any():
            images[flipped] = images[flipped][..., ::-1]
        labels = None if self.labels is None else torch.from_numpy(self.labels[index])
        return torch.from_numpy(images), labels

    def __getstate__(self) -> dict[str, Any]:
        """A memory map travels to a spawned worker as the name of its file."""
        state = self.__dict__.copy()
        if isinstance(self.images, np.memmap) and self.images.filename is not None:
            state["images"] = (self.images.filename, self.images.dtype, self.images.offset, self.images.shape)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if isinstance(self.images, tuple):
            name, dtype, offset, shape = self.images
            self.images = np.memmap(name, dtype=dtype, mode="r", offset=offset, shape=shape)


class Batches:
    """Endless batches of training samples; `position`, the number served, is the whole state.

    `batch` counts the samples over all ranks; each rank receives its consecutive part. The samples served are
    `samples`, and that is the clock by which a rotating split turns: at any moment `next()` holds none of
    `holdout.heldout(batches.samples)`. No random number is drawn from any global generator.
    """

    def __init__(
        self,
        dataset: Dataset,
        holdout: Holdout,
        *,
        batch: int,  # samples, over all ranks
        seed: int,
        device: torch.device | str = "cpu",
        mirror: bool = False,  # show every sample flipped as often as not
        workers: int = 0,  # processes that prefetch; ignored where the data fit on the device
        position: int = 0,  # batches served before, when resuming
        rank: int = 0,
        world: int = 1,  # ranks
    ) -> None:
        import torch

        if batch < 1 or batch % world:
            raise InputError(f"a batch of {batch} cannot be shared by {world} ranks; give a multiple of {world}.")
        if mirror and len(dataset.shape) != 3:
            raise InputError("vectors cannot be mirrored; leave mirroring off.")
        self.dataset, self.holdout, self.batch = dataset, holdout, batch
        self.device, self.mirror, self._position = torch.device(device), mirror, position
        self._served = Served(dataset, Order(holdout, batch=batch, seed=seed, mirror=mirror), rank, world)
        self._resident = self._move() if _fits(dataset, self.device) else None
        self._workers = workers or (min(2, os.cpu_count() or 1) if self.device.type == "cuda" else 0)
        self._iterator: Iterator[Any] | None = None

    @property
    def position(self) -> int:
        """Batches served so far; setting it moves to that place."""
        return self._position

    @position.setter
    def position(self, position: int) -> None:
        if position != self._position:
            self.close()  # what the workers have prepared belongs elsewhere
        self._position = position

    @property
    def samples(self) -> int:
        """Samples served so far, over all ranks: the clock of the split."""
        return self.position * self.batch

    def next(self) -> tuple[Tensor, Tensor | None]:
        """The next batch: uint8 [B, C, H, W] or float32 [B, d], and labels int64 [B] or None, on the device."""
        if self._resident is not None:
            batch = self._pick(self._served.ids(self.position))
        elif self._workers:
            if self._iterator is None:
                self._iterator = self._start()
            batch = self._send(*next(self._iterator))
        else:
            batch = self._send(*self._served[self.position])
        self._position += 1
        return batch

    def heldout(self, count: int, samples_seen: int, seed: int = 0) -> tuple[Tensor, Tensor | None]:
        """`count` samples held out at this moment, on the device: without repeats while they last, mirrored or not
        by chance where training mirrors; the same for the same arguments."""
        return self._draw(self.holdout.heldout(samples_seen), count, seed)

    def training(self, count: int, samples_seen: int, seed: int = 0) -> tuple[Tensor, Tensor | None]:
        """The same of the samples that are trained on at this moment, to compare with `heldout`."""
        return self._draw(self.holdout.training(samples_seen), count, seed)

    def _draw(self, pool: Ints, count: int, seed: int) -> tuple[Tensor, Tensor | None]:
        generator = np.random.default_rng([STREAM, 1, seed])
        ids = np.concatenate([generator.permutation(pool) for _ in range(-(-count // len(pool)))])[:count]
        if self.mirror:
            ids = ids + len(self.dataset) * generator.integers(0, 2, len(ids))
        return self._pick(ids) if self._resident is not None else self._send(*self._served.gather(ids))

    def leave_out(self, rows: Ints) -> None:
        """Serve these rows no more."""
        self.holdout.leave_out(rows)
        self._served.order.forget()
        self.close()

    def close(self) -> None:
        """End the worker processes; `next` would start new ones."""
        self._iterator = None

    def _move(self) -> tuple[Tensor, Tensor | None]:
        import torch

        images = torch.empty(self.dataset.images.shape, device=self.device, dtype=_dtype(self.dataset))
        for start in range(0, len(images), 8192):  # in parts: the host never holds a second copy
            images[start : start + 8192] = torch.from_numpy(np.array(self.dataset.images[start : start + 8192]))
        labels = self.dataset.labels
        return images, None if labels is None else torch.from_numpy(labels).to(self.device)

    def _pick(self, ids: Ints) -> tuple[Tensor, Tensor | None]:
        import torch

        assert self._resident is not None
        images, labels = self._resident
        chosen = torch.from_numpy(ids).to(self.device, non_blocking=True)
        index = chosen % len(images)
        batch = images[index]
        if self.mirror:
            batch = torch.where((chosen >= len(images))[:, None, None, None], batch.flip(-1), batch)
        return batch, None if labels is None else labels[index]

    def _send(self, images: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor | None]:
        images = images.to(self.device, non_blocking=True)
        return images, None if labels is None else labels.to(self.device, non_blocking=True)

    def _start(self) -> Iterator[Any]:
        import torch

        loader: Any = torch.utils.data.DataLoader(
            self._served,  # type: ignore[arg-type]  # a map from numbers to batches is all the loader asks for
            batch_size=None,
            sampler=_Positions(self.position),
            num_workers=self._workers,
            pin_memory=self.device.type == "cuda",
            prefetch_factor=4,
            worker_init_fn=_undisturbed,
            generator=torch.Generator().manual_seed(0),  # else the loader would draw from the global one
        )
        return iter(loader)


def _undisturbed(worker: int) -> None:
    """A signal to the whole group asks the trainer to stop, not the workers that it needs for its last batches."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


class _Positions:
    """The numbers from `start` on; a class, for the loader iterates its sampler anew and asks for no length."""

    def __init__(self, start: int) -> None:
        self.start = start

    def __iter__(self) -> Iterator[int]:
        position = self.start
        while True:
            yield position
            position += 1


def _fits(dataset: Dataset, device: torch.device) -> bool:
    """Whether the samples may lie on the device: a GPU with room; on the CPU the memory map is as good."""
    import torch

    if device.type != "cuda":
        return False
    free: int = torch.cuda.mem_get_info(device)[0]
    free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # held by PyTorch, and free
    return dataset.images.nbytes <= SHARE * free


def _dtype(dataset: Dataset) -> torch.dtype:
    import torch

    return torch.uint8 if dataset.images.dtype == np.uint8 else torch.float32
