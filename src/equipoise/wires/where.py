"""Who called: the first frame of the stack that belongs to the user and not to a library."""

from __future__ import annotations

import os
import sys
from types import FrameType
from typing import NamedTuple

LIBRARIES = frozenset(
    ["torch", "lightning", "pytorch_lightning", "lightning_fabric", "accelerate", "ignite", "contextlib", "functools"]
)
WRAPPERS = frozenset(["decorate_context", "wrapper", "inner"])
OWN = __name__.rpartition(".")[0]


class Place(NamedTuple):
    """A line of the user's, and the library function called there ("" where nothing lies between)."""

    file: str
    line: int
    called: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


NOWHERE = Place("unknown place", 0)


def caller() -> Place:
    """The line of the user's that is being worked on."""
    frame: FrameType | None = sys._getframe(1)
    called = ""
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        own = module.startswith(OWN)
        if not own and module.partition(".")[0] not in LIBRARIES:
            return Place(shortened(frame.f_code.co_filename), frame.f_lineno, called)
        name = frame.f_code.co_name
        called = called if own or name.startswith("_") or name in WRAPPERS else name
        frame = frame.f_back
    return NOWHERE


def given(name: str) -> object:
    """What the library function that the user called, or one within, was given under a name."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        if not module.startswith(OWN) and (module.partition(".")[0] not in LIBRARIES or name in frame.f_locals):
            return frame.f_locals.get(name) if module.partition(".")[0] in LIBRARIES else None
        frame = frame.f_back
    return None


def shortened(path: str) -> str:
    """A path from the working directory where it lies below it."""
    relative = os.path.relpath(path) if os.path.isabs(path) else path
    return path if relative.startswith(os.pardir) else relative
