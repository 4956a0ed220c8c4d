"""One update of one player: against a slow obvious loop, without host reads, and changing what it may and no more."""

import copy
import gc
import math
import types

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from equipoise import build
from equipoise.errors import InputError
from equipoise.registry import entries
from equipoise.sensors import Meter
from equipoise.turn import Turn
from plants import batch_of, changed, play, small_recipe, small_step, snapshot

R1R2 = {"r1": {"gamma": 0.5}, "r2": {"gamma": 0.25}}
LAZY = {"r1": {"gamma": 0.5, "every": 2}}
FAMILIES = [entry.name for entry in entries("network")]


def family(name, **options):
    if name == "mlp":
        options.setdefault("depth", 2)
    if name != "normfree":
        options.setdefault("norm_D", "none")
    return {"name": name, "width": 4, "options": options}


# ------------------------------------------------------------------------------------------------ what is kept


@pytest.mark.parametrize("rule", [entry.name for entry in entries("rule")])
def test_no_update_is_kept_once_it_is_over(rule):
    """A hook that holds its own tensor keeps it, and the graph behind it, for good; no collector sees that."""
    step = small_step(rules={rule: {}}, terms={"r1": {"gamma": 0.5}})
    for number in range(5):
        step.round(1, lambda number=number: batch_of(step, number))
    readings = step.meter.read()
    assert readings["G.pull"].n > 0
    gc.collect()
    assert not [one for one in gc.get_objects() if type(one) is Turn]


# ------------------------------------------------------------------------------------------------ no host reads


def fake_moves(monkeypatch, network, classes=0, rounds=2, **changes):
    """Both players' moves on tensors that have no values, so that whatever looks at one fails."""
    recipe = small_recipe(network=network, **changes)
    monkeypatch.setattr(nn.Module, "to", lambda self, *a, **k: self)  # these tensors can neither be moved nor copied
    with FakeTensorMode():
        spare = types.SimpleNamespace(deepcopy=lambda net: build.players(recipe, (1, 8, 8), classes)[0])
        monkeypatch.setattr("equipoise.ema.copy", spare)
        step = build.assemble(recipe, *build.players(recipe, (1, 8, 8), classes), torch.device("cpu"))
        for dial in build.dials(step, recipe).values():
            dial.turn(0, 100)
            dial.tensor.constant = None  # a number just written would otherwise be remembered
        images = torch.randint(256, (8, 1, 8, 8), dtype=torch.uint8)
        labels = torch.randint(classes, (8,)) if classes else None
        for _ in range(rounds):
            for role in ("D", "G"):
                step.move(role, images, labels, step.due(role))
                step.moves[role] += 1
    return step


@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("name", FAMILIES)
def test_no_host_read_in_any_family(monkeypatch, name, classes):
    terms = {"r1": {"every": 2}, "r2": {}, "wgan-gp": {"every": 2}}
    fake_moves(
        monkeypatch,
        family(name),
        0 if name == "autoencoder" else classes,  # which has no place for them
        loss="rpgan",
        terms=terms,
        accumulate=2 if name in ("mlp", "normfree") else 1,
    )


def test_no_host_read_in_mixed_precision(monkeypatch):
    fake_moves(monkeypatch, family("dcgan"), terms=LAZY, mixed=True, channels_last=True)


@pytest.mark.parametrize("read", [lambda t: t.item(), float, lambda t: bool(t > 0), lambda t: t.tolist()])
@pytest.mark.parametrize("of", ["a loss", "a dial", "the norm"])
def test_a_host_read_would_be_noticed(monkeypatch, read, of):
    """Whoever reads a tensor inside a move makes the tests above fail."""
    from equipoise.step import Step

    adversarial = Step._adversarial

    def reading(self, values):
        read(
            {
                "a loss": values["loss"].detach().mean(),
                "a dial": self.optimisers["D"].lr,
                "the norm": self.optimisers["D"].norm,
            }[of]
        )
        return adversarial(self, values)

    monkeypatch.setattr(Step, "_adversarial", reading)
    with pytest.raises((DataDependentOutputException, TypeError)):
        fake_moves(monkeypatch, family("mlp"))


# ------------------------------------------------------------------------------------------------ who moves


@pytest.mark.parametrize("name", FAMILIES)
def test_each_move_changes_its_own_player_only(name):
    step = play(small_step(network=family(name), loss="rpgan", terms=R1R2), 1)  # past layers that start at zero
    networks = dict(step.networks)
    for role, other in (("D", "G"), ("G", "D")):
        before = {r: copy.deepcopy(dict(net.named_parameters())) for r, net in networks.items()}
        step.move(role, *batch_of(step, 0), step.due(role))
        moved = {
            r: [n for n, p in net.named_parameters() if not torch.equal(p, before[r][n])] for r, net in networks.items()
        }
        assert moved[other] == []
        assert len(moved[role]) > 0.5 * len(before[role])
        assert all(p.grad is None for net in networks.values() for p in net.parameters())
        assert all(p.requires_grad for net in networks.values() for p in net.parameters())


def test_the_generators_gradient_comes_through_the_discriminator_and_leaves_nothing_on_it():
    step = small_step()
    seen, update = {}, step.optimisers["G"].step

    def looking(loss):
        seen["G"] = [p.grad is not None for p in step.networks["G"].parameters()]
        seen["D"] = [p.grad is None for p in step.networks["D"].parameters()]
        return update(loss)

    step.optimisers["G"].step = looking
    step.move("G", *batch_of(step, 0))
    assert all(seen["G"]) and all(seen["D"])


@pytest.mark.parametrize(("role", "other"), [("D", "G"), ("G", "D")])
def test_the_other_player_is_frozen_during_a_move_and_as_before_after_it(role, other):
    step, seen = small_step(), []
    fixed = next(step.networks[other].parameters()).requires_grad_(False)  # frozen by its owner: stays so
    for name, net in step.networks.items():
        net.register_forward_pre_hook(
            lambda m, args, name=name: seen.append((name, any(p.requires_grad for p in m.parameters())))
        )
    step.move(role, *batch_of(step, 0))
    assert set(seen) == {(role, True), (other, False)}
    assert [p.requires_grad for p in step.networks[other].parameters()].count(False) == 1 and not fixed.requires_grad


def test_the_discriminators_fakes_have_no_graph_to_the_generator_and_the_generators_have():
    step = small_step(terms=R1R2)
    images, _ = batch_of(step, 0)
    latents = torch.randn(8, 4).double()
    turn = step.turn("D", images, None, latents, frozenset({"r1", "r2"}))
    assert turn["fake"].is_leaf and turn["fake"].requires_grad and turn["real"].requires_grad
    assert not step.turn("D", images, None, latents, frozenset())["real"].requires_grad
    assert not step.turn("G", images, None, latents, frozenset())["fake"].is_leaf


@pytest.mark.parametrize(("loss", "asks"), [("rpgan", True), ("non-saturating", False), ("hinge", False)])
def test_reals_are_judged_in_the_generators_turn_only_where_the_loss_compares(loss, asks):
    step = small_step(loss=loss)
    turn = step.turn("G", batch_of(step, 0)[0], None, torch.randn(8, 4).double(), frozenset())
    assert ("real_logits" in turn) is asks and step.objective.reads("G", "real_logits") is asks


def test_images_come_in_as_bytes_and_go_to_minus_one_to_one_and_are_left_alone():
    step = small_step()
    bytes_in = torch.tensor([0, 51, 255], dtype=torch.uint8).reshape(3, 1, 1, 1)
    torch.testing.assert_close(step.show(bytes_in).flatten(), torch.tensor([-1.0, -0.6, 1.0]).double())
    assert bytes_in.flatten().tolist() == [0, 51, 255]
    floats = torch.randn(8, 1, 8, 8).double()
    kept = floats.clone()
    step = small_step(terms=R1R2)
    step.move("D", floats, None, step.due("D"))
    assert torch.equal(floats, kept) and not floats.requires_grad and floats.grad is None


# ------------------------------------------------------------------------------------------------ the slow obvious loop


def plain_loop(G, D, loss, r1, r2, every, rounds, lrs, betas, eps):
    """What the step computes, as anybody would write it with torch.optim.Adam."""
    optimisers = {
        "D": torch.optim.Adam(D.parameters(), lrs["D"], betas["D"], eps),
        "G": torch.optim.Adam(G.parameters(), lrs["G"], betas["G"], eps),
    }
    average, seen = copy.deepcopy(G), 0.0
    torch.manual_seed(5)
    for number in range(rounds):
        real = batch_of(None, 2 * number)[0].double() / 127.5 - 1
        fake = G(torch.randn(8, 4, dtype=torch.float64)).detach()
        real.requires_grad_(True)
        fake.requires_grad_(True)
        r, f = D(real), D(fake)
        total = F.softplus(f - r).mean() if loss == "rpgan" else F.softplus(-r).mean() + F.softplus(f).mean()
        if number % every == 0:
            for images, scores, gamma in ((real, r, r1), (fake, f, r2)):
                (gradient,) = torch.autograd.grad(scores.sum(), images, create_graph=True)
                total = total + every * gamma / 2 * gradient.square().sum((1, 2, 3)).mean()
        optimisers["D"].zero_grad()
        total.backward()
        optimisers["D"].step()

        real = batch_of(None, 2 * number + 1)[0].double() / 127.5 - 1
        f = D(G(torch.randn(8, 4, dtype=torch.float64)))
        total = F.softplus(D(real) - f).mean() if loss == "rpgan" else F.softplus(-f).mean()
        optimisers["G"].zero_grad()
        total.backward()
        optimisers["G"].step()

        seen += 8
        decay = 0.5 ** (8 / min(10_000.0, 0.05 * seen))
        with torch.no_grad():
            for a, p in zip(average.parameters(), G.parameters(), strict=True):
                a.copy_(decay * a + (1 - decay) * p)
    return average


@pytest.mark.parametrize("name", ["mlp", "normfree"])
@pytest.mark.parametrize(
    ("loss", "terms", "every"), [("non-saturating", {"r1": {"gamma": 0.5, "every": 2}}, 2), ("rpgan", R1R2, 1)]
)
def test_equals_the_slow_obvious_loop(name, loss, terms, every):
    step = small_step(network=family(name), loss=loss, terms=terms)
    G, D = copy.deepcopy(step.networks["G"]), copy.deepcopy(step.networks["D"])
    opts = step.optimisers
    average = plain_loop(
        G, D, loss, terms["r1"]["gamma"], terms.get("r2", {}).get("gamma", 0.0), every, 6,
        {r: float(o.lr) for r, o in opts.items()}, {r: (float(o.beta1), float(o.beta2)) for r, o in opts.items()},
        float(opts["D"].eps),
    )  # fmt: skip
    before = copy.deepcopy(step.networks["G"])
    play(step, 6)
    for ours, theirs in ((step.networks["G"], G), (step.networks["D"], D)):
        for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(p, q, rtol=0, atol=1e-10)
    for p, q in zip(step.ema.average.parameters(), average.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=0, atol=1e-7)  # the decay is kept in single precision
    assert any((p - q).abs().max() > 1e-4 for p, q in zip(G.parameters(), before.parameters(), strict=True))


def test_the_average_s_clock_counts_what_the_discriminator_was_shown():
    step = small_step(dtype=torch.float32)
    for role in "DDDG":
        step.move(role, *batch_of(step, 0))
    assert float(step.ema.seen) == pytest.approx(0.024)


# ------------------------------------------------------------------------------------------------ accumulation


@pytest.mark.parametrize("name", ["mlp", "normfree", "resnet"])
def test_a_batch_worked_off_in_parts_gives_the_same_update(name):
    network = family(name, norm_G="none") if name == "resnet" else family(name)
    whole, parts = (
        play(small_step(network=network, loss="rpgan", terms=R1R2, accumulate=n), 3) for n in (1, 4)
    )  # fmt: skip
    a, b = snapshot(whole), snapshot(parts)
    for key, value in a.items():
        torch.testing.assert_close(value, b[key], rtol=0, atol=1e-6)
    left, right = whole.meter.read(), parts.meter.read()
    assert (
        left["D.loss"].mean == pytest.approx(right["D.loss"].mean, abs=1e-9) and left["D.loss"].n == right["D.loss"].n
    )
    assert left["D.r1"].mean == pytest.approx(right["D.r1"].mean, rel=1e-6)


@pytest.mark.parametrize(
    ("network", "culprit"),
    [
        (family("dcgan", norm_G="batch"), r"G's .*BatchNorm"),
        (family("mlp", norm_D="batch"), r"D's .*BatchNorm"),
        (family("mlp", minibatch_std=True), r"D's spread \(MinibatchStd\)"),
    ],
)
def test_parts_that_look_at_the_whole_batch_are_refused(network, culprit):
    with pytest.raises(InputError, match=rf"accumulate=2 would change what {culprit}.*set accumulate=1"):
        small_step(network=network, accumulate=2)
    small_step(network=network, accumulate=1)


def test_a_batch_that_does_not_divide_is_refused():
    step = small_step(accumulate=4)
    with pytest.raises(InputError, match="a batch of 6 cannot be worked off in 4 equal parts"):
        step.move("D", *batch_of(step, 0, size=6))


# ------------------------------------------------------------------------------------------------ skipped updates

SPECTRAL = family("mlp", norm_D="spectral", norm_G="batch", depth=2)


def poisoned(what):
    """A float batch with one bad pixel."""
    images = torch.rand(8, 1, 8, 8) * 2 - 1
    images[3, 0, 4, 4] = what
    return images


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("role", ["D", "G"])
def test_a_bad_image_skips_the_update_and_changes_no_bit(role, bad):
    step = small_step(network=SPECTRAL, dtype=torch.float32, loss="rpgan")
    play(step, 3)
    step.move("D", *batch_of(step, 9))  # so that the average has something to follow
    before = snapshot(step)
    assert any("running_mean" in n for n in before) and any("_u" in n for n in before)
    step.meter.read()
    step.move(role, poisoned(bad), None, step.due(role))
    assert changed(before, snapshot(step)) == set()
    found = step.meter.read()
    assert found[f"{role}.skipped"][:3] == (1.0, 0.0, 1) and found[f"{role}.loss"].nonfinite >= 1
    assert found[f"{role}.gradient"].nonfinite == 1 and found[f"{role}.update"].mean == 0.0
    assert bool(step.alarm[role]) and int((~step.failed[role][0].isfinite()).sum()) == 1


@pytest.mark.parametrize("role", ["D", "G"])
def test_an_overflow_inside_the_generator_skips_too(role, monkeypatch):
    step = small_step(network=SPECTRAL, dtype=torch.float32)
    play(step, 2)
    before = snapshot(step)
    hook = step.networks["G"].trunk.register_forward_hook(lambda m, i, out: out * math.inf)
    step.move(role, *batch_of(step, 0), step.due(role))
    hook.remove()
    assert changed(before, snapshot(step)) == set()
    step.move(role, *batch_of(step, 1), step.due(role))
    after = snapshot(step)
    assert {n.split(".")[0] for n in changed(before, after)} >= {role}
    assert all(t.isfinite().all() for t in after.values() if t.is_floating_point())


def test_a_good_move_does_change_every_kind_of_state():
    """So that the tests above could fail."""
    step = small_step(network=SPECTRAL, dtype=torch.float32)
    before = snapshot(step)
    play(step, 1)
    now = changed(before, snapshot(step))
    for kind in ("running_mean", "num_batches_tracked", "_u", "D.first", "G.second", "D.mass", "ema.seen", "average."):
        assert any(kind in name for name in now), kind


def test_only_the_first_skipped_batch_is_kept_until_the_alarm_is_reset():
    step = small_step(dtype=torch.float32)
    first, second = poisoned(math.nan), poisoned(math.nan)
    for images in (first, second):
        step.move("D", images, None)
    assert torch.equal(step.failed["D"][0].nan_to_num(7), first.nan_to_num(7)) and not bool(step.alarm["G"])
    step.alarm["D"].zero_()
    step.move("D", second, None)
    assert torch.equal(step.failed["D"][0].nan_to_num(7), second.nan_to_num(7))


def test_a_batch_of_another_size_is_kept_whole():
    step = small_step(dtype=torch.float32)
    step.move("D", poisoned(math.nan), None)
    step.move("D", *batch_of(step, 0, size=4))  # the last batch of a loader, and of bytes
    step.move("D", poisoned(math.nan)[:4], None)
    assert bool(step.alarm["D"]) and step.failed["D"][0].shape == (4, 1, 8, 8)
    assert int(step.failed["D"][0].isnan().sum()) == 1


# ------------------------------------------------------------------------------------------------ watching


@pytest.mark.parametrize("terms", [{}, R1R2])
def test_sensors_do_not_change_the_bits(terms):
    watched, alone = (
        play(
            small_step(
                network=SPECTRAL if not terms else {}, dtype=torch.float32, loss="rpgan", terms=terms, sensing=s
            ),
            4,
        )
        for s in (True, False)
    )
    assert changed(snapshot(watched), snapshot(alone)) == set()
    readings = watched.meter.read()
    assert {e.name for e in entries("sensor")} <= set(readings)
    assert set(alone.meter.read()) == set(readings) - {e.name for e in entries("sensor")}


def test_readings_of_a_move_are_what_the_loop_saw():
    step = small_step(terms={"r1": {"gamma": 0.5, "every": 2}})
    images, _ = batch_of(step, 0)
    torch.manual_seed(3)
    fake = step.networks["G"](torch.randn(8, 4, dtype=torch.float64)).detach()
    real = (images.double() / 127.5 - 1).requires_grad_(True)
    r, f = step.networks["D"](real), step.networks["D"](fake)
    (gradient,) = torch.autograd.grad(r.sum(), real)
    weights = [p.detach().clone() for p in step.networks["D"].parameters()]
    torch.manual_seed(3)
    step.move("D", images, None, step.due("D"))
    found = step.meter.read()
    assert found["D.loss"].mean == pytest.approx(float((F.softplus(-r) + F.softplus(f)).mean().detach()))
    assert found["D.loss"].std == pytest.approx(float((F.softplus(-r) + F.softplus(f)).std(unbiased=False).detach()))
    assert found["D.r1"].mean == pytest.approx(2 * 0.25 * float(gradient.square().sum((1, 2, 3)).mean()))
    assert found["D.real_score"].mean == pytest.approx(float(r.mean().detach()))
    moved = sum(
        float((p.detach() - w).square().sum()) for p, w in zip(step.networks["D"].parameters(), weights, strict=True)
    )
    assert found["D.update"].mean == pytest.approx(math.sqrt(moved))
    assert found["D.skipped"].mean == 0.0 and found["D.win_rate"].n == 8


# ------------------------------------------------------------------------------------------------ precision and layout


def test_mixed_precision_judges_in_bfloat16_but_penalises_in_single():
    step = small_step(network=family("dcgan"), dtype=torch.float32, terms=LAZY, mixed=True)
    seen = {"D": set(), "G": set()}
    for role, layer in (("D", step.networks["D"].output), ("G", step.networks["G"].output)):
        layer.register_forward_hook(lambda m, i, out, role=role: seen[role].add(out.dtype))
    images, latents = batch_of(step, 0)[0], torch.randn(8, 4)
    plain = step.turn("D", images, None, latents, frozenset())
    assert seen == {"D": {torch.bfloat16}, "G": {torch.bfloat16}}
    assert plain["real_logits"].dtype == plain["fake"].dtype == torch.float32
    seen["D"].clear()
    penalised = step.turn("D", images, None, latents, frozenset({"r1"}))
    assert seen["D"] == {torch.float32}
    value = penalised.call(step.objective.terms["r1"])
    assert value.dtype == torch.float32 and penalised["real_gradient"].dtype == torch.float32
    reference = small_step(network=family("dcgan"), dtype=torch.float32, terms=LAZY)
    exact = reference.turn("D", images, None, latents, frozenset({"r1"})).call(reference.objective.terms["r1"])
    torch.testing.assert_close(value, exact, rtol=0.01, atol=0)


@pytest.mark.parametrize("terms", [{}, LAZY, {"wgan-gp": {"every": 2}}])
def test_mixed_precision_runs_and_stays_finite(terms):
    step = play(small_step(network=family("dcgan"), dtype=torch.float32, terms=terms, mixed=True), 4)
    assert all(p.dtype == torch.float32 and p.isfinite().all() for p in step.networks["D"].parameters())
    found = step.meter.read()
    assert found["D.skipped"].mean == 0.0 and found["D.update"].mean > 0 and found["D.loss"].nonfinite == 0


def test_channels_last_computes_the_same():
    plain, last = (
        play(small_step(network=family("dcgan"), loss="rpgan", terms=R1R2, channels_last=c), 3) for c in (False, True)
    )
    kernels = [p for p in last.networks["D"].parameters() if p.dim() == 4 and p.shape[1] > 1 and p.shape[2] > 1]
    assert kernels and all(p.is_contiguous(memory_format=torch.channels_last) for p in kernels)
    b = snapshot(last)
    for key, value in snapshot(plain).items():
        if not key.endswith(("first", "second")):  # flat moments follow the memory order
            torch.testing.assert_close(value, b[key], rtol=0, atol=1e-8)


# ------------------------------------------------------------------------------------------- refusals, classes, heads


@pytest.mark.parametrize("terms", [{"r1": {}}, {"r2": {}}, {"wgan-gp": {}}, {"r1": {"every": 8}}])
def test_a_penalty_on_a_discriminator_with_batch_norm_is_refused_with_the_reason(terms):
    name = next(iter(terms))
    with pytest.raises(
        InputError, match=rf"{name} takes .* for each image by itself.*batch normalisation .*norm_D to none"
    ):
        small_step(network=family("mlp", norm_D="batch"), terms=terms)
    small_step(network=family("mlp", norm_D="batch"))
    small_step(network=family("mlp", norm_D="layer", norm_G="batch"), terms=terms)
    small_step(network=family("mlp", norm_D="spectral", minibatch_std=True), terms=terms)


def test_reals_and_fakes_are_normalised_apart_where_layers_mix_samples():
    """One pass over both would mix their statistics: D with batch norm judges them in two."""
    step = small_step(network=family("mlp", norm_D="batch"))
    sizes = []
    step.networks["D"].register_forward_pre_hook(lambda m, args: sizes.append(len(args[0])))
    images, latents = batch_of(step, 0)[0], torch.randn(8, 4).double()
    turn = step.turn("D", images, None, latents, frozenset())
    assert sizes == [8, 8]
    torch.testing.assert_close(turn["real_logits"], step.networks["D"](step.show(images)))


def test_classes_reach_both_networks():
    step = small_step(classes=3)
    asked = {"D": [], "G": []}
    for role, net in step.networks.items():
        net.register_forward_pre_hook(lambda m, args, role=role: asked[role].append(args[1].tolist()))
    images, labels = batch_of(step, 0, classes=3)
    step.move("D", images, labels)
    step.move("G", images, labels)
    assert asked["G"] == [labels.tolist()] * 2
    assert asked["D"] == [labels.tolist() * 2, labels.tolist()]  # reals and fakes in one pass, then fakes
    before = snapshot(step)
    play(step, 1, classes=3)
    assert any("embedding" in name for name in changed(before, snapshot(step)))


def test_several_heads_and_patches_are_judged_head_by_head():
    class Heads(nn.Module):
        num_classes = 0

        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Conv2d(1, 1, 3), nn.Linear(64, 1)

        def forward(self, images, labels=None):
            return [self.a(images), self.b(images.flatten(1))]

    recipe = small_recipe(loss="hinge", terms={"r1": {"gamma": 1.0}})
    torch.manual_seed(0)
    generator, judge = build.players(recipe, (1, 8, 8), 0)[0].double(), Heads().double()
    step = build.assemble(recipe, generator, judge, torch.device("cpu"))
    images, latents = batch_of(step, 0)[0], torch.randn(8, 4).double()
    turn = step.turn("D", images, None, latents, step.due("D"))
    assert [tuple(h.shape) for h in turn["real_logits"]] == [(8, 1, 6, 6), (8, 1)]
    real = (images.double() / 127.5 - 1).requires_grad_(True)
    patches, single = judge(real)
    fakes = judge(generator(latents).detach())
    expected = (F.relu(1 - patches).mean((1, 2, 3)) + F.relu(1 + fakes[0]).mean((1, 2, 3))
                + F.relu(1 - single)[:, 0] + F.relu(1 + fakes[1])[:, 0]) / 2  # fmt: skip
    values = step.objective(turn, step.due("D"))
    torch.testing.assert_close(values["loss"], expected)
    score = (patches.mean((1, 2, 3)) + single[:, 0]) / 2
    (gradient,) = torch.autograd.grad(score.sum(), real)
    torch.testing.assert_close(values["r1"], gradient.square().sum((1, 2, 3)) / 2)
    play(step, 2)


def test_every_name_the_step_gives_has_a_row():
    step = small_step(terms=R1R2)
    assert isinstance(step.meter, Meter) and len(set(step.meter.names)) == len(step.meter.names)
    play(step, 1)
    assert set(step.meter.read()) == set(step.meter.names)
