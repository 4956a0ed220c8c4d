"""What is wrong with a run, on what evidence, and what to do: rules turn a history into findings, findings a verdict.

A rule is a function of a `History` that returns a `Finding` or None; `@finding` registers it. Needs no PyTorch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from enum import IntEnum
from typing import Any, TypeVar

from equipoise.diagnosis.history import History as History
from equipoise.diagnosis.limits import GONE, SKIPS
from equipoise.diagnosis.untold import untold
from equipoise.registry import entries, register

Rule = Callable[[History], "Finding | None"]
R = TypeVar("R", bound=Rule)


class Severity(IntEnum):
    """How much a finding matters."""

    GOOD = 0  # nothing to do
    NOTE = 1  # worth knowing
    WARNING = 2  # it will cost quality if it goes on
    ALARM = 3  # the run is lost or being lost


@dataclass(frozen=True)
class Evidence:
    """A reading against a threshold, in the signal's own unit (`equipoise.signals`)."""

    signal: str  # a name of `equipoise.signals`
    value: float
    relation: str  # "above", "below", "near": how the value stands to the threshold
    threshold: float
    source: str  # of the threshold: a paper, or how it was calibrated
    since: float | None = None  # kimg from which it has been so without a break; None: not told

    def text(self, unit: str = "kimg") -> str:
        """One line; time is counted in `unit`."""
        when = f", since {self.since:g} {unit}" if self.since is not None else ""
        what, relation = self.signal, self.relation
        if relation.startswith("spread "):
            what, relation = f"spread of {what}", relation.removeprefix("spread ")
        return f"{what} {self.value:.3g}, {relation} {self.threshold:g}{when} ({self.source})"


@dataclass(frozen=True)
class Finding:
    """A state that a run is in: what, how grave, on what evidence, and what to do."""

    name: str  # of the rule
    severity: Severity
    summary: str  # one sentence in plain words
    evidence: tuple[Evidence, ...]
    advice: tuple[str, ...]  # what to do, the first thing first
    cause: str = ""  # where it can be told
    player: str = ""  # which of several discriminators it is about

    def text(self, unit: str = "kimg") -> str:
        """A paragraph for the terminal; time is counted in `unit`."""
        whose = f" ({self.player})" if self.player else ""
        lines = [f"{self.severity.name.lower()}: {self.name}{whose}: {self.summary}"]
        lines += [f"  because {one.text(unit)}" for one in self.evidence]
        lines += [f"  cause: {self.cause}"] if self.cause else []
        return "\n".join(lines + [f"  try: {one}" for one in self.advice])


@dataclass(frozen=True)
class Verdict:
    """All findings on a run, the gravest first, and what its numbers cannot tell."""

    findings: tuple[Finding, ...]
    untold: tuple[str, ...] = ()  # sentences: what could not be judged, and what it would take
    most_like: str = ""  # the recorded run it resembles most

    @property
    def severity(self) -> Severity:
        """Of the gravest finding."""
        return max((one.severity for one in self.findings), default=Severity.GOOD)

    def text(self, unit: str = "kimg") -> str:
        """For the terminal; time is counted in `unit`."""
        parts = [one.text(unit) for one in self.findings] or ["no sign of imbalance in what is told"]
        parts += [f"most like: {self.most_like}"] if self.most_like else []
        parts += ["cannot be told:\n" + "\n".join(f"  {one}" for one in self.untold)] if self.untold else []
        return "\n\n".join(parts)

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        found = asdict(self)
        for row, one in zip(found["findings"], self.findings, strict=True):
            row["severity"] = one.severity.name.lower()
        return found


def finding(name: str, *, paper: str = "", claim: str = "", treats: str = "") -> Callable[[R], R]:
    """Register a rule, from a `History` to a `Finding` or None, under the name of the finding that it makes."""
    return register("finding", name, paper=paper, claim=claim, treats=treats)


def evidence(
    history: History,
    signal: str,
    relation: str,  # "above" or "below"
    threshold: float,
    source: str,
    window: float = 0.1,  # share of the looks whose median counts
) -> Evidence | None:
    """The evidence that a signal's recent median stands so to a threshold; None if it does not, or is not told.

    `since` is the first look (kimg) of the unbroken row of looks, up to the last, that stand so by themselves.
    """
    value = history.now(signal, window)
    above = relation == "above"
    if math.isnan(value) or (value > threshold) != above:
        return None
    since = history.since(signal, (lambda x: x > threshold) if above else (lambda x: x <= threshold))
    return Evidence(signal, value, relation, threshold, source, since)


def diagnose(history: History, rules: Sequence[Rule] | None = None) -> Verdict:
    """The verdict on a history, by all registered rules or those given, and what it cannot tell.

    Of several discriminators, what holds of one more gravely than of their mean is a finding with its name. Where most
    values of the last look are not finite, only that counts, and what was grave before. Costs no tensor: plain Python.
    """
    chosen = [entry.part for entry in entries("finding")] if rules is None else rules
    found = _findings(history, chosen)
    for player in history.players():  # what holds of one of several discriminators, and not of their mean alone
        known = {one.name: one.severity for one in found if not one.player}
        theirs = [replace(one, player=player) for one in _findings(history.of(player), chosen)]
        found += [one for one in theirs if one.severity > known.get(one.name, Severity.GOOD)]
    return Verdict(tuple(sorted(found, key=lambda one: (-one.severity, one.name))), untold(history))


def _findings(history: History, rules: Sequence[Rule]) -> list[Finding]:
    """What the rules find. Once values are not finite any more, only that counts; else, what was grave before."""
    lost = _lost_since(history)
    if lost is None:
        return [one for rule in rules if (one := rule(history)) is not None]
    after = History({"nonfinite": [point for point in history.signals["nonfinite"] if point[0] >= lost]}, history.facts)
    found = {one.name: one for rule in rules if (one := rule(history.cut(lost))) is not None}
    found = {name: one for name, one in found.items() if one.severity >= Severity.WARNING}
    return list((found | {one.name: one for rule in rules if (one := rule(after)) is not None}).values())


def _lost_since(history: History) -> float | None:
    """The moment from which values were not finite, if most of those of the last look were not; else None."""
    points = history.signals.get("nonfinite", [])
    return history.since("nonfinite", lambda x: x > SKIPS.value) if points and points[-1][1] > GONE.value else None
