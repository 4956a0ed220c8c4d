"""On a CUDA device: each kind of move and each part can be captured, and a deterministic run repeats bit by bit."""

import pytest
import torch

from contract import COMPUTING, batches, each, step_of
from equipoise import build, plan, runs
from equipoise.data import open_dataset
from equipoise.networks import layers
from plants import small_recipe
from small_runs import bits, images_file, planned, run

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]


@pytest.mark.parametrize("mixed", [False, True])
def test_each_kind_of_move_can_be_captured_and_replayed(mixed):
    recipe = small_recipe(terms={"r1": {"gamma": 0.5, "every": 2}}, mixed=mixed)
    pair = build.players(recipe, (1, 8, 8), 0)
    captured = build.assemble(recipe, *pair, torch.device("cuda"))
    images = torch.randint(256, (8, 1, 8, 8), dtype=torch.uint8, device="cuda")
    kinds = [("D", frozenset({"r1"})), ("D", frozenset()), ("G", frozenset())]
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):  # the first moves make what later ones use again
        for role, due in kinds:
            captured.move(role, images, None, due)
    torch.cuda.current_stream().wait_stream(aside)
    graphs = {}
    for role, due in kinds:
        graphs[role, due] = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graphs[role, due]):
            captured.move(role, images, None, due)
    before = [p.clone() for network in captured.networks.values() for p in network.parameters()]
    for role, due in kinds * 3:
        graphs[role, due].replay()
    after = [p for network in captured.networks.values() for p in network.parameters()]
    assert all(torch.isfinite(p).all() for p in after)
    assert any(not torch.equal(old, new) for old, new in zip(before, after, strict=True))
    readings = captured.meter.read()
    assert readings["D.skipped"].mean == 0 and readings["D.loss"].n > 0
    captured.optimisers["G"].lr.zero_()  # a dial turned between replays is read by them
    frozen = [p.clone() for p in captured.networks["G"].parameters()]
    graphs["G", frozenset()].replay()
    assert all(torch.equal(old, new) for old, new in zip(frozen, captured.networks["G"].parameters(), strict=True))


@each(*COMPUTING)
def test_each_part_can_be_captured_and_replayed(entry):
    """A whole round with the part as one graph: what reads the host, or allocates out of turn, fails to be captured."""
    step, recipe = step_of(entry, torch.float32, "cuda")
    images, labels = (None if t is None else t.cuda() for t in batches(entry, recipe)())
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(4):  # so that the captured round is lookahead's fifth, which goes back
            step.round(1, lambda: (images, labels))
    torch.cuda.current_stream().wait_stream(aside)
    step.meter.read()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step.round(1, lambda: (images, labels))
    before = {role: [p.clone() for p in net.parameters()] for role, net in step.networks.items()}
    for _ in range(3):
        graph.replay()
    for role, network in step.networks.items():
        pairs = list(zip(before[role], network.parameters(), strict=True))
        assert all(torch.isfinite(new).all() for _, new in pairs)
        assert sum(not torch.equal(old, new) for old, new in pairs) > 0.5 * len(pairs)
    seen = step.meter.read()
    assert seen["D.skipped"].mean == 0 == seen["G.skipped"].mean and seen["D.skipped"].n == 3


def test_a_deterministic_run_repeats_bit_by_bit(tmp_path):
    source = images_file(tmp_path / "data.npz")
    for name in ("one", "two"):
        asked = plan.Request(
            source, "sngan", ("network.width=4", "batch=8", "r1.gamma=0.1", "r1.every=4"),
            kimg=0.4, device="cuda", deterministic=True,
        )  # fmt: skip
        runs.begin(plan.resolve(asked, open_dataset(source)), tmp_path / name)
    assert bits(tmp_path / "one") == bits(tmp_path / "two")


def test_a_run_that_is_steered_goes_on_from_its_checkpoint_bit_by_bit(tmp_path):
    settings = ("network.width=4", "batch=8", "r1.gamma=0.1", "r1.every=4")
    asked = planned(
        images_file(tmp_path / "data.npz"), settings, recipe="sngan", device="cuda", deterministic=True, balance="act"
    )
    run(tmp_path / "whole", asked)
    run(tmp_path / "parted", asked, [25])
    assert bits(tmp_path / "whole") == bits(tmp_path / "parted")


@pytest.mark.parametrize(
    ("recipe", "settings"),
    [
        ("sngan", ("network.width=4", "batch=8", "r1.gamma=0.1", "r1.every=4")),
        ("dcgan", ("network.width=8", "batch=16", "diffaugment.p=0.5")),
        ("baseline", ("network.width=16", "network.depth=1", "batch=8", "lookahead.every=3")),
    ],
)
def test_a_run_that_replays_graphs_is_the_run_to_the_bit(tmp_path, recipe, settings):
    source, told = images_file(tmp_path / "data.npz"), {}
    for captured in (True, False):
        asked = planned(
            source, (*settings, f"captured={captured}".lower()), recipe=recipe, device="cuda", deterministic=True,
            balance="act", kimg=0.6,
        )  # fmt: skip
        assert asked.config.recipe.captured is captured
        run(tmp_path / f"captured {captured}", asked)
        told[captured] = bits(tmp_path / f"captured {captured}")
    assert told[True] == told[False]
    run(tmp_path / "parted", planned(source, (*settings, "captured=true"), recipe=recipe, device="cuda",
        deterministic=True, balance="act", kimg=0.6), [20])  # fmt: skip
    assert bits(tmp_path / "parted") == told[True]


def test_a_penalty_takes_the_quick_way_and_is_the_same():
    layer = layers.convolution(32, 32, 3, groups=2).to("cuda", torch.float64)
    plain = torch.nn.Conv2d(32, 32, 3, padding=1, groups=2).to("cuda", torch.float64)
    plain.load_state_dict(layer.state_dict())
    images, found = torch.randn(4, 32, 8, 8, device="cuda", dtype=torch.float64), []
    for judge in (layer, plain):
        shown = images.clone().requires_grad_()
        gradient = torch.autograd.grad(judge(shown).tanh().sum(), shown, create_graph=True)[0]
        found.append(torch.autograd.grad(gradient.square().sum(), list(judge.parameters())))
    torch.testing.assert_close(*found)
    assert "Convolve" in str(layer(images).grad_fn.next_functions) and "Convolve" not in str(plain(images).grad_fn)
