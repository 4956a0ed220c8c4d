"""The calls of gradient scalers, and attributes that are replaced for a while."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from equipoise.wires.events import Scaling
from equipoise.wires.origins import Origins
from equipoise.wires.record import Record
from equipoise.wires.tensors import tensors_in
from equipoise.wires.where import caller


class Scalers:
    """Methods of GradScaler that note each call before they do their work."""

    def __init__(self, record: Record, mode: Origins) -> None:
        self.record, self.mode = record, mode
        self.stepping: object | None = None  # the scaler one of whose methods is at work

    @contextmanager
    def listening(self) -> Iterator[None]:
        with ExitStack() as stack:
            for what in ("scale", "unscale_", "step", "update"):
                noted = functools.partial(self._noted, what)
                stack.enter_context(replaced(torch.amp.GradScaler, what, noted))
            yield

    def _noted(self, what: str, own: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(own)
        def call(scaler: Any, *args: Any, **kwargs: Any) -> Any:
            if not scaler.is_enabled() or self.stepping is not None:
                return own(scaler, *args, **kwargs)
            first = args[0] if args else kwargs.get("optimizer")
            optimiser = getattr(first, "optimizer", first) if what in ("unscale_", "step") else None
            event = self.record.add(Scaling(place=caller(), scaler=scaler, what=what, optimiser=optimiser))
            if what == "scale":
                result = own(scaler, *args, **kwargs)
                self.mode.mark(list(tensors_in(result)), event)
                return result
            self.stepping = scaler
            try:
                with self.mode.quiet():
                    return own(scaler, *args, **kwargs)
            finally:
                self.stepping = None

        return call


@contextmanager
def replaced(owner: Any, name: str, change: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Iterator[None]:
    """An attribute is another one for a while."""
    there = name in vars(owner)
    own = getattr(owner, name)
    setattr(owner, name, change(own))
    try:
        yield
    finally:
        if there:
            setattr(owner, name, own)
        else:
            delattr(owner, name)
