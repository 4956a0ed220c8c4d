"""The training loop: one readable function over one step; what it does once per tick is in `ticks`."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from equipoise import build, checkpoint, distributed, images, looks, step_state, ticks
from equipoise.balancer import Move
from equipoise.best import Best
from equipoise.config import Config
from equipoise.data import Batches, Dataset, Holdout
from equipoise.diagnosis import History
from equipoise.errors import EquipoiseError, InputError, TrainingFailed
from equipoise.files import atomic_write
from equipoise.plant import Plant, steered
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
    history: History  # signals over time, for `equipoise.diagnosis.diagnose`
    moves: list[Move]  # what the controllers turned, or would have


def both_move(step: Step, tempo: Tempo, batches: Batches) -> int:
    """The discriminator's moves that are due and one of the generator; returns how many times D moved."""
    moves = tempo.moves()
    step.round(moves, batches.next)
    return moves


def train(
    config: Config,
    dataset: Dataset,
    out: Path | None = None,  # run folder, made already; None keeps no files
    *,
    networks: tuple[nn.Module, nn.Module] | None = None,  # generator and discriminator; None builds the recipe's
    resume: Path | None = None,  # a checkpoint to go on from
    watcher: ticks.Watcher | None = None,
    stop: Callable[[], bool] = lambda: False,  # asked after every update
    tempo: Tempo | None = None,  # who moves next; None: as often as the recipe says
) -> Outcome:
    """Train to the configured length, or until `stop`; stopped and resumed, a run ends in the same bits."""
    with explained(config):
        return loop(config, dataset, out, networks, resume, watcher, stop, tempo or Tempo(config.recipe.D.steps))


def loop(
    config: Config,
    dataset: Dataset,
    out: Path | None,
    networks: tuple[nn.Module, nn.Module] | None,
    resume: Path | None,
    watcher: ticks.Watcher | None,
    stop: Callable[[], bool],
    tempo: Tempo,
) -> Outcome:
    """The training loop, read from top to bottom; the arguments are those of `train`."""
    # --------------------------------------------------------------------------------------------- parts
    step, dials, batches = start(config, dataset, networks)
    total, batch = config.total, config.recipe.batch
    plant = Plant(config, step, dials, tempo, batches)
    balancer = steered(plant)
    best = Best(config, batches)
    ear = None if config.balance == "watch" else watcher  # who hears of moves: those that were not made are only logged
    samples, number, next_tick, next_snapshot, skipped, seconds = 0, 0, 0, 0, 0, 0.0
    if resume is not None:
        state = checkpoint.load(resume, step, counters=COUNTERS)
        samples, number, next_tick, next_snapshot, skipped, seconds, tempo.owed, batches.position = (
            state[key] for key in COUNTERS
        )
        plant.samples = samples
        plant.restore({"ratio": tempo.ratio, **state})
        balancer.remember(step_state.joined(state.get("steering", {}), checkpoint.snapshots(resume)))
        best.remember(state.get("best", {}))
        if best.samples == samples and out is not None:
            checkpoint.stay(resume)  # the run may have ended before it was done
    grid = Grid(config.shape, config.classes, step.latent_dim)
    if out is not None and resume is None:
        describe(out, config, dataset, grid)
    journal = Journal(out, samples) if out is not None else None
    for kimg, signals, values in journal.past() if journal is not None else ():
        balancer.history.add(kimg, signals, values)
    ticks.note(balancer.begin() if resume is None else [], samples, journal, ear)
    began, last_time, last_samples, interrupted = time.monotonic() - seconds, time.monotonic(), samples, False

    def counters(steering: object) -> dict[str, object]:
        return {"tick": number, "next_tick": next_tick, "next_snapshot": next_snapshot, "skipped": skipped,
                "seconds": seconds, "owed": tempo.owed, "position": batches.position,
                "steering": steering, "best": best.memory(), **plant.state()}  # fmt: skip

    def keep(folder: Path, written: Callable[[], None]) -> None:
        steering, snapshots = step_state.parted(balancer.memory())
        saved = checkpoint.save(folder / "checkpoints", step, samples, counters(steering), written, snapshots)
        if best.samples == samples:
            checkpoint.stay(saved)

    try:
        while samples < total and not interrupted:
            # ------------------------------------------------------------------------------------- the updates
            for dial in dials.values():
                dial.turn(samples, total)
            samples += batch * both_move(step, tempo, batches)

            # ------------------------------------------------------------------------------------- once per tick
            interrupted = samples < total and stop()
            last = samples >= total
            if samples >= next_tick or last:
                now = time.monotonic()
                speed, seconds = (samples - last_samples) / max(now - last_time, 1e-9), now - began
                last_time, last_samples = now, samples
                tick = ticks.look(step, config, dials, batches, number, samples, seconds, speed)
                number, next_tick = number + 1, samples + ticks.tick_length(samples, config)
                plant.samples = samples
                if journal is not None:
                    journal.tick(tick)
                decision = balancer.decide(samples, tick.balance, tick.dials)
                ticks.note(decision.moves, samples, journal, ear)
                if watcher is not None:
                    watcher.tick(tick)
                skipped = ticks.examine(step, tick, skipped, journal, watcher, undone=plant.back == samples)
                if last:
                    ticks.note(balancer.finish(), samples, journal, ear)
                    ticks.conclude(decision, samples, journal, watcher)
            pictured = samples >= next_snapshot or last
            if pictured:
                next_snapshot = samples + ticks.snapshot_length(config)
            if out is not None and journal is not None and (pictured or interrupted):
                if pictured:
                    ticks.snapshot(step, grid, dataset, out, journal, samples)
                    best.see(step, samples, journal, watcher)
                seconds = time.monotonic() - began
                keep(out, journal.sync)
    except TrainingFailed as failure:
        if out is not None and journal is not None and not isinstance(failure, checkpoint.Unwritable):
            with contextlib.suppress(OSError):
                journal.event("failed", samples, reason=str(failure))
            keep(out, journal.sync)
        raise
    finally:
        step.replays = None  # the memory of its graphs is free for what follows
        batches.close()
        if journal is not None:
            journal.close()
    return Outcome(step, samples, interrupted, balancer.history, balancer.moves)


# ------------------------------------------------------------------------------------------------ before the loop


def start(
    config: Config, dataset: Dataset, networks: tuple[nn.Module, nn.Module] | None
) -> tuple[Step, dict[str, Dial], Batches]:
    """Seed everything and make the parts of a run."""
    device = torch.device(config.device)
    if config.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS asks for it, before its first call
        torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = device.type == "cuda" and not config.deterministic
    build.seed_everything(config.seed)
    pair = networks or build.players(config.recipe, config.shape, config.classes)
    step = build.assemble(config.recipe, *pair, device, sensing=config.balance != "off")
    if config.balance != "off":
        looks.prepare(step, config)
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


@contextlib.contextmanager
def explained(config: Config) -> Iterator[None]:
    """Turn a full disk, a lack of memory and dead workers into a sentence that says what to do."""
    recipe, size = config.recipe, f" at {config.shape[-1]}x{config.shape[-1]}" if len(config.shape) > 1 else ""
    try:
        yield
    except EquipoiseError:
        raise
    except OSError as error:
        raise TrainingFailed(
            f"a file could not be written or read ({error}); the last checkpoint is untouched: make room and resume"
        ) from None
    except (MemoryError, RuntimeError) as error:  # torch's own kinds among them
        text = str(error)
        if "DataLoader worker" in text:
            raise InputError(
                f"a process that prepares batches died ({text.splitlines()[0]}); give fewer --workers, or more shared "
                "memory (docker --shm-size)"
            ) from None
        if (
            isinstance(error, (torch.OutOfMemoryError, MemoryError))
            or "t allocate memory" in text
            or "out of memory" in text
        ):
            less = "set captured=false, " if recipe.captured and "cuda" in config.device else ""
            raise InputError(
                f"a batch of {recipe.batch} with network.width={recipe.network.width}{size} needs more memory than "
                f"{config.device} has; {less}lower --batch, set accumulate=2 or more, or lower network.width or "
                "--resolution"
            ) from None
        raise
