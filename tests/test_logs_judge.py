"""`equipoise diagnose`: the verdict that a log's numbers allow, what they cannot tell, and an exit code for scripts."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from equipoise.cli import app
from equipoise.errors import InputError
from equipoise.logs import Told
from equipoise.logs.judge import judge

FIXTURES = Path(__file__).parent / "fixtures" / "logs"


def call(*words):
    return CliRunner().invoke(app, ["diagnose", *map(str, words)])


def test_text_has_whose_log_it_is_the_readings_and_what_is_not_told():
    done = call(FIXTURES / "stylegan")
    assert done.exit_code == 0
    for text in ("a log of stylegan, up to 44 kimg", "loss_D", "cannot be told:", "whether modes are missing",
                 "taken for granted", "logged and not used: Loss/D/reg"):  # fmt: skip
        assert text in done.output


def test_a_sick_run_fails_a_script(tmp_path):
    path = tmp_path / "log.csv"
    rows = "".join(f"{10 * step},{2 / (step + 1)},{0.9 if step < 5 else 0.1}\n" for step in range(30))
    path.write_text("step,d_loss,spread\n" + rows)
    words = (path, "--map", "d_loss=loss_D", "--map", "spread=diversity", "--loss", "hinge", "--batch", "100")
    done = call(*words)
    assert done.exit_code == 1 and "alarm: collapse" in done.output and "up to 29 kimg" in done.output
    found = json.loads(call(*words, "--json").output)
    assert found["severity"] == "alarm" and found["readings"]["diversity"] == pytest.approx(0.1)
    assert found["verdict"]["findings"][0]["name"] == "collapse" and found["kimg"] == pytest.approx(29)
    mapping = tmp_path / "map.toml"
    mapping.write_text('d_loss = "loss_D"\nspread = "diversity"\n')
    assert call(path, "--map", mapping, "--loss", "hinge").exit_code == 1


def test_what_is_anchored_is_told(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps({"kimg": kimg, "loss_D": 0.01 + kimg / 1e4}) + "\n" for kimg in range(20)))
    assert call(path, "--loss", "hinge").exit_code == 1
    assert call(path, "--loss", "hinge", "--anchored").exit_code == 0


def test_time_that_is_counted_in_steps_is_called_so(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("step,diversity\n" + "".join(f"{step},0.9\n" for step in range(9)))
    assert judge(path).text().startswith("a log of a table, up to 8 steps")
    path.write_text("epoch,diversity\n" + "".join(f"{step},0.3\n" for step in range(12)))
    said = judge(path).text()
    assert "up to 11 epochs" in said and "since 0 epochs" in said and "counted in epochs, not kimg" in said
    assert "say --batch" not in said  # which would not help
    path.write_text("step,diversity\n" + "".join(f"{step},0.9\n" for step in range(9)))
    assert judge(path, Told(batch=500)).text().startswith("a log of a table, up to 4 kimg")


def test_what_cannot_be_read_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="there is nothing at"):
        judge(tmp_path / "nowhere")
