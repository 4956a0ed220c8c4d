"""The log of a monitored loop: looks and moves as lines, read by `equipoise diagnose`; nothing overwritten."""

import json
import subprocess
import sys

import pytest
import torch

from equipoise import distributed, loops
from equipoise.actuators import Actuator
from equipoise.errors import InputError
from equipoise.logs.judge import judge
from equipoise.monitor import Monitor
from equipoise.report import page, page_record


def made(folder, **settings):
    p = Actuator("p", lambda: 0.1, lambda x: None, 0.0, 0.8)
    return Monitor(loops.ada(p, kimg=10.0), loss="hinge", log=folder, **settings)


def stepped(monitor, steps, samples=1000):
    for _ in range(steps):
        monitor.observe("D", real_logits=torch.ones(4), fake_logits=-torch.ones(4))
        monitor.step(samples)
    return monitor


def lines(folder):
    return [json.loads(line) for line in (folder / "run.jsonl").read_text().splitlines()]


def test_looks_and_moves_are_written_with_the_readings_that_caused_them(tmp_path):
    monitor = stepped(made(tmp_path / "new" / "log"), 3)
    monitor.finish()
    found = lines(tmp_path / "new" / "log")
    assert [one["event"] for one in found] == ["begin", "tick", "move", "verdict"]  # the second look is at 5,000
    assert found[1]["kimg"] == 1.0 and found[1]["balance"]["win_rate"] == 1.0
    assert found[2]["actuator"] == "p" and found[2]["done"] is False and "sign_real is 1 and 0.6" in found[2]["why"]
    assert found[3]["findings"] == json.loads(json.dumps(monitor.verdict.as_dict()))["findings"] != []


def test_diagnose_reads_it_and_comes_to_the_same_verdict(tmp_path):
    monitor = made(tmp_path, anchored=True, total=500_000)
    for step in range(40):
        output = torch.ones(4, 3, requires_grad=True)
        monitor.observe("D", real_logits=torch.ones(4), fake_logits=-torch.ones(4))
        monitor.observe("G", output=output, adversarial=output.sum(), reconstruction=(1 + step // 20) * output.mean())
        monitor.step(10_000)
    judged = judge(tmp_path)
    assert judged.history.facts["anchored"] and judged.history.share == 0.8
    assert [one.name for one in judged.verdict.findings] == [one.name for one in monitor.verdict.findings]
    assert "anchor-lost" in {one.name for one in judged.verdict.findings}


def test_its_page_has_verdict_readings_and_moves(tmp_path):
    stepped(made(tmp_path, total=400_000), 40, 10_000).finish()
    assert page_record.read(tmp_path).complete
    text = page.write([tmp_path]).read_text()
    assert "is far ahead of the generator" in text and "sign_real is 1 and 0.6 is aimed at" in text and "400" in text


def test_one_that_goes_on_continues_where_its_state_was_kept(tmp_path):
    whole, first = made(tmp_path / "whole"), made(tmp_path / "stopped")
    stepped(whole, 90)
    state = stepped(first, 40).state_dict()
    stepped(first, 10)  # beyond what was kept: it comes again
    again = made(tmp_path / "stopped")
    again.load_state_dict(state)
    stepped(again, 50)
    assert lines(tmp_path / "stopped") == lines(tmp_path / "whole")


def test_one_that_goes_on_and_ends_before_its_next_look_has_its_end_in_the_log(tmp_path):
    state = stepped(made(tmp_path), 3).state_dict()
    again = made(tmp_path)
    again.load_state_dict(state)
    stepped(again, 1).finish()  # 4,000 samples; the next look is at 5,000
    assert [(one["event"], one["kimg"]) for one in lines(tmp_path)][-2:] == [("move", 1.0), ("verdict", 4.0)]


def test_nothing_is_overwritten(tmp_path):
    stepped(made(tmp_path), 1)
    before = (tmp_path / "run.jsonl").read_bytes()
    with pytest.raises(InputError, match="nothing is ever overwritten; give log= another folder"):
        stepped(made(tmp_path), 1)
    assert (tmp_path / "run.jsonl").read_bytes() == before
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="cannot be written"):
        stepped(made(tmp_path / "file" / "log"), 1)


def test_the_log_of_another_program_is_not_gone_on_with(tmp_path):
    state = stepped(made(tmp_path / "mine"), 1).state_dict()
    (tmp_path / "run.jsonl").write_text('{"step": 1, "loss": 2.0}\n')
    monitor = made(tmp_path)
    monitor.load_state_dict(state)
    with pytest.raises(InputError, match=r"run\.jsonl holds lines without kimg"):
        stepped(monitor, 5)
    assert (tmp_path / "run.jsonl").read_text() == '{"step": 1, "loss": 2.0}\n'
    with pytest.raises(InputError, match="log=3: give the folder"):
        made(3)


def test_a_full_disk_ends_the_log_and_not_the_loop(tmp_path):
    monitor = stepped(made(tmp_path), 1)

    def refuse(record):
        raise OSError(28, "No space left on device")

    monitor.log._lines._write = refuse
    with pytest.warns(UserWarning, match="No space left on device") as heard:
        stepped(monitor, 30).finish()
    assert len(heard) == 1 and monitor.samples == 31_000


def test_whether_the_adversarial_loss_waits_is_told_as_it_is_at_the_end(tmp_path):
    monitor = Monitor(anchored=True, log=tmp_path)
    for step in range(20):
        output = torch.ones(4, 3, requires_grad=True)
        monitor.observe("D", real_logits=torch.ones(4), fake_logits=-torch.ones(4))
        weight = float(step > 9)
        monitor.observe("G", output=output, adversarial=weight * output.sum(), reconstruction=output.mean())
        monitor.step(4000)
        said = ["no share in G's gradient" in one.verdict.text() for one in (monitor, judge(tmp_path))]
        assert said == [weight == 0.0] * 2


def test_only_one_of_several_ranks_writes_and_none_that_is_off(tmp_path, monkeypatch):
    stepped(made(tmp_path / "off", mode="off"), 1).finish()
    monkeypatch.setattr(distributed, "rank", lambda: 1)
    stepped(made(tmp_path / "second"), 1).finish()
    assert not list(tmp_path.iterdir())


def test_the_monitor_needs_pytorch_and_nothing_heavy(tmp_path):
    """Neither what reads pictures nor what draws terminals, nor TensorBoard's writer: it is for anybody's loop."""
    program = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("PIL", "rich", "typer", "tensorboardX", "jinja2", "sklearn", "lightning"):
            raise ImportError(name)
sys.meta_path.insert(0, Missing())
import torch, equipoise
from equipoise import loops
draw = lambda: {"samples": torch.randn(40, 2), "training": torch.randn(40, 2), "heldout": torch.randn(40, 2)}
monitor = equipoise.Monitor(loss="hinge", look=draw, log=sys.argv[1])
monitor.observe("D", real_logits=torch.ones(4), fake_logits=torch.zeros(4))
print("energy" in monitor.step(4).signals, equipoise.wiring is not None)
"""
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path / "log")], capture_output=True, text=True)
    assert done.stdout == "True True\n", done.stderr
