"""What the host does once per tick: look at the readings, into skipped updates, and at samples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from equipoise import faults, images, looks
from equipoise.balancer import Decision, Move
from equipoise.config import Config
from equipoise.data import Batches, Dataset
from equipoise.ema import recalibrate
from equipoise.errors import TrainingFailed
from equipoise.networks.protocols import num_classes
from equipoise.readings import Reading, reading
from equipoise.registry import find
from equipoise.report import Tick
from equipoise.report.journal import Journal
from equipoise.samples import Grid
from equipoise.schedules import Dial
from equipoise.signals import derive
from equipoise.step import Step
from equipoise.turn import ROLES, score

PATIENCE = 20  # updates skipped in a row before a run is given up


class Watcher(Protocol):
    """Whoever follows a run: the progress line, or anything with these two methods."""

    def tick(self, tick: Tick) -> None:
        """See a tick."""

    def say(self, text: str) -> None:
        """Hear a sentence."""


def tick_length(samples: int, config: Config) -> int:
    """Images to the next tick: dense in the first hundred updates, where runs are damaged, then up to `tick_kimg`.

    A run that is watched is looked at a hundred times at least, unless it is shorter than a thousand updates.
    """
    growing = samples // 10 if config.balance == "off" else min(samples // 10, config.total // 100)
    return int(min(config.tick_kimg * 1000, max(10 * config.recipe.batch, growing)))


def snapshot_length(config: Config) -> int:
    """Images to the next sample grid and checkpoint."""
    return int(1000 * (config.snapshot_kimg or min(max(config.total / 10_000, 1.0), 200.0)))


def look(
    step: Step, config: Config, dials: dict[str, Dial], batches: Batches,
    number: int, samples: int, seconds: float, speed: float,
) -> Tick:  # fmt: skip
    """Read the window that ends here: the one place where the host waits for the device."""
    readings = step.meter.read()
    weights: dict[str, float] = {}
    told: dict[str, float] = {}
    if config.balance != "off":
        readings |= judged(step, batches, config.recipe.batch // config.recipe.accumulate)
        weights = {role: float(_norm(step.networks[role])) for role in ROLES}
        told = looks.probed(step, config, batches, number, samples)
        told |= {"augmentation": dials["ada.p"].value} if "ada.p" in dials else {}
    ideal = find("loss", config.recipe.loss).facts.get("ideal", (0.0, None))
    values = {name: dial.value for name, dial in dials.items()}
    balance = merged(derive(readings, ideal, weights), told)
    return Tick(number, samples, config.total, seconds, speed, readings, balance, values)


def merged(derived: dict[str, float], told: dict[str, float]) -> dict[str, float]:
    """Signals from readings and from probes; of the shares that were not finite the larger."""
    lost = [signals["nonfinite"] for signals in (derived, told) if "nonfinite" in signals]
    return derived | told | ({"nonfinite": max(lost)} if lost else {})


@torch.no_grad()
def judged(step: Step, batches: Batches, size: int) -> dict[str, Reading]:
    """What D says of held-out images and, in the same mode, of as many training images; no buffer is touched.

    At most `size` at once, since that many are known to fit.
    """
    found, discriminator = {}, step.networks["D"]
    for name, draw in (("heldout", batches.heldout), ("training", batches.training)):
        shown, labels = draw(looks.size_of(batches.dataset.shape, step.device), batches.samples, seed=batches.position)
        known = [None] * len(shown) if labels is None else list(labels.split(size))
        shown = shown[: len(shown) - len(shown) % step.pack]
        parts = zip(shown.split(size), known, strict=False)
        with looks.evaluating(discriminator):
            values = torch.cat([score(discriminator(step.show(x), y)).double() for x, y in parts])
        finite = values[torch.isfinite(values)]
        found[f"D.{name}_score"] = reading(
            len(finite), float(finite.sum()), float(finite.square().sum()), len(values) - len(finite)
        )
    return found


def examine(
    step: Step, tick: Tick, skipped: int, journal: Journal | None, watcher: Watcher | None, undone: bool = False
) -> int:
    """Look into skipped updates: name the fault once, and give up when they go on. Returns how many came in a row.

    Those that a way back has undone are not counted.
    """
    lost = {role: tick.readings[f"{role}.skipped"] for role in ROLES if f"{role}.skipped" in tick.readings}
    if not any(reading.mean > 0 for reading in lost.values()):
        return 0
    role = max(lost, key=lambda role: lost[role].mean)
    where = faults.locate(step, role) if bool(step.alarm[role]) else "unknown, since the run was stopped in between"
    count = round(lost[role].mean * lost[role].n)
    text = f"{count} of {lost[role].n} updates of {role} were skipped, since a value was not finite; the first: {where}"
    if journal is not None:
        journal.event("skipped", tick.samples, player=role, updates=count, first=where)
    if watcher is not None:
        watcher.say(text)
    for alarm in step.alarm.values():
        alarm.zero_()
    skipped = skipped + count if lost[role].mean == 1 and not undone else 0
    if skipped >= PATIENCE:
        raise TrainingFailed(
            f"{text}, and the last {skipped} updates were all lost, so the run has ended with its last good state; "
            "try a lower learning rate (lr), a stronger penalty (r1.gamma), or clip (D.clip, G.clip)"
        )
    return skipped


def note(moves: Sequence[Move], samples: int, journal: Journal | None, watcher: Watcher | None) -> None:
    """Write down what was turned, or would have been, with the readings that caused it."""
    if journal is not None:
        journal.moves(moves, samples)
    for move in moves:
        if watcher is not None and move.said:
            watcher.say(move.text())


def conclude(decision: Decision, samples: int, journal: Journal | None, watcher: Watcher | None) -> None:
    """Write down the verdict on a run at its end, and say what was found."""
    if not decision.judged:
        return
    if journal is not None:
        journal.event("verdict", samples, **decision.verdict.as_dict())
    if watcher is not None:
        for one in decision.verdict.findings:
            watcher.say(one.text())


def snapshot(step: Step, grid: Grid, dataset: Dataset, out: Path, journal: Journal, samples: int) -> None:
    """Write the sample grid of this moment."""
    recalibrate(step.ema.average, num_classes(step.ema.average))
    picture = grid.fakes(step.ema.average, dataset)
    (out / "samples").mkdir(exist_ok=True)
    images.save_png(out / "samples" / f"fakes-{samples // 1000:06d}.png", picture)
    journal.image("Samples/fakes", picture, samples)
    if step.powers is not None:
        step.powers.save(out / "ema", samples)


def _norm(network: nn.Module) -> Tensor:
    norms = [torch.linalg.vector_norm(p.detach()) for p in network.parameters() if p.requires_grad]
    total: Tensor = torch.linalg.vector_norm(torch.stack(norms))
    return total
