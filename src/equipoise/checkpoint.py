"""Checkpoints: everything a run needs to go on in the same bits, written so that a crash leaves the last good one.

A checkpoint is a folder `checkpoints/KKKKKK` with `G`, `D` and `G_ema` as safetensors (the networks alone, for anyone
to load), `state.safetensors` (moments, buffers, random states) and `state.json` (counters). The file
`checkpoints/latest` names the newest, and the folder `checkpoints/best` is the best. Nothing is pickled.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from equipoise import random_states
from equipoise.errors import InputError, TrainingFailed
from equipoise.files import atomic_dir, atomic_write
from equipoise.step import Step
from equipoise.step_state import networks_of, tensors_of

BEST = "best"
SNAPSHOTS = "snapshots.safetensors"
KEEP = 3  # checkpoints that stay; older ones make room


class Unwritable(TrainingFailed):
    """A checkpoint could not be written; the one before it is as it was."""


def save(
    folder: Path,
    step: Step,
    samples: int,
    counters: dict[str, Any],
    finish: Callable[[], None] = lambda: None,  # runs before the checkpoint counts
    kept: Mapping[str, Tensor] | None = None,  # snapshots of a controller, see `step_state.parted`
) -> Path:
    """Write the checkpoint for this moment under `folder` and point `latest` at it."""
    name = f"{samples // 1000:06d}"
    try:
        with atomic_dir(folder / name) as new:
            for file, network in networks_of(step).items():
                save_network(new / f"{file}.safetensors", network)
            save_file(_pack(tensors_of(step) | random_states.of_device(step.device)), new / "state.safetensors")
            if kept:
                save_file(_pack(dict(kept)), new / SNAPSHOTS)
            sizes = {file.name: file.stat().st_size for file in sorted(new.iterdir())}
            state = {
                "samples": samples,
                "moves": dict(step.moves),
                "sizes": sizes,
                **counters,
                **random_states.of_host(),
            }
            (new / "state.json").write_text(json.dumps(state, indent=1))
            finish()
        atomic_write(folder / "latest", name + "\n")
    except (OSError, SafetensorError) as error:
        raise Unwritable(
            f"the checkpoint {name} could not be written to {folder} ({error}); the one before it is untouched: "
            "make room there and resume"
        ) from None
    _prune(folder, name)
    return folder / name


def stay(path: Path) -> None:
    """Let this checkpoint stay as the best, whatever becomes of it: linked where the disk can do that, else copied."""
    try:
        with atomic_dir(path.parent / BEST) as new:
            for file in path.iterdir():
                try:
                    os.link(file, new / file.name)
                except OSError:
                    shutil.copyfile(file, new / file.name)
    except OSError as error:
        raise Unwritable(
            f"the checkpoint {path.name} could not be kept as {BEST} ({error}); make room and resume"
        ) from None


def load(
    path: Path,
    step: Step,
    randomness: bool = True,
    counters: Sequence[str] = ("samples",),  # that must be there
) -> dict[str, Any]:
    """Restore a step, and if asked every random state, from a checkpoint, and return its counters."""
    state = verify(path)
    if not state.keys() >= set(counters):
        raise InputError(f"{path} holds trained networks but no run to go on with; use GAN.load, or train anew")
    for file, network in networks_of(step).items():
        load_network(path / f"{file}.safetensors", network)
    stored = _read(path / "state.safetensors")
    for name, tensor in tensors_of(step).items():
        if name not in stored or stored[name].shape != tensor.shape:
            raise InputError(
                f"{path} does not fit this run: {name} is missing or of another shape; resume with its own config.json"
            )
        tensor.copy_(stored[name])
    step.moves.update(state["moves"])
    if randomness:
        random_states.restore(state, stored, step.device)
    return state


def snapshots(path: Path) -> dict[str, Tensor]:
    """What a controller of this checkpoint's run may go back to."""
    return _read(path / SNAPSHOTS) if (path / SNAPSHOTS).is_file() else {}


def find(run: Path, name: str | None = None) -> Path:
    """The newest checkpoint of a run that is whole, a broken one being passed over; or the one called `name`."""
    if name is not None:
        folder = run / "checkpoints" / name
        if not folder.is_dir():
            there = sorted(path.name for path in folder.parent.glob("[0-9b]*"))
            raise InputError(f"{run} holds no checkpoint {name!r}; there are {', '.join(there)}")
        verify(folder)
        return folder
    problems = []
    for folder in _candidates(run / "checkpoints"):
        try:
            verify(folder)
            return folder
        except InputError as error:
            problems.append(str(error))
    raise InputError(
        problems[0]
        if problems
        else f"{run} holds no checkpoint; a run writes its first one at its first snapshot, so train again"
    )


def _candidates(folder: Path) -> list[Path]:
    """Every checkpoint, the one that `latest` names first and then the newest first.

    A crash while a checkpoint was put in place of one of the same name has left the old one under `.KKKKKK.old`.
    """
    latest = folder / "latest"
    named = latest.read_text(errors="replace").strip() if latest.is_file() else ""
    names = {path.name.removeprefix(".").removesuffix(".old") for path in folder.glob("*") if path.is_dir()}
    numbers = sorted((name for name in names if name.isdigit()), key=int, reverse=True)
    ordered = sorted(numbers, key=lambda name: name != named)
    places = [place for name in ordered for place in (folder / name, folder / f".{name}.old")]
    return [place for place in places if place.is_dir()]


def verify(path: Path) -> dict[str, Any]:
    """The counters of a checkpoint whose files are all there and of the right size, or an InputError."""
    try:
        state: dict[str, Any] = json.loads((path / "state.json").read_text())
        for name, size in state["sizes"].items():
            if (path / name).stat().st_size != size:
                raise InputError(
                    f"{path / name} is truncated or changed: {size} bytes were written; use another checkpoint"
                )
        return state
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is not a whole checkpoint ({error}); use another one") from None


def save_network(path: Path, network: nn.Module) -> None:
    """Write a network's weights as safetensors."""
    save_file(_pack(network.state_dict()), path)


def load_network(path: Path, network: nn.Module) -> None:
    """Read a network's weights from safetensors."""
    try:
        network.load_state_dict(_read(path))
    except RuntimeError as error:
        detail = " ".join(str(error).split())
        raise InputError(
            f"{path} holds the weights of another network ({detail[:200]}); use the run's own config.json"
        ) from None


def _read(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path} cannot be read ({error}); use another checkpoint") from None


def _pack(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copies that safetensors takes: on the CPU, contiguous, sharing nothing."""
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}


def _prune(folder: Path, newest: str) -> None:
    """Remove all but the newest few, and what crashed writers left behind."""
    whole = sorted((p.name for p in folder.glob("[0-9]*") if p.is_dir() and p.name.isdigit()), key=int)
    for name in whole[:-KEEP]:
        if name != newest:
            shutil.rmtree(folder / name, ignore_errors=True)
    for leftover in (*folder.glob(".*.tmp"), *folder.glob(".*.old")):
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)
