"""What is made as usual, what is recorded, and what a replay is given."""

import contextlib
import dataclasses

import pytest
import torch

from equipoise import GAN, fine_tune, plan, registry, runs, speed
from equipoise import train as training
from equipoise.data import from_arrays
from equipoise.errors import InputError
from equipoise.replays import USUAL, Graphs, Replays
from equipoise.terms.approximate_r1 import ApproximateR1
from equipoise.train import start
from plants import small_step
from small_runs import after, images_file, planned, run

NONE = frozenset()


@pytest.fixture(autouse=True)
def no_parts_of_other_tests(monkeypatch):
    registry.entries()
    kept = {key: entry for key, entry in registry._entries.items() if entry.ours or key[0] == "preset"}
    monkeypatch.setattr(registry, "_entries", kept)


class SomebodysTerm(ApproximateR1):
    """A term that this package knows nothing of."""


class Spy:
    """Notes moves, and what they were given; its `record` is as a graph's: recorded once, made again and again."""

    def __init__(self):
        self.usual, self.recorded, self.given, self.paced = 0, 0, [], False
        self.replays = Replays(self.make, lambda role: self.paced, self.record)

    def make(self, role, images, labels, due):
        self.usual += 1
        self.given.append((role, images.sum().item(), None if labels is None else labels.sum().item(), due))

    def record(self, move):
        self.recorded += 1
        return move


def test_a_kind_of_move_is_recorded_after_its_first_few():
    spy = Spy()
    batches = [(torch.full((2, 3), float(number)), torch.tensor([number, 0])) for number in range(6)]
    for number, (images, labels) in enumerate(batches):
        spy.replays("D", images, labels, NONE)
        assert spy.recorded == (number >= USUAL)
    assert [images[0, 0].item() for images, _ in batches] == list(range(6))  # they are the loop's, and stay as they are
    assert spy.given == [("D", 6.0 * n, n, NONE) for n in range(6)]  # each saw the batch that was meant for it


def test_kinds_are_told_apart_by_player_terms_shapes_and_what_else_a_move_depends_on():
    spy, images = Spy(), torch.zeros(2, 3)
    kinds = [
        ("D", images, None, NONE), ("G", images, None, NONE), ("D", images, None, frozenset({"r1"})),
        ("D", torch.zeros(4, 3), None, NONE), ("D", images.to(torch.uint8), None, NONE),
        ("D", images, torch.zeros(2, dtype=torch.long), NONE),
    ]  # fmt: skip
    for number, kind in enumerate(kinds):
        for _ in range(USUAL):
            spy.replays(*kind)
        assert spy.recorded == number
        spy.replays(*kind)
    spy.paced = True
    for _ in range(USUAL):
        spy.replays(*kinds[0])
    assert spy.recorded == len(kinds)
    spy.replays(*kinds[0])
    assert spy.recorded == len(kinds) + 1


def test_a_step_that_replays_is_the_step():
    """With a recorder that makes the move again: the same weights as without, to the bit, and no batch is kept."""
    weights = []
    for replayed in (False, True):
        torch.manual_seed(0)
        step = small_step(terms={"r1": {"gamma": 0.5, "every": 2}})
        if replayed:
            step.replays = step._replays(lambda move: move)
        for number in range(12):
            images = torch.full((8, 1, 8, 8), 20 * number, dtype=torch.uint8)
            step.round(1, lambda images=images: (images, None))
        weights.append([p.detach().clone() for p in step.networks["G"].parameters()])
        assert not replayed or step.replays.recorded == 3
    assert all(map(torch.equal, *weights))


@pytest.mark.parametrize(
    ("error", "seen", "reason"),
    [
        (RuntimeError("operation not permitted\nwhen stream is capturing"), InputError, "operation not permitted"),
        (RuntimeError(), InputError, "RuntimeError"),
        (torch.OutOfMemoryError("CUDA out of memory"), torch.OutOfMemoryError, ""),
        (RuntimeError("CUDA error: out of memory"), RuntimeError, ""),
    ],
)
def test_what_cannot_be_captured_is_said_and_a_lack_of_memory_is_not_taken_for_it(monkeypatch, error, seen, reason):
    class Graph:
        def pool(self):
            return 0

    def move():
        raise error

    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    for name in ("graph", "device", "Stream", "current_stream", "set_stream"):
        monkeypatch.setattr(torch.cuda, name, lambda *given, **asked: contextlib.nullcontext())
    with pytest.raises(seen) as told:
        Graphs(torch.device("cuda:1"))(move)
    if seen is InputError:
        assert f"CUDA graph ({reason})" in str(told.value) and "captured=false" in str(told.value)


def test_moves_are_captured_on_cuda_unless_somebody_says_otherwise(monkeypatch):
    data = from_arrays(torch.randint(256, (64, 1, 8, 8), dtype=torch.uint8).numpy())

    def chosen(**asked):
        config = plan.resolve(plan.Request("made", "dcgan", **asked), data).config
        return config.recipe.captured, config.recipe.mixed, config.origin["captured"]

    assert chosen(device="cpu") == (False, False, plan.BY_DEVICE)
    with pytest.raises(InputError, match="captured=true replays CUDA graphs, and the device is cpu"):
        chosen(device="cpu", settings=("captured=true",))
    monkeypatch.setattr(plan, "choose_device", lambda name: "cuda")
    assert chosen() == (True, True, plan.BY_DEVICE)
    assert chosen(settings=("captured=false",))[:2] == (False, True)
    config = plan.resolve(plan.Request("made", "dcgan"), data).config
    assert not plan.on_device(config, "cpu").recipe.captured


def test_parts_that_somebody_else_registered_are_not_captured_unless_asked_for(monkeypatch):
    part = dataclasses.replace(registry.find("term", "r1"), name="mine", part=SomebodysTerm)
    monkeypatch.setitem(registry._entries, ("term", "mine"), part)
    monkeypatch.setattr(plan, "choose_device", lambda name: "cuda")
    data = from_arrays(torch.randint(256, (64, 1, 8, 8), dtype=torch.uint8).numpy())
    started = dataclasses.replace(registry.find("initialisation", "orthogonal"), name="begun", part=SomebodysTerm)
    monkeypatch.setitem(registry._entries, ("initialisation", "begun"), started)
    for own in ("mine.gamma=1", "network.init=orthogonal+begun"):
        for settings, captured in (((), False), (("captured=true",), True)):
            config = plan.resolve(plan.Request("made", "dcgan", (own, *settings)), data).config
            assert config.recipe.captured is captured
    assert not part.ours and registry.find("term", "r1").ours and registry.find("loss", "hinge").ours


def test_networks_of_ones_own_are_not_captured_unless_asked_for(monkeypatch):
    images = torch.randint(256, (64, 1, 8, 8), dtype=torch.uint8).numpy()
    data = from_arrays(images)
    donor = small_step(dtype=torch.float32)
    gan = GAN("dcgan", generator=donor.networks["G"], discriminator=donor.networks["D"])
    monkeypatch.setattr(plan, "choose_device", lambda name: "cuda")
    for settings, captured in (((), False), (("captured=true",), True)):
        planned = plan.resolve(plan.Request("made", "dcgan", settings), data).config
        assert gan._for_own(planned, data).recipe.captured is captured


def test_networks_of_ones_own_stay_uncaptured_when_they_are_loaded_elsewhere(monkeypatch):
    data = from_arrays(torch.randint(256, (64, 1, 8, 8), dtype=torch.uint8).numpy())
    donor = small_step(dtype=torch.float32)
    gan = GAN("dcgan", generator=donor.networks["G"], discriminator=donor.networks["D"])
    monkeypatch.setattr(plan, "choose_device", lambda name: "cuda")
    own = gan._for_own(plan.resolve(plan.Request("made", "dcgan"), data).config, data)
    assert plan.on_device(own, "cuda").recipe.captured is False and plan.on_device(own, "cpu").recipe.mixed is False


@pytest.mark.parametrize("devices", [("cuda", "cpu"), ("cpu", "cuda")])
def test_a_fine_tuned_run_follows_its_own_device(monkeypatch, tmp_path, devices):
    data = from_arrays(torch.randint(256, (64, 1, 8, 8), dtype=torch.uint8).numpy())
    monkeypatch.setattr(plan, "choose_device", lambda name: devices[0])
    plan.resolve(plan.Request("made", "dcgan"), data).config.write(tmp_path)
    monkeypatch.setattr(plan, "choose_device", lambda name: devices[1])
    recipe = plan.resolve(fine_tune.ask(plan.Request("made"), tmp_path), data).config.recipe
    assert recipe.captured is recipe.mixed is (devices[1] == "cuda")


def replaying(record, steps):
    """What makes the parts of a run whose moves are recorded, as on CUDA; its steps are kept in the list."""

    def begun(*given):
        step, dials, batches = start(*given)
        step.replays = step._replays(record)
        steps.append(step)
        return step, dials, batches

    return begun


def test_a_speed_counts_looks_beside_moves_that_are_replayed(monkeypatch):
    data = from_arrays(torch.randint(256, (64, 1, 8, 8), dtype=torch.uint8).numpy())
    settings = ("network.name=mlp", "network.width=8", "batch=8", "r1.gamma=0.1", "r1.every=4")
    config = plan.resolve(plan.Request("made", "digits", settings, device="cpu"), data).config
    steps = []
    monkeypatch.setattr(speed, "start", replaying(lambda move: move, steps))
    monkeypatch.setattr(speed, "_look", lambda *given: 0.0)
    quick = speed.measure_speed(config, data, seconds=0.2)
    monkeypatch.setattr(speed, "_look", lambda *given: 10.0)  # for 4,000 images
    assert speed.measure_speed(config, data, seconds=0.2) < 400 < quick
    assert [step.replays for step in steps] == [None, None]  # nothing of them is kept
    monkeypatch.undo()
    step, dials, batches = start(config, data, None)
    assert 0 < speed._look(step, dials, batches, config) < 10
    batches.close()


def test_what_failed_is_kept_where_a_graph_may_write_it():
    step = small_step()
    for size in (8, 4, 8):
        step.round(1, lambda size=size: (torch.zeros(size, 1, 8, 8, dtype=torch.uint8), None))
        if size == 8 and step.moves["D"] == 1:
            first = step.failed["D"][0]
    assert step.failed["D"][0] is first


def test_a_run_is_resumed_with_or_without_graphs(tmp_path):
    asked = planned(images_file(tmp_path / "data.npz"))
    runs.begin(asked, tmp_path / "run", stop=after(3))
    with pytest.raises(InputError, match="captured=true replays CUDA graphs, and the device is cpu"):
        runs.resume(tmp_path / "run", captured=True)
    assert not runs.resume(tmp_path / "run", captured=False).interrupted


def test_a_speed_is_of_what_comes_after_the_recording(monkeypatch):
    data = from_arrays(torch.randint(256, (64, 1, 8, 8), dtype=torch.uint8).numpy())
    settings = ("network.name=mlp", "network.width=8", "batch=8", "r1.gamma=0.1", "r1.every=4")
    config = plan.resolve(plan.Request("made", "digits", settings, device="cpu"), data).config
    clock = [0.0]

    def record(move):
        clock[0] += 100  # seconds
        return move

    def moved(step, tempo, batches, move=speed.both_move):
        clock[0] += 1
        return move(step, tempo, batches)

    monkeypatch.setattr(speed, "start", replaying(record, []))
    monkeypatch.setattr(speed, "both_move", moved)
    monkeypatch.setattr(speed, "_look", lambda *given: 0.0)
    monkeypatch.setattr(speed.time, "monotonic", lambda: clock[0])
    assert speed.measure_speed(config, data, seconds=5.0) == 8  # images a second


def test_graphs_are_let_go_of_when_training_ends(monkeypatch, tmp_path):
    steps = []
    monkeypatch.setattr(training, "start", replaying(lambda move: move, steps))
    run(tmp_path / "run", planned(images_file(tmp_path / "data.npz")))
    assert len(steps) == 1 and steps[0].replays is None


@pytest.mark.parametrize("captured", [True, False])
def test_a_lack_of_memory_names_graphs_where_there_are_any(captured):
    data = from_arrays(torch.randint(256, (64, 1, 8, 8), dtype=torch.uint8).numpy())
    config = plan.resolve(plan.Request("made", "dcgan", device="cpu"), data).config
    recipe = config.recipe.with_values({"captured": captured})
    with (
        pytest.raises(InputError) as told,
        training.explained(dataclasses.replace(config, device="cuda", recipe=recipe)),
    ):
        raise torch.OutOfMemoryError("CUDA out of memory")
    assert ("set captured=false" in str(told.value)) is captured
