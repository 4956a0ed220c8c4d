"""A fact about a loop: what holds, what is broken, what is worth a note, what could not be told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from equipoise.wires.players import Weight, several
from equipoise.wires.where import Place

State = Literal["broken", "note", "untold", "holds"]


@dataclass(frozen=True)
class Fact:
    """One line of the report; `side` is the player it is about, "" where it is about all."""

    name: str
    side: str
    state: State
    text: str
    places: tuple[Place, ...] = ()  # lines of the loop that it names

    def __str__(self) -> str:
        return f"{self.state:6}  {self.name:11}  {self.side:3}  {self.text}"


def named(weights: set[Weight] | list[Weight]) -> str:
    """A few weights by name, in the networks' order."""
    return several(sorted((weight.name for weight in weights), key=_natural))


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in name.split(".")]
