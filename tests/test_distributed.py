"""Two processes with half of each batch against one process with all of it."""

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from equipoise import distributed
from equipoise.registry import find
from plants import batch_of, small_step, snapshot

ROUNDS, SIZE = 3, 8
MIXED = {"network": {"options": {"depth": 2}}, "loss": "rpgan", "terms": {"r1": {"gamma": 0.5}, "r2": {"gamma": 0.25}}}


def latents_of(number):
    return torch.empty(SIZE, 4, dtype=torch.float64).normal_(generator=torch.Generator().manual_seed(number))


def trained(rank, world, monkeypatch):
    """Moves on this rank's share of the images and of the latents, which are given instead of drawn."""
    step = small_step(**MIXED)
    share = slice(rank * SIZE // world, (rank + 1) * SIZE // world)
    for number in range(2 * ROUNDS):
        monkeypatch.setattr(torch, "randn", lambda *shape, n=number, **kinds: latents_of(n)[share].to(kinds["dtype"]))
        role = "DG"[number % 2]
        step.move(role, batch_of(step, number)[0][share], None, step.due(role))
        step.moves[role] += 1
    return step


def compared(rank, world):
    """A coupled loss and a term with memory on this rank's share of some logits: the averaged slope of one weight."""
    share = slice(rank * SIZE // world, (rank + 1) * SIZE // world)
    real, fake = (latents_of(n)[share, 0] for n in (1, 2))
    found = {}
    for name in ("relativistic-average", "relativistic-hinge", "relativistic-least-squares"):
        for role, side in zip("DG", find("loss", name).part[:2], strict=True):
            weight = torch.tensor(1.5, dtype=torch.float64, requires_grad=True)
            side(weight * real, weight.square() * fake).mean().backward()
            found[f"{name}.{role}"] = distributed.average_(weight.grad)
    lecam = find("term", "lecam").part().double()
    for factor in (1.0, 2.0):
        found[f"lecam.{factor}"] = distributed.average_(lecam(factor * real, factor * fake).mean())
    dragan, around = find("term", "dragan").part(), []
    dragan(real[:, None], lambda x: around.append((x - real[:, None]).abs().max().detach()) or x.sum(1))
    return found | dict(lecam.named_buffers()) | {"within": around[0]}


def worker(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    try:
        assert (distributed.rank(), distributed.world_size()) == (rank, 2)
        flat = torch.tensor([1.0 + rank, -3.0])
        assert distributed.average_(flat) is flat and flat.tolist() == [1.5, -3.0]
        kept = torch.tensor(float(rank))
        assert float(distributed.mean(kept)) == 0.5 and float(kept) == rank
        sent = [torch.full((2,), float(rank)), torch.tensor([rank])]
        distributed.broadcast_(sent)
        assert sent[0].tolist() == [0.0, 0.0] and sent[1].tolist() == [0]
        with pytest.MonkeyPatch.context() as monkeypatch:
            step = trained(rank, 2, monkeypatch)
        found = {"compared": compared(rank, 2), "state": snapshot(step), "norm": step.optimisers["D"].norm.clone()}
        bad = torch.rand(4, 1, 8, 8).double()
        bad[0, 0, 0, 0] = torch.nan if rank == 1 else 0.5
        step.meter.read()
        step.move("D", bad, None, step.due("D"))  # a fault on one rank: both must refuse, or they part for ever
        found["after"], found["skipped"] = snapshot(step), torch.tensor(step.meter.read()["D.skipped"].mean)
        torch.save(found, f"{folder}/{rank}.pt")
    finally:
        dist.destroy_process_group()


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    mp.spawn(worker, (str(folder),), nprocs=2)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


def test_two_halves_make_the_same_weights_moments_and_average_as_the_whole(two, monkeypatch):
    whole = trained(0, 1, monkeypatch)
    for name, value in snapshot(whole).items():
        for rank in range(2):
            torch.testing.assert_close(
                two[rank]["state"][name], value, rtol=0, atol=1e-9 if "average" not in name else 1e-6
            )
    assert float(two[0]["norm"]) == pytest.approx(float(whole.optimisers["D"].norm), rel=1e-9)
    start = snapshot(small_step(**MIXED))
    assert not torch.allclose(start["D.trunk.0.weight"], two[0]["state"]["D.trunk.0.weight"], atol=1e-5)


def test_the_ranks_stay_the_same_to_the_bit(two):
    for name, value in two[0]["state"].items():
        assert torch.equal(value, two[1]["state"][name]), name


def test_a_fault_on_one_rank_is_skipped_on_both(two):
    for rank in range(2):
        assert float(two[rank]["skipped"]) == 1.0
        for name, value in two[rank]["state"].items():
            assert torch.equal(value, two[rank]["after"][name]), name


def test_averages_over_the_batch_run_over_all_ranks_and_so_do_their_gradients(two):
    whole = compared(0, 1)
    assert all(value.abs().max() > 1e-3 for value in whole.values())
    for rank in range(2):
        for name, value in whole.items():
            if name != "within":  # drawn
                torch.testing.assert_close(two[rank]["compared"][name], value, rtol=1e-9, atol=1e-12)
        deviation = latents_of(1)[:, 0].std(unbiased=False)
        assert 0.25 * deviation < two[rank]["compared"]["within"] <= 0.5 * deviation


def test_alone_everything_is_the_identity():
    value = torch.tensor([1.0, 2.0])
    assert distributed.average_(value) is value and distributed.mean(value) is value
    distributed.broadcast_([value])
    assert value.tolist() == [1.0, 2.0]
    assert (distributed.rank(), distributed.world_size()) == (0, 1)
