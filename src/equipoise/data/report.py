"""The data report: what came, what was made of it, and what was left out; plain data, and lines to read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

SHOWN = 10  # of a long list, how many are named in the text; `as_dict` has them all


@dataclass(frozen=True)
class Report:
    """What a source held; every field is plain data.

    `exact_duplicates` counts samples that repeat an earlier one pixel for pixel, `near_duplicates` those that repeat
    an earlier one up to small changes; both stay in the data, on one side of the held-out split.
    """

    source: str
    count: int = 0  # usable samples
    shape: tuple[int, ...] = ()  # of one sample
    sizes: dict[str, Any] = field(default_factory=dict)  # of the files: smallest, largest [w, h], shorter_median, kinds
    modes: dict[str, int] = field(default_factory=dict)  # Pillow's mode or the array's dtype: how many
    classes: dict[str, int] = field(default_factory=dict)  # class name: how many
    exact_duplicates: int = 0
    near_duplicates: int = 0
    duplicates: tuple[tuple[str, ...], ...] = ()  # the first groups, by name
    unreadable: dict[str, str] = field(default_factory=dict)  # file: why
    converted: dict[str, int] = field(default_factory=dict)  # what was done: to how many
    skipped: dict[str, int] = field(default_factory=dict)  # why a file is no image: how many
    mirror: str = ""  # whether flips keep the distribution, with the number
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON data."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Report:
        """The report that `as_dict` wrote; unknown keys are left out."""
        known = {f.name: data[f.name] for f in fields(cls) if f.name in data}
        for name in ("shape", "notes"):
            known[name] = tuple(known.get(name, ()))
        known["duplicates"] = tuple(tuple(group) for group in known.get("duplicates", ()))
        return cls(**known)

    def text(self) -> str:
        """The report to read, one fact a line."""
        kind = "images" if len(self.shape) == 3 else "vectors"
        lines = [f"{self.source}: {self.count:,} {kind} of {'x'.join(map(str, self.shape))}"]
        if self.classes:
            lines.append(f"classes ({len(self.classes)}): {_counts(self.classes)}")
        if self.sizes:
            lines.append(f"sizes: {_sizes(self.sizes)}")
        if self.modes:
            lines.append(f"modes: {_counts(self.modes)}")
        if self.converted:
            lines.append(f"converted: {_counts(self.converted)}")
        lines.append(f"duplicates: {self.exact_duplicates:,} exact, {self.near_duplicates:,} near")
        lines += [f"  alike: {_some(group)}" for group in self.duplicates[:SHOWN]]
        if self.unreadable:
            named = [f"{name} ({why})" for name, why in self.unreadable.items()]
            lines.append(f"unreadable, left out ({len(named):,}): {_some(named)}")
        if self.skipped:
            lines.append(f"skipped: {_counts(self.skipped)}")
        if self.mirror:
            lines.append(f"mirroring: {self.mirror}")
        text = "\n".join([*lines, *(f"note: {note}" for note in self.notes)])
        return text.encode("utf-8", "backslashreplace").decode()  # file names need not be valid text


def _counts(counts: Mapping[str, int]) -> str:
    return _some([f"{name} {count:,}" for name, count in counts.items()])


def _some(items: list[str] | tuple[str, ...]) -> str:
    more = len(items) - SHOWN
    return ", ".join(items[:SHOWN]) + (f", and {more:,} more" if more > 0 else "")


def _sizes(sizes: Mapping[str, Any]) -> str:
    smallest, largest = ("x".join(map(str, sizes[key])) for key in ("smallest", "largest"))
    if sizes["kinds"] == 1:
        return f"all {smallest}"
    return f"{sizes['kinds']:,} kinds, {smallest} to {largest}, median of the shorter sides {sizes['shorter_median']:g}"
