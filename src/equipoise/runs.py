"""The life of a run folder: begin, resume, and load what it has made."""

from __future__ import annotations

import dataclasses
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import nn

from equipoise import build, checkpoint, config, plan, power_ema
from equipoise.config import IN_MEMORY, Config
from equipoise.data import Dataset
from equipoise.ema import recalibrate
from equipoise.errors import InputError, Interrupted
from equipoise.files import clear, missing_folders, no_empty_folders, remove_empty
from equipoise.speed import measure_speed
from equipoise.ticks import Watcher
from equipoise.train import Outcome, train


def begin(
    planned: plan.Plan,
    out: Path,
    watcher: Watcher | None = None,
    stop: Callable[[], bool] = lambda: False,
    networks: tuple[nn.Module, nn.Module] | None = None,  # the recipe's, with weights to begin with; None: drawn anew
) -> Outcome:
    """Make the run folder and train. A folder that holds anything is refused."""
    with fresh_folder(out):
        settled = settle(planned.config, planned.dataset, watcher, networks)
        return train(settled, planned.dataset, out, networks=networks, watcher=watcher, stop=stop)


def settle(
    asked: Config, dataset: Dataset, watcher: Watcher | None = None, networks: tuple[nn.Module, nn.Module] | None = None
) -> Config:
    """The configuration with a fixed length: a budget is measured out, once."""
    if not asked.budget or asked.kimg:
        return asked
    began, seconds = time.monotonic(), config.parse_budget(asked.budget)
    speed = measure_speed(asked, dataset, networks, seconds=min(max(0.04 * seconds, 0.5), 10.0))
    settled = plan.with_length(asked, speed, time.monotonic() - began)
    if watcher is not None:
        watcher.say(f"A budget of {asked.budget} at {speed:.0f} images/s is {settled.kimg:g} kimg.")
    return settled


def resume(
    run: Path,
    watcher: Watcher | None = None,
    stop: Callable[[], bool] = lambda: False,
    device: str | None = None,
    captured: bool | None = None,  # whether moves are replayed as CUDA graphs, which changes no bit; None: as it began
) -> Outcome | None:
    """Go on from the newest whole checkpoint; None if the run is already complete."""
    from equipoise.data import open_dataset

    settings = _settings(run)
    settings = plan.on_device(settings, plan.choose_device(device or settings.device))
    plan.refuse_captured(captured, settings.device)
    if captured is not None:
        settings = dataclasses.replace(settings, recipe=settings.recipe.with_values({"captured": captured}))
    if settings.source == IN_MEMORY:
        raise InputError(f"{run} was fitted on arrays in memory, which are gone; call GAN.fit again with a new folder")
    found = checkpoint.find(run)
    if checkpoint.verify(found)["samples"] >= settings.total:
        return None
    if settings.threads and settings.threads != torch.get_num_threads() and watcher is not None:
        watcher.say(
            f"The run began with {settings.threads} threads and goes on with {torch.get_num_threads()}: bits "
            "may differ."
        )
    dataset = open_dataset(settings.source, resolution=settings.resolution, labels=settings.labels)
    if dataset.fingerprint != settings.fingerprint:
        raise InputError(
            f"{settings.source} has changed since the run began, so going on would train on other data; "
            "restore it, or start a new run"
        )
    return train(settings, dataset, run, resume=found, watcher=watcher, stop=stop)


def _settings(run: Path) -> Config:
    """The configuration of a run whose networks can be built anew."""
    settings = config.read(run)
    if settings.own_networks:
        raise InputError(
            f"{run} was trained with networks of your own, which only your code can build; use GAN.load from Python"
        )
    return settings


def load_network(run: Path, which: str = "G_ema", at: str | None = None) -> tuple[nn.Module, Config]:
    """A network of a run from its newest checkpoint, or the one named `at`, on the CPU in evaluation mode."""
    settings = _settings(run)
    folder = checkpoint.find(run, at)
    generator, discriminator = build.players(settings.recipe, settings.shape, settings.classes)
    network = discriminator if which == "D" else generator
    checkpoint.load_network(folder / f"{which}.safetensors", network)
    if which == "G_ema":
        recalibrate(network, settings.classes)
    return network.eval(), settings


def load_data(settings: Config) -> Dataset:
    """What a run was trained on, opened again as it was; an InputError where it is gone or has changed."""
    from equipoise.data import open_dataset

    if settings.source == IN_MEMORY:
        raise InputError("the data were arrays in memory, which are gone; only runs on files can be opened again")
    try:
        dataset = open_dataset(settings.source, resolution=settings.resolution, labels=settings.labels)
    except (InputError, OSError) as error:
        why = str(error).rstrip(".")
        raise InputError(f"the data that the run was trained on did not open: {why}") from None
    if dataset.fingerprint != settings.fingerprint:
        raise InputError(f"{settings.source} has changed since the run began; restore it, or train anew")
    return dataset


def load_average(run: Path, width: float, at: str | None = None) -> tuple[nn.Module, Config]:
    """The generator averaged at a relative width, made of what the run kept in `ema`, like `load_network`'s."""
    network, settings = load_network(run, "G")
    averaged = {name for name, _ in network.named_parameters(remove_duplicate=False)}
    try:
        network.load_state_dict(power_ema.reconstruct(run, width, at, averaged))
    except (KeyError, RuntimeError) as error:
        detail = " ".join(str(error).split())[:200]
        raise InputError(f"{run / 'ema'} holds averages of another network ({detail}); use the run's own") from None
    recalibrate(network, settings.classes)
    return network.eval(), settings


def check_folder(out: Path) -> None:
    """Refuse what `make_folder` refuses, before anything long is done, and leave no folder."""
    missing = missing_folders(out)
    make_folder(out)
    remove_empty(missing)


@contextmanager
def fresh_folder(out: Path) -> Iterator[None]:
    """Make a run folder for the block; where the input proves bad before anything is trained, no trace of it stays."""
    with no_empty_folders(out):
        make_folder(out)
        try:
            yield
        except InputError:
            if not (out / "checkpoints").exists():
                clear(out)
            raise


def make_folder(out: Path) -> None:
    """Create a run folder; one that holds anything, or cannot be written, is an InputError."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(
            f"{out} exists already, and nothing is ever overwritten; give another --out, or `equipoise resume {out}`"
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{out} cannot be made ({error.strerror}); give --out a place where you may write") from None
    if not os.access(out, os.W_OK):
        raise InputError(f"{out} cannot be written to; give --out a place where you may write")


def free_folder(name: str, parent: Path = Path("runs")) -> Path:
    """The next free run folder, `runs/NNNNN-name`."""
    taken = [int(p.name[:5]) for p in parent.glob("[0-9]" * 5 + "-*")] if parent.is_dir() else []
    return parent / f"{max(taken, default=-1) + 1:05d}-{name}"


@contextmanager
def stoppable() -> Iterator[Callable[[], bool]]:
    """Turn the first Ctrl-C or SIGTERM into a wish to stop, and a second into an immediate end."""
    asked: list[int] = []

    def handler(number: int, frame: FrameType | None) -> None:
        if asked:
            signal.signal(number, before[number])
            raise Interrupted("stopped at once; `equipoise resume` goes on from the run's last checkpoint")
        asked.append(number)

    before: dict[int, Any] = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(asked)
    finally:
        for number, old in before.items():
            signal.signal(number, old)
