"""bootstrap.py: which build of PyTorch, what is said, what is refused. Nothing is installed here."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[1] / "bootstrap.py"


@pytest.fixture
def bootstrap(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("bootstrap", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.delenv("EQUIPOISE_WHEELS", raising=False)
    return module


@pytest.mark.parametrize(
    ("system", "build", "gpu", "reachable", "arguments", "words"),
    [
        ("linux", "auto", True, True, ["torch>=2.11"], "CUDA build, about 3 GB"),
        ("linux", "auto", False, True, ["--index-url", "https://download.pytorch.org/whl/cpu", "torch>=2.11"], "CPU"),
        ("linux", "auto", False, False, ["torch==2.13.0"], "cannot be reached"),
        ("linux", "cpu", True, True, ["--index-url", "https://download.pytorch.org/whl/cpu", "torch>=2.11"], "CPU"),
        ("linux", "default", False, True, ["torch>=2.11"], "CUDA build, about 3 GB"),
        ("darwin", "auto", False, True, ["torch>=2.11"], "default build"),
        ("win32", "auto", True, True, ["torch>=2.11"], "default build"),
    ],
)
def test_the_build_of_torch_suits_the_machine(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch,
    system: str, build: str, gpu: bool, reachable: bool, arguments: list[str], words: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(bootstrap.sys, "platform", system)
    monkeypatch.setattr(bootstrap, "has_gpu", lambda: gpu)
    monkeypatch.setattr(bootstrap, "reachable", lambda url: reachable)
    found, said = bootstrap.torch_source(build)
    assert found == arguments
    assert words in said and "download" in said


@pytest.fixture
def calls(bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[list[str]]:
    """pip's arguments, in place of calling it."""
    found: list[list[str]] = []
    monkeypatch.setattr(bootstrap, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(bootstrap, "STAMP", tmp_path / "stamp")
    monkeypatch.setattr(bootstrap, "pip", lambda python, *arguments: found.append(list(arguments)))
    monkeypatch.setattr(bootstrap, "has_gpu", lambda: False)
    monkeypatch.setattr(bootstrap, "reachable", lambda url: True)
    monkeypatch.setattr(bootstrap, "environment", lambda: "python")
    return found


def test_a_folder_of_wheels_is_the_only_source(
    bootstrap: ModuleType, calls: list[list[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(bootstrap, "torch_version", lambda python: (0,))
    assert bootstrap.main(["install", "--wheels", str(tmp_path)]) == 0
    assert len(calls) == 2
    assert all(call[:4] == ["install", "--no-index", "--find-links", str(tmp_path)] for call in calls)


@pytest.mark.parametrize(("there", "count"), [((2, 13), 1), ((2, 11), 1), ((2, 10), 2), ((0,), 2)])
def test_a_torch_that_is_new_enough_stays(
    bootstrap: ModuleType, calls: list[list[str]], monkeypatch: pytest.MonkeyPatch, there: tuple[int, ...], count: int
) -> None:
    monkeypatch.setattr(bootstrap, "torch_version", lambda python: there)
    bootstrap.main(["install"])
    assert len(calls) == count
    assert calls[-1][-1].endswith("[dev]")


def test_what_is_installed_is_not_installed_again(
    bootstrap: ModuleType, calls: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap, "torch_version", lambda python: (2, 13))
    monkeypatch.setattr(bootstrap, "demo", lambda python: 0)
    bootstrap.main(["demo"])
    assert not calls[0][-1].endswith("[dev]")
    bootstrap.main(["demo"])
    assert len(calls) == 1
    bootstrap.main(["install"])  # the tools for development lack yet
    assert len(calls) == 2
    bootstrap.main(["install"])
    bootstrap.main(["demo"])
    assert len(calls) == 2


def test_the_version_of_torch_is_that_of_the_interpreter(bootstrap: ModuleType) -> None:
    import torch

    assert bootstrap.torch_version(sys.executable) == tuple(map(int, torch.__version__.split(".")[:2]))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["install", "--wheels", "/no/such/folder"], "there is no folder /no/such/folder"),
        (["install", "-k", "x"], "takes no further arguments"),
        (["download"], "name it by --wheels"),
        (["demo", "--python", "/no/such/python"], "there is no program /no/such/python"),
    ],
)
def test_what_cannot_work_is_said_in_a_sentence(bootstrap: ModuleType, arguments: list[str], sentence: str) -> None:
    with pytest.raises(SystemExit, match=sentence):
        bootstrap.main(arguments)


def test_a_server_that_does_not_answer_is_not_waited_for(bootstrap: ModuleType) -> None:
    assert not bootstrap.reachable("http://127.0.0.1:9/torch/")
    assert not bootstrap.reachable("http://no-such-host.invalid/torch/")


def test_an_old_python_gets_a_sentence(bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap.sys, "hexversion", 0x030A00F0)
    with pytest.raises(SystemExit, match=r"needs 3\.11 or newer"):
        bootstrap.main(["demo"])


def test_help_works() -> None:
    done = subprocess.run([sys.executable, str(SCRIPT), "--help"], capture_output=True, text=True)
    assert done.returncode == 0 and "--wheels" in done.stdout


def test_ctrl_c_is_left_to_the_program() -> None:
    """It may have to write a checkpoint: it is waited for, and its exit code is handed on."""
    program = (
        "import os, signal, sys, time\n"
        "def handler(*_):\n    time.sleep(0.6)\n    sys.exit(130)\n"  # longer than subprocess.run would wait
        "signal.signal(signal.SIGINT, handler)\n"
        "os.kill(os.getppid(), signal.SIGINT)\n"
        "os.kill(os.getpid(), signal.SIGINT)\n"
        "time.sleep(10)\n"
    )
    call = f"import sys, bootstrap; sys.exit(bootstrap.run([sys.executable, '-c', {program!r}]))"
    assert subprocess.run([sys.executable, "-c", call], cwd=SCRIPT.parent).returncode == 130
