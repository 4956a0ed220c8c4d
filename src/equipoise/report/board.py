"""TensorBoard events, written at once and without a thread: a full disk is an error here, and no lost thread."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any


class Board:
    """An event file of a run. Going on at `samples` hides what earlier files say of later moments."""

    def __init__(self, run: Path, samples: int = 0) -> None:
        from tensorboardX.event_file_writer import EventsWriter  # takes a moment to import
        from tensorboardX.proto.event_pb2 import SessionLog

        # The name holds the second, and a run may be resumed within it.
        self.events = EventsWriter(str(run / "events"), f".{samples}")
        if samples:
            self._write(samples // 1000 + 1, session_log=SessionLog(status=SessionLog.START))

    def scalar(self, name: str, value: float, step: int) -> None:
        """Add a number."""
        from tensorboardX.summary import scalar

        self._write(step, summary=scalar(name, value))

    def image(self, name: str, picture: Any, step: int) -> None:
        """Add a picture, uint8 [H, W, C]."""
        from tensorboardX.summary import image

        self._write(step, summary=image(name, picture, dataformats="HWC"))

    def flush(self) -> None:
        """Hand everything to the system."""
        self.events.flush()

    def close(self) -> None:
        """Close the file."""
        self.events.close()

    def _write(self, step: int, **content: Any) -> None:
        from tensorboardX.proto.event_pb2 import Event

        self.events.write_event(Event(wall_time=time.time(), step=step, **content))
