#!/usr/bin/env python3
"""Set equipoise up on a fresh machine. Needs Python 3.11 or newer and nothing else.

    python3 bootstrap.py demo       install, train on handwritten digits for 40 seconds, show a picture
    python3 bootstrap.py test       install with the tools for development, run the tests
    python3 bootstrap.py install    install with the tools for development, and stop there
    python3 bootstrap.py download   fill the folder named by --wheels, to install from without a network

Everything goes into the folder .venv beside this file; further arguments of `test` go to pytest. What will be
downloaded is said before it is. PyTorch comes in the build that suits the machine: see `torch_source`.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
VENV = HERE / ".venv"
STAMP = VENV / "equipoise-installed"  # what is installed there: a second call need not ask pip
CPU_WHEELS = "https://download.pytorch.org/whl/cpu"
OLDEST = (2, 11)  # PyTorch that equipoise runs on, as pyproject.toml has it
WANTED = "torch>={}.{}".format(*OLDEST)
TESTED = "torch==2.13.0"  # asked for where pip has to take the default build for want of a better source
WAIT = 8  # seconds that PyTorch's server has to answer
MOST_WORKERS = 4  # processes for the tests: each loads PyTorch


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    if sys.hexversion < 0x030B0000:
        fail(f"this is Python {platform.python_version()}, and equipoise needs 3.11 or newer; call it with one that is")
    options, more = parse(arguments)
    if more and options.command != "test":
        fail(f"{options.command} takes no further arguments, and {' '.join(more)} came")
    python = options.python or environment()
    if options.command == "download":
        return download(python, options)
    install(python, options, dev=options.command != "demo")
    if options.command == "demo":
        return demo(python)
    return test(python, more) if options.command == "test" else 0


def parse(arguments: Sequence[str] | None) -> tuple[argparse.Namespace, list[str]]:
    """The options, and what is to be passed on."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("command", choices=("demo", "test", "install", "download"))
    parser.add_argument(
        "--wheels",
        metavar="DIR",
        default=os.environ.get("EQUIPOISE_WHEELS"),
        help="install from this folder of wheels only, without a network (default: the environment's EQUIPOISE_WHEELS)",
    )
    parser.add_argument(
        "--torch",
        choices=("auto", "cpu", "default"),
        default="auto",
        help="PyTorch's build: cpu, or the default of pip's index (CUDA on Linux); auto looks for an NVIDIA GPU",
    )
    parser.add_argument(
        "--python",
        metavar="PROGRAM",
        help="install beside what this interpreter has, and keep its PyTorch, instead of making .venv",
    )
    options, more = parser.parse_known_args(arguments)
    if options.command == "download" and not options.wheels:
        fail("download needs a folder to fill; name it by --wheels")
    if options.command != "download" and options.wheels and not Path(options.wheels).is_dir():
        fail(f"there is no folder {options.wheels}; `bootstrap.py download --wheels {options.wheels}` makes one")
    if options.python and not shutil.which(options.python):
        fail(f"there is no program {options.python}; give --python an interpreter")
    options.wheels = options.wheels and os.path.abspath(options.wheels)
    options.python = options.python and os.path.abspath(shutil.which(options.python))
    return options, more


# ------------------------------------------------------------------------------------------------ install


def environment() -> str:
    """The interpreter of .venv, made if it is missing or broken."""
    python = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    check = [str(python), "-c", "import sys, pip; sys.exit(sys.version_info < (3, 11))"]
    if python.exists() and subprocess.run(check, capture_output=True).returncode == 0:
        return str(python)
    try:
        import ensurepip  # noqa: F401  # Debian and Ubuntu pack it apart
        import venv
    except ImportError:
        fail("this Python cannot make environments with pip; on Debian and Ubuntu: apt install python3-venv")
    say(f"Making the environment {VENV}")
    venv.create(VENV, with_pip=True, clear=VENV.exists(), symlinks=os.name != "nt")
    return str(python)


def install(python: str, options: argparse.Namespace, dev: bool) -> None:
    """Install PyTorch, then equipoise with its other dependencies; nothing where that has been done."""
    digest = hashlib.sha256(str(HERE).encode() + (HERE / "pyproject.toml").read_bytes()).hexdigest()[:16]
    stamps = [f"{digest} dev"] if dev else [f"{digest} dev", f"{digest} plain"]
    if not options.python and STAMP.is_file() and STAMP.read_text() in stamps:
        return
    local = ["--no-index", "--find-links", options.wheels] if options.wheels else []
    if torch_version(python) < OLDEST:
        source, words = (
            ([*local, WANTED], f"from {options.wheels}, nothing to download") if local else torch_source(options.torch)
        )
        say(f"PyTorch: {words}")
        pip(python, "install", *source)
    if not local:
        say(f"equipoise and its other dependencies: about {60 if dev else 30} MB to download")
    pip(python, "install", *local, "-e", f"{HERE}[dev]" if dev else str(HERE))
    if not options.python:
        STAMP.write_text(stamps[0] if dev else stamps[1])
    if has_gpu() and not options.python and options.torch == "auto":
        check_gpu(python)


def download(python: str, options: argparse.Namespace) -> int:
    """Fill a folder with all wheels for a machine with this system and this Python."""
    folder = Path(options.wheels)
    source, words = torch_source(options.torch)
    say(f"PyTorch: {words}; then about 60 MB of other packages")
    pip(python, "download", "--dest", str(folder), *source)
    version = max(folder.glob("torch-*.whl"), key=os.path.getmtime).name.split("-")[1]  # and no other one beside it
    found = ["--dest", str(folder), "--find-links", str(folder), f"torch=={version}"]
    pip(python, "download", *found, f"{HERE}[dev]", "hatchling", "editables")
    say(f"Elsewhere: python3 bootstrap.py demo --wheels {folder}")
    return 0


def torch_source(build: str) -> tuple[list[str], str]:
    """pip's arguments for PyTorch, and what will be downloaded, in words.

    With an NVIDIA GPU, and on systems whose default build is small, the default one. On Linux without a GPU the CPU
    build from PyTorch's own server; where that cannot be reached, the tested release from wherever pip is set to look.
    """
    if sys.platform != "linux":
        return [WANTED], "the default build, 100 to 300 MB to download"
    if build == "default" or (build == "auto" and has_gpu()):
        return [WANTED], "the CUDA build, about 3 GB to download, 6 GB on the disk (--torch cpu takes the small one)"
    if reachable(f"{CPU_WHEELS}/torch/"):
        return ["--index-url", CPU_WHEELS, WANTED], f"the CPU build from {CPU_WHEELS}, about 200 MB to download"
    return [TESTED], (
        f"{CPU_WHEELS} cannot be reached, so {TESTED} comes from where your pip is set to look: about 200 MB if that "
        "has a CPU build, and if it is PyPI itself the CUDA build, 3 GB (Ctrl-C stops; --wheels takes a folder)"
    )


def has_gpu() -> bool:
    """Whether NVIDIA's driver sees a GPU."""
    try:
        return subprocess.run(["nvidia-smi", "-L"], capture_output=True, timeout=30).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def reachable(url: str) -> bool:
    """Whether a server answers, quickly."""
    try:
        with urllib.request.urlopen(url, timeout=WAIT) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def torch_version(python: str) -> tuple[int, ...]:
    """PyTorch's version there, (0,) without one."""
    ask = "import importlib.metadata as m; print(m.version('torch'))"
    found = subprocess.run([python, "-c", ask], capture_output=True, text=True)
    return tuple(int(part) for part in found.stdout.split(".")[:2]) if found.returncode == 0 else (0,)


def check_gpu(python: str) -> None:
    """Say so where there is a GPU and PyTorch cannot use it; it works all the same, on the CPU."""
    ask = "import sys, torch; sys.exit(not torch.cuda.is_available())"
    if subprocess.run([python, "-c", ask], capture_output=True).returncode:
        say(
            "there is an NVIDIA GPU, but this PyTorch cannot use it (its driver may be too old), so the CPU is used;"
            " for another build, install it as pytorch.org says and call this script with --python and that interpreter"
        )


def pip(python: str, *arguments: str) -> None:
    """Run pip; with a terminal it shows its progress."""
    quiet = [] if sys.stdout.isatty() else ["-qq"]
    if run([python, "-m", "pip", "--disable-pip-version-check", *quiet, *arguments]):
        fail("pip did not get through; its message is above. Once the cause is gone, call the same command again")


# ------------------------------------------------------------------------------------------------ demo and test


def demo(python: str) -> int:
    """Train on the digits that come with the package and show real ones beside generated ones."""
    out = next(path for path in map(demo_folder, range(1, 10_000)) if not path.exists())
    command = [python, "-m", "equipoise.cli", "train", "digits", "--budget", "40s", "--out", str(out)]
    code = run(command) or run([python, str(HERE / "examples" / "show_run.py"), str(out)])
    if code == 0 and sys.stdout.isatty():
        show(out / "reals-and-fakes.png")
    return code


def demo_folder(number: int) -> Path:
    """runs/demo, runs/demo-2, ..."""
    return HERE / "runs" / ("demo" if number == 1 else f"demo-{number}")


def show(picture: Path) -> None:
    """Open a picture where there is a desktop."""
    if sys.platform == "win32":
        os.startfile(picture)
        return
    desktop = sys.platform == "darwin" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    program = shutil.which("open" if sys.platform == "darwin" else "xdg-open")
    if desktop and program:
        subprocess.Popen([program, str(picture)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def test(python: str, more: list[str]) -> int:
    """Run the tests, in as many processes as there are cores, up to four, with one thread each."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = min(cores, MOST_WORKERS)
    parallel = ["-n", str(workers)] if workers > 1 else []
    return run([python, "-m", "pytest", *parallel, *more], OMP_NUM_THREADS="1", OMP_WAIT_POLICY="PASSIVE")


def run(command: Sequence[str], **variables: str) -> int:
    """Run a program in the repository's folder and return its exit code; Ctrl-C is for the program to answer."""
    with subprocess.Popen(command, cwd=HERE, env={**os.environ, **variables}) as process:
        while True:
            try:
                code = process.wait()
                return code if code >= 0 else 128 - code
            except KeyboardInterrupt:
                continue


def say(text: str) -> None:
    """Print a line at once, before the programs that are started write theirs."""
    print(f"bootstrap: {text}", flush=True)


def fail(text: str) -> None:
    """End with a sentence."""
    sys.exit(f"bootstrap: {text}.")


if __name__ == "__main__":
    sys.exit(main())
