"""The examples do what they say."""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

import equipoise
from equipoise.diagnosis import Severity, Verdict

EXAMPLES = Path(__file__).parents[1] / "examples"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_bare_loop_learns_the_ring(capsys: pytest.CaptureFixture[str]) -> None:
    found = load("bare_loop").main(steps=600)
    assert found.hit == 8
    assert found.reverse_kl < 0.1  # nats: a missing mode costs 0.13, a mode of double weight 0.06
    assert found.high_quality > 0.2  # uniform on the square of the ring: 0.02
    assert "500 steps" in capsys.readouterr().out


def test_a_term_in_a_bare_loop_changes_the_update() -> None:
    """Without R1 the same loop moves differently, so the penalty's gradient does reach the discriminator."""
    loop = load("bare_loop")
    plain = loop.R1
    with_r1 = loop.main(steps=20)
    assert loop.main(steps=20) == with_r1
    loop.R1 = lambda gamma: plain(gamma=0.0)
    assert loop.main(steps=20) != with_r1


def test_the_monitor_does_not_change_the_loop_it_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = load("bare_loop")
    watched = loop.main(steps=20)
    monkeypatch.setattr(equipoise, "Monitor", functools.partial(equipoise.Monitor, mode="off"))
    assert loop.main(steps=20) == watched


def run_folder(path: Path) -> Path:
    (path / "samples").mkdir(parents=True)
    for name, grey in (("reals.png", 10), ("samples/fakes-000001.png", 100), ("samples/fakes-000020.png", 200)):
        Image.fromarray(np.full((8, 16), grey, np.uint8)).save(path / name)
    return path


def test_reals_and_the_newest_fakes_stand_side_by_side(tmp_path: Path) -> None:
    show_run = load("show_run")
    picture = np.asarray(Image.open(show_run.side_by_side(run_folder(tmp_path / "run"))))
    assert picture.shape == (8, 16 + show_run.GAP + 16, 3)
    assert (picture[:, :16] == 10).all()
    assert (picture[:, 16:-16] == 255).all()
    assert (picture[:, -16:] == 200).all()


def test_the_preview_has_two_pixels_a_character() -> None:
    upper_red_lower_blue = Image.fromarray(np.array([[[255, 0, 0]] * 3, [[0, 0, 255]] * 3], np.uint8))
    text = load("show_run").preview(upper_red_lower_blue, columns=3)
    assert text.plain == "▀▀▀\n"
    assert {str(span.style) for span in text.spans} == {"#ff0000 on #0000ff"}


def alarms(verdict: Verdict) -> set[str]:
    return {one.name for one in verdict.findings if one.severity >= Severity.WARNING}


def test_super_resolution_is_sharper_than_bicubic_and_raises_no_alarm() -> None:
    found = load("super_resolution").main(steps=160)
    assert found.psnr > found.bicubic + 0.5  # dB
    assert found.share == pytest.approx(0.2, abs=0.08)  # of G's gradient, as told
    assert alarms(found.verdict) == set()


@pytest.mark.parametrize(
    ("broken", "alarm"),
    [("explodes", "anchor-lost"), pytest.param("dies", "gradient-vanishes", marks=pytest.mark.slow)],
)
def test_super_resolution_broken_half_way_is_seen(broken: str, alarm: str) -> None:
    assert alarm in alarms(load("super_resolution").main(steps=160, broken=broken).verdict)


def test_the_vq_autoencoders_discriminator_comes_in_when_it_is_ready(capsys: pytest.CaptureFixture[str]) -> None:
    found = load("vq_autoencoder").main(steps=180)
    assert found.started_kimg is not None and 0 < found.started_kimg < 4
    assert f"came in at {found.started_kimg:.1f}" in (said := capsys.readouterr().out)
    assert "on held-out samples" in said
    assert found.after < found.before and 0.03 < found.share < 0.5
    assert alarms(found.verdict) == set()


@pytest.mark.slow
def test_a_discriminator_that_dies_half_way_is_seen() -> None:
    found = load("vq_autoencoder").main(steps=250, broken="dies")
    assert found.share < 0.001 and "gradient-vanishes" in alarms(found.verdict)


@pytest.mark.slow
def test_a_generator_of_a_rate_100_times_too_small_is_seen() -> None:
    assert alarms(load("vq_autoencoder").main(steps=280, broken="slow").verdict) == {"generator-crawls"}


@pytest.mark.slow
def test_a_blind_discriminator_never_comes_in(capsys: pytest.CaptureFixture[str]) -> None:
    found = load("vq_autoencoder").main(steps=80, broken="blind")
    assert found.started_kimg is None and not found.share > 0
    assert "D is not ready to judge" in capsys.readouterr().out


def test_the_vocoder_learns_and_its_discriminators_are_told_apart() -> None:
    found = load("vocoder").main(steps=60)
    assert found.after < 0.8 * found.before
    assert set(found.win_rates) == {"D2", "D3", "D5"} and len(set(found.win_rates.values())) > 1
    assert 0 < found.share < 1 and alarms(found.verdict) == set()


def test_lightning_goes_on_from_a_checkpoint(tmp_path: Path) -> None:
    pytest.importorskip("lightning")
    example = load("lightning_loop")
    first = example.main(steps=30, folder=tmp_path)
    monitor = example.main(steps=60, folder=tmp_path, resume=True)
    looks = [monitor.history.signals["win_rate"] for monitor in (first, monitor)]
    assert monitor.samples == 60 * 64 and looks[1][: len(looks[0])] == looks[0] and len(looks[1]) > len(looks[0])


def test_accelerate_goes_on_from_a_checkpoint(tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    example = load("accelerate_loop")
    first = example.main(epochs=1, folder=tmp_path)
    monitor = example.main(epochs=1, folder=tmp_path, resume=True)
    looks = [monitor.history.signals["win_rate"] for monitor in (first, monitor)]
    assert monitor.samples == 2 * 4096 and looks[1][: len(looks[0])] == looks[0] and len(looks[1]) > len(looks[0])


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", ["super_resolution", "vq_autoencoder", "vocoder"])
def test_a_healthy_anchored_loop_raises_no_alarm_at_full_length(name: str, seed: int) -> None:
    assert alarms(load(name).main(seed=seed).verdict) == set()
