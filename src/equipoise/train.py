"""The training loop: one readable function over one step; what it does once per tick is in `ticks`."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from equipoise import build, checkpoint, distributed, images, ticks
from equipoise.config import Config
from equipoise.data import Batches, Dataset, Holdout
from equipoise.errors import InputError, TrainingFailed
from equipoise.files import atomic_write
from equipoise.report.journal import Journal
from equipoise.samples import Grid
from equipoise.schedules import Dial
from equipoise.step import Step
from equipoise.tempo import Tempo

COUNTERS = ("samples", "tick", "next_tick", "next_snapshot", "skipped", "seconds", "owed", "position")  # of the loop


@dataclass
class Outcome:
    """What `train` hands back."""

    step: Step
    samples: int
    interrupted: bool


def train(
    config: Config,
    dataset: Dataset,
    out: Path | None = None,  # run folder, made already; None keeps no files
    *,
    networks: tuple[nn.Module, nn.Module] | None = None,  # generator and discriminator; None builds the recipe's
    resume: Path | None = None,  # a checkpoint to go on from
    watcher: ticks.Watcher | None = None,
    stop: Callable[[], bool] = lambda: False,  # asked after every update
) -> Outcome:
    """Train to the configured length, or until `stop`; stopped and resumed, a run ends in the same bits."""
    # --------------------------------------------------------------------------------------------- parts
    step, dials, batches = start(config, dataset, networks)
    tempo, total, batch = Tempo(config.recipe.D.steps), config.total, config.recipe.batch
    samples, number, next_tick, next_snapshot, skipped, seconds = 0, 0, 0, 0, 0, 0.0
    if resume is not None:
        state = checkpoint.load(resume, step, counters=COUNTERS)
        samples, number, next_tick, next_snapshot, skipped, seconds, tempo.owed, batches.position = (
            state[key] for key in COUNTERS
        )
        for name, base in state["dials"].items():
            dials[name].set(base)
    grid = Grid(config.shape, config.classes, step.latent_dim)
    if out is not None and resume is None:
        describe(out, config, dataset, grid)
    journal = Journal(out, samples) if out is not None else None
    compares = step.objective.reads("G", "real_logits")
    began, last_time, last_samples, interrupted = time.monotonic() - seconds, time.monotonic(), samples, False

    def counters() -> dict[str, object]:
        return {"tick": number, "next_tick": next_tick, "next_snapshot": next_snapshot, "skipped": skipped,
                "seconds": seconds, "owed": tempo.owed, "position": batches.position,
                "dials": {name: dial.base for name, dial in dials.items()}}  # fmt: skip

    try:
        while samples < total and not interrupted:
            # ------------------------------------------------------------------------------------- the updates
            for dial in dials.values():
                dial.turn(samples, total)
            drawn = None
            for _ in range(tempo.moves()):
                drawn = batches.next()
                step.move("D", *drawn, step.due("D"))
                step.moves["D"] += 1
                samples += batch * distributed.world_size()
            if compares or drawn is None:
                drawn = batches.next()
            step.move("G", *drawn, step.due("G"))
            step.moves["G"] += 1

            # ------------------------------------------------------------------------------------- once per tick
            interrupted = samples < total and stop()
            last = samples >= total
            if samples >= next_tick or last:
                now = time.monotonic()
                speed, seconds = (samples - last_samples) / max(now - last_time, 1e-9), now - began
                last_time, last_samples = now, samples
                tick = ticks.look(step, config, dials, batches, number, samples, seconds, speed)
                number, next_tick = number + 1, samples + ticks.tick_length(samples, config)
                if journal is not None:
                    journal.tick(tick)
                if watcher is not None:
                    watcher.tick(tick)
                skipped = ticks.examine(step, tick, skipped, journal, watcher)
            pictured = samples >= next_snapshot or last
            if pictured:
                next_snapshot = samples + ticks.snapshot_length(config)
            if out is not None and journal is not None and (pictured or interrupted):
                if pictured:
                    ticks.snapshot(step, grid, dataset, out, journal, samples)
                seconds = time.monotonic() - began
                checkpoint.save(out / "checkpoints", step, samples, counters(), journal.sync)
    except TrainingFailed as failure:
        if out is not None and journal is not None and not isinstance(failure, checkpoint.Unwritable):
            journal.event("failed", samples, reason=str(failure))
            checkpoint.save(out / "checkpoints", step, samples, counters(), journal.sync)
        raise
    except OSError as error:
        raise TrainingFailed(
            f"a file could not be written or read ({error}); the last checkpoint is untouched: make room and resume"
        ) from None
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        raise_if_memory(error, config)
        raise
    finally:
        batches.close()
        if journal is not None:
            journal.close()
    return Outcome(step, samples, interrupted)


# ------------------------------------------------------------------------------------------------ before the loop


def start(
    config: Config, dataset: Dataset, networks: tuple[nn.Module, nn.Module] | None
) -> tuple[Step, dict[str, Dial], Batches]:
    """Seed everything and make the parts of a run."""
    device = torch.device(config.device)
    if config.deterministic:
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False
    elif device.type == "cuda":
        torch.backends.cudnn.benchmark = True
    build.seed_everything(config.seed)
    pair = networks or build.players(config.recipe, config.shape, config.classes)
    step = build.assemble(config.recipe, *pair, device, sensing=config.balance != "off")
    distributed.broadcast_([*step.networks["G"].state_dict().values(), *step.networks["D"].state_dict().values()])
    build.seed_everything(config.seed + distributed.rank())
    holdout = Holdout(dataset, config.seed)
    batches = Batches(
        dataset if config.classes or dataset.labels is None else dataclasses.replace(dataset, labels=None, classes=()),
        holdout,
        batch=config.recipe.batch,
        seed=config.seed,
        device=device,
        mirror=bool(config.recipe.mirror),
        workers=config.workers,
        rank=distributed.rank(),
        world=distributed.world_size(),
    )
    return step, build.dials(step, config.recipe), batches


def describe(out: Path, config: Config, dataset: Dataset, grid: Grid) -> None:
    """Write what is about to be trained on what: before the first step, and once it is clear that it can be built."""
    config.write(out)
    atomic_write(out / "data.json", json.dumps(dataset.report.as_dict(), indent=1) + "\n")
    images.save_png(out / "reals.png", grid.reals(dataset, config.seed))


def measure_speed(
    config: Config,
    dataset: Dataset,
    networks: tuple[nn.Module, nn.Module] | None = None,
    seconds: float = 2.0,
) -> float:
    """Real images per second of this configuration, measured on a copy that is thrown away."""
    import copy

    step, _, batches = start(config, dataset, copy.deepcopy(networks) if networks else None)
    tempo, compares = Tempo(config.recipe.D.steps), step.objective.reads("G", "real_logits")
    counts: list[tuple[float, int]] = []
    seen = 0
    try:
        while len(counts) < 4 or (counts[-1][0] - counts[1][0] < seconds and len(counts) < 10_000):
            drawn = None
            for _ in range(tempo.moves()):
                drawn = batches.next()
                step.move("D", *drawn, step.due("D"))
                step.moves["D"] += 1
                seen += config.recipe.batch
            drawn = batches.next() if compares or drawn is None else drawn
            step.move("G", *drawn, step.due("G"))
            if len(counts) % 16 == 0:
                float(step.optimisers["G"].norm)  # wait for the device
            counts.append((time.monotonic(), seen))
        float(step.optimisers["G"].norm)
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        raise_if_memory(error, config)
        raise
    finally:
        batches.close()
    (first, before), (_, after) = counts[0], counts[-1]
    return (after - before) / max(time.monotonic() - first, 1e-9)


def raise_if_memory(error: BaseException, config: Config) -> None:
    """Turn running out of memory into a sentence that says what to lower."""
    text = str(error)
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "allocate memory" in text or "out of memory" in text:
        size = f" at {config.shape[-1]}x{config.shape[-1]}" if len(config.shape) > 1 else ""
        raise InputError(
            f"a batch of {config.recipe.batch} with network.width={config.recipe.network.width}{size} needs "
            "more memory than "
            f"{config.device} has; lower --batch, set accumulate=2 or more, or lower network.width or --resolution"
        ) from None
