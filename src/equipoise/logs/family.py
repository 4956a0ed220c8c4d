"""A family of programs that log under the same names, and whether a log is one of its."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from equipoise.logs.convert import Convert, Logged

TAKEN = "the loss is taken to be"  # in the remark on a loss that is usual
REFUTED = (
    "{} goes below 0, which {} never does, and tells nothing as long as it is not known which loss it is; say --loss"
)
SPREADLESS = "{} are mean {} without their spread: no distance follows from them"
WAITS = "{} is 0 throughout: as long as the discriminator has not started, the log tells nothing"


@dataclass(frozen=True)
class Family:
    """Programs that log under the same names."""

    name: str
    marks: tuple[str, ...]  # names that are found together in no other family's logs
    signals: Mapping[str, Convert]
    sources: tuple[str, ...]  # the files that write these names, repository first
    facts: Mapping[str, Any] = field(default_factory=dict)  # what is true of all its runs, or usual
    usual: tuple[str, ...] = ()  # facts that the user's options may correct
    clock: str = "step"  # what the steps of its event files are
    remarks: tuple[str, ...] = ()  # what its numbers leave open
    missing: Mapping[str, str] = field(default_factory=dict)  # signal: why it is not told, where it is not
    bare: bool = False  # its names stand alone: with a group before them, `group/name`, they are another program's
    positive: tuple[str, ...] = ()  # losses that never go below 0 if the loss is the usual one
    refuted: Callable[[Logged], str] = lambda log: ""  # why else it cannot be the usual one
    switch: str = ""  # a factor of the adversarial loss, 0 until the discriminator starts

    def wrote(self, log: Logged) -> bool:
        """Whether its marks are in a log."""
        return all(mark in log.table.series if self.bare else log.name(mark) for mark in self.marks)

    def doubt(self, log: Logged) -> None:
        """Take back which loss it is where the numbers refute it, and say if the discriminator has not started."""
        below = [name for name in self.positive if any(value < 0 for _, value in log.logged(name))]
        assumed = any(TAKEN in one for one in log.facts["remarks"])
        why = self.refuted(log) if assumed else ""
        if below:
            why = REFUTED.format(" and ".join(below), log.facts.get("loss"))
        if why and log.facts.get("loss") == self.facts.get("loss"):
            log.facts["remarks"] = [one for one in log.facts["remarks"] if TAKEN not in one]
            log.remark(why)
            log.facts["loss"] = None
        switch = log.logged(self.switch) if self.switch else []
        if switch and not any(value > 0 for _, value in switch):
            log.remark(WAITS.format(self.switch))
