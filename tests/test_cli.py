"""The command line: what it prints and where, what it writes, and how it ends for every kind of bad input."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from equipoise import cli, data, runs
from small_runs import bits, images_file, journal, strict

SMALL = ("--set", "network.width=8", "--device", "cpu")


@pytest.fixture
def equipoise(monkeypatch, capsys, tmp_path):
    """Run a command in this process, in an empty folder: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def command(*arguments):
        monkeypatch.setattr(sys, "argv", ["equipoise", *map(str, arguments)])
        capsys.readouterr()
        try:
            cli.main()
            code = 0
        except SystemExit as end:
            code = end.code or 0
        return code, *capsys.readouterr()

    return command


def test_train_writes_what_it_says(equipoise, tmp_path):
    code, out, err = equipoise("train", "ring", "--out", "run", "--kimg", 3, "--snapshot-kimg", 1, *SMALL)
    assert code == 0 and out == ""
    assert "ring: 4,096 vectors" in err and "Recipe ring, for vectors of 2 numbers." in err
    assert "Run folder: run" in err and "3.0/3.0 kimg" in err and "equipoise generate run" in err
    assert {p.name.split(".")[0] for p in (tmp_path / "run").iterdir()} == {
        "config", "run", "data", "reals", "samples", "checkpoints", "events"}  # fmt: skip
    newest = tmp_path / "run" / "checkpoints" / "000003"
    assert (tmp_path / "run/checkpoints/latest").read_text() == "000003\n"
    assert {p.name for p in newest.glob("*.safetensors")} == {f"{n}.safetensors" for n in ("G", "D", "G_ema", "state")}
    assert (tmp_path / "run/samples/fakes-000003.png").is_file()
    assert Image.open(tmp_path / "run/reals.png").size == (512, 512)
    assert json.loads((tmp_path / "run/data.json").read_text())["source"] == "ring"
    config = json.loads((tmp_path / "run/config.json").read_text())
    assert config["kimg"] == 3.0 and config["origin"]["kimg"] == "command line" and config["recipe"]["name"] == "ring"
    events = [line["event"] for line in journal(tmp_path / "run") if line["event"] != "snapshot"]
    assert events == ["tick"] * (len(events) - 1) + ["verdict"]


@pytest.mark.parametrize("arguments", [
    ("train", "nowhere"), ("train", "ring", "--set", "no.such=1"), ("train", "ring", "--recipe", "none"),
    ("train", "ring", "--kimg", "-1"), ("train", "ring", "--metric", "none"), ("train", "ring", "--from", "nowhere"),
    ("train", "ring", "--balance", "maybe"), ("train", "ring", "--device", "abacus"), ("train", "ring", "--only", "G"),
    ("compare", "nowhere", "--vary", "loss=hinge,rpgan"), ("compare", "ring", "--vary", "no.such=1,2"),
    ("compare", "ring", "--vary", "loss=hinge,none"), ("compare", "ring", "--vary", "loss=hinge,rpgan", "--kimg", "-1"),
    ("bench", "balance", "--tasks", "none"), ("bench", "balance", "--arms", "none"),
    ("bench", "balance", "--jobs", "0"), ("bench", "balance", "--tasks", "conv16"),
    ("bench", "balance", "--references", "--tasks", "conv16"),
    ("recognise", "nowhere"), ("recognise", "ring"), ("recognise", "digits", "--set", "no.such=1"),
    ("augment", "nowhere"), ("augment", "ring"), ("augment", "digits", "--set", "no.such=1"),
    ("augment", "digits", "--recipe", "none"), ("augment", "digits", "--device", "abacus"),
    ("generate", "nowhere"), ("export", "nowhere"), ("walk", "nowhere"),
], ids=" ".join)  # fmt: skip
def test_what_is_refused_leaves_no_folder_behind(equipoise, tmp_path, monkeypatch, arguments):
    monkeypatch.delenv("EQUIPOISE_DATA", raising=False)
    code, _, err = equipoise(*arguments, "--out", "deep/new")
    assert code == 2 and err.splitlines()[-1].startswith("equipoise: "), err
    assert list(tmp_path.iterdir()) == []


def test_quiet_prints_nothing_and_a_name_is_found(equipoise, tmp_path):
    for number in range(2):
        assert equipoise("train", "ring", "--kimg", 0.1, "--quiet", *SMALL) == (0, "", "")
        assert (tmp_path / f"runs/0000{number}-ring-ring/config.json").is_file()


def test_a_budget_becomes_a_length_once(equipoise, tmp_path):
    code, _, err = equipoise("train", "ring", "--out", "run", "--budget", "1s", *SMALL)
    assert code == 0 and "A budget of 1s at" in err
    config = json.loads((tmp_path / "run/config.json").read_text())
    assert config["budget"] == "1s" and config["kimg"] > 0 and "images/s" in config["origin"]["kimg"]
    assert journal(tmp_path / "run")[-1]["kimg"] == pytest.approx(config["kimg"], abs=0.0321)  # half a batch


def test_dry_run_prints_every_value_and_its_origin_and_stops(equipoise, tmp_path):
    code, out, err = equipoise("train", "ring", "--out", "run", "--dry-run", "--seed", 3, "--set", "G.lr=0.004",
                               "--set", "r2=on", "--budget", "40s", "--set", "network.depth=2")  # fmt: skip
    assert code == 0 and err == "" and not (tmp_path / "run").exists()
    rows = {line.split()[0]: line.split(maxsplit=2)[1:] for line in out.splitlines() if len(line.split()) > 2}
    assert rows["G.lr"] == ["0.004", "command line"] and rows["D.lr"] == ["0.002", "recipe ring"]
    assert rows["r1.gamma"] == ["0.1", "recipe ring"] and rows["r2.gamma"] == ["1.0", "default"]
    assert rows["network.depth"] == ["2", "command line"] and rows["network.norm_D"] == ["none", "default"]
    assert rows["seed"] == ["3", "command line"] and rows["workers"] == ["0", "default"]
    assert rows["mirror"] == ["false", "flips are not safe for this data"]
    assert rows["recipe"] == ["ring", "by the data"] and rows["schedules.lr.shape"] == ["linear", "recipe ring"]
    assert "budget 40s, measured when training starts" in out
    assert "parameters of G" in out and "memory: total" in out


def test_resume_ends_in_the_bits_of_an_uninterrupted_run(equipoise, tmp_path, monkeypatch):
    arguments = ["--kimg", 1, *SMALL, "--set", "r1.every=4", "--snapshot-kimg", 0.4]
    assert equipoise("train", "ring", "--out", "whole", *arguments)[0] == 0
    begin = runs.begin
    left = iter(range(6))
    monkeypatch.setattr(runs, "begin", lambda p, o, w, s, n: begin(p, o, w, lambda: next(left, None) is None, n))
    code, _, err = equipoise("train", "ring", "--out", "parts", *arguments)
    assert code == 130 and "stopped at 0.448 kimg; go on with `equipoise resume parts`" in err
    assert equipoise("resume", "parts")[0] == 0
    assert bits(tmp_path / "parts") == bits(tmp_path / "whole")
    assert journal(tmp_path / "parts") == journal(tmp_path / "whole")
    code, _, err = equipoise("resume", "parts")
    assert code == 0 and "complete already" in err


def test_watch_and_off_end_in_the_same_networks(equipoise, tmp_path):
    for balance in ("watch", "off"):
        assert equipoise("train", "ring", "--out", balance, "--kimg", 0.5, "--balance", balance, *SMALL)[0] == 0
    seen = ("state.meter", "state.trace", "state.looks")  # what sensors remember
    ends = [{k: v for k, v in bits(tmp_path / b).items() if not k.startswith(seen)} for b in ("watch", "off")]
    assert ends[0] == ends[1]


def test_every_line_of_the_journal_is_strict_json(equipoise, tmp_path):
    code, _, err = equipoise("train", "ring", "--out", "run", "--kimg", 20, "--set", "G.lr=1e30", *SMALL)
    assert code == 3 and "Traceback" not in err
    assert "not finite" in err and "lower learning rate" in err
    lines = [strict(line) for line in (tmp_path / "run/run.jsonl").read_text().splitlines()]
    assert lines[-1]["event"] == "failed" and lines[-1]["reason"] in err
    assert (tmp_path / "run/checkpoints/latest").is_file()


# ------------------------------------------------------------------------------------------------ bad input


BAD = {
    "source": (["train", "rng"], "did you mean ring"),
    "recipe": (["train", "ring", "--recipe", "rimg"], "did you mean ring"),
    "recipe file": (["train", "ring", "--recipe", "none.toml"], "cannot be read as TOML"),
    "setting": (["train", "ring", "--set", "G.lrr=1"], "did you mean"),
    "setting's type": (["train", "ring", "--set", "G.lr=fast"], "must be float"),
    "setting's form": (["train", "ring", "--set", "G.lr"], "write path=value"),
    "setting's range": (["train", "ring", "--set", "G.lr=-1", "--out", "run"], "lr and clip must be 0 or more"),
    "term": (["train", "ring", "--set", "r3.gamma=1"], "did you mean"),
    "term's setting": (["train", "ring", "--set", "r1.gama=1"], "did you mean gamma"),
    "loss": (["train", "ring", "--set", "loss=hing", "--dry-run"], "did you mean hinge"),
    "network": (["train", "ring", "--set", "network.name=dcgan", "--out", "run"], "use 'mlp' instead"),
    "resolution": (["train", "digits", "--resolution", "7"], "choose one of 8, 16"),
    "resolution of points": (["train", "ring", "--resolution", "8"], "leave the option out"),
    "labels of built-ins": (["train", "ring", "--labels", "folders"], "leave the labels out"),
    "labels missing": (["train", "ring", "--set", "network.conditional=true"], "has no labels"),
    "device": (["train", "ring", "--device", "tpu"], "no device called 'tpu'"),
    "device's number": (["train", "ring", "--device", "cpu:x"], "no device called"),
    "balance": (["train", "ring", "--balance", "hold"], "there are off, watch, advise, act"),
    "controller": (["train", "ring", "--controller", "adda"], "did you mean ada"),
    "controller off": (["train", "ring", "--balance", "off", "--controller", "ada"], "give watch, advise or act"),
    "budget": (["train", "ring", "--budget", "soon"], "40s, 5min or 2h"),
    "two lengths": (["train", "ring", "--budget", "4s", "--kimg", "4"], "give one of them"),
    "kimg": (["train", "ring", "--kimg", "0"], "above 0"),
    "endless kimg": (["train", "ring", "--kimg", "inf"], "above 0"),
    "endless recipe": (["train", "ring", "--set", "kimg=inf"], "above 0"),
    "seed": (["train", "ring", "--seed", "-1"], "from 0"),
    "workers": (["train", "ring", "--workers", "-1"], "give 0"),
    "snapshots": (["train", "ring", "--snapshot-kimg", "-1"], "or more"),
    "batch": (["train", "ring", "--batch", "1"], "from 2 to"),
    "batch norm and a penalty": (
        ["train", "digits", "--recipe", "dcgan", "--set", "r1.gamma=1", "--resolution", "16", "--out", "run", *SMALL],
        "norm_D",
    ),
    "place": (["train", "ring", "--out", "/proc/run"], "place where you may write"),
    "run to resume": (["resume", "nowhere"], "no run folder"),
    "run to generate": (["generate", "nowhere"], "no run folder"),
    "data": (["data", "nowhere"], "neither built in nor a path"),
    "data of somebody unknown": (["data", "~nobody-of-this-name/x"], "neither built in nor a path"),
    "data from a device": (["data", os.devnull], "neither a file nor a folder"),
    "data's long name": (["data", "a" * 300], "the system refuses"),
    "place's long name": (["train", "ring", "--out", "a" * 300], "the system refuses"),
    "empty recipe": (["train", "ring", "--recipe", ""], "the value of --recipe is empty"),
    "empty place": (["train", "ring", "--out", "", "--quiet"], "the value of --out is empty, as a variable"),
    "empty place after =": (["generate", "run", "--out=", "--count", "4"], "the value of --out is empty"),
    "empty run": (["resume", ""], "an argument is empty"),
    "value that ends in =": (["train", "ring", "--set=r1.gamma="], "r1.gamma="),
    "term's table": (["train", "ring", "--set", "r1={gama=1}"], "did you mean gamma"),
    "term's table's type": (["train", "ring", "--set", "r1={gamma='x'}"], "r1.gamma='x' is a str"),
    "metric's weights": (["train", "ring", "--metric", "pixels", "--metric-weights", "x"], "no option 'weights'"),
    "memory": (["train", "digits", "--batch", str(10**12), "--out", "run"], "needs more memory than cpu has"),
    "batch beyond any": (["train", "ring", "--batch", str(10**30), "--dry-run"], "from 2 to 1e+15"),
    "kimg beyond any": (["train", "ring", "--kimg", "1e306"], "at most 1e+09"),
    "snapshots beyond any": (["train", "ring", "--snapshot-kimg", "1e306"], "no distance"),
    "budget beyond any": (["train", "ring", "--budget", "9" * 400 + "h", "--dry-run"], "40s, 5min or 2h"),
    "steps of D": (["train", "ring", "--set", "D.steps=inf", "--dry-run"], "must be a number above 0"),
    "kimg of a study beyond any": (["compare", "ring", "--vary", "G.lr=1,2", "--kimg", "1e39"], "--kimg 1e+39 is no"),
    "seeds beyond any": (["compare", "ring", "--vary", "G.lr=1,2", "--seeds", str(10**9)], "up to 10,000"),
    "seeds of a benchmark": (["bench", "balance", "--seeds", str(10**9)], "at most 10,000"),
    "first seed": (["bench", "balance", "--first-seed", str(2**70)], "no seed"),
    "seed of augment": (["augment", "digits", "--out", "run", "--seed", "-1"], "no seed"),
    "log from a device": (["diagnose", os.devnull], "neither a file nor a folder"),
    "samples of a log": (["diagnose", "nowhere", "--count", "-5"], "count=-5 cannot be"),
    "length of a log": (["diagnose", "nowhere", "--kimg", "nan"], "kimg=nan cannot be"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_one_sentence_and_exit_code_2(what, equipoise, tmp_path):
    arguments, expected = BAD[what]
    code, out, err = equipoise(*arguments)
    assert code == 2 and out == ""
    said = [line for line in err.splitlines() if line.startswith("equipoise: ")]
    assert len(said) == 1 and err.endswith(said[0] + "\n") and expected in said[0]
    assert "Traceback" not in err
    assert not list(tmp_path.glob("run*/*"))  # so that the corrected command finds the folder free


@pytest.mark.parametrize("arguments", [["tarin"], ["train"], ["train", "ring", "--kimg", "x"], ["train", "ring", "-x"]])
def test_usage_errors_are_exit_code_2_too(arguments, equipoise):
    code, _, err = equipoise(*arguments)
    assert code == 2 and "Usage" in err


def test_a_folder_that_holds_anything_is_never_overwritten(equipoise, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/thesis.txt").write_text("years of work")
    code, _, err = equipoise("train", "ring", "--out", "run")
    assert code == 2 and "run exists already" in err
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["thesis.txt"]
    (tmp_path / "file").write_text("")
    assert equipoise("train", "ring", "--out", "file")[0] == 2


@pytest.mark.parametrize(("arguments", "file"), [
    (("resume", "run"), "run/config.json"), (("compare", "--show", "run"), "run/study.json"),
    (("train", "ring", "--recipe", "run/x.toml"), "run/x.toml"), (("compare", "--study", "run/x.toml"), "run/x.toml"),
    (("diagnose", "run", "--map", "run/x.toml"), "run/x.toml"),
], ids=lambda given: " ".join(given) if isinstance(given, tuple) else "")  # fmt: skip
@pytest.mark.parametrize(
    "content",
    [b"\xff\xfe", b"a = " + b"[" * 100_000, b"[" * 100_000, b"[]"],
    ids=("bytes", "deep TOML", "deep JSON", "list"),
)
def test_files_that_no_program_wrote_are_refused(equipoise, tmp_path, arguments, file, content):
    (tmp_path / "run").mkdir()
    (tmp_path / file).write_bytes(content)
    code, _, err = equipoise(*arguments)
    assert code == 2 and "Traceback" not in err and err.splitlines()[-1].startswith("equipoise: ")
    assert [one.name for one in (tmp_path / "run").iterdir()] == [file.partition("/")[2]]


def test_a_full_disk_under_the_output_is_no_fault_of_the_program(equipoise, monkeypatch):
    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(data, "cache_list", full)
    code, _, err = equipoise("cache", "list")
    assert (
        code == 2
        and err == f"equipoise: the system refuses the output ({os.strerror(errno.ENOSPC)}); name another place\n"
    )


def test_what_the_output_has_no_letters_for_is_printed_all_the_same(equipoise, monkeypatch):
    monkeypatch.setattr(data, "cache_list", lambda: ["a file called \udcff"])
    assert equipoise("cache", "list")[:2] == (0, "a file called \\udcff\n")


def test_labels_of_one_class_are_refused(equipoise, tmp_path):
    (tmp_path / "photos/only").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(4):
        picture = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(picture).save(tmp_path / f"photos/only/{number}.png")
    code, _, err = equipoise("train", "photos", "--labels", "folders", "--kimg", 0.1)
    assert code == 2 and "class" in err and "Traceback" not in err
    code, _, err = equipoise("train", "photos", "--labels", "none.csv", "--kimg", 0.1)
    assert code == 2 and "none.csv" in err


def test_our_own_faults_are_exit_code_1_with_what_to_report(equipoise, monkeypatch):
    from equipoise import plan

    monkeypatch.setattr(plan, "resolve", lambda *a: 1 / 0)
    code, _, err = equipoise("train", "ring")
    assert code == 1 and "ZeroDivisionError" in err and err.endswith("please report the lines above\n")


def test_an_interrupt_before_training_is_exit_code_130(equipoise, monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(data, "open_dataset", interrupted)
    assert equipoise("train", "ring")[0] == 130


# ------------------------------------------------------------------------------------------------ small commands


def test_list_is_tidy(equipoise):
    code, out, _ = equipoise("list")
    assert code == 0
    assert [line for line in out.splitlines() if not line.startswith("  ")][:5] == [
        "recipes:", "networks:", "initialisations:", "losses:", "terms:"]  # fmt: skip
    assert re.search(r"^  r1 +arXiv:1801\.04406 ", out, re.MULTILINE) and "features:" in out
    rows = json.loads(equipoise("list", "--json")[1])
    assert {"recipe", "network", "loss", "term"} <= {row["kind"] for row in rows}
    assert next(row for row in rows if row["name"] == "baseline")["paper"] == "arXiv:2501.05441"


def test_data_reports_as_text_and_json(equipoise):
    assert equipoise("data", "ring")[1].startswith("ring: 4,096 vectors of 2")
    assert json.loads(equipoise("data", "ring", "--json")[1])["source"] == "ring"


def test_cache_lists_and_clears(equipoise, tmp_path, monkeypatch):
    monkeypatch.setenv("EQUIPOISE_CACHE", str(tmp_path / "cache"))
    assert equipoise("cache", "list")[1] == "the cache is empty\n"
    assert equipoise("cache", "clear")[:2] == (0, "removed 0 sets of images, 0.0 MB\n")


def test_version(equipoise):
    from equipoise import __version__

    assert equipoise("--version")[:2] == (0, __version__ + "\n")


# ------------------------------------------------------------------------------------------------ signals


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no such signals")
@pytest.mark.parametrize(
    ("number", "workers", "group"), [(signal.SIGTERM, 0, False), (signal.SIGINT, 1, True), (signal.SIGTERM, 1, True)]
)
def test_signals_stop_with_a_checkpoint(number, workers, group, tmp_path):
    source = images_file(tmp_path / "images.npz")
    command = [sys.executable, "-m", "equipoise.cli", "train", source, "--out", str(tmp_path / "run"), *SMALL,
               "--recipe", "digits", "--kimg", "100000", "--workers", str(workers), "--quiet"]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True, cwd=tmp_path
    )
    try:
        for _ in range(1200):
            if process.poll() is not None or (tmp_path / "run/checkpoints/latest").exists():
                break
            time.sleep(0.05)
        send = os.killpg if group else os.kill  # a terminal, `timeout` and schedulers signal the workers too
        send(process.pid, number)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130 and "Traceback" not in err
    assert err.count("\n") == 1 and "go on with `equipoise resume" in err
    stopped = journal(tmp_path / "run")[-1]["kimg"]
    outcome = runs.resume(tmp_path / "run", stop=lambda: True)
    assert outcome.interrupted and outcome.samples / 1000 > stopped
