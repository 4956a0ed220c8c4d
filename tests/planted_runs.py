"""Run folders written by hand, for whatever reads them: no training, no PyTorch."""

import json

import numpy as np

from equipoise import images

EVIL = "<img src=x onerror=alert(1)>"  # what must come out as text
HEALTHY = {
    "loss_D": lambda k: 1 + 0.1 * (-1) ** k,  # neither far from balance nor without movement
    "energy": lambda k: 0.3 / (k + 1),
    "diversity": lambda k: 1.0,
}


def plant(folder, *, ticks=12, pictures=3, total=None, signals=None, events=(), config=None, torn=False):
    """A run of `ticks` looks, one a kimg, whose signals are functions of the look; further events as they are given."""
    folder.mkdir(parents=True)
    recipe = {"name": "digits", "loss": "non-saturating", "batch": 32, "D": {"lr": 0.001}}
    origin = {"D.lr": "command line", "seed": "command line"}
    settings = {"source": "digits", "recipe": recipe, "shape": [1, 8, 8], "class_names": [], "balance": "watch",
                "controller": None, "seed": 0, "origin": origin} | (config or {})  # fmt: skip
    (folder / "config.json").write_text(json.dumps(settings))
    (folder / "data.json").write_text(json.dumps({"source": "digits", "count": 1797}))
    told = signals or {
        "loss_D": lambda k: 1 + 0.1 * (-1) ** k,
        "energy": lambda k: 0.3 / (k + 1),
        "diversity": lambda k: 1.0,
    }
    lines = [
        {"event": "tick", "tick": k, "kimg": float(k + 1), "total_kimg": float(total or ticks), "seconds": 2.0 * k,
         "images_per_second": 500.0, "readings": {}, "balance": {name: value(k) for name, value in told.items()},
         "dials": {"D.lr": 0.001 if k < 6 else 0.0005, "G.lr": 0.002}}
        for k in range(ticks)
    ]  # fmt: skip
    text = "".join(json.dumps(line) + "\n" for line in [*lines, *events])
    (folder / "run.jsonl").write_text(text + ('{"event": "tick", "kimg": 99.0, "bal' if torn else ""))
    (folder / "samples").mkdir()
    for number in range(pictures):
        images.save_png(folder / "samples" / f"fakes-{number:06d}.png", np.full((40, 60, 1), 5 * number, np.uint8))
    images.save_png(folder / "reals.png", np.full((40, 60, 1), 255, np.uint8))
    return folder


def move(kimg, before=0.001, after=0.0005, why="since gap is 3 and 2 is aimed at", actuator="D.lr", done=True):
    """A line of run.jsonl on something that was turned."""
    turned = {"loop": "steps-by-gap", "actuator": actuator, "before": before, "after": after}
    return {"event": "move", "kimg": kimg, **turned, "why": why, "done": done, "said": True}
