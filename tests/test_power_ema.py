"""Power-function averages: the published numbers, reconstruction, refusal of bad updates, resuming."""

import numpy as np
import pytest
import torch
from torch import nn

from equipoise import build, checkpoint, power_ema, runs
from equipoise.errors import InputError
from equipoise.generate import generate_files
from equipoise.power_ema import PowerEMA, beta, coefficients, exponent, overlap
from plants import changed, play, small_recipe, small_step
from small_runs import TINY, images_file, planned
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


def test_a_refused_update_changes_nothing_and_its_images_are_not_lost():
    plain, poisoned = walk([0.1], 50), walk([0.1], 50, bad=(50,))
    assert float(poisoned.unseen) == 64 and float(plain.unseen) == 0
    assert float(poisoned.seen) == float(plain.seen) - 64


def test_profiles_overlap_as_their_integral_says():
    for a, b, g, h in ((1.0, 2.0, 3.0, 5.0), (2.0, 1.0, 3.0, 5.0), (1.5, 1.5, 6.9, 17.0)):
        t = (np.arange(200_000) + 0.5) / 200_000 * max(a, b)
        profile = [np.where(t <= end, (p + 1) * t**p / end ** (p + 1), 0) for end, p in ((a, g), (b, h))]
        numeric = (profile[0] * profile[1]).mean() * max(a, b)
        assert float(overlap(a, g, b, h)) == pytest.approx(numeric, rel=1e-4)


def test_a_stored_width_is_reconstructed_exactly():
    facts = [(1e5 * n, width) for n in range(1, 9) for width in (0.05, 0.1)]
    found = coefficients(facts, 0.1, 8e5)
    assert np.abs(found - np.eye(len(facts))[-1]).max() < 1e-6


def test_another_width_is_reconstructed_as_if_it_had_been_followed(tmp_path):
    followed = walk([0.075])
    average = walk([0.05, 0.1], keep=range(250, 4001, 250), folder=tmp_path / "ema")
    made = power_ema.reconstruct(tmp_path, 0.075)["w"]
    spread = float((average.averages[0].w - average.averages[1].w).norm().detach())
    assert float((made - followed.averages[0].w).norm().detach()) < 0.02 * spread
    torch.testing.assert_close(
        power_ema.reconstruct(tmp_path, 0.1)["w"], average.averages[1].w.detach(), atol=1e-6, rtol=0
    )


def test_what_cannot_be_reconstructed_is_said(tmp_path):
    with pytest.raises(InputError, match="ema_widths"):
        power_ema.reconstruct(tmp_path, 0.1)
    walk([0.05, 0.1], 20, keep=(20,), folder=tmp_path / "ema")
    with pytest.raises(InputError, match="too far"):
        power_ema.reconstruct(tmp_path, 0.25)


def test_no_host_read(monkeypatch):
    from types import SimpleNamespace

    recipe = small_recipe(network=family("mlp"))
    fresh = SimpleNamespace(deepcopy=lambda net: build.players(recipe, (1, 8, 8), 0)[0])
    monkeypatch.setattr(power_ema, "copy", fresh)
    fake_moves(monkeypatch, family("mlp"), ema_widths=[0.05, 0.1])


def test_it_goes_on_where_it_stopped(tmp_path):
    straight = play(small_step(ema_widths=[0.1]), 5)
    first, second = play(small_step(ema_widths=[0.1]), 3), small_step(ema_widths=[0.1])
    saved = checkpoint.save(tmp_path, first, 0, {})
    checkpoint.load(saved, second)
    assert changed(first.powers.state_dict(), second.powers.state_dict()) == set()
    assert changed(straight.powers.state_dict(), second.powers.state_dict()) != set()


def test_generate_with_a_width_made_afterwards(tmp_path):
    source = images_file(tmp_path / "some.npz", count=100)
    runs.begin(planned(source, settings=(*TINY, "ema_widths=[0.05, 0.1]"), snapshot_kimg=0.1), tmp_path / "run")
    assert len(list((tmp_path / "run" / "ema").glob("*.safetensors"))) >= 2
    (said,) = generate_files(tmp_path / "run", 4, ema=0.08, grid=tmp_path / "some.png")
    assert "4 samples" in said and (tmp_path / "some.png").is_file()
