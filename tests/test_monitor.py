"""The monitor reads any loop: normalised signals, several discriminators, shares of gradients; it disturbs nothing."""

import functools
import gc
import itertools
import json
import math
import weakref
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

from equipoise import loops
from equipoise.actuators import Actuator
from equipoise.errors import InputError
from equipoise.monitor import Monitor, role_of
from equipoise.readiness import Readiness
from equipoise.sensors import probes
from equipoise.wires import wiring


def held(value=0.1):
    kept = {"p": value}
    return kept, Actuator("p", lambda: kept["p"], lambda x: kept.__setitem__("p", x), 0.0, 0.8)


def logits(real, fake, n=64):
    return torch.full((n,), float(real)), torch.full((n,), float(fake))


LOSSES = [
    ("non-saturating", 0, 0, 1.0),
    ("hinge", 0, 0, 1.0),
    ("least-squares", 0.5, 0.5, 1.0),
    ("rpgan", 3, 3, 1.0),
    ("hinge", 1, -1, 0.0),
]


@pytest.mark.parametrize(("loss", "real", "fake", "ideal"), LOSSES)
def test_losses_read_as_what_they_are(loss, real, fake, ideal):
    monitor = Monitor(loss=loss)
    one, two = logits(real, fake)
    monitor.observe("D", real_logits=one, fake_logits=two)
    assert monitor.step(64).signals["loss_D"] == pytest.approx(ideal, abs=1e-6)


def test_signals_of_several_discriminators_and_of_heads():
    monitor = Monitor(loss="hinge")
    monitor.observe(
        "mpd", real_logits=[torch.ones(8, 5), torch.ones(8)], fake_logits=[-torch.ones(8, 5), torch.ones(8)]
    )
    monitor.observe("msd", real_logits=torch.zeros(8), fake_logits=torch.ones(8))
    signals = monitor.step(8).signals
    assert signals["mpd/win_rate"] == 1.0 and signals["msd/win_rate"] == 0.0
    assert signals["win_rate"] == 0.5
    assert signals["mpd/loss_D"] == pytest.approx((0 + 2) / 2 / 2)  # heads weigh the same: 0 and 2, over the ideal 2


def test_batches_of_two_sizes():
    monitor = Monitor(loss="hinge")
    monitor.observe("D", real_logits=torch.ones(4, 1), fake_logits=torch.zeros(6, 1))
    monitor.observe("mpd", real_logits=[torch.ones(4, 5), torch.ones(4)], fake_logits=[torch.ones(6, 5), torch.ones(6)])
    signals = monitor.step(4).signals
    assert signals["win_rate"] == 0.75 and signals["mpd/win_rate"] == 0.5 and signals["mpd/loss_D"] == 1.0


def test_ticks_are_dense_at_first():
    monitor = Monitor()
    seen = []
    for step in range(300):
        monitor.observe("D", real_logits=torch.ones(100), fake_logits=torch.zeros(100))
        if monitor.step(100):
            seen.append(step + 1)
    assert seen[:4] == [1, 11, 21, 31] and max(b - a for a, b in itertools.pairwise(seen)) <= 40


def test_off_reads_nothing():
    monitor = Monitor(mode="off")
    monitor.observe("D", real_logits=torch.ones(4), fake_logits=torch.zeros(4))
    assert monitor.step(4) is None and not monitor.meters


def test_the_pull_at_the_output_is_that_of_each_sample():
    monitor, output = Monitor(), torch.randn(4, 3, requires_grad=True)
    monitor.observe("G", output=output)
    (2.0 * output).sum(1).mean().backward()
    assert monitor.step(4).signals["pull"] == pytest.approx(2 * math.sqrt(3))


def test_share_of_the_adversarial_gradient_and_what_it_costs():
    monitor = Monitor(anchored=True)
    for number, weight in enumerate((1.0, 3.0)):
        output = torch.randn(4, 3).requires_grad_(True)
        adversarial, reconstruction = (
            weight * output.sum(),
            (1 + number) * output.mul(1).sum() * 0 + 3 * output[:, 0].sum(),
        )
        monitor.observe("D", real_logits=torch.ones(4), fake_logits=torch.zeros(4))
        monitor.observe("G", output=output, adversarial=adversarial, reconstruction=reconstruction)
        (adversarial + reconstruction).backward()
        signals = monitor.step(40).signals if number == 0 else monitor._signals()
        a, b = weight * math.sqrt(12), 3 * math.sqrt(4)
        assert signals["adversarial_share"] == pytest.approx(a / (a + b))
    assert monitor.balancer.history.facts["anchored"] is True


def test_the_cost_is_told_from_where_the_adversarial_loss_came_in():
    monitor, told = Monitor(anchored=True), []
    for weight, reconstruction in ((0.0, 8.0), (0.0, 4.0), (1.0, 2.0), (1.0, 3.0), (0.0, 5.0)):
        output = torch.ones(4, 3).requires_grad_(True)
        held = reconstruction * output.mean()
        monitor.observe("D", real_logits=torch.ones(4), fake_logits=torch.zeros(4))
        monitor.observe("G", output=output, adversarial=weight * output.sum(), reconstruction=held)
        told.append(monitor.step(4000).signals["reconstruction"])
    shares = monitor.balancer.history.signals["adversarial_share"]
    assert [kimg for kimg, _ in shares] == [12, 16, 20] and shares[-1][1] == 0
    assert told == pytest.approx(
        [1, 1, 0.5, 0.75, 1.25]
    )  # over 4.0, the last before; that it went again changes nothing


def test_a_loss_that_goes_below_0_has_no_ratio():
    """An improving log-likelihood, from -1 to -5, would read as five times worse."""
    monitor, told = Monitor(anchored=True), []
    for value in (2.0, -1.0, -5.0, 3.0):
        output = torch.ones(4, 3, requires_grad=True) * 1
        monitor.observe("D", real_logits=torch.ones(4), fake_logits=torch.zeros(4))
        monitor.observe("G", output=output, adversarial=output.sum(), reconstruction=value * output.mean())
        told.append(monitor.step(4000).signals.get("reconstruction"))
    assert told == [1.0, None, None, None]


@pytest.mark.parametrize(("loss", "noted"), [("wasserstein", False), ("least-squares", False), ("hinge", True)])
def test_signs_are_believed_only_where_an_undecided_discriminator_says_0(loss, noted):
    monitor = Monitor(loss=loss)
    for _ in range(250):  # at the beginning any D is ahead
        monitor.observe("D", real_logits=torch.full((4,), 0.6), fake_logits=torch.full((4,), 0.4))  # near 0.5
        monitor.step(4)
    found = {one.name for one in monitor.verdict.findings}
    assert ("discriminator-memorises" in found) == noted


def test_steps_relative_to_the_weights_and_the_loop_undisturbed():
    def trained(monitor):
        torch.manual_seed(0)
        layer = nn.Linear(2, 1, bias=False)
        nn.init.constant_(layer.weight, 1.0)
        optimiser = torch.optim.SGD(layer.parameters(), lr=0.1)
        if monitor:
            monitor.follow("D", optimiser)
        for _ in range(3):
            optimiser.zero_grad()
            output = layer(torch.randn(4, 2))
            output.sum().backward()
            if monitor:
                monitor.observe("D", real_logits=output[:, 0], fake_logits=-output[:, 0])
            optimiser.step()
            if monitor and (decision := monitor.step(4)):
                found.append(decision.signals)
        return layer.weight.detach().clone(), torch.randn(1)

    found = []
    plain, watched = trained(None), trained(Monitor())
    assert all(torch.equal(a, b) for a, b in zip(plain, watched, strict=True))  # weights and the next random number
    torch.manual_seed(0)
    nn.Linear(2, 1, bias=False)
    gradient = torch.randn(4, 2).sum(0)
    after = torch.ones(2) - 0.1 * gradient
    assert found[0]["step_D"] == pytest.approx(float(0.1 * gradient.norm() / after.norm()), rel=1e-5)
    assert found[0]["gradient_D"] == pytest.approx(float(gradient.norm()), rel=1e-5)


@pytest.mark.parametrize(
    ("make", "gradients", "told"),
    [
        (
            functools.partial(torch.optim.Adam, betas=(0.5, 0.99)),
            [(3, 4), (4, 3), (3, 4)],
            (24 / 25 + 18.25 / 18.58258593) / 2,
        ),
        (functools.partial(torch.optim.Adam, betas=(0.0, 0.99)), [(3, 4), (4, 3), (3, 4)], 24 / 25),
        (functools.partial(torch.optim.SGD, momentum=0.5), [(3, 4), (-4, 3)], 0.0),
        (functools.partial(torch.optim.Adam, betas=(0.5, 0.99)), [(3, 4), (0, 0)], 0.0),
        (torch.optim.SGD, [(3, 4), (4, 3)], None),  # which keeps nothing of the past
    ],
)
def test_how_gradients_stand_to_the_earlier_ones_that_the_optimiser_keeps(make, gradients, told):
    weight = nn.Parameter(torch.ones(2))
    monitor, optimiser = Monitor(), make([weight], lr=0.1)
    monitor.follow("G", optimiser)
    for gradient in gradients:
        weight.grad = torch.tensor(gradient, dtype=torch.float32)
        optimiser.step()
    signals = monitor.step(4).signals
    assert signals.get("heading_G") == (told if told is None else pytest.approx(told, rel=1e-4, abs=1e-6))
    assert signals["nonfinite"] == 0


def test_on_tick_hears_of_what_was_set_before_the_first_update():
    heard = []
    monitor = Monitor(
        Readiness(), mode="act", loss="hinge", on_tick=lambda tick: heard.append((tick, [*tick.moves], monitor.verdict))
    )
    monitor.observe("D", real_logits=torch.ones(8), fake_logits=-torch.ones(8))
    made = monitor.step(8)
    ((decision, moves, verdict),) = heard
    assert decision is made and verdict is made.verdict  # the newest
    assert [move.text() for move in moves] == ["0 kimg: adversarial weight 1 -> 0, since D starts alone"]


def test_an_optimiser_in_a_wrapper_is_followed():
    """Accelerate's holds the optimiser that steps, and has no hooks of its own."""
    layer = nn.Linear(2, 1, bias=False)
    nn.init.constant_(layer.weight, 1.0)

    class Wrapper:
        optimizer = torch.optim.SGD(layer.parameters(), lr=0.5)

    monitor = Monitor()
    monitor.follow("D", Wrapper())
    layer.weight.grad = torch.tensor([[3.0, 4.0]])
    Wrapper.optimizer.step()  # to (-0.5, -1)
    signals = monitor.step(4).signals
    assert signals["gradient_D"] == pytest.approx(5.0)
    assert signals["step_D"] == pytest.approx(2.5 / math.sqrt(0.25 + 1))


def test_memory_by_heldout_logits_moves_the_augmentation():
    kept, p = held()
    monitor = Monitor(loops.ada_heldout(p, kimg=10.0), mode="act", loss="rpgan")
    noise = torch.linspace(-1, 1, 50)
    monitor.observe("D", real_logits=2 + noise, fake_logits=noise, heldout_logits=0.5 + noise)  # memory 0.75
    decision = monitor.step(1000)
    assert kept["p"] == pytest.approx(0.1 + 1.0 / 10)
    (move,) = decision.moves
    assert (move.before, move.after, move.done) == (
        pytest.approx(0.1),
        pytest.approx(0.2),
        True,
    ) and "memory" in move.why


@pytest.mark.parametrize(
    ("few", "drop", "chance", "found"),
    [(8, 0.0, 0.55, False), (128, 0.0, 0.05, False), (8, 0.9, 0.0, False), (128, 0.9, 0.0, True)],
)
def test_a_handful_of_heldout_samples_does_not_say_that_d_memorises(few, drop, chance, found):
    """The same eight each time: by chance D says less of them, and that is the whole gap where it is 0.6 deviations."""
    monitor, generator = Monitor(total=100_000, loss="hinge"), torch.Generator().manual_seed(0)
    spread = torch.linspace(-1, 1, few)
    heldout = spread / spread.std(correction=0) + 0.6 * (1 - drop) - chance
    for _ in range(100):
        real, fake = (torch.randn(1000, generator=generator) for _ in range(2))
        monitor.observe("D", real_logits=real + 0.6, fake_logits=fake, heldout_logits=heldout)
        monitor.step(1000)
    assert monitor.history.now("memory") == pytest.approx(drop + chance / 0.6, abs=0.05)
    assert monitor.history.now("memory_noise") == pytest.approx(1 / 0.6 / few**0.5, rel=0.1)
    assert ("discriminator-memorises" in [one.name for one in monitor.verdict.findings]) == found
    assert ("show D more of them at once" in monitor.verdict.text()) == (few == 8)


def test_watching_says_what_would_be_done_and_does_not():
    kept, p = held()
    monitor = Monitor(loops.ada(p, kimg=10.0), loss="non-saturating")
    monitor.observe("D", real_logits=torch.ones(4), fake_logits=-torch.ones(4))
    (move,) = monitor.step(1000).moves
    assert kept["p"] == 0.1 and not move.done and move.after == pytest.approx(0.2)


def test_stopped_and_restored_it_goes_on_as_if_it_had_not_been():
    def fed(monitor, steps):
        for step in steps:
            generator = torch.Generator().manual_seed(step)
            real, fake = (torch.randn(16, generator=generator) for _ in range(2))
            monitor.observe("D", real_logits=real + 1, fake_logits=fake)
            if (decision := monitor.step(16)) is not None:
                seen.append((decision.kimg, dict(decision.signals)))

    seen = []
    fed(Monitor(loss="hinge"), range(40))
    whole, seen = seen, []
    first, second = Monitor(loss="hinge"), Monitor(loss="hinge")
    fed(first, range(15))
    second.load_state_dict(first.state_dict())
    fed(second, range(15, 40))
    assert seen == whole and second.balancer.history.signals["win_rate"]


def test_what_a_checkpoint_gave_goes_on_where_the_loops_tensors_are():
    """Checkpoints are read to the CPU: left there, each reading would wait for the device, and ranks could not meet.

    The other device holds no values, so that taking one from it to the CPU fails.
    """

    def fed(monitor, device):
        output = torch.zeros(4, 3, device=device, requires_grad=True)
        monitor.observe("D", real_logits=torch.ones(4, device=device), fake_logits=torch.zeros(4, device=device))
        monitor.observe("G", fake_logits=torch.zeros(4, device=device), output=output)
        output.sum().backward()

    first, second = Monitor(loss="hinge"), Monitor(loss="hinge")
    fed(first, "cpu")
    first.rounds.step(4)
    second.load_state_dict(first.state_dict())
    fed(second, "meta")
    second.rounds.step(4)
    trace = second.rounds.traces["D"]
    lies = [meter.moments for meter in second.meters.values()] + list(trace.state_dict().values())
    assert len(lies) == 6 and {tensor.device.type for tensor in lies} == {"meta"}


def test_nothing_of_a_step_outlives_it():
    """A hook that holds its own tensor keeps it, and the graph behind it, for good; no collector sees that."""
    monitor, kept = Monitor(loss="hinge", anchored=True), []
    for _ in range(3):
        latents = torch.randn(4, 3, requires_grad=True)
        output = 2 * latents
        parts = {"adversarial": output.sum(), "reconstruction": output.square().sum()}
        monitor.observe("D", real_logits=torch.ones(4), fake_logits=output.detach()[:, 0])
        monitor.observe("G", fake_logits=output[:, 0], output=output, **parts)
        sum(parts.values()).backward()
        assert monitor._signals()["pull"] > 0
        monitor.step(4)
        kept += [weakref.ref(output), weakref.ref(latents)]
    del latents, output, parts
    gc.collect()
    assert [one() for one in kept] == [None] * 6


def test_an_optimiser_followed_twice_is_read_once():
    """As where a trainer sets up anew at every epoch: hooks would pile up."""
    optimiser, monitor = torch.optim.SGD([nn.Parameter(torch.ones(2))], lr=1.0), Monitor()
    for _ in range(3):
        monitor.follow("D", optimiser)
    assert len(optimiser._optimizer_step_pre_hooks) == len(optimiser._optimizer_step_post_hooks) == 1


def test_who_moves_how_often_is_counted_by_the_optimisers_that_are_followed():
    """Batches that are accumulated are shown more often than they move anything; D alone at first has no tempo."""

    def made():
        monitor = Monitor()
        optimisers = {player: torch.optim.SGD([nn.Parameter(torch.ones(2))], lr=0.1) for player in ("G", "a", "b")}
        for player, optimiser in optimisers.items():
            monitor.follow(player, optimiser)
        return monitor, optimisers

    def go(monitor, optimisers, moves, rounds):
        for _ in range(rounds):
            for player, count in moves.items():
                for _ in range(count):
                    optimisers[player].step()
            monitor.observe("a", real_logits=torch.ones(4), fake_logits=torch.zeros(4))
            monitor.observe("b", real_logits=torch.ones(4), fake_logits=torch.zeros(4))
            monitor.step(4)

    monitor, optimisers = made()
    go(monitor, optimisers, {"a": 1, "b": 1, "G": 0}, 1)
    assert not any(name.endswith("tempo") for name in monitor.history.signals)
    go(monitor, optimisers, {"a": 2, "b": 4, "G": 5}, 5)
    again, others = made()
    again.load_state_dict(monitor.state_dict())
    go(again, others, {"a": 2, "b": 4, "G": 5}, 5)
    told = {name: points[-1][1] for name, points in again.history.signals.items() if name.endswith("tempo")}
    assert told == {"a/tempo": pytest.approx(0.4), "b/tempo": pytest.approx(0.8), "tempo": pytest.approx(0.6)}
    assert again.observer.tempo() == {}


def test_values_that_are_not_finite_are_counted_and_not_averaged():
    monitor = Monitor()
    monitor.observe("D", real_logits=torch.tensor([1.0, math.nan]), fake_logits=torch.zeros(2))
    signals = monitor.step(2).signals
    assert signals["nonfinite"] > 0 and signals["win_rate"] == 1.0


def test_probes_see_what_the_loop_shows_them():
    generator = torch.Generator().manual_seed(0)
    data, asked = torch.randn(200, 2, generator=generator), []

    def look():
        asked.append(monitor.steps)
        return {"samples": 0.5 * data[:64], "training": data[:64], "heldout": data[128:]}

    monitor = Monitor(look=look)
    signals = monitor.step(64).signals
    monitor.step(64)
    assert asked == [1]  # at the tick only
    assert signals["diversity"] == pytest.approx(0.5) and signals["energy"] > 0.02


def watched(rank, folder):
    """On one of two ranks: logits and samples of its own."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    try:
        source = torch.Generator().manual_seed(rank)
        sets = {name: torch.randn(40, 2, generator=source) for name in ("samples", "training", "heldout")}
        sets["heldout"] = sets["heldout"][: 40 - 20 * rank]  # too few on rank 1 to tell the energy distance
        monitor = Monitor(look=lambda: sets)
        monitor.observe("D", real_logits=torch.full((4,), 1.0 - 2 * rank), fake_logits=torch.zeros(4))
        alone = probes.look(sets, tick=0)
        Path(folder, f"{rank}.json").write_text(json.dumps([dict(monitor.step(8).signals), alone]))
    finally:
        dist.destroy_process_group()


def test_all_ranks_see_the_same(tmp_path):
    mp.spawn(watched, args=(str(tmp_path),), nprocs=2)
    (one, first), (two, second) = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2))
    assert one == two and one["win_rate"] == 0.5  # rank 0 wins all pairs, rank 1 none
    mean = (first["diversity"] + second["diversity"]) / 2
    assert first["diversity"] != second["diversity"] and one["diversity"] == pytest.approx(mean, rel=1e-5)
    assert "energy" not in second and one["energy"] == pytest.approx(first["energy"], rel=1e-5)


@pytest.mark.parametrize(
    ("player", "role"),
    [
        *((name, "G") for name in ("G", "G_A", "generator", "netG", "net_g", "g_a", "g")),
        *((name, "D") for name in ("D", "global", "netD", "mpd")),
    ],
)
def test_players_by_their_names(player, role):
    assert role_of(player) == role


def test_an_adversarial_loss_that_has_not_started_has_no_share():
    monitor, output = Monitor(anchored=True), torch.ones(4, 3).requires_grad_(True)
    monitor.observe("D", real_logits=torch.ones(4), fake_logits=torch.zeros(4))
    monitor.observe("G", output=output, adversarial=torch.zeros([]), reconstruction=output.mean())
    assert (
        not monitor.anchors
        and "adversarial_share" not in monitor.step(4).signals
        and monitor.anchors["G"].joined is False
    )
    monitor.observe("G", output=output, adversarial=0.0, reconstruction=output.mean())  # a number will do
    monitor.step(4000)
    assert "no share in G's gradient so far" in monitor.verdict.text()  # which a branch cut off by mistake has too
    monitor.observe("G", output=output, adversarial=output.sum(), reconstruction=output.mean())
    monitor.step(4000)
    assert "no share in G's gradient so far" not in monitor.verdict.text()


def test_what_is_shown_and_cannot_be():
    monitor, output = Monitor(anchored=True), torch.ones(4, 3).requires_grad_(True)
    with pytest.raises(InputError, match="before any mean"):
        monitor.observe("D", real_logits=torch.tensor(0.5), fake_logits=torch.tensor(0.1))
    with pytest.raises(InputError, match="without its features"):
        monitor.observe("D", real_logits=[[torch.ones(4)]], fake_logits=[[torch.ones(4)]])
    with pytest.raises(InputError, match="samples of one size"):
        monitor.observe("D", real_logits=torch.ones(4, 6), fake_logits=torch.ones(4, 5))
    with pytest.raises(InputError, match="does not depend on the tensor shown with it"):
        lost = torch.ones(1, requires_grad=True).sum()
        monitor.observe("G", output=output, adversarial=lost, reconstruction=output.mean())
    for samples in (0, torch.tensor(4), 1.5, math.nan, math.inf):
        with pytest.raises(InputError, match="number of real samples"):
            monitor.step(samples)
    for loss in (1.386, [2.0, 0.0], nn.BCEWithLogitsLoss(), ("a", None), (None, 1.0)):
        with pytest.raises(InputError, match="as a pair"):
            Monitor(loss=loss)


SHOWN = {
    "nested heads": (("D", {"real_logits": [[torch.ones(4)], [torch.ones(4)]]}), "flat list"),
    "a number": (("D", {"fake_logits": 0.5}), "flat list"),
    "no heads": (("D", {"real_logits": []}), "flat list"),
    "a held-out mean": (("D", {"heldout_logits": torch.tensor(0.5)}), "before any mean"),
    "decisions": (("D", {"real_logits": torch.ones(4) > 0}), "before it was compared with 0"),
    "two devices": (("D", {"real_logits": torch.ones(4), "fake_logits": torch.ones(4, device="meta")}), "one device"),
    "a number as a player": ((3, {"real_logits": torch.ones(4)}), "a player has a name"),
    "a slash": (("mpd/0", {"real_logits": torch.ones(4)}), "without a slash"),
    "a misspelling": (("D", {"real_logit": torch.ones(4)}), "did you mean real_logits"),
    "what nothing reads": (("D", {"real": torch.ones(4)}), "no sensor reads this; the arguments are real_logits"),
    "labels": (("D", {"real_logits": torch.ones(4, dtype=torch.uint8)}), "of torch.uint8 came"),
    "an empty batch": (("D", {"real_logits": torch.ones(0, 1), "fake_logits": torch.ones(4, 1)}), "an empty batch"),
    "an empty held-out batch": (("D", {"heldout_logits": torch.ones(0, 1)}), "an empty batch"),
    "other heads": (
        ("D", {"real_logits": [torch.ones(4), torch.ones(4)], "heldout_logits": torch.ones(4)}),
        r"real \[4\] and \[4\], heldout \[4\]",
    ),
    "G by another name": (("decoder", {"output": torch.ones(4, 1)}), "taken for a discriminator"),
    "a detached output": (("G", {"output": torch.ones(4, 3)}), "carries no gradient"),
    "several outputs": (("G", {"output": [torch.ones(4, 3, requires_grad=True)]}), "carries no gradient"),
    "a loss read to the host": (("D", {"loss": 0.7}), "as a tensor"),
}


@pytest.mark.parametrize("case", SHOWN)
def test_what_is_shown_wrongly_is_refused_in_a_sentence(case):
    (player, fields), text = SHOWN[case]
    with pytest.raises(InputError, match=text):
        Monitor(loss="hinge").observe(player, **fields)


OF_G = {
    "cut off": (
        lambda x: (x.detach() * torch.ones(1, requires_grad=True)).sum(),
        lambda x: x.mean(),
        "detached on its",
    ),
    "one for each sample": (lambda x: x.sum(1), lambda x: x.mean(), r"the shape \[4\]"),
    "read to the host": (lambda x: 0.3, lambda x: x.mean(), "before .item"),
    "held by a number": (lambda x: x.sum(), lambda x: 0.5, "the reconstruction"),
    "held by a constant": (lambda x: x.sum(), lambda x: x.mean().detach(), "the reconstruction carries no gradient"),
}


@pytest.mark.parametrize("case", OF_G)
def test_losses_whose_share_cannot_be_read(case):
    adversarial, reconstruction, text = OF_G[case]
    output = torch.ones(4, 3, requires_grad=True) * 1
    with pytest.raises(InputError, match=text):
        Monitor(anchored=True).observe(
            "G", output=output, adversarial=adversarial(output), reconstruction=reconstruction(output)
        )


def test_losses_shown_after_their_backward():
    output = torch.ones(4, 3, requires_grad=True) * 1
    loss = output.square().sum()
    loss.backward()
    with pytest.raises(InputError, match="has been called already: show it before"):
        Monitor().observe("G", output=output, adversarial=loss, reconstruction=loss)


def test_a_batch_in_place_of_its_size_is_not_printed():
    with pytest.raises(InputError, match=r"^step\(a Tensor\): hand over the number of real samples"):
        Monitor().step(torch.ones(64, 3))
    with pytest.raises(InputError, match=r"step\(a str\)"):
        Monitor().step("64")


LOOKED = {
    "nothing": (lambda: None, "look returned a NoneType: let it return fields by name"),
    "a list": (lambda: [torch.ones(4, 2)], "look returned a list"),
    "lists of numbers": (lambda: {"samples": [1.0, 2.0], "training": [1.0]}, "samples as a list: .* tensor or array"),
    "a misspelling": (lambda: {"sample": torch.ones(4, 2)}, "'sample', which no probe reads; there are .*samples"),
    "an empty set": (lambda: {"samples": torch.ones(0, 2), "training": torch.ones(4, 2)}, "no samples, an empty set"),
    "two ranges": (
        lambda: {"samples": torch.rand(4, 2), "training": torch.ones(4, 2, dtype=torch.uint8)},
        "training of torch.uint8 and samples of torch.float32",
    ),
}


@pytest.mark.parametrize("case", LOOKED)
def test_what_a_look_returns_and_cannot_be_compared(case):
    returned, text = LOOKED[case]
    with pytest.raises(InputError, match=text):
        Monitor(look=returned).step(4)


def test_logits_in_half_precision_are_read_in_full():
    """Least squares at 600 is 360,000, which is no float16: the loop's own loss, under autocast, is a float32."""
    monitor = Monitor(loss="least-squares")
    monitor.observe("D", real_logits=torch.full((4,), 600.0).half(), fake_logits=torch.full((4,), -600.0).half())
    signals = monitor.step(4).signals
    assert signals["nonfinite"] == 0 and signals["loss_D"] == pytest.approx((599**2 + 600**2) / 0.5, rel=1e-6)


def test_shares_are_read_under_no_grad():
    output = torch.ones(4, 3, requires_grad=True) * 1
    adversarial, reconstruction = output.sum(), 3 * output.sum()
    monitor = Monitor(anchored=True)
    with torch.no_grad():
        monitor.observe("G", output=output, adversarial=adversarial, reconstruction=reconstruction)
    assert monitor.step(4).signals["adversarial_share"] == pytest.approx(0.25)


def test_a_discriminator_called_d_has_signals_of_its_own_beside_others():
    monitor = Monitor(loss="hinge")
    for player, real in (("D", 1.0), ("D_patch", -1.0)):
        monitor.observe(player, real_logits=torch.full((4,), real), fake_logits=torch.zeros(4))
    signals = monitor.step(4).signals
    assert (signals["D/win_rate"], signals["D_patch/win_rate"], signals["win_rate"]) == (1.0, 0.0, 0.5)


def anchored(monitor, player, adversarial, reconstruction, samples=None):
    output = torch.ones(4, 3).requires_grad_(True)
    losses = {"adversarial": adversarial * output.sum(), "reconstruction": reconstruction * output.mean()}
    monitor.observe(player, output=output, **losses)
    return monitor.step(samples) if samples else None


def test_of_two_generators_each_has_its_own_anchor():
    monitor = Monitor(anchored=True)
    monitor.observe("D", real_logits=torch.ones(4), fake_logits=torch.zeros(4))
    told = []
    for weight, one, other in ((0.0, 8.0, 0.5), (1.0, 8.0, 0.5), (1.0, 4.0, 0.25)):
        anchored(monitor, "G_A", weight, one)
        told.append(anchored(monitor, "G_B", weight, other, 4000).signals["reconstruction"])
    assert told == pytest.approx([1.0, 1.0, 0.5])


def test_what_a_discriminator_spoils_where_it_comes_in_is_not_what_it_is_held_against():
    """At step 115 the reconstruction is ten times as large within a window: the share is read at steps 112 and 128."""
    monitor = Monitor(anchored=True)
    monitor.observe("D", real_logits=torch.ones(4), fake_logits=torch.zeros(4))
    for step in range(200):
        anchored(monitor, "G", float(step >= 115), 10.0 if step >= 115 else 1.0, 10)
    points = monitor.history.signals["reconstruction"]
    assert points[0][1] == 1.0 and points[-1][1] == pytest.approx(10.0) and monitor.anchors["G"].first == 1.0


def test_an_optimiser_made_anew_takes_the_place_of_the_old_one():
    net = nn.Linear(2, 1)
    monitor, old, new = Monitor(), *(torch.optim.SGD(net.parameters(), lr=lr) for lr in (1.0, 0.5))
    monitor.follow("D", old)
    monitor.follow("D", new)
    size = float(torch.cat([p.detach().flatten() for p in net.parameters()]).norm())
    for p in net.parameters():
        p.grad = torch.zeros_like(p)
    for optimiser in (old, new):
        optimiser.step()
    assert monitor.meters["D"].read()["update"].n == 1 and size > 0
    with pytest.raises(InputError, match="followed by another optimiser, which moves other weights"):
        monitor.follow("D", torch.optim.SGD(nn.Linear(2, 1).parameters(), lr=0.1))


STATES = {
    "nothing": (lambda state: None, "NoneType"),
    "a network's": (lambda state: nn.Linear(1, 1).state_dict(), "bias, weight"),
    "the whole checkpoint": (lambda state: {"monitor": state, "G": {}}, r"\(G, monitor\)"),
    "half of it": (lambda state: {name: state[name] for name in state if name != "rounds"}, "since rounds is missing"),
    "other sensors": (lambda state: state | {"meters": {"D": torch.zeros(3, 4)}}, r"\[3, 4\], and \[\d+, 4\] are read"),
}


@pytest.mark.parametrize("case", STATES)
def test_a_state_that_is_none_is_refused_and_changes_nothing(case):
    change, text = STATES[case]
    state, monitor = stepped_once(Monitor(loss="hinge")).state_dict(), Monitor(loss="hinge")
    with pytest.raises(InputError, match=text):
        monitor.load_state_dict(change(state))
    assert monitor.samples == 0 and not monitor.history.signals


def stepped_once(monitor):
    monitor.observe("D", real_logits=torch.ones(4), fake_logits=-torch.ones(4))
    monitor.step(4)
    return monitor


def test_a_restored_monitor_has_its_verdict_and_what_is_known_by_now():
    kept = stepped_once(Monitor(loss="hinge", total=1000))
    again = Monitor(loss="hinge", anchored=True, total=2000)
    again.load_state_dict(kept.state_dict())
    assert again.verdict.untold == kept.verdict.untold != ()
    assert again.history.facts["anchored"] and again.history.facts["total_kimg"] == 2.0


def test_before_the_first_look_the_verdict_says_so():
    monitor = Monitor()
    monitor.observe("D", real_logits=torch.ones(4), fake_logits=torch.zeros(4))
    assert "the monitor has not looked yet; call its step" in monitor.verdict.text()
    assert "nothing is read" in Monitor(mode="off").verdict.text()


def test_loops_on_what_is_never_told_are_refused():
    _, p = held()
    with pytest.raises(InputError, match="ada follows the sign of D"):
        Monitor(loops.ada(p), loss="rpgan")
    rate = Actuator("rate", lambda: 1e-3, lambda x: None, 1e-5, 1e-1, "log")
    for loss in (None, "wasserstein"):
        with pytest.raises(InputError, match="gap-aware follows D's loss over its ideal value"):
            Monitor(loops.gap_aware(rate), loss=loss)
    Monitor(loops.gap_aware(rate), loss=(2.0, None))


def test_a_loop_whose_reading_never_came_is_said_at_the_end():
    _, p = held()
    monitor = stepped_once(Monitor(loops.ada_heldout(p), loss="hinge", mode="act"))
    (move,) = monitor.finish()
    assert move.before == move.after == 0.1 and "no reading of memory has come" in move.why
    said = torch.tensor([1.0, 2.0])
    monitor.observe("D", real_logits=said, fake_logits=-said, heldout_logits=said)
    monitor.step(4000)
    assert monitor.finish() == []


def test_a_loop_of_one_discriminator_reads_that_one():
    kept, p = held(0.4)
    monitor = Monitor(loops.ada(p, kimg=10.0).of("mpd"), loss="hinge", mode="act")
    monitor.observe("mpd", real_logits=torch.ones(4), fake_logits=torch.zeros(4))
    monitor.observe("msd", real_logits=-torch.ones(4), fake_logits=torch.zeros(4))  # the mean, 0, would lower p
    (move,) = monitor.step(1000).moves
    assert kept["p"] == pytest.approx(0.5) and move.loop == "ada of mpd" and "mpd/sign_real is 1" in move.why


@pytest.mark.parametrize("shown", [False, True])  # whether G's loss is known too
def test_the_wiring_check_has_nothing_to_say_of_the_monitor(shown):
    G, D = nn.Linear(3, 2), nn.Linear(2, 1)
    opt_G, opt_D = (torch.optim.Adam(net.parameters()) for net in (G, D))
    monitor = Monitor(loss="hinge")
    monitor.follow("G", opt_G)
    with wiring(G, D, opt_G, opt_D) as check:
        for _ in range(2):
            fake = G(torch.randn(8, 3))
            real_logits, fake_logits = D(torch.randn(8, 2)), D(fake.detach())
            monitor.observe("D", real_logits=real_logits, fake_logits=fake_logits)
            opt_D.zero_grad()
            (torch.relu(1 - real_logits).mean() + torch.relu(1 + fake_logits).mean()).backward()
            opt_D.step()
            opt_G.zero_grad()
            fake_logits = D(fake)
            monitor.observe("G", output=fake, **({"fake_logits": fake_logits} if shown else {}))
            (-fake_logits.mean()).backward()
            opt_G.step()
            monitor.step(8)
    assert {fact.name for fact in check.facts if fact.state != "holds"} == {"scaler", "ema"}  # there is neither


def test_nothing_shown_is_not_called_balanced():
    monitor = Monitor()
    monitor.step(4)
    assert "anything: no finite reading of either player" in monitor.verdict.text()
    monitor.observe("D", real_logits=torch.ones(4), fake_logits=torch.zeros(4))
    monitor.step(4000)
    assert "anything:" not in monitor.verdict.text()


def test_features_beside_logits_are_no_head():
    logits = torch.randn(4, 1, 2, 2)
    with pytest.raises(InputError, match="1 and of 64 channels came as heads; the latter are features"):
        Monitor().observe("D", real_logits=(torch.randn(4, 1), torch.randn(4, 64, 8, 8)), fake_logits=logits)
    for heads in (
        [logits, torch.randn(4, 2, 2, 2)],
        [torch.randn(4, 1), torch.randn(4, 312)],
        [torch.randn(4, 9, 2, 2)],
    ):
        Monitor().observe("D", real_logits=heads, fake_logits=heads)


def test_what_cannot_be():
    with pytest.raises(InputError, match="did you mean hinge"):
        Monitor(loss="hing")
    for called, name in (("lsgan", "least-squares"), ("WGAN-GP", "wasserstein"), ("Hinge", "hinge")):
        with pytest.raises(InputError, match=f"did you mean {name}\\?"):
            Monitor(loss=called)
    with pytest.raises(InputError, match="whole run"):
        Monitor(total=0)
    for settings in ({"total": "10k"}, {"total": math.nan}, {"tick_kimg": "4"}, {"loss": (math.nan, 0.0)}):
        with pytest.raises(InputError, match=rf"^{next(iter(settings))}="):
            Monitor(**settings)
    with pytest.raises(InputError, match="on_tick='print': give a function"):
        Monitor(on_tick="print")
    with pytest.raises(InputError, match="rules='collapse': a rule is a function"):
        Monitor(rules=["collapse"])
    with pytest.raises(InputError, match="takes a function"):
        Monitor(look={"samples": torch.ones(4, 2)})
    with pytest.raises(InputError, match="'ada' does not steer"):
        Monitor("ada")
    with pytest.raises(InputError, match="hand over the player's optimiser"):
        Monitor().follow("D", nn.Linear(1, 1))
    monitor, both = Monitor(), torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=0.1)
    monitor.follow("G", both)
    with pytest.raises(InputError, match="followed as 'G' already, and moves both"):
        monitor.follow("D", both)
    with pytest.raises(InputError, match=r"samples are \[2\] each and heldout \[3\]"):
        Monitor(look=lambda: {"samples": torch.randn(9, 2), "heldout": torch.randn(9, 3)}).step(4)
    with pytest.raises(InputError, match="off, watch, advise, act"):
        Monitor(mode="steer")
    _, p = held()
    with pytest.raises(InputError, match="both turn p"):
        Monitor(loops.ada(p), loops.apa(p))


def test_updates_are_steps_of_the_loop():
    monitor = Monitor(loss="hinge")
    for size in (32, 32, 16, *[28] * 10):  # looks after the first and the last step
        monitor.observe("D", real_logits=torch.ones(4), fake_logits=torch.zeros(4))
        monitor.step(size)
    assert monitor.ticks == 2 and monitor.history.kimg == pytest.approx(0.36)
    assert monitor.history.updates == pytest.approx(13, abs=0.5)
