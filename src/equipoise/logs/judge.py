"""A log and the verdict that its numbers allow, as text, as data, and as an exit code."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from equipoise.diagnosis import History, Severity, Verdict, diagnose
from equipoise.diagnosis.recordings import most_like
from equipoise.logs import Told, open_log
from equipoise.signals import SIGNALS


@dataclass(frozen=True)
class Judged:
    """What was read, and what it comes to."""

    history: History
    verdict: Verdict

    @property
    def exit_code(self) -> int:
        """0 where nothing is worse than a note, 1 for a warning or an alarm."""
        return int(self.verdict.severity >= Severity.WARNING)

    def text(self) -> str:
        """For the terminal: whose log it is, what it tells, the verdict, what was taken for granted."""
        facts, unit = self.history.facts, self.history.unit
        told = [f"  {name:{_WIDTH}} {self.history.now(name):10.4g}  {_meaning(name, unit)}" for name in self._names()]
        parts = [f"a log of {facts['source']}, up to {self.history.kimg:g} {unit}; last readings:\n" + "\n".join(told)]
        parts.append(self.verdict.text(unit))
        if facts.get("remarks"):
            parts.append("taken for granted, or left open:\n" + "\n".join(f"  {text}" for text in facts["remarks"]))
        if facts.get("unused"):
            parts.append(f"logged and not used: {', '.join(facts['unused'])}")
        return "\n\n".join(parts)

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        last = {name: self.history.now(name) for name in self._names()}
        return {
            "facts": self.history.facts,
            "kimg": self.history.kimg,
            "readings": last,
            "severity": self.verdict.severity.name.lower(),
            "verdict": self.verdict.as_dict(),
        }

    def _names(self) -> list[str]:
        order = {name: number for number, name in enumerate(SIGNALS)}
        return sorted((n for n in self.history.signals if self.history.has(n)), key=lambda n: order.get(n, len(order)))


def judge(path: str | Path, told: Told | None = None) -> Judged:
    """Read what lies at a path and judge it.

    Raises:
        InputError: nothing there that could be read.
    """
    history = open_log(path, told)
    alike = "" if history.has("reconstruction") else most_like(history)  # no recorded run has one
    return Judged(history, replace(diagnose(history), most_like=alike))


THOUSANDS = "thousands of real samples"
_WIDTH = max(map(len, SIGNALS))


def _meaning(name: str, unit: str) -> str:
    """What a signal is; a period is counted in the log's own unit."""
    player, _, own = name.rpartition("/")
    meaning = SIGNALS[own].meaning if own in SIGNALS else ""
    meaning = meaning if unit == "kimg" else meaning.replace(THOUSANDS, unit)
    return meaning + (f", of discriminator {player}" if player and meaning else "")
