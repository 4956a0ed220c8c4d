"""Probes against hand-computed values and slow obvious code, what a look does with them, and the trainer's looks."""

import math

import pytest
import torch
from torch import nn

from equipoise import looks, metrics, ticks, train
from equipoise.registry import find
from equipoise.sensors import spectra
from equipoise.sensors.probes import View, distances, features, look, probe
from plants import Linear, Quadratic
from small_runs import TINY, images_file, journal, planned, run


def cloud(seed, n, *shape, scale=1.0, offset=0.0):
    return offset + scale * torch.randn(n, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def tell(name, **sets):
    """The signals of one probe on sets of samples."""
    return look(sets, probes=[find("probe", name).part])


# ------------------------------------------------------------------------------------------------ distances


def test_distances_by_hand():
    points, others = torch.tensor([[0.0, 0.0], [3.0, 4.0]]), torch.tensor([[0.0, 0.0], [0.0, 4.0], [3.0, 0.0]])
    torch.testing.assert_close(distances(features(points), features(others)),
                               torch.tensor([[0.0, 4.0, 3.0], [5.0, 3.0, 4.0]]).double())  # fmt: skip


def test_large_images_are_averaged_down_and_small_ones_are_not():
    image = torch.zeros(1, 1, 64, 64)
    image[..., ::2, ::2] = 4.0  # one pixel in each square of four
    assert features(image).shape == (1, 1024) and set(features(image).flatten().tolist()) == {1.0}
    assert features(torch.zeros(2, 3, 32, 32)).shape == (2, 3072)
    assert features(torch.zeros(2, 3, 64, 16)).shape == (2, 3 * 32 * 16)


def test_a_view_forms_distances_once_and_turns_them_round():
    view = View({"samples": cloud(0, 5, 2), "training": cloud(1, 7, 2), "labels": None})
    there = view["samples_to_training"]
    assert there.shape == (5, 7) and view["samples_to_training"] is there
    assert view["training_to_samples"].data_ptr() == there.data_ptr() and view["training_to_samples"].shape == (7, 5)
    assert "labels" not in view and "samples_to_heldout" not in view and "judge_to_samples" not in view
    with pytest.raises(KeyError, match="no field 'heldout'"):
        view["heldout"]


def test_what_is_costly_is_made_when_asked_for_and_once():
    made = []
    view = View({}, {"samples": lambda: made.append(1) or cloud(0, 3, 2)})
    assert "samples" in view and made == []
    assert view["samples_to_samples"].shape == (3, 3) and view["samples"].shape == (3, 2) and made == [1]


# ------------------------------------------------------------------------------------------------ samples and data


def test_diversity_by_hand():
    corners = torch.tensor([[0.0, 0.0], [0.0, 3.0], [4.0, 0.0]])  # distances 3, 4, 5
    assert tell("diversity", samples=corners / 2, training=corners)["diversity"] == pytest.approx(0.5)
    assert tell("diversity", samples=corners[:1].repeat(3, 1), training=corners)["diversity"] == 0.0
    assert "diversity" not in tell("diversity", samples=corners[:1], training=corners)
    assert "diversity" not in tell("diversity", samples=corners, training=corners[:1].repeat(2, 1))


def test_energy_equals_the_metric_less_its_floor():
    fake, train_, held = cloud(0, 60, 3, offset=0.3), cloud(1, 50, 3), cloud(2, 40, 3)
    unit = distances(train_, train_).sum() / (50 * 49)
    floor, ours = metrics.energy(held, train_), metrics.energy(held, fake)
    found = tell("energy", samples=fake, training=train_, heldout=held)
    assert found["energy"] == pytest.approx((ours - floor) / float(unit), rel=1e-9)
    scaled = tell("energy", samples=7 * fake, training=7 * train_, heldout=7 * held)
    assert scaled["energy"] == pytest.approx(found["energy"], rel=1e-9)


def test_energy_says_nothing_against_a_handful_and_rises_where_modes_are_lost():
    train_, held = cloud(1, 200, 2), cloud(2, 100, 2)
    assert "energy" not in tell("energy", samples=train_, training=train_, heldout=held[:29])
    assert "energy" in tell("energy", samples=train_, training=train_, heldout=held[:30])
    good, lost = (tell("energy", samples=cloud(3, 200, 2, scale=s), training=train_, heldout=held)["energy"]
                  for s in (1.0, 0.01))  # fmt: skip
    assert abs(good) < 0.05 and lost > 0.3


def test_balls_and_recall_equal_the_metrics():
    fake, train_, held = cloud(0, 60, 4, scale=0.5), cloud(1, 50, 4), cloud(2, 40, 4)
    found = look({"samples": fake, "training": train_, "heldout": held})
    expected = metrics.prdc(train_, fake)
    assert 0.1 < expected.coverage < 0.95 and 0.1 < expected.recall < 0.95  # neither says all or nothing
    assert (found["precision"], found["coverage"]) == (
        pytest.approx(expected.precision),
        pytest.approx(expected.coverage),
    )
    assert found["recall"] == pytest.approx(metrics.prdc(held, fake).recall)
    few = look({"samples": fake, "training": train_[:5], "heldout": held[:20]})
    assert not {"precision", "coverage", "recall"} & set(few)


def test_nearest_by_hand_and_for_a_memoriser():
    pool = torch.arange(40.0)[:, None] * 10
    found = tell("nearest", samples=pool[:9] + 1.0, pool=pool, heldout=(pool + 4.0)[:30])
    assert found["nearest"] == pytest.approx(0.25)
    assert tell("nearest", samples=pool, pool=pool, heldout=pool[:30] + 4.0)["nearest"] == 0.0
    assert "nearest" not in tell("nearest", samples=pool, pool=pool, heldout=pool[:29] + 4.0)


def test_leak_by_hand_and_for_a_generator_that_imitates_the_augmentation():
    """Augmented images lie at 10 to 13, real ones at 0 to 3; the fourth is left as it was, and then counts as real."""
    training = torch.arange(4.0)[:, None]
    augmented = torch.tensor([[10.0], [11.0], [12.0], [3.0]])
    sets = {"training": training, "augmented": augmented}
    samples = torch.tensor([[0.4], [3.1], [10.2], [12.3]])
    assert tell("leak", samples=samples, **sets)["leak"] == 0.5  # 3.1 is as near to the third as to itself augmented
    assert tell("leak", samples=training, **sets)["leak"] == 0
    assert "leak" not in tell("leak", samples=samples, training=training)  # without an augmentation
    apart, beside = torch.tensor([[0.0], [10.0], [20.0]]), torch.tensor([[9.0], [19.0], [1.0]])
    assert tell("leak", samples=beside, training=apart, augmented=beside)["leak"] == 0  # as likely for training images
    real, seen, unseen = (cloud(seed, 200, 1, 8, 8, scale=0.2).float() + 1 for seed in (1, 2, 3))
    real[:, :, :4] += 2  # bright above, so that one upside down is told
    seen[:, :, :4] += 2
    unseen[:, :, :4] += 2
    every, second = unseen.flip(2), torch.cat([unseen[:100], unseen[100:].flip(2)])
    sets = {"training": real, "augmented": seen.flip(2)}
    told = [tell("leak", samples=made, **sets)["leak"] for made in (unseen, second, every)]
    assert told == [0.0, 0.5, 1.0]


def test_samples_that_are_not_finite_are_left_out_and_counted():
    fake, train_ = cloud(0, 20, 2), cloud(1, 20, 2)
    broken = torch.cat([fake, torch.tensor([[math.nan, 0.0], [math.inf, 1.0], [0.0, -math.inf]]).double()])
    found, clean = (look({"samples": s, "training": train_}) for s in (broken, fake))
    assert found["nonfinite"] == pytest.approx(3 / 23) and clean["nonfinite"] == 0.0
    for name in ("diversity", "precision", "coverage"):
        assert found[name] == clean[name]
    lost = look({"samples": fake * math.nan, "training": train_, "heldout": cloud(2, 40, 2)})
    assert lost == {"nonfinite": 1.0}


# ------------------------------------------------------------------------------------------------ networks


def test_slopes_of_a_linear_discriminator():
    training, fake = torch.tensor([[1.0, -1.0], [3.0, 1.0]]).double(), cloud(0, 40, 2)
    found = tell("slopes", judge=Linear(), training=training, samples=fake)
    assert found["slope_real"] == found["slope_fake"] == pytest.approx(5 * math.sqrt(3))  # rms of 1, 1, 3, 1


def test_slopes_are_taken_where_the_samples_lie_and_do_not_know_the_scale():
    judge = Quadratic([[2.0, 0.0], [0.0, 1.0]])  # gradient (2x, y)
    sets = {"training": torch.tensor([[3.0, 4.0]]).double(), "samples": torch.tensor([[0.0, 2.0]]).double()}
    rms = math.sqrt(12.5)
    found = tell("slopes", judge=judge, **sets)
    assert found["slope_real"] == pytest.approx(rms * math.hypot(6, 4))
    assert found["slope_fake"] == pytest.approx(rms * 2)
    rescaled = tell("slopes", judge=lambda x: judge(x / 9), **{k: 9 * v for k, v in sets.items()})
    assert rescaled["slope_real"] == pytest.approx(found["slope_real"])
    assert judge.matrix.grad is None


def test_the_largest_singular_value_is_that_of_the_layers():
    network = nn.Sequential(nn.Conv2d(3, 5, 3), nn.Linear(7, 4), nn.Embedding(9, 50), nn.LayerNorm(4))
    matrices = [network[0].weight.detach().flatten(1), network[1].weight.detach()]
    expected = max(float(torch.linalg.svdvals(matrix).amax()) for matrix in matrices)
    found = tell("spectra", discriminator=network, generator=nn.Linear(2, 2, bias=False).requires_grad_(False))
    assert found["spectrum_D"] == pytest.approx(expected, rel=0.03) and found["spectrum_D"] <= expected * 1.00001
    diagonal = nn.Linear(3, 3)
    diagonal.weight.data = torch.diag(torch.tensor([1.0, -7.0, 2.0]))
    assert float(spectra.spectrum(diagonal)) == pytest.approx(7.0, rel=1e-5)
    normed = nn.utils.parametrizations.spectral_norm(diagonal, n_power_iterations=30).eval()
    assert float(spectra.spectrum(normed)) == pytest.approx(1.0, rel=1e-3)
    assert spectra.spectrum(nn.ReLU()) == 0.0


def test_churn_by_hand():
    now = torch.tensor([[0.0, 0.0], [0.0, 8.0]])
    assert tell("churn", fixed=now, before=now + torch.tensor([3.0, 4.0]))["churn"] == pytest.approx(5 / 8)
    assert tell("churn", fixed=now, before=now)["churn"] == 0.0
    assert "churn" not in tell("churn", fixed=now, before=now * math.nan)


class Player(nn.Module):
    """A number within -1 and 1."""

    def __init__(self, value):
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value, dtype=torch.float64))

    def forward(self):
        return self.value.clamp(-1, 1)


def test_the_duality_gap_of_a_bilinear_game():
    """f(x, y) = x y, x minimises and y maximises: from (x, y) they could gain |y| + xy and |x| - xy."""
    x, y = Player(0.3), Player(-0.4)
    told = look(
        {"generator": x, "discriminator": y, "losses": lambda g, d, unseen: (g() * d(), -g() * d()), "lr": 0.05},
        probes=[find("probe", "duality_gap").part],
    )
    assert told["duality_gap"] == pytest.approx(0.7)
    assert (float(x.value.detach()), float(y.value.detach())) == (0.3, -0.4) and x.value.grad is None


def test_the_duality_gap_is_0_at_the_equilibrium_and_judged_on_unseen_data():
    gap = find("probe", "duality_gap").part.function
    none = gap(Player(0.0), Player(0.0), lambda g, d, unseen: (g() * d(), -g() * d()), lr=0.05)
    assert float(none) == 0.0
    useless = gap(Player(0.3), Player(-0.4), lambda g, d, unseen: (g() * d() * (1 - unseen), -g() * d() * (1 - unseen)))
    assert float(useless) == 0.0  # what is learnt there is worth nothing here


# ------------------------------------------------------------------------------------------------ looking


def test_a_probe_of_ones_own_joins_the_look():
    @probe("churn", every=3, cost="none", claim="for this test")
    def mine(samples, factor=2.0):
        """Twice the first sample."""
        return factor * samples[0]

    try:
        fake = torch.tensor([1.5, 2.0])
        assert look({"samples": fake})["churn"] == 3.0 and look({"samples": fake, "factor": 4.0})["churn"] == 6.0
        assert "churn" in look({"samples": fake}, tick=6) and "churn" not in look({"samples": fake}, tick=7)
        assert "churn" not in look({"training": fake})
        assert mine.function(fake) == 3.0  # a plain function still
    finally:
        from equipoise import registry

        del registry._entries["probe", "mine"]


def test_costly_probes_wait_to_be_asked():
    @probe("churn", asked=True, claim="for this test")
    def costly(samples):
        """One."""
        return 1.0

    try:
        assert "churn" not in look({"samples": torch.zeros(2)})
        assert look({"samples": torch.zeros(2)}, probes=[costly])["churn"] == 1.0
    finally:
        from equipoise import registry

        del registry._entries["probe", "costly"]


# ------------------------------------------------------------------------------------------------ in the trainer


def started(tmp_path, settings=TINY, classes=0, **request):
    asked = planned(images_file(tmp_path / "images.npz", count=400, classes=classes), settings, **request)
    step, _, batches = train.start(asked.config, asked.dataset, None)
    return asked.config, step, batches


@pytest.mark.parametrize(
    ("settings", "classes"),
    [(TINY, 2), (("network.name=dcgan", "network.width=4", "network.norm_D=batch", "batch=8", "r1=off"), 0),
     (("network.name=resnet", "network.width=4", "network.norm_D=spectral", "batch=8", "r1=off"), 2),
     ((*TINY, "network.pack=2"), 0)],
)  # fmt: skip
def test_a_look_disturbs_nothing_and_can_be_repeated(tmp_path, settings, classes):
    config, step, batches = started(tmp_path, settings, classes)
    step.networks["D"].eval()  # as a caller may have left some part of it
    before = {r: {k: v.clone() for k, v in net.state_dict().items()} for r, net in step.networks.items()}
    modes = {m: m.training for net in step.networks.values() for m in net.modules()}
    state, position = torch.get_rng_state(), batches.position
    first = looks.probed(step, config, batches, 0, 800)
    assert torch.equal(torch.get_rng_state(), state) and batches.position == position
    assert {m: m.training for net in step.networks.values() for m in net.modules()} == modes
    assert all(torch.equal(before[r][k], v) for r, net in step.networks.items() for k, v in net.state_dict().items())
    assert all(p.grad is None and p.requires_grad for net in step.networks.values() for p in net.parameters())
    torch.rand(3)
    step.kept["before"].fill_(math.nan)
    assert looks.probed(step, config, batches, 0, 800) == first
    assert "churn" not in first and looks.probed(step, config, batches, 0, 800)["churn"] == 0.0  # nothing has moved
    assert looks.probed(step, config, batches, 0, 808)["diversity"] != first["diversity"]
    assert {"diversity", "energy", "precision", "coverage", "recall", "nearest", "slope_real", "slope_fake"} <= set(
        first
    )


@pytest.mark.parametrize(
    ("settings", "told"), [(("ada.p=0.9", "ada.preset=blit"), True), (("apa.p=0.5",), False), ((), False)]
)
def test_a_leak_is_looked_for_where_images_are_changed(tmp_path, settings, told):
    config, step, batches = started(tmp_path, (*TINY, *settings))
    view = looks.view(step, config, batches, 800)
    assert ("augmented" in view) == ("leak" in looks.probed(step, config, batches, 0, 800)) == told
    if told:
        with looks.aside(step.device, 0, 800):
            shown = view["augmented"]
        assert shown.shape == view["training"].shape
        same = (shown == view["training"]).flatten(1).all(1).double().mean()
        assert 0 < same < 0.2  # nine tenths are flipped, turned or shifted


def test_ticks_tell_the_strength_of_ada(tmp_path):
    source = images_file(tmp_path / "images.npz", count=400)
    run(tmp_path / "run", planned(source, settings=(*TINY, "ada.p=0.25"), balance="watch"))
    ticks = [line for line in journal(tmp_path / "run") if line["event"] == "tick"]
    assert {line["balance"]["augmentation"] for line in ticks} == {0.25}


def test_the_fields_of_a_look_are_those_of_this_moment(tmp_path):
    config, step, batches = started(tmp_path, classes=2)
    view = looks.view(step, config, batches, 800)
    rows = {tuple(row) for row in view["heldout"].flatten(1).tolist()}
    assert len(rows) == len(view["heldout"]) == len(batches.holdout.heldout(0)) > 30  # each of them once
    assert len(view["samples"]) == len(view["training"]) == len(view["labels"]) == 256
    assert -1 <= float(view["training"].min()) < -0.9 and float(view["training"].max()) <= 1
    with torch.no_grad():
        alone = step.networks["D"](view["training"][:5], view["labels"][:5])
        torch.testing.assert_close(view["judge"](view["training"])[:5], alone)
    assert not torch.equal(view["samples"], View({}, {"samples": lambda: view["averaged"] + 1})["samples"])


@pytest.mark.parametrize("settings", [TINY, (*TINY, "network.pack=2"), (*TINY, "loss=rpgan")])
def test_the_duality_gap_of_a_run_when_asked(tmp_path, settings):
    config, step, batches = started(tmp_path, settings)
    before = {r: {k: v.clone() for k, v in net.state_dict().items()} for r, net in step.networks.items()}
    asked = [find("probe", "duality_gap").part]
    gap = looks.probed(step, config, batches, 0, 800, asked)["duality_gap"]
    assert gap > 0.01 and looks.probed(step, config, batches, 0, 800, asked)["duality_gap"] == gap
    assert all(torch.equal(before[r][k], v) for r, net in step.networks.items() for k, v in net.state_dict().items())
    assert "duality_gap" not in looks.probed(step, config, batches, 0, 800)


def test_a_rotating_split_is_followed(tmp_path):
    config, step, batches = started(tmp_path)
    batches.position = batches.holdout.period // config.recipe.batch
    view = looks.view(step, config, batches, 8000)
    rows = {tuple(row) for row in view["training"].flatten(1).tolist()}
    assert batches.holdout.fold(batches.samples) == 1
    assert not rows & {tuple(row) for row in view["heldout"].flatten(1).tolist()}


def test_fewer_samples_where_a_cpu_would_wait():
    cpu = torch.device("cpu")
    sizes = [looks.size_of(shape, cpu) for shape in ((2,), (1, 8, 8), (3, 16, 16), (3, 32, 32))]
    assert sizes == [256, 256, 256, 128] and looks.size_of((3, 32, 32), torch.device("cuda")) == 256


def test_ticks_carry_the_signals_and_off_has_none(tmp_path):
    source = images_file(tmp_path / "images.npz", count=400)
    for balance in ("watch", "off"):
        run(tmp_path / balance, planned(source, balance=balance))
    watched, off = (
        [line for line in journal(tmp_path / balance) if line["event"] == "tick"] for balance in ("watch", "off")
    )
    for line in watched:
        assert {"auc", "pull", "agreement", "diversity", "energy", "coverage", "slope_fake"} <= set(line["balance"])
    assert [line["tick"] for line in watched if "nearest" in line["balance"]] == [0, 4]
    assert [line["tick"] for line in watched if "churn" in line["balance"]] == [4]  # it needs a look before
    assert [line["tick"] for line in watched if "spectrum_D" in line["balance"]] == [0]
    assert not {"auc", "pull", "diversity", "energy"} & set(off[-1]["balance"])


def test_of_two_shares_that_were_not_finite_the_larger_counts():
    assert ticks.merged({"gap": 1.0, "nonfinite": 0.1}, {"energy": 2.0, "nonfinite": 0.0}) == {
        "gap": 1.0, "energy": 2.0, "nonfinite": 0.1}  # fmt: skip
    assert ticks.merged({"gap": 1.0}, {}) == {"gap": 1.0}


def test_modes_come_back_even_after_an_error():
    network = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5))
    network[1].eval()
    with pytest.raises(ValueError), looks.evaluating(network):
        assert not network.training and not network[0].training
        raise ValueError
    assert network.training and network[0].training and not network[1].training
