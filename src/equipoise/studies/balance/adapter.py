"""The adapter of the proving ground: one cell from plain data, on arrays in memory, without files.

>>> from equipoise.studies.balance import train
>>> samples = train({"shape": 2, "zdim": 4, "g_widths": [48] * 3, "d_widths": [48] * 3, "updates": 500}, data, 0, 100)
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from equipoise import build, plan, runs
from equipoise.balancer import Move
from equipoise.config import IN_MEMORY, Config
from equipoise.data.dataset import Analysis, Dataset, assemble
from equipoise.data.duplicates import exact
from equipoise.data.report import Report
from equipoise.errors import InputError
from equipoise.samples import generate
from equipoise.studies.balance import networks, settings
from equipoise.tempo import Tempo
from equipoise.train import train as run

Array = NDArray[Any]
TICKS = 100  # looks at a run after its dense beginning
APART, MOST = 5, 20  # from look to look at least so many rounds, or updates: short runs are not mostly looked at
Disturb = Callable[[int, tuple[nn.Module, nn.Module]], None]  # told the number of each round, and the pair


def train(
    cfg: Mapping[str, Any],  # see `equipoise.studies.balance.settings`; plain data
    data: Array,  # [N, d] or [N, C, H, W], in any range; with out="tanh" within -1 to 1
    seed: int,
    n: int,  # samples wanted
    *,
    out: Path | None = None,  # a run folder to write, for looking into; None keeps no files
    disturb: Disturb | None = None,  # what happens to the pair from outside while it is trained
) -> Array:
    """Train a pair on the data as `cfg` says, and return `n` samples shaped like its rows, float32.

    With cfg["balance"] "off" nothing is watched or turned; with "act" the autopilot steers. The samples are the
    averaged generator's. The same arguments give the same samples, on one machine and one thread.

    Raises:
        InputError: settings or data that cannot work.
        TrainingFailed: the run was lost, since nothing finite came of its updates.
    """
    return steered(cfg, data, seed, n, out=out, disturb=disturb)[0]


def steered(
    cfg: Mapping[str, Any],
    data: Array,
    seed: int,
    n: int,
    *,
    out: Path | None = None,
    disturb: Disturb | None = None,
    controller: str = "autopilot",  # who steers with balance="act": a registered one, with parts that it turns
    without: Sequence[str] = (),  # parts of the autopilot, see `equipoise.autopilot.PARTS`
) -> tuple[Array, list[Move]]:
    """The same as `train`, and the moves that were made."""
    full, rows = settings.check(cfg), as_rows(data)
    dataset = as_dataset(rows, settings.shape_of(full.get("shape", rows.shape[1:])))
    n, seed = settings.whole("n", n, 1), settings.whole("seed", seed, 0, bits=63)
    if full["out"] == "tanh" and (typical := float(np.median(np.abs(rows)))) > 1:
        warnings.warn(
            f"half of the data lie beyond {typical:.3g}, and out='tanh' reaches from -1 to 1 only; scale them, or take "
            "out='linear'",
            stacklevel=3,
        )
    build.seed_everything(seed)
    g_widths, d_widths = (settings.widths(full, name, cfg, dataset.shape) for name in ("g_widths", "d_widths"))
    last = full["init_std_g"], full["init_std_d"], full["activation"]
    pair = networks.pair(dataset.shape, int(full["zdim"]), g_widths, d_widths, full["out"] == "tanh", *last)
    config = configured(full, dataset, seed, without, controller)
    if out is not None:
        runs.make_folder(out)
    rounds = 0

    def stop() -> bool:
        nonlocal rounds
        rounds += 1
        if disturb is not None:
            disturb(rounds, pair)
        return False

    tempo = Tempo(config.recipe.D.steps, left=int(full["updates"]))
    ended = run(config, dataset, out, networks=pair, stop=stop, tempo=tempo)
    made = ended.step
    latents = torch.randn(n, made.latent_dim, generator=torch.Generator().manual_seed(seed))
    return np.asarray(generate(made.ema.average, latents).numpy(), np.float32), ended.moves


def as_rows(data: Array) -> NDArray[np.float32]:
    """Data as float32 [N, ...], or an InputError for what is no finite real numbers in rows of one shape."""
    if np.ma.is_masked(data):
        raise InputError("the data has masked values, which cannot be learnt; leave those rows out")
    try:
        given = np.asarray(data)
    except (ValueError, TypeError, RuntimeError) as error:
        raise InputError(f"the data is no array of numbers ({error}); give rows of one shape, [N, d]") from None
    if given.dtype.kind not in "biuf":
        lost = ", whose imaginary part would be lost; give that as further columns" if given.dtype.kind == "c" else ""
        raise InputError(f"the data is an array of {given.dtype}{lost or '; give real numbers in rows of one shape'}")
    if given.ndim < 2 or not len(given):
        raise InputError(f"data shaped {list(given.shape)} has no rows; give [N, d], or [N, C, H, W] for images")
    if not np.isfinite(given).all():
        raise InputError("the data holds NaN or infinity, which cannot be learnt; leave those rows out")
    if (largest := float(np.abs(given).max(initial=0))) > settings.WIDEST:
        raise InputError(
            f"the data reaches to {largest:.3g}, beyond what single precision can be trained in; scale it to about 1"
        )
    rows = np.ascontiguousarray(given, np.float32)
    if (rows == rows[0]).all() and not (given == given[0]).all():
        raise InputError(
            f"the data differ by less than single precision can tell at {largest:.3g}; subtract their mean, and scale "
            "what is left to about 1"
        )
    return rows


def as_dataset(data: Array, shape: tuple[int, ...]) -> Dataset:
    """Rows in memory as they are, in their own range: what the networks see is what is given."""
    rows = as_rows(data)
    if rows.shape[1:] != shape:
        raise InputError(f"data shaped {list(rows.shape)} does not hold rows shaped {list(shape)}; give the rows' own")
    groups = exact(rows.reshape(len(rows), -1))
    analysis = Analysis(groups, len(rows) - len(np.unique(groups)), 0, False, "")
    return assemble(rows, Report(IN_MEMORY), labels=None, classes=(), content=IN_MEMORY, analysis=analysis)


def configured(
    full: Mapping[str, Any], dataset: Dataset, seed: int, without: Sequence[str] = (), controller: str = "autopilot"
) -> Config:
    """The resolved run of checked settings; what the controller turns and the settings lack is there, at rest."""
    scale = float(np.asarray(dataset.images).std(axis=0).mean())
    recipe = settings.recipe(full, dataset.shape[0] if len(dataset.shape) == 3 else 0, scale)
    acting = full["balance"] == "act"
    if acting:
        recipe = plan.with_actuators(recipe, controller, {})
    if acting and controller == "autopilot" and "r1" not in recipe.terms:
        recipe = recipe.with_values({"r1.gamma": 0.0})
    named = " without ".join([controller, *([" ".join(without)] if without else [])])
    return Config(
        source=IN_MEMORY,
        recipe=recipe,
        shape=dataset.shape,
        fingerprint=dataset.fingerprint,
        seed=seed,
        kimg=recipe.kimg,
        balance=full["balance"],
        controller=named if acting else None,
        tick_kimg=max(recipe.kimg / TICKS, apart(full) * recipe.batch / 1000),
        threads=torch.get_num_threads(),
        own_networks=True,
    )


def apart(full: Mapping[str, Any]) -> float:
    """Updates from look to look at least; of runs of 2,000 and more it is the hundredth part that decides."""
    return min(APART * max(float(full["n_dis"]), 1.0), MOST)
