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
    assert told == pytest.approx([1, 1, 1, 1.5, 2.5])  # over 2.0, where it came in; that it went again changes nothing


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
    monitor.observe("D", real_logits=torch.full((4,), 0.6), fake_logits=torch.full((4,), 0.4))  # near 0.5
    found = {one.name for one in monitor.step(4).verdict.findings}
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
    assert len(lies) == 5 and {tensor.device.type for tensor in lies} == {"meta"}


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
        monitor = Monitor(look=lambda: sets)
        monitor.observe("D", real_logits=torch.full((4,), 1.0 - 2 * rank), fake_logits=torch.zeros(4))
        alone = probes.look(sets, tick=0)["diversity"]
        Path(folder, f"{rank}.json").write_text(json.dumps([dict(monitor.step(8).signals), alone]))
    finally:
        dist.destroy_process_group()


def test_all_ranks_see_the_same(tmp_path):
    mp.spawn(watched, args=(str(tmp_path),), nprocs=2)
    (one, first), (two, second) = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2))
    assert one == two and one["win_rate"] == 0.5  # rank 0 wins all pairs, rank 1 none
    assert first != second and one["diversity"] == pytest.approx((first + second) / 2, rel=1e-5)


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
        monitor.anchor.joined is None
        and "adversarial_share" not in monitor.step(4).signals
        and monitor.anchor.joined is False
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
    for samples in (0, torch.tensor(4)):
        with pytest.raises(InputError, match="number of real samples"):
            monitor.step(samples)
    for loss in (1.386, [2.0, 0.0], nn.BCEWithLogitsLoss()):
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


def test_nothing_shown_is_not_called_balanced():
    monitor = Monitor()
    monitor.step(4)
    assert "anything: no finite reading of either player" in monitor.verdict.text()
    monitor.observe("D", real_logits=torch.ones(4), fake_logits=torch.zeros(4))
    monitor.step(4000)
    assert "anything:" not in monitor.verdict.text()


def test_what_cannot_be():
    with pytest.raises(InputError, match="did you mean hinge"):
        Monitor(loss="hing")
    for called, name in (("lsgan", "least-squares"), ("WGAN-GP", "wasserstein"), ("Hinge", "hinge")):
        with pytest.raises(InputError, match=f"did you mean {name}\\?"):
            Monitor(loss=called)
    with pytest.raises(InputError, match="whole run"):
        Monitor(total=0)
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
