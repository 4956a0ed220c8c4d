"""Does a run that is killed at any moment, and resumed, end in the same bits as one that is left alone?

    python benchmarks/kills.py              # twenty kills, five of them while a checkpoint is being written
    python benchmarks/kills.py --kills 4

`sngan` with a lazy penalty and two workers on small images of its own making: once from beginning to end, then once
per kill. A kill is SIGKILL to the whole process group at a random moment after the first checkpoint; then `equipoise
resume` finishes the run. (Before its first checkpoint, which comes with its first update, a run has nothing to go on
from: begin again in a new folder.) Compared are every tensor of the last checkpoint and every reading of run.jsonl;
exit code 1 if any differs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

TIMES = ("seconds", "images_per_second")  # what no two runs share
ATTEMPTS = 10  # to hit a moment
PATIENCE = 300.0  # seconds that a process may take
CACHE = tempfile.TemporaryDirectory()  # of decoded images, gone with this program


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--kimg", type=float, default=12.0, help="length of each run")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--out", type=Path, help="keep the runs in this folder, which must not exist")
    asked = parser.parse_args()
    if asked.out:
        asked.out.mkdir(parents=True)
        return measure(asked.out, asked.kills, asked.kimg, random.Random(asked.seed))
    with tempfile.TemporaryDirectory() as folder:
        return measure(Path(folder), asked.kills, asked.kimg, random.Random(asked.seed))


def measure(folder: Path, kills: int, kimg: float, chance: random.Random) -> int:
    """Print a line for each kill and a verdict; 0 if all ends are the same."""
    source = folder / "images.npz"
    images = np.random.default_rng(0).integers(0, 256, (300, 8, 8, 1), dtype=np.uint8)
    np.savez(source, images=images, labels=np.arange(300) % 3)
    length = undisturbed(source, folder / "whole", kimg)
    expected = end(folder / "whole")
    print(f"undisturbed: {length:.1f} s of training, {len(expected)} tensors and readings to compare", flush=True)
    print(f"{'kill':>4}  {'moment':8}  {'killed at':>11}  {'resumed from':>12}  end", flush=True)
    same = 0
    for number in range(1, kills + 1):
        writing = number % 4 == 2  # five of twenty
        run = killed(source, folder, number, kimg, length, writing, chance)
        at, since = last_tick(run), resumed_from(run)
        call(["resume", str(run)]).check_returncode()
        found = end(run)
        differing = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
        same += not differing
        verdict = "the same bits" if not differing else f"{len(differing)} DIFFER, first {differing[0]}"
        moment = "writing" if writing else "random"
        print(f"{number:4}  {moment:8}  {at:6.2f} kimg  {since:7.2f} kimg  {verdict}", flush=True)
    print(f"{same} of {kills} ends are the same in all bits")
    return 0 if same == kills else 1


def undisturbed(source: Path, run: Path, kimg: float) -> float:
    """Train from beginning to end; returns the seconds from the first checkpoint on."""
    process = start(source, run, kimg)
    began = wait_for(run / "checkpoints" / "latest", process)
    if process.wait(PATIENCE):
        raise SystemExit("the undisturbed run failed: see the lines above")
    return time.monotonic() - began


def killed(
    source: Path, folder: Path, number: int, kimg: float, length: float, writing: bool, chance: random.Random
) -> Path:
    """The folder of a run that was killed at a random moment, or while it wrote a checkpoint."""
    for attempt in range(ATTEMPTS):
        run = folder / f"killed-{number}-{attempt}"
        process = start(source, run, kimg)
        began = wait_for(run / "checkpoints" / "latest", process)
        moment = began + chance.uniform(0.0, 0.8 if attempt < 3 else 0.4) * length
        while process.poll() is None and (time.monotonic() < moment or (writing and not half_written(run))):
            time.sleep(0.0005)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if not writing or half_written(run):  # what a writer leaves behind proves that it was hit
                return run
    raise SystemExit(f"no run could be killed at the wanted moment in {ATTEMPTS} attempts; give a larger --kimg")


def half_written(run: Path) -> bool:
    """Whether a checkpoint is being written at this moment."""
    return any((run / "checkpoints").glob(".[0-9]*.tmp"))


def start(source: Path, run: Path, kimg: float) -> subprocess.Popen[bytes]:
    """Begin to train in a process group of its own."""
    settings = ("network.width=8", "network.latent_dim=16", "r1.gamma=0.1", "r1.every=4")
    command = ["train", str(source), "--out", str(run), "--recipe", "sngan", "--batch", "16", "--workers", "2"]
    command += ["--device", "cpu", "--kimg", str(kimg), "--snapshot-kimg", "0.25", "--quiet"]
    command += [part for setting in settings for part in ("--set", setting)]
    return subprocess.Popen([*program(), *command], env=environment(), start_new_session=True)


def call(command: list[str]) -> subprocess.CompletedProcess[bytes]:
    """Run a command to its end."""
    return subprocess.run([*program(), *command, "--quiet"], env=environment(), timeout=PATIENCE, check=False)


def program() -> list[str]:
    return [sys.executable, "-m", "equipoise.cli"]


def environment() -> dict[str, str]:
    """One thread for the training process, whose workers have the other cores."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "EQUIPOISE_CACHE": CACHE.name}


def wait_for(file: Path, process: subprocess.Popen[bytes]) -> float:
    """Wait until a file is there; returns when that was."""
    until = time.monotonic() + PATIENCE
    while not file.exists():
        if process.poll() is not None or time.monotonic() > until:
            raise SystemExit(f"{file} did not come: see the lines above")
        time.sleep(0.002)
    return time.monotonic()


# ------------------------------------------------------------------------------------------------ what is compared


def end(run: Path) -> dict[str, str]:
    """Hashes of everything a run ends in: each tensor of the last checkpoint, its counters, each line of run.jsonl."""
    checkpoint = run / "checkpoints" / (run / "checkpoints" / "latest").read_text().strip()
    found = {}
    for file in sorted(checkpoint.glob("*.safetensors")):
        for name, tensor in load_file(file).items():
            about = f"{tensor.dtype} {tensor.shape} ".encode()
            found[f"{file.stem}: {name}"] = hashlib.sha256(about + tensor.tobytes()).hexdigest()
    found["state.json"] = untimed(json.loads((checkpoint / "state.json").read_text()))
    for number, line in enumerate(lines(run)):
        found[f"run.jsonl: line {number + 1}"] = untimed(line)
    return found


def untimed(record: dict[str, Any]) -> str:
    return json.dumps({key: value for key, value in record.items() if key not in TIMES}, sort_keys=True)


def lines(run: Path) -> list[dict[str, Any]]:
    """The whole lines of run.jsonl."""
    text = (run / "run.jsonl").read_text().splitlines(keepends=True)
    return [json.loads(line) for line in text if line.endswith("\n")]


def last_tick(run: Path) -> float:
    """kimg of the last line that was written."""
    return float(lines(run)[-1]["kimg"])


def resumed_from(run: Path) -> float:
    """kimg of the checkpoint that `latest` names."""
    checkpoint = run / "checkpoints" / (run / "checkpoints" / "latest").read_text().strip()
    if not checkpoint.is_dir():  # killed between the two renames that put a checkpoint in place of its namesake
        checkpoint = checkpoint.with_name(f".{checkpoint.name}.old")
    return float(json.loads((checkpoint / "state.json").read_text())["samples"]) / 1000


if __name__ == "__main__":
    sys.exit(main())
