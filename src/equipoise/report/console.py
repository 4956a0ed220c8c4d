"""The progress line of a run in the terminal."""

from __future__ import annotations

import math
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from equipoise.report import Tick


class ProgressLine:
    """kimg, images per second, time left, losses and the main balance readings on one line; plain lines when piped."""

    def __init__(self, console: Console | None = None, quiet: bool = False) -> None:
        self.console = console or Console(stderr=True)
        self.quiet = quiet
        self.live = self.console.is_terminal and not quiet
        self.progress: Progress | None = None
        self.task: TaskID | None = None
        self._said = -1.0

    def say(self, text: str) -> None:
        """Print a line above the progress."""
        if not self.quiet:
            (self.progress.console if self.progress else self.console).print(
                text, highlight=False, markup=False, soft_wrap=True
            )

    def tick(self, tick: Tick) -> None:
        """Show a tick."""
        if self.live:
            self._draw(tick)
        elif not self.quiet and (tick.samples / tick.total - self._said >= 0.05 or tick.samples >= tick.total):
            self._said = tick.samples / tick.total
            left = (tick.total - tick.samples) / max(tick.images_per_second, 1e-9)
            self.say(f"{tick.samples / 1000:8.1f}/{tick.total / 1000:.1f} kimg  {_clock(left)} left  {summary(tick)}")

    def close(self) -> None:
        """Leave the line as it stands."""
        if self.progress:
            self.progress.stop()
            self.progress = None

    def _draw(self, tick: Tick) -> None:
        if self.progress is None:
            columns: tuple[Any, ...] = (
                BarColumn(20),
                TextColumn("{task.description}"),
                TimeRemainingColumn(compact=True),
            )
            self.progress = Progress(*columns, console=self.console)
            self.task = self.progress.add_task("", total=tick.total)
            self.progress.start()
        assert self.task is not None
        text = f"{tick.samples / 1000:.1f}/{tick.total / 1000:.1f} kimg  {summary(tick)}"
        self.progress.update(self.task, completed=tick.samples, description=text)


class StageLine:
    """What is being done, and how far it is: a bar in a terminal, a line a stage when piped."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        columns = (BarColumn(20), TextColumn("{task.description}"), TimeRemainingColumn(compact=True))
        self.progress = Progress(*columns, console=self.console, transient=True, disable=not self.console.is_terminal)
        self.task = self.progress.add_task("")
        self._said = ""

    def __enter__(self) -> StageLine:
        self.progress.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self.progress.stop()

    def stage(self, name: str, done: int, total: int) -> None:
        """Show the stage `name` as `done` of `total`."""
        if name != self._said and not self.console.is_terminal:
            self.console.print(f"{name} ...", highlight=False, markup=False)
        if name != self._said:
            self.progress.reset(self.task)
        self._said = name
        self.progress.update(self.task, completed=done, total=total, description=name)


def summary(tick: Tick) -> str:
    """Speed, losses and balance in a few words."""
    words = [f"{tick.images_per_second:.0f} img/s"]
    for name, label in (("D.loss", "loss D"), ("G.loss", "G")):
        if name in tick.readings:
            words.append(f"{label} {tick.readings[name].mean:.3f}")
    for name, label in (("win_rate", "win rate"), ("gap", "gap"), ("memory", "memorised")):
        if name in tick.balance and math.isfinite(tick.balance[name]):
            words.append(f"{label} {tick.balance[name]:.2f}")
    return "  ".join(words)


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
