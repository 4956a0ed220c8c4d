"""Power-function averages: the published numbers, reconstruction, refusal of bad updates, resuming."""

import math
import os

import numpy as np
import pytest
import torch
from torch import nn

from equipoise import build, checkpoint, power_ema, runs
from equipoise.ema import recalibrate
from equipoise.errors import InputError
from equipoise.generate import generate_files
from equipoise.power_ema import PowerEMA, beta, coefficients, exponent, misfit, overlap, reconstruct
from equipoise.recipe import Recipe
from plants import batch_of, changed, play, small_recipe, small_step
from small_runs import TINY, bits, images_file, planned
from small_runs import run as trained
from test_step import fake_moves, family


@pytest.mark.parametrize(("width", "power"), [(0.10, 6.937204), (0.05, 16.972199), (0.01, 96.994898)])
def test_the_exponent_of_a_width(width, power):
    assert exponent(width) == pytest.approx(power, abs=1e-6)
    g = exponent(width)
    assert ((g + 1) / ((g + 2) ** 2 * (g + 3))) ** 0.5 == pytest.approx(width, rel=1e-9)


def test_the_decay():
    assert beta(exponent(0.05), 1e6, 512) == pytest.approx(0.990838, abs=1e-6)
    for width in (0.0, 0.28, -1.0):
        with pytest.raises(InputError, match="relative width"):
            exponent(width)


class One(nn.Module):
    latent_dim, num_classes = 1, 0

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.zeros(3, dtype=torch.float64))


def walk(widths, steps=4000, every=64, keep=(), folder=None, bad=()):
    """Averages that followed a random walk, with snapshots on the way."""
    source, net = torch.Generator().manual_seed(0), One()
    average = PowerEMA(net, widths)
    for step in range(1, steps + 1):
        net.w.data += 0.1 * torch.randn(3, generator=source, dtype=torch.float64)
        average.see(every)
        average.update(torch.tensor(0.0 if step in bad else 1.0))
        if step in keep:
            average.save(folder, step * every)
    return average


def test_the_average_is_that_of_the_profile():
    """Constant weights stay; after a step the average of t^g is what the closed form says."""
    net = One()
    average = PowerEMA(net, [0.1])
    g = exponent(0.1)
    for value, count in ((0.0, 500), (1.0, 500)):
        net.w.data.fill_(value)
        for _ in range(count):
            average.see(10)
            average.update()
    assert float(average.averages[0].w[0].detach()) == pytest.approx(1 - 0.5 ** (g + 1), abs=1e-12)


def test_each_update_is_the_published_one():
    """Against the recursion written down: average = beta average + (1 - beta) live, beta of the images at the time."""
    source, net = torch.Generator().manual_seed(0), One()
    average = PowerEMA(net, [0.05, 0.1])
    expected, seen = [torch.zeros(3, dtype=torch.float64) for _ in range(2)], 0
    for new in (64, 64, 128, 32, 64, 512):
        net.w.data = torch.randn(3, generator=source, dtype=torch.float64)
        seen += new
        average.see(new // 2)
        average.see(new // 2)  # however many discriminator moves showed them
        average.update()
        for number, width in enumerate((0.05, 0.1)):
            decay = beta(exponent(width), seen, new)
            expected[number] = decay * expected[number] + (1 - decay) * net.w.detach()
    for one, value in zip(average.averages, expected, strict=True):
        torch.testing.assert_close(one.w.detach(), value, rtol=1e-12, atol=1e-12)


def test_the_first_update_takes_the_live_weights_whole():
    net = One()
    average = PowerEMA(net, [0.1])
    net.w.data.fill_(3.0)
    average.see(64)
    average.update()
    assert torch.equal(average.averages[0].w, net.w)
    average.update()  # also where no discriminator moved in between
    assert torch.equal(average.averages[0].w, net.w)


def test_the_relative_width_is_that_asked_for():
    """The share that each moment's weights have in the average: its deviation over the length of the run."""
    for width in (0.05, 0.1, 0.2):
        net, every, count = One(), 10, 1000
        net.w = nn.Parameter(torch.zeros(count, dtype=torch.float64))
        average = PowerEMA(net, [width])
        for step in range(count):
            net.w.data.zero_()[step] = 1.0
            average.see(every)
            average.update()
        shares, times = average.averages[0].w.detach().numpy(), (np.arange(count) + 0.5) / count
        assert shares.sum() == pytest.approx(1.0)
        mean = (shares * times).sum()
        assert math.sqrt((shares * times**2).sum() - mean**2) == pytest.approx(width, rel=1e-3)


def test_a_refused_update_changes_no_bit_and_its_images_count_later():
    plain, poisoned = walk([0.1], 50), walk([0.1], 50, bad=(50,))
    assert float(poisoned.unseen) == 64 and float(plain.unseen) == 0
    assert float(poisoned.seen) == float(plain.seen) - 64
    before, seen = poisoned.averages[0].w.clone(), float(poisoned.seen)
    poisoned.live.w.data.fill_(7.0)
    poisoned.see(64)
    poisoned.update(torch.tensor(0.0))
    assert torch.equal(poisoned.averages[0].w, before) and float(poisoned.seen) == seen
    poisoned.update(torch.tensor(1.0))
    decay = beta(exponent(0.1), seen + 128, 128)
    torch.testing.assert_close(poisoned.averages[0].w.detach(), decay * before + (1 - decay) * 7.0)


def test_a_move_that_is_refused_moves_no_average():
    step = play(small_step(ema_widths=[0.1]), 2)
    before = {name: tensor.clone() for name, tensor in step.powers.state_dict().items()}
    images, labels = batch_of(step, 9)
    step.networks["G"].register_forward_hook(lambda m, a, out: out * math.nan)
    step.move("G", images, labels)
    assert step.alarm["G"] and changed(before, step.powers.state_dict()) == set()


def test_profiles_overlap_as_their_integral_says():
    for a, b, g, h in ((1.0, 2.0, 3.0, 5.0), (2.0, 1.0, 3.0, 5.0), (1.5, 1.5, 6.9, 17.0)):
        t = (np.arange(200_000) + 0.5) / 200_000 * max(a, b)
        profile = [np.where(t <= end, (p + 1) * t**p / end ** (p + 1), 0) for end, p in ((a, g), (b, h))]
        numeric = (profile[0] * profile[1]).mean() * max(a, b)
        assert float(overlap(a, g, b, h)) == pytest.approx(numeric, rel=1e-4)


def test_a_stored_width_is_reconstructed_exactly(tmp_path):
    facts = [(1e5 * n, width) for n in range(1, 9) for width in (0.05, 0.1)]
    found = coefficients(facts, 0.1, 8e5)
    assert (found == np.eye(len(facts))[-1]).all() and misfit(facts, found, 0.1, 8e5) < 1e-7
    gram, aim, norms, norm = power_ema._system(facts, 0.1, 8e5)
    solved = np.linalg.lstsq(gram, aim, rcond=1e-13)[0] / norms * norm  # what the solution would have said
    assert np.abs(solved - found).max() < 1e-6
    average = walk([0.05, 0.1], 40, keep=(20, 40), folder=tmp_path / "ema")
    for width, kept in zip((0.05, 0.1), average.averages, strict=True):
        assert torch.equal(reconstruct(tmp_path, width)["w"], kept.w.detach())


def test_coefficients_fit_the_profile_itself():
    """Against a fit on a fine grid of moments, by ordinary least squares."""
    facts = [(0.25 * n, width) for n in range(1, 5) for width in (0.05, 0.1)]
    t = (np.arange(20_000) + 0.5) / 20_000

    def profile(end, width):
        g = exponent(width)
        return np.where(t <= end, (g + 1) * (t / end) ** g / end, 0)

    found, aim = coefficients(facts, 0.08, 1.0), profile(1.0, 0.08)
    columns = np.stack([profile(*one) for one in facts], 1)
    slow = np.linalg.lstsq(columns, aim, rcond=None)[0]
    assert np.abs(found - slow).max() < 1e-2
    missing = np.linalg.norm(columns @ found - aim) / np.linalg.norm(aim)
    assert misfit(facts, found, 0.08, 1.0) == pytest.approx(missing, rel=1e-3) and missing < 0.03


@pytest.mark.parametrize(("count", "width", "missing"), [(1, 0.08, 0.0397), (10, 0.08, 0.0072), (10, 0.2, 0.0523),
                                                       (100, 0.15, 0.0002), (10, 0.02, 0.2045)])  # fmt: skip
def test_more_snapshots_reach_further(count, width, missing):
    facts = [(1000 * (n + 1) / count, own) for n in range(count) for own in (0.05, 0.1)]
    assert misfit(facts, coefficients(facts, width, 1000), width, 1000) == pytest.approx(missing, abs=6e-5)


@pytest.mark.parametrize("width", [0.075, 0.12])
def test_another_width_is_reconstructed_as_if_it_had_been_followed(tmp_path, width):
    followed = walk([width])
    average = walk([0.05, 0.1], keep=range(250, 4001, 250), folder=tmp_path / "ema")
    made = reconstruct(tmp_path, width)["w"]
    spread = float((average.averages[0].w - average.averages[1].w).norm().detach())
    assert float((made - followed.averages[0].w).norm().detach()) < 0.02 * spread
    earlier = walk([width], steps=2000)
    made = reconstruct(tmp_path, width, at=f"{2000 * 64 // 1000:06d}")["w"]
    assert float((made - earlier.averages[0].w).norm().detach()) < 0.05 * spread


def test_times_are_those_of_the_averages_not_of_the_names(tmp_path):
    walk([0.1], 10, keep=(7, 10), folder=tmp_path / "ema")
    (kept,) = power_ema.snapshots(tmp_path)  # both fall into the first thousand images
    assert kept.file.name == "000000-0.100.safetensors" and (kept.samples, kept.width) == (640.0, 0.1)
    assert os.listdir(tmp_path / "ema") == [kept.file.name]


def test_what_cannot_be_reconstructed_is_said(tmp_path):
    with pytest.raises(InputError, match="ema_widths"):
        reconstruct(tmp_path, 0.1)
    walk([0.05, 0.1], 20, keep=(20,), folder=tmp_path / "ema")
    with pytest.raises(InputError, match=r"2 snapshots of width 0\.05 and 0\.1, for 62% of its profile"):
        reconstruct(tmp_path, 0.25)
    with pytest.raises(InputError, match="relative width"):
        reconstruct(tmp_path, 0.3)
    with pytest.raises(InputError, match="no averages of '000200'; there are those of 000001"):
        reconstruct(tmp_path, 0.1, at="000200")
    (tmp_path / "ema" / "000002-0.050.safetensors").write_bytes(b"cut off")
    with pytest.raises(InputError, match="cannot be read"):
        reconstruct(tmp_path, 0.1)


@pytest.mark.parametrize("widths", [[0.3], [0.0], [0.1, 0.1001]])
def test_widths_that_cannot_be_kept_are_refused(widths):
    with pytest.raises(InputError, match="width"):
        PowerEMA(One(), widths)


@pytest.mark.parametrize(
    ("text", "widths"), [("0.05,0.1", [0.05, 0.1]), ([0.05, 0.1], [0.05, 0.1]), (0.05, [0.05]), ([], []), (None, [])]
)
def test_widths_in_a_recipe(text, widths):
    recipe = Recipe().with_values({"ema_widths": text})
    assert recipe.ema_widths == widths and Recipe.from_dict(recipe.as_dict()) == recipe
    with pytest.raises(InputError, match="must be float"):
        Recipe().with_values({"ema_widths": "small,large"})


class Normed(nn.Module):
    """A generator with running statistics and a constant."""

    latent_dim, num_classes = 3, 0

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.norm = nn.Linear(3, 4), nn.BatchNorm1d(4)
        self.register_buffer("scale", torch.tensor(1 / 3))

    def forward(self, latents, labels=None):
        return self.norm(self.first(latents)) * self.scale


def test_buffers_are_those_of_the_newest_and_statistics_are_measured_anew(tmp_path):
    net = Normed()
    average = PowerEMA(net, [0.05, 0.1])
    for step in range(1, 41):
        net.first.weight.data += 0.1 * torch.randn(4, 3)
        net(torch.randn(8, 3))
        average.see(100)
        average.update()
        if step % 10 == 0:
            average.save(tmp_path / "ema", step * 100)
    names = {name for name, _ in net.named_parameters()}
    made = reconstruct(tmp_path, 0.08, parameters=names)
    assert torch.equal(made["scale"], net.scale) and torch.equal(made["norm.running_var"], net.norm.running_var)
    assert int(made["norm.num_batches_tracked"]) == 40 and made["first.weight"].dtype == torch.float32
    between = [one.first.weight.detach() for one in average.averages]
    assert not any(torch.allclose(made["first.weight"], one, atol=1e-4) for one in between)
    other = Normed()
    other.load_state_dict(made)
    recalibrate(other)
    assert not torch.allclose(other.norm.running_var, net.norm.running_var, rtol=1e-3)


def test_no_host_read(monkeypatch):
    from types import SimpleNamespace

    recipe = small_recipe(network=family("mlp"))
    fresh = SimpleNamespace(deepcopy=lambda net: build.players(recipe, (1, 8, 8), 0)[0])
    monkeypatch.setattr(power_ema, "copy", fresh)
    fake_moves(monkeypatch, family("mlp"), ema_widths=[0.05, 0.1])


def test_it_goes_on_where_it_stopped(tmp_path):
    first, second = play(small_step(ema_widths=[0.1]), 3), small_step(ema_widths=[0.1])
    checkpoint.load(checkpoint.save(tmp_path, first, 0, {}), second)
    assert changed(first.powers.state_dict(), second.powers.state_dict()) == set()
    for step in (first, second):
        play(step, 2)
    assert changed(first.powers.state_dict(), second.powers.state_dict()) == set()


def test_lookahead_is_followed_by_its_slow_weights():
    step = small_step(ema_widths=[0.1], rules={"lookahead": {"every": 2}})
    for number in range(3):
        step.round(1, lambda number=number: batch_of(step, number))
    assert float(step.powers.seen) == 16 and float(step.powers.unseen) == 8  # after the second round


def averaged(*more):
    return (*TINY, "ema_widths=0.05,0.1", *more)


def test_a_run_that_was_stopped_keeps_the_same_averages(tmp_path):
    source = images_file(tmp_path / "some.npz", count=100)
    for name, stops in (("straight", ()), ("stopped", (3, 20))):
        trained(tmp_path / name, planned(source, averaged(), kimg=1.1, snapshot_kimg=0.4), stops)
    assert bits(tmp_path / "straight") == bits(tmp_path / "stopped")
    files = [{p.name: p.read_bytes() for p in (tmp_path / name / "ema").iterdir()} for name in ("straight", "stopped")]
    assert files[0] == files[1] and len(files[0]) == 4 and "000001-0.050.safetensors" in files[0]


def test_generate_with_a_width_made_afterwards(tmp_path):
    source = images_file(tmp_path / "some.npz", count=100)
    run = tmp_path / "run"
    runs.begin(planned(source, averaged(), kimg=1.1, snapshot_kimg=0.4), run)
    shown = {}
    for name, asked in {
        "a": {"ema": 0.1},
        "b": {"ema": 0.08},
        "c": {"ema": 0.1, "at": "000000"},
        "G": {"which": "G"},
    }.items():
        assert generate_files(run, 4, out=tmp_path / f"{name}.npz", **asked) == [f"4 samples in {tmp_path / name}.npz"]
        with np.load(tmp_path / f"{name}.npz") as stored:
            shown[name] = stored["images"].tobytes()
    assert len(set(shown.values())) == 4
    network, _ = runs.load_average(run, 0.1)
    kept = power_ema.snapshots(run)[-1]
    assert kept.width == 0.1 and not network.training
    assert changed(network.state_dict(), power_ema.load_file(kept.file)) == set()
    for wrong, said in (({"ema": 0.27}, "would be missing"), ({"ema": 0.1, "which": "G"}, "give one of them"),
                        ({"ema": 0.1, "at": "000777"}, "000777")):  # fmt: skip
        with pytest.raises(InputError, match=said):
            generate_files(run, 4, out=tmp_path / "none.npz", **wrong)
    runs.begin(planned(source), tmp_path / "plain")
    with pytest.raises(InputError, match="kept no power-function averages"):
        generate_files(tmp_path / "plain", 4, out=tmp_path / "none.npz", ema=0.1)
