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
        return aligned([self])[0]


def aligned(facts: list[Fact]) -> list[str]:
    """A line for each fact, with the columns of all one below the other however long a player's name is."""
    name, side = (max([least, *map(len, words)]) for least, words in (
        (11, [one.name for one in facts]), (3, [one.side for one in facts])))  # fmt: skip
    return [f"{one.state:6}  {one.name:{name}}  {one.side:{side}}  {one.text}" for one in facts]


def named(weights: set[Weight] | list[Weight]) -> str:
    """A few weights by name, in the networks' order."""
    return several(sorted((weight.name for weight in weights), key=_natural))


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in name.split(".")]
