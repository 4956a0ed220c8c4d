"""The log of a monitored loop: each look and each move a line of `run.jsonl`, as our own runs have them.

`equipoise diagnose`, `report` and `watch` read it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from equipoise import distributed
from equipoise.balancer import Decision
from equipoise.errors import InputError
from equipoise.report.journal import Lines


class Logbook:
    """Opened at the first look, by which time it is known whether the loop goes on from an earlier one."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.begun = 0  # real samples at which this process began
        self._lines: Lines | None = None

    def add(self, decision: Decision, samples: int, facts: Mapping[str, Any]) -> None:
        """Write down a look, on the first of several ranks."""
        if distributed.rank() > 0:
            return
        if self._lines is None:
            self._lines = self._opened(facts)
        total = facts.get("total_kimg")
        self._lines.event("tick", samples, total_kimg=total, balance=dict(decision.signals), dials={})
        self._lines.moves(decision.moves, samples)

    def end(self, decision: Decision, samples: int) -> None:
        """Write down the last moves and the verdict."""
        if self._lines is not None:
            self._lines.moves(decision.moves, samples)
            self._lines.event("verdict", samples, **decision.verdict.as_dict())

    def _opened(self, facts: Mapping[str, Any]) -> Lines:
        file = self.folder / "run.jsonl"
        if file.exists() and not self.begun:
            raise InputError(
                f"{file} exists already, and nothing is ever overwritten; give log= another folder, or load the state "
                "of the monitor that wrote it, to go on"
            )
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lines = Lines(self.folder, self.begun)
        except OSError as error:
            raise InputError(f"{file} cannot be written ({error.strerror}); give log= another folder") from None
        if not lines.path.stat().st_size:
            lines.event("begin", 0, facts=dict(facts))
        return lines
