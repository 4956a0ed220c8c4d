"""The examples' loops hold no more at a later look of the monitor than at an earlier one."""

from __future__ import annotations

import functools
import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import equipoise
from equipoise.balancer import Decision
from test_examples import load

STEPS = 31  # with looks at the first, the 11th, 21st and 31st


@pytest.fixture(autouse=True)
def only_what_is_new() -> Iterator[None]:
    """What there was before is left out of each collection, which takes a quarter of a second otherwise."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


class Held(TorchDispatchMode):
    """Storages made while it lasts that are still held, by Python or by a graph that Python does not see."""

    def __init__(self) -> None:
        super().__init__()
        self.made: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                self.made[storage._cdata] = StorageWeakRef(storage), storage.nbytes()
        return result

    def count(self) -> tuple[int, int]:
        """How many, and their bytes."""
        gc.collect()
        self.made = {key: one for key, one in self.made.items() if not one[0].expired()}
        return len(self.made), sum(size for _, size in self.made.values())


def held_at_looks(monkeypatch: pytest.MonkeyPatch, name: str, **asked: Any) -> list[tuple[int, int]]:
    """What an example holds after each look of its monitor."""
    held, found = Held(), []

    class Counting(equipoise.Monitor):
        def step(self, samples: int) -> Decision | None:
            decision = super().step(samples)
            if decision is not None:
                found.append(held.count())
            return decision

    monkeypatch.setattr(equipoise, "Monitor", Counting)
    with held:
        load(name).main(**asked)
    return found


@pytest.mark.parametrize(
    "name", ["bare_loop", "super_resolution", "vocoder", "vq_autoencoder", "lightning_loop", "accelerate_loop"]
)
def test_nothing_stays_from_look_to_look(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    length: dict[str, Any] = {"steps": STEPS}
    if name in ("lightning_loop", "accelerate_loop"):
        pytest.importorskip(name.removesuffix("_loop"))
        length = {"folder": tmp_path} | (length if name == "lightning_loop" else {"epochs": 1})
    looks = held_at_looks(monkeypatch, name, **length)
    assert len(looks) >= 4 and looks[0][0] > 50
    assert set(looks[1:]) == {looks[1]}  # at the first the balance of the loop is not yet kept


def plant_graph(output: torch.Tensor) -> None:
    """A hook that holds its own tensor, so that it is never freed, nor the graph behind it."""
    output.register_hook(lambda gradient, kept=output: None)


def plant_list(output: torch.Tensor, kept: list[torch.Tensor]) -> None:
    kept.append(output.detach())


@pytest.mark.parametrize("leak", [plant_graph, functools.partial(plant_list, kept=[])], ids=["a graph", "a list"])
def test_what_stays_would_be_seen(leak: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    observe = equipoise.Monitor.observe

    def leaking(self: equipoise.Monitor, player: str, **fields: Any) -> None:
        if player == "G":
            leak(fields["output"])
        observe(self, player, **fields)

    monkeypatch.setattr(equipoise.Monitor, "observe", leaking)
    looks = held_at_looks(monkeypatch, "bare_loop", steps=STEPS)
    made = 4 * 64 * 2  # bytes of a batch of points
    assert looks[-1][0] - looks[1][0] >= 20 and looks[-1][1] - looks[1][1] >= 20 * made
