"""A run folder of our own: its signals and dials as `run.jsonl` has them, its facts from `config.json`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from equipoise.diagnosis.history import History
from equipoise.logs.convert import SIGNLESS
from equipoise.logs.tables import Table, is_moment
from equipoise.logs.texts import json_lines


def from_journal(path: Path) -> History:
    """The history that `run.jsonl` tells."""
    facts: dict[str, Any] = {"source": "equipoise", "remarks": [], "unused": []}
    facts |= _config(path.parent / "config.json") | _data(path.parent / "data.json")
    history = History(facts=facts)
    for line in json_lines(path):
        if line.get("event") == "tick" and is_moment(line.get("kimg")):
            history.add(line["kimg"], line.get("balance") or {}, line.get("dials") or {})
            history.facts.setdefault("total_kimg", line.get("total_kimg"))
            history.facts |= {"waiting": line["waiting"]} if "waiting" in line else {}
        elif line.get("event") == "begin" and isinstance(line.get("facts"), dict):
            history.facts |= line["facts"]  # of a monitored loop
        elif line.get("event") == "snapshot" and facts.get("metric") and is_moment(line.get("kimg")):
            value = line.get("value")
            history.add(line["kimg"], {"frechet": value if isinstance(value, (int, float)) else None})
    return history


def from_board(table: Table) -> History:
    """The history that the TensorBoard events of our runs tell, which have signals under `Balance/`."""
    history = History(facts={"source": "equipoise", "remarks": [], "unused": []})
    for name, points in table.series.items():
        group, _, rest = name.partition("/")
        if group in ("Balance", "Dials"):
            (history.signals if group == "Balance" else history.dials)[rest] = points
    return history


def _config(path: Path) -> dict[str, Any]:
    """Facts from the resolved configuration; none where it cannot be read."""
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        recipe = config["recipe"]
        found = {"loss": recipe["loss"], "batch": recipe["batch"], "signless": recipe["loss"] in SIGNLESS}
        found |= {"metric": config["metric"]} if config.get("metric") else {}
        return found | {"augmented": bool(recipe.get("augmentations"))}
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return {}


def _data(path: Path) -> dict[str, Any]:
    """How many samples there were, and how many of them are copies of others; nothing where it cannot be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {"count": int(found["count"]), "duplicates": int(found["exact_duplicates"] + found["near_duplicates"])}
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return {}
