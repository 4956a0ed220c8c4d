"""Logs of NVIDIA's StyleGANs: stats.jsonl, and what lies beside it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from equipoise.logs.tables import Table, is_moment
from equipoise.logs.texts import SNIFFED, json_lines, text_of

LOSSES = {
    "StyleGAN2Loss": "non-saturating",
    "ProjectedGANLoss": "hinge",
    "R3GANLoss": "rpgan",
}  # by the class in loss_kwargs
MOMENTS = r'\s*{\s*"[^"{}]+":\s*{\s*"num":'
FOREVER = 25_000  # kimg: the length there where none was asked for, which tells nothing: most stop long before


def from_stats(path: Path) -> Table:
    """NVIDIA's stats.jsonl: a line per tick, `{"Loss/D/loss": {"num": n, "mean": m, "std": s}, ..., "timestamp": t}`.

    Beside it, metric-*.jsonl have `results` and the name of a snapshot, `network-snapshot-000200.pkl`, with its kimg.
    """
    table = Table(clock="kimg", facts=options(path.parent / "training_options.json"))
    for line in json_lines(path):
        now = line.get("Progress/kimg", {})
        kimg = now.get("mean") if isinstance(now, dict) else None
        if is_moment(kimg):
            for name, value in line.items():
                if isinstance(value, dict):
                    table.add(name, kimg, value.get("mean"), value.get("std"))
    for metric in sorted(path.parent.glob("metric-*.jsonl")):
        for line in json_lines(metric):
            kimg = Path(str(line.get("snapshot_pkl"))).stem.rpartition("-")[2]
            results = line.get("results")
            for name, value in results.items() if kimg.isdecimal() and isinstance(results, dict) else ():
                table.add(f"Metrics/{name}", float(kimg), value)
    return table.sorted()


def is_stats(path: Path) -> bool:
    """Whether it is such a file by another name, as copies are: moments come by name, the first thing in each line."""
    return path.suffix == ".jsonl" and re.match(MOMENTS, text_of(path, SNIFFED)) is not None


def options(path: Path) -> dict[str, Any]:
    """Facts from training_options.json: numbers, and which loss it is; none where it cannot be read."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        found = {"batch": told.get("batch_size"), "count": told["training_set_kwargs"].get("max_size"),
                 "total_kimg": None if told.get("total_kimg") == FOREVER else told.get("total_kimg"),
                 "augmented": "augment_kwargs" in told}  # fmt: skip
        return {name: value for name, value in found.items() if is_moment(value)} | _loss(told.get("loss_kwargs"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return {}


def _loss(told: Any) -> dict[str, Any]:
    """Which loss it is; None where the class is another one.

    StyleGAN-XL's is called as that of projected GANs, and adds up an unknown number of discriminators.
    """
    if not isinstance(told, dict) or "class_name" not in told:
        return {}
    name = str(told["class_name"]).rpartition(".")[2]
    added = name == "ProjectedGANLoss" and "pl_weight" in told
    return {"loss": None, "added": True} if added else {"loss": LOSSES.get(name)}
