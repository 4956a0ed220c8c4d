"""The study that a command line asks for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from equipoise.errors import InputError
from equipoise.paths import parse_assignment
from equipoise.studies.study import Study, Task, read, slug, varied


def from_options(
    source: str | None,
    study: str | None,
    vary: Sequence[str],
    settings: Sequence[str],
    seeds: int | None,
    kimg: float | None,
    budget: str | None,
    recipe: str | None,
    resolution: int | None,
    labels: str | None,
    device: str = "auto",
    against: str | None = None,
) -> Study:
    """A file, whose seeds and length may change, or a source and --vary."""
    if kimg is not None and budget is not None:
        raise InputError("--kimg and --budget both fix the length of the runs; give one of them")
    if study is not None:
        if source or vary or settings or recipe or resolution or labels or against:
            raise InputError("--study says what is compared; beside it give only --seeds, --kimg, --budget, --out")
        found = read(study)
        given: dict[str, Any] = {"seeds": seeds, "budget": budget, "device": None if device == "auto" else device}
        if kimg is not None or budget is not None:  # a length of the command line takes the place of the file's
            given["tasks"] = tuple(replace(task, kimg=kimg) for task in found.tasks)
        return replace(found, **{name: value for name, value in given.items() if value is not None})
    if not source or not vary:
        raise InputError("there is nothing to compare; give a source and --vary path=value,value, or --study")
    base = dict(parse_assignment(text) for text in settings)
    task = Task(source, source, recipe, kimg, base, resolution, labels, against)
    values = parse_vary(vary)
    title = f"{slug(source)} by {', '.join(values)}"
    return Study(title, (task,), varied(values), 5 if seeds is None else seeds, budget, device)


def parse_vary(texts: Sequence[str]) -> dict[str, list[Any]]:
    """`path=a,b,c` of the command line, each value as `--set` has it; commas within brackets do not part."""
    found: dict[str, list[Any]] = {}
    for text in texts:
        path, equals, values = text.partition("=")
        if not equals or not values.strip():
            raise InputError(f"--vary {text}: write path=value,value, for example --vary r1.gamma=0,0.1,1")
        parts = re.split(r",(?![^\[]*\])", values)
        found[path.strip()] = [parse_assignment(f"{path}={part}")[1] for part in parts]
    return found
