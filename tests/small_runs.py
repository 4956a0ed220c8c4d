"""Runs of a second, and their ends as bits to compare."""

import json
import math
import os
import tempfile

import numpy as np
from safetensors.torch import load_file

from equipoise import checkpoint, plan, runs
from equipoise.data import open_dataset

_cache = tempfile.TemporaryDirectory()  # gone when the tests end
os.environ["EQUIPOISE_CACHE"] = _cache.name

TINY = ("network.name=mlp", "network.width=8", "network.latent_dim=4", "batch=8")


def images_file(path, count=40, classes=0, side=8, first=0):
    """An .npz of random images and, if asked, labels; few enough for the held-out fold to rotate."""
    rng = np.random.default_rng(0)
    arrays = {"images": rng.integers(0, 256, (first + count, side, side, 1), dtype=np.uint8)[first:]}
    if classes:
        arrays["labels"] = np.arange(count) % classes
    np.savez(path, **arrays)
    return str(path)


def planned(source, settings=TINY, **request):
    asked = plan.Request(source, settings=settings, **{"kimg": 0.4, "device": "cpu", "recipe": "digits"} | request)
    return plan.resolve(asked, open_dataset(source, resolution=asked.resolution, labels=asked.labels))


def after(updates):
    """A wish to stop that comes up after so many generator updates."""
    left = iter(range(updates - 1))
    return lambda: next(left, None) is None


def run(out, asked, stops=(), watcher=None):
    """Train into `out`, stopped after each number of updates in `stops` and resumed."""
    stops = list(stops)
    outcome = runs.begin(asked, out, watcher, after(stops.pop(0)) if stops else lambda: False)
    while outcome.interrupted:
        outcome = runs.resume(out, watcher, after(stops.pop(0)) if stops else lambda: False)
    return outcome


def bits(run):
    """Every tensor of the newest checkpoint as bytes, by file and name."""
    newest = checkpoint.find(run)
    return {
        f"{file.stem}.{name}": tensor.contiguous().numpy().tobytes()
        for file in sorted(newest.glob("*.safetensors"))
        for name, tensor in load_file(file).items()
    }


def strict(line):
    """JSON as other programs read it: no NaN, no infinity."""
    return json.loads(line, parse_constant=lambda name: math.nan / 0)


def ticks_of(run):
    """The ticks among the lines of run.jsonl."""
    return [line for line in journal(run) if line["event"] == "tick"]


def journal(run):
    """The lines of run.jsonl without the times, which no two runs share."""
    lines = [strict(line) for line in (run / "run.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in ("seconds", "images_per_second")} for line in lines]
