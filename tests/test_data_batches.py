"""The order of the batches: exact from a number, whatever the workers, the rank and the place of resumption."""

import multiprocessing
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from equipoise.data import Batches, Dataset, Holdout, from_arrays, open_dataset
from equipoise.data.batches import Served
from equipoise.data.order import Order
from equipoise.errors import InputError

COUNT = 300


def numbered() -> Dataset:
    """Images that tell their number by the first two pixels and their side by the last."""
    images = np.random.default_rng(0).integers(0, 256, (COUNT, 1, 8, 8), dtype=np.uint8)
    images[:, 0, 0, 0], images[:, 0, 0, 1] = np.arange(COUNT) % 256, np.arange(COUNT) // 256
    return from_arrays(images, np.arange(COUNT) % 3)


DATA = numbered()
SPLIT = Holdout(DATA, seed=0)


def batches(**options: object) -> Batches:
    return Batches(DATA, SPLIT, **{"batch": 16, "seed": 4, "device": "cpu", **options})


def numbers(images: torch.Tensor) -> list[int]:
    return (images[:, 0, 0, 0].long() + 256 * images[:, 0, 0, 1].long()).tolist()


def test_an_epoch_shows_every_training_sample_once() -> None:
    order = Order(SPLIT, batch=10, seed=0, mirror=False)
    training = SPLIT.training(0)  # 270 samples: 27 batches of 10
    shown = np.concatenate([order(p) for p in range(len(training) // 10)])
    assert np.array_equal(np.sort(shown), training)
    following = np.concatenate([order(p) for p in range(len(training) // 10, 2 * len(training) // 10)])
    assert np.array_equal(np.sort(following), training) and not np.array_equal(shown, following)


def test_with_mirroring_an_epoch_shows_each_sample_both_ways() -> None:
    order = Order(SPLIT, batch=10, seed=0, mirror=True)
    training = SPLIT.training(0)
    shown = np.concatenate([order(p) for p in range(2 * len(training) // 10)])
    assert np.array_equal(np.sort(shown), np.r_[training, training + COUNT])


def test_no_batch_holds_what_is_held_out_then() -> None:
    order = Order(SPLIT, batch=64, seed=0, mirror=True)
    turns = set()
    for position in range(3 * SPLIT.period // 64):
        seen = position * 64
        turns.add(SPLIT.turn(seen))
        assert not np.isin(order(position) % COUNT, SPLIT.heldout(seen)).any()
    assert turns == {0, 1, 2}


def test_any_batch_follows_from_its_number_alone() -> None:
    inward = Order(SPLIT, batch=48, seed=9, mirror=True)
    everything = [inward(p) for p in range(300)]  # across two turns of the split
    for p in (299, 0, 124, 125, 126, 250, 7):
        assert np.array_equal(Order(SPLIT, batch=48, seed=9, mirror=True)(p), everything[p])
        assert np.array_equal(inward(p), everything[p])


def test_a_batch_larger_than_the_data() -> None:
    tiny = from_arrays(DATA.images[:5])
    order = Order(Holdout(tiny, 0), batch=64, seed=0, mirror=False)
    counts = np.bincount(order(0), minlength=5)
    assert sorted(counts) == [0, 16, 16, 16, 16]


def test_resuming_goes_on_exactly() -> None:
    whole = batches(mirror=True)
    served = [whole.next()[0] for _ in range(12)]
    assert whole.position == 12 and whole.samples == 12 * 16
    resumed = batches(mirror=True, position=7)
    assert all(torch.equal(resumed.next()[0], one) for one in served[7:])
    resumed.position = 3
    assert torch.equal(resumed.next()[0], served[3])


def test_samples_keep_their_labels_and_mirrored_ones_are_flipped() -> None:
    loop = batches(mirror=True)
    for _ in range(5):
        ids = loop._served.ids(loop.position)
        images, labels = loop.next()
        assert images.dtype == torch.uint8 and labels is not None and labels.dtype == torch.int64
        for image, label, number in zip(images, labels, ids, strict=True):
            plain = torch.from_numpy(np.array(DATA.images[number % COUNT]))
            assert torch.equal(image, plain.flip(-1) if number >= COUNT else plain)
            assert label == number % COUNT % 3


def test_ranks_share_each_batch() -> None:
    whole = batches().next()[0]
    parts = [batches(rank=rank, world=4).next()[0] for rank in range(4)]
    assert torch.equal(torch.cat(parts), whole) and len(parts[0]) == 4
    with pytest.raises(InputError, match="multiple of 3"):
        batches(world=3)


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_change_nothing(workers: int) -> None:
    plain = batches(mirror=True, position=5)
    torch.manual_seed(0)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    loop = batches(mirror=True, position=5, workers=workers)
    for _ in range(6):
        (images, labels), (expected, classes) = loop.next(), plain.next()
        assert torch.equal(images, expected) and torch.equal(labels, classes)
    loop.position = 2
    assert torch.equal(loop.next()[0], batches(mirror=True, position=2).next()[0])
    assert torch.equal(torch.get_rng_state(), before[0]) and np.array_equal(np.random.get_state()[1], before[1])
    assert multiprocessing.active_children()
    loop.close()
    assert not multiprocessing.active_children()


def test_heldout_and_training_draws() -> None:
    loop = batches()
    images, labels = loop.heldout(20, 0, seed=1)
    assert labels is not None and set(numbers(images)) <= set(SPLIT.heldout(0)) and len(set(numbers(images))) == 20
    assert torch.equal(images, loop.heldout(20, 0, seed=1)[0])
    assert not torch.equal(images, loop.heldout(20, 0, seed=2)[0])
    assert len(loop.heldout(100, 0)[0]) == 100  # more than there are: repeats
    assert set(numbers(loop.training(50, 0)[0])) <= set(SPLIT.training(0))
    assert loop.position == 0


def test_vectors_and_their_limits() -> None:
    ring = open_dataset("ring")
    images, labels = Batches(ring, Holdout(ring, 0), batch=8, seed=0, device="cpu").next()
    assert images.shape == (8, 2) and images.dtype == torch.float32 and labels is None
    with pytest.raises(InputError, match="mirrored"):
        Batches(ring, Holdout(ring, 0), batch=8, seed=0, device="cpu", mirror=True)


def test_a_memory_map_travels_by_name(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", DATA.images)
    mapped = open_dataset(str(tmp_path / "x.npy"), cache=tmp_path / "cache")
    served = Served(mapped, Order(SPLIT, batch=16, seed=0, mirror=True), 0, 1)
    parcel = pickle.dumps(served)
    assert len(parcel) < 10_000 + 3 * 8 * COUNT
    assert torch.equal(pickle.loads(parcel)[3][0], served[3][0])


@pytest.mark.gpu
def test_on_the_device_the_batches_are_the_same() -> None:
    here, there = batches(mirror=True), batches(mirror=True, device="cuda")
    assert there._resident is not None
    for _ in range(5):
        assert torch.equal(here.next()[0], there.next()[0].cpu())
    assert torch.equal(here.heldout(20, 0)[0], there.heldout(20, 0)[0].cpu())


@pytest.mark.gpu
def test_data_too_large_for_the_device_are_prefetched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("equipoise.data.batches.SHARE", 0.0)
    here, there = batches(mirror=True), batches(mirror=True, device="cuda", workers=2)
    assert there._resident is None
    for _ in range(5):
        assert torch.equal(here.next()[0], there.next()[0].cpu())
    there.close()
