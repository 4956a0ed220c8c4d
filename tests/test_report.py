"""What a run shows: its journal, its TensorBoard events, its progress line."""

import io
import json
import math
import struct

import numpy as np
import pytest
from rich.console import Console

from equipoise.readings import Reading
from equipoise.report import Tick
from equipoise.report.console import ProgressLine, _clock, summary
from equipoise.report.journal import Journal


def tick(samples=2000, number=0, **changes):
    readings = {"D.loss": Reading(1.25, 0.5, 64, 0), "G.loss": Reading(math.nan, math.nan, 0, 64)}
    given = {"total": 10_000, "seconds": 4.0, "images_per_second": 500.0, "readings": readings,
             "balance": {"win_rate": 0.75, "gap": math.inf}, "dials": {"G.lr": 0.001}}  # fmt: skip
    return Tick(number, samples, **(given | changes))


def lines(run):
    return [json.loads(line, parse_constant=pytest.fail) for line in (run / "run.jsonl").read_text().splitlines()]


def events(run):
    """(step, tags, whether a session starts) of every event, read from the files as bytes."""
    from tensorboardX.proto.event_pb2 import Event

    found = []
    for file in sorted(run.glob("events.out.tfevents.*")):
        content = file.read_bytes()
        while content:
            (size,) = struct.unpack("<Q", content[:8])
            event = Event.FromString(content[12 : 12 + size])
            found.append((event.step, {v.tag for v in event.summary.value}, event.HasField("session_log")))
            content = content[16 + size :]
    return found


def test_a_tick_is_a_line_of_strict_json(tmp_path):
    journal = Journal(tmp_path)
    journal.tick(tick())
    journal.event("skipped", 2500, player="D", updates=3, first="x")
    journal.close()
    first, second = lines(tmp_path)
    assert first["event"] == "tick" and first["kimg"] == 2.0 and first["total_kimg"] == 10.0
    assert first["readings"]["D.loss"] == {"mean": 1.25, "std": 0.5, "n": 64, "nonfinite": 0}
    assert first["readings"]["G.loss"]["mean"] is None and first["balance"] == {"win_rate": 0.75, "gap": None}
    assert second == {"event": "skipped", "kimg": 2.5, "player": "D", "updates": 3, "first": "x"}


def test_going_on_drops_what_comes_again_and_half_a_line(tmp_path):
    journal = Journal(tmp_path)
    for number in range(5):
        journal.tick(tick(1000 * number, number))
    journal.close()
    with (tmp_path / "run.jsonl").open("a") as file:
        file.write('{"event": "tick", "kimg": 1.0, "read')
    journal = Journal(tmp_path, 3000)
    assert [kimg for kimg, _, _ in journal.past()] == [0.0, 1.0, 2.0, 3.0]
    assert all(signals == {"win_rate": 0.75, "gap": None} for _, signals, _ in journal.past())
    journal.tick(tick(4000, 4))
    journal.close()
    assert [line["tick"] for line in lines(tmp_path)] == [0, 1, 2, 3, 4]


def test_tensorboard_has_the_names_people_know(tmp_path):
    journal = Journal(tmp_path)
    journal.tick(tick())
    journal.image("Samples/fakes", np.zeros((4, 4, 3), np.uint8), 2000)
    journal.sync()
    seen = events(tmp_path)
    tags = set().union(*(found for _, found, _ in seen))
    assert {"Loss/D/loss", "Balance/win_rate", "Dials/G/lr", "Progress/kimg", "Samples/fakes"} <= tags
    assert "Loss/G/loss" not in tags and "Balance/gap" not in tags  # not finite
    assert {step for step, found, _ in seen if found} == {2}
    journal.close()


def test_going_on_hides_later_events_and_keeps_the_old_file(tmp_path):
    journal = Journal(tmp_path)
    journal.tick(tick(5000))
    journal.close()
    journal = Journal(tmp_path, 3000)
    journal.tick(tick(4000, 1))
    journal.close()
    assert len(list(tmp_path.glob("events.*"))) == 2
    assert [step for step, _, starts in events(tmp_path) if starts] == [4]
    assert any(step == 5 for step, _, _ in events(tmp_path))


def test_a_full_disk_is_an_error_at_once_and_closing_is_quiet(tmp_path):
    journal = Journal(tmp_path)
    journal.file.close()
    try:
        journal.file = open("/dev/full", "w")  # noqa: SIM115
    except OSError:
        pytest.skip("this system has no /dev/full")
    with pytest.raises(OSError, match="No space left"):
        journal.tick(tick())
    journal.close()


# ------------------------------------------------------------------------------------------------ the terminal


def test_the_summary_leaves_out_what_is_not_there():
    readings = {"D.loss": Reading(1.25, 0.5, 64, 0)}
    text = summary(tick(readings=readings, balance={"win_rate": 0.75, "gap": math.inf}))
    assert text == "500 img/s  loss D 1.250  win rate 0.75"


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (61.9, "1:01"), (3600, "1:00:00"), (90061, "25:01:01")])
def test_the_clock(seconds, text):
    assert _clock(seconds) == text


def line(terminal, **options):
    console = Console(file=io.StringIO(), force_terminal=terminal, width=200)
    return ProgressLine(console, **options), console.file


def test_piped_it_is_plain_lines_twenty_at_most():
    progress, out = line(False)
    for samples in range(100, 10_001, 100):
        progress.tick(tick(samples))
    progress.close()
    text = out.getvalue().splitlines()
    assert 18 <= len(text) <= 22 and "\x1b" not in out.getvalue()
    assert text[0].split()[:5] == ["0.1/10.0", "kimg", "0:19", "left", "500"]
    assert text[-1].split()[0] == "10.0/10.0"


def test_in_a_terminal_it_is_one_line_and_words_go_above():
    progress, out = line(True)
    progress.say("[before]")
    progress.tick(tick(5000))
    progress.say("[between]")
    progress.close()
    assert "5.0/10.0 kimg  500 img/s  loss D 1.250" in out.getvalue()
    assert "[before]" in out.getvalue() and "[between]" in out.getvalue()


def test_quiet_is_quiet():
    progress, out = line(True, quiet=True)
    progress.say("x")
    progress.tick(tick())
    progress.close()
    assert out.getvalue() == ""
