"""The progress of a study in the terminal: one line under what is said of each run; plain lines when piped."""

from __future__ import annotations

from typing import NamedTuple

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn


class Standing(NamedTuple):
    """Where a study stands."""

    done: int  # cells with a result, failures included
    total: int
    failed: int  # of those that ended in this call
    left: float | None  # seconds, from the cells that ended in this call; None before the first

    def __str__(self) -> str:
        left = "" if self.left is None else f", {clock(self.left)} left"
        return f"{self.done}/{self.total} runs, {self.failed} failed{left}"


class ProgressLine:
    """Sentences, and below them how many runs are done, have failed, and how long the rest will take."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self.progress: Progress | None = None
        self.task: TaskID | None = None

    def say(self, text: str) -> None:
        """Print a line above the progress."""
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def stand(self, now: Standing) -> None:
        """Show where the study stands."""
        if not self.console.is_terminal:
            self.say(str(now))
            return
        if self.progress is None:
            self.progress = Progress(BarColumn(20), TextColumn("{task.description}"), console=self.console)
            self.task = self.progress.add_task("", total=now.total)
            self.progress.start()
        assert self.task is not None
        self.progress.update(self.task, completed=now.done, description=str(now))

    def close(self) -> None:
        """Leave the line as it stands."""
        if self.progress is not None:
            self.progress.stop()
            self.progress = None


def clock(seconds: float) -> str:
    """Seconds in words: 45 s, 12 min, 3.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
