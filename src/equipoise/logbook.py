"""The log of a monitored loop: each look and each move a line of `run.jsonl`, as our own runs have them.

`equipoise diagnose`, `report` and `watch` read it.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from equipoise import distributed
from equipoise.balancer import Decision
from equipoise.errors import InputError
from equipoise.report.journal import Lines

CHANGING = ("waiting",)  # facts that do not stay as they were at the first look


class Logbook:
    """Opened at the first look, by which time it is known whether the loop goes on from an earlier one."""

    def __init__(self, folder: str | Path) -> None:
        if not isinstance(folder, (str, Path)):
            raise InputError(f"log={folder!r}: give the folder in which run.jsonl is to be written")
        self.folder = Path(folder)
        self.begun = 0  # real samples at which this process began
        self._lines: Lines | None = None
        self._lost = False  # whether the disk has refused a line: the loop goes on without its log

    def add(self, decision: Decision, samples: int, facts: Mapping[str, Any]) -> None:
        """Write down a look, on the first of several ranks."""
        if distributed.rank() > 0 or self._lost:
            return
        if self._lines is None:
            self._lines = self._opened(facts)
        known = {"total_kimg": facts.get("total_kimg")} | {n: facts[n] for n in CHANGING if n in facts}
        with self._kept():
            self._lines.event("tick", samples, **known, balance=dict(decision.signals), dials={})
            self._lines.moves(decision.moves, samples)

    def end(self, decision: Decision, samples: int, facts: Mapping[str, Any]) -> None:
        """Write down the last moves and the verdict, also where a loop that goes on ends before its next look."""
        if self._lines is None and self.begun and distributed.rank() == 0:
            self._lines = self._opened(facts)
        if self._lines is not None and not self._lost:
            with self._kept():
                self._lines.moves(decision.moves, samples)
                self._lines.event("verdict", samples, **decision.verdict.as_dict())

    @contextlib.contextmanager
    def _kept(self) -> Iterator[None]:
        """Where a disk is full or gone, say so once: a loop is not to die of its log."""
        try:
            yield
        except OSError as error:
            self._lost = True
            warnings.warn(
                f"{self.folder / 'run.jsonl'} cannot be written any more ({error.strerror}): the loop goes on, and its "
                "log ends here",
                stacklevel=5,
            )

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
            lines.event("begin", 0, facts={name: value for name, value in facts.items() if name not in CHANGING})
        return lines
