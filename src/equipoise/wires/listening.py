"""Everything that listens while the loop runs, put in place before it and taken away when it ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from equipoise.wires.calls import Calls
from equipoise.wires.origins import Origins
from equipoise.wires.record import Record
from equipoise.wires.scaling import Scalers
from equipoise.wires.stepping import Steps


@contextmanager
def listening(record: Record) -> Iterator[None]:
    """Watch everything within; afterwards nothing is left on networks, optimisers or PyTorch."""
    mode = Origins(record)
    scalers = Scalers(record, mode)
    with ExitStack() as stack:
        stack.enter_context(Calls(record, mode).listening())
        stack.enter_context(Steps(record, mode, scalers).listening())
        stack.enter_context(scalers.listening())
        with mode:
            yield
