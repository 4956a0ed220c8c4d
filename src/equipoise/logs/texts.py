"""Texts of logs as rows: encodings, JSON, CSV."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from equipoise.errors import InputError

SNIFFED = 4096  # bytes by which a format is told
DEEPEST = 20  # objects within objects; what lies below is left out
DELIMITERS = ",;\t"
PACKED = (b"\x1f\x8b", b"PK\x03\x04", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd", b"7z\xbc\xaf")  # how they begin
MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}  # at the beginning of a text that is no UTF-8


def are_objects(text: str) -> bool:
    """Whether a text begins as lines of JSON, or as a list of objects."""
    return text.replace("[", "", 1).lstrip().startswith("{")


def json_lines(path: Path) -> Iterable[dict[str, Any]]:
    """The objects of a JSON-lines file, or of one list."""
    return objects(text_of(path))


def objects(text: str) -> Iterable[dict[str, Any]]:
    """The objects of lines of JSON, or of one list; lines that are none, as one that was cut off, are left out."""
    for line in [text] if text.startswith("[") else text.splitlines():
        try:
            found = json.loads(line, parse_int=_whole)
        except (ValueError, RecursionError):
            continue
        yield from (one for one in (found if isinstance(found, list) else [found]) if isinstance(one, dict))


def object_rows(text: str) -> Iterator[Mapping[str, Any]]:
    """The objects as rows. One of lists alone, as Keras' history has them, is a row for each of their places."""
    for one in objects(text):
        lists = [value for value in one.values() if isinstance(value, list)]
        if not lists or len(lists) < len(one):
            yield flat(one)
            continue
        for place in range(max(map(len, lists))):
            yield flat({name: value[place] for name, value in one.items() if place < len(value)})


def _whole(digits: str) -> float:
    """A whole number of JSON; of more digits than floats go to, an infinite one."""
    return int(digits) if len(digits) < 300 else float(digits)


def csv_rows(text: str) -> Iterable[Mapping[str, Any]]:
    """The rows of a CSV file, numbers as such; between columns stands what its head has most of: comma, ; or tab."""
    lines = text.splitlines()
    mark = max(DELIMITERS, key=lines[0].count) if lines else ","
    for row in csv.DictReader(lines, delimiter=mark):
        yield {name.strip(): number(value, mark == ";") for name, value in row.items() if name and value}


def text_of(path: Path, most: int = -1) -> str:
    """A file's text, or its first bytes: UTF-8, or UTF-16 where it begins as such; what is neither is replaced."""
    try:
        with path.open("rb") as file:
            raw = file.read(most)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror})") from None
    if raw.startswith(PACKED):
        raise InputError(f"{path} is packed, as archives and checkpoints are; unpack it, and name the log in it")
    if b"\0" in raw[:SNIFFED].rstrip(b"\0") and raw[:2] not in MARKS:
        raise InputError(f"{path} is no text; name an event file of TensorBoard, a table, or a text log")
    return raw.decode(MARKS.get(raw[:2], "utf-8-sig"), errors="replace")


def flat(row: Mapping[str, Any], before: str = "", depth: int = 0) -> dict[str, Any]:
    """An object with objects in it as one: `{"loss": {"d": 1}}` has `loss/d`. Numbers in quotes are numbers."""
    found: dict[str, Any] = {}
    for name, value in row.items():
        if not isinstance(value, Mapping):
            found[before + name] = number(value)
        elif depth < DEEPEST:
            found |= flat(value, f"{before}{name}/", depth + 1)
    return found


def number(text: Any, comma: bool = False) -> Any:
    """A text as a number, where it is one; `comma`: that of decimals."""
    if not isinstance(text, str):
        return text
    try:
        return float(text.replace(",", ".") if comma else text)
    except ValueError:
        return text
