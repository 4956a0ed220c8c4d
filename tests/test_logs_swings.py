"""Losses that swing show in a log that is dense enough, as they do in our own runs."""

import math

import numpy as np
import pytest

from equipoise.diagnosis import History
from equipoise.logs import Told, open_log
from equipoise.logs.judge import judge
from equipoise.logs.swings import NAMES, add_swings

PERIOD = 25  # entries


def log(path, amplitude, entries=400):
    noise = np.random.default_rng(0).standard_normal(entries) * 0.02
    rows = (f"{20 * n},{1.2 + amplitude * math.sin(2 * math.pi * n / PERIOD) + noise[n]:.5f}" for n in range(entries))
    path.write_text("step,d_loss\n" + "\n".join(rows) + "\n")
    return path, Told(loss="hinge", batch=50, columns={"d_loss": "loss_D"})


def test_a_swing_is_found_with_its_period(tmp_path):
    history = open_log(*log(tmp_path / "log.csv", 0.8))
    assert history.now("swing") > 0.9
    assert history.now("swing_kimg") == pytest.approx(PERIOD * 20 * 50 / 1000, rel=0.02)  # 25 kimg
    assert history.now("swing_size") == pytest.approx(0.8 / math.sqrt(2) / 2, rel=0.05)  # over the hinge's ideal, 2
    assert "oscillation" in {one.name for one in judge(*log(tmp_path / "log.csv", 0.8)).verdict.findings}


def test_noise_is_none(tmp_path):
    assert open_log(*log(tmp_path / "log.csv", 0.0)).now("swing") < 0.3
    assert judge(*log(tmp_path / "log.csv", 0.0)).exit_code == 0


def test_logs_that_are_thin_or_uneven_tell_nothing(tmp_path):
    assert not open_log(*log(tmp_path / "log.csv", 0.8, entries=100)).has("swing")
    uneven = History(signals={"loss_D": [(float(n + (200 if n > 100 else 0)), 1.0 + n % 5) for n in range(300)]})
    add_swings(uneven)
    assert not set(NAMES) & set(uneven.signals)


def test_the_extremes_of_thousands_of_batches_are_no_event(tmp_path):
    path, noise = tmp_path / "log.csv", np.random.default_rng(1).uniform(0.4, 0.6, 5000)
    path.write_text("step,reconstruction\n" + "".join(f"{n},{value:.4f}\n" for n, value in enumerate(noise)))
    history = open_log(path)
    assert len(history.signals["reconstruction"]) == 60 and history.kimg == 4999
    assert max(history.values("reconstruction")) < 0.55
    assert judge(path).exit_code == 0


def test_what_a_run_tells_itself_stays():
    told = History(signals={"loss_D": [(float(n), math.sin(n / 4)) for n in range(300)], "swing": [(1.0, 0.1)]})
    add_swings(told)
    assert told.signals["swing"] == [(1.0, 0.1)] and "lag" not in told.signals
