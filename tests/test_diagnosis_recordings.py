"""A run is likened to the recording that it resembles, and to none where too little is shared or nothing is alike."""

import json
import math

import pytest

from equipoise.diagnosis import History
from equipoise.diagnosis.recordings import Recording, from_dict, most_like, vector

LOOKS = 12


def recording(scenario, score=1.0, **levels):
    signals = {name: tuple(level + 0.001 * look for look in range(LOOKS)) for name, level in levels.items()}
    return Recording("ring", scenario, "hinge", 0, score, {}, {}, tuple(float(k) for k in range(1, LOOKS + 1)), signals)


KNOWN = [
    recording("healthy", 1.0, loss_D=0.9, win_rate=0.6, step_D=0.01, diversity=0.95),
    recording("G's rate / 10", 0.5, loss_D=0.5, win_rate=0.8, step_D=0.01, diversity=0.7),
    recording("D's rate / 10", 0.3, loss_D=1.0, win_rate=0.5, step_D=0.001, diversity=0.4),
    recording("ten D steps", 0.7, loss_D=0.3, win_rate=0.95, step_D=0.02, diversity=0.8),
]


def run(looks=LOOKS, share=None, **levels):
    made = History(facts={} if share is None else {"total_kimg": looks / share})
    for look in range(looks):
        made.add(float(look + 1), {name: level + 0.001 * look for name, level in levels.items()})
    return made


def test_the_nearest_is_named_with_what_became_of_it():
    found = most_like(run(loss_D=0.52, win_rate=0.79, step_D=0.01, diversity=0.7), KNOWN)
    assert found.startswith("ring, G's rate / 10 (hinge): sick, 50 % of the reference score; at 0.0")
    assert "healthy (hinge): healthy, 100 %" in most_like(KNOWN[0].history(), KNOWN)


def test_too_little_in_common_or_nothing_alike_is_not_likened():
    assert most_like(run(loss_D=0.5, win_rate=0.8, step_D=0.01), KNOWN) == ""  # three signals
    assert most_like(run(loss_D=50.0, win_rate=0.0, step_D=9.0, diversity=30.0), KNOWN) == ""
    assert most_like(run(2, loss_D=0.5, win_rate=0.8, step_D=0.01, diversity=0.7), KNOWN) == ""  # two looks
    assert most_like(run(loss_D=0.5), []) == ""


def test_runs_are_compared_at_the_same_share():
    half = vector(run(6, share=0.5, loss_D=0.9))
    whole = vector(KNOWN[0].history(), 0.5)
    assert half["loss_D", 2] == pytest.approx(math.log(0.905)) and whole["loss_D", 2] == pytest.approx(
        half["loss_D", 2]
    )
    assert vector(KNOWN[0].history())["loss_D", 2] == pytest.approx(math.log(0.911))


def test_a_recording_survives_its_file():
    from dataclasses import asdict

    again = from_dict(json.loads(json.dumps(asdict(KNOWN[1]))))
    assert again == KNOWN[1] and not again.healthy
    assert again.history().facts == {"loss": "hinge", "total_kimg": 12.0}


def test_gaps_in_a_recording_are_no_readings():
    row = Recording("ring", "x", "hinge", 0, 1.0, {}, {}, (1.0, 2.0, 3.0), {"memory": (None, 0.2, None)})
    assert row.history().signals == {"memory": [(2.0, 0.2)]}
