"""GAN: train, validate, predict and test in one object, for those who want no more than that."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from equipoise import build, checkpoint, config, images, plan, runs
from equipoise.adapters import check
from equipoise.config import IN_MEMORY, Config
from equipoise.data import Dataset, from_arrays
from equipoise.diagnosis import History, Verdict, diagnose
from equipoise.ema import recalibrate
from equipoise.errors import InputError
from equipoise.files import atomic_write
from equipoise.fitted import Fitted
from equipoise.given import array_of, as_fitted
from equipoise.networks.protocols import num_classes
from equipoise.recipe import Recipe
from equipoise.report.console import ProgressLine
from equipoise.train import train
from equipoise.turn import score as mean_logit


class GAN:
    """A generator and a discriminator with their recipe.

    >>> gan = equipoise.GAN("digits", settings={"r1.gamma": 0.1})
    >>> gan.fit(images, labels, budget="40s")
    >>> pictures = gan.sample(16, seed=0)

    Images go in as arrays or tensors, `[N, C, H, W]`, `[N, H, W, C]` or `[N, H, W]`, bytes or floats in [0, 1] or
    [-1, 1]; or as vectors `[N, d]`. They come out as uint8 `[n, C, H, W]` (vectors as float32 `[n, d]`), as tensors if
    tensors were given to `fit`.

    Raises:
        InputError: what cannot work, in one sentence, before anything is trained or written.
        TrainingFailed: `fit` could not go on; the sentence says why and what has been kept.
    """

    def __init__(
        self,
        recipe: str | Recipe | None = None,  # a name or TOML file; None: by the data
        *,
        generator: nn.Module | None = None,  # one's own, see equipoise.adapters; both or none
        discriminator: nn.Module | None = None,
        settings: Mapping[str, Any] | None = None,  # changes to the recipe by path, e.g. {"G.lr": 1e-4}
        seed: int = 0,
        device: str = "auto",  # auto | cpu | cuda | mps
        balance: str = "watch",  # off | watch | advise | act
        controller: str | None = None,  # what turns what; None: the autopilot, to advise or act
    ) -> None:
        if (generator is None) != (discriminator is None):
            raise InputError(
                "one network of your own came without the other; give generator and discriminator, or neither"
            )
        self._own = (generator, discriminator) if generator is not None and discriminator is not None else None
        self._request = plan.Request(
            IN_MEMORY,
            recipe,
            changes=dict(settings or {}),
            seed=seed,
            device=plan.choose_device(device),
            balance=balance,
            controller=controller,
            whence="Python",
        )
        self._fitted: Fitted | None = None
        self._history: History | None = None
        self._tensors = False

    # ------------------------------------------------------------------------------------------------ train

    def fit(
        self,
        images: Any,
        labels: Any = None,  # integers [N]; a conditional pair is trained where they are given
        *,
        kimg: float | None = None,  # thousands of real images; default: the recipe's
        budget: str | None = None,  # or time: "40s", "5min"
        resolution: int | None = None,
        out: str | os.PathLike[str] | None = None,  # a run folder to write, as the command line does
        progress: bool = False,  # show a progress line
    ) -> GAN:
        """Train from scratch on images, and return self; what an earlier fit had learnt is forgotten."""
        self._tensors = isinstance(images, Tensor)
        dataset = from_arrays(array_of(images), None if labels is None else array_of(labels), resolution=resolution)
        request = dataclasses.replace(self._request, kimg=kimg, budget=budget, resolution=resolution)
        planned = self._for_own(plan.resolve(request, dataset).config, dataset)
        folder = None if out is None else Path(out)
        line = ProgressLine(quiet=not progress)
        own = copy.deepcopy(self._own)  # what was handed in stays as it was, and a second fit begins anew
        try:
            with contextlib.nullcontext() if folder is None else runs.fresh_folder(folder):
                settled = runs.settle(planned, dataset, line, own)
                outcome = train(settled, dataset, folder, networks=own, watcher=line)
        finally:
            line.close()
        if folder is not None:
            self._write_kind(folder)
        self._fitted, self._history = Fitted(outcome.step, settled, outcome.samples), outcome.history
        recalibrate(outcome.step.ema.average, settled.classes)
        return self

    def _for_own(self, planned: Config, dataset: Dataset) -> Config:
        """The configuration for networks of one's own: the recipe's networks give way to them."""
        if self._own is None:
            return planned
        check(*self._own, dataset.shape)
        classes = num_classes(self._own[0])
        if classes and (dataset.labels is None or len(dataset.classes) != classes):
            raise InputError(
                f"the generator knows {classes} classes and the labels {len(dataset.classes)}; give labels of "
                f"{classes} classes"
            )
        names = dataset.classes if classes else ()
        recipe, origin = planned.recipe, planned.origin
        if origin.get("captured") == plan.BY_DEVICE:  # nobody knows what they do between their layers
            recipe = recipe.with_values({"captured": False})
            origin = origin | {"captured": "off for networks of one's own"}
        return dataclasses.replace(planned, own_networks=True, class_names=names, recipe=recipe, origin=origin)

    # ------------------------------------------------------------------------------------------------ predict

    def sample(
        self,
        n: int,
        labels: Any = None,  # the classes asked for: one integer, or [n]; None draws them
        seed: int = 0,  # the same seed gives the same samples
        truncation: float = 1.0,  # below 1 more typical, less diverse
    ) -> Any:
        """`n` samples of the averaged generator: uint8 `[n, C, H, W]`, or float32 `[n, d]`.

        The latents are those of a standard normal times `truncation`: a plain scaling, not a redrawing of large ones.
        """
        if n < 1:
            raise InputError(f"sample({n}) asks for nothing; give a number from 1")
        made = self._trained().draw(n, labels, seed, truncation)[0].numpy()
        result = made if made.ndim == 2 else images.to_uint8(made)
        return torch.from_numpy(result) if self._tensors else result

    def score(self, images: Any, labels: Any = None) -> Any:
        """The discriminator's judgement of images: its mean logit for each, float32 `[N]`; higher is more real.

        A logit has no scale of its own: compare scores of one GAN with each other only.
        """
        fitted = self._trained()
        shown = as_fitted(images, fitted.settings)
        scores = mean_logit(fitted.logits(shown, fitted.numbers(labels, len(shown))))
        return scores if isinstance(images, Tensor) else scores.numpy()

    # ------------------------------------------------------------------------------------------------ test

    def evaluate(
        self,
        images: Any,  # real ones that were not fitted on
        labels: Any = None,  # theirs, if fitted with labels
        *,
        features: str = "pixels",  # a registered feature network
        seed: int = 0,
    ) -> dict[str, float]:
        """Distances of as many samples to given real images, and both players' losses on them.

        `frechet`, `kernel` and `energy` distance (0 is equal), `precision`, `recall`, `density`, `coverage`, `vendi`
        and `diversity`, all in the named features, as `equipoise.metrics.measure` has them; `loss_D` and `loss_G` of
        these images against the samples; `n`, the number on each side. `equipoise.evaluate` tells more of a saved GAN.
        """
        return self._trained().measure(images, labels, features, seed)

    def verdict(self) -> Verdict:
        """What the last fit's balance says: findings with their evidence and advice, and what cannot be told."""
        if self._history is None:
            raise InputError("there is no record of a fit; call fit(images), or `equipoise diagnose` on a run's folder")
        return diagnose(self._history)

    # ------------------------------------------------------------------------------------------------ keep

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write the GAN to a new or empty folder laid out like a run's: settings as JSON, weights as safetensors."""
        fitted, target = self._trained(), Path(folder)
        runs.make_folder(target)
        fitted.settings.write(target)
        checkpoint.save(target / "checkpoints", fitted.step, fitted.shown, {})
        self._write_kind(target)

    def _write_kind(self, folder: Path) -> None:
        """Remember whether samples are to come out as tensors."""
        atomic_write(folder / "tensors.json", "true\n" if self._tensors else "false\n")

    @classmethod
    def load(
        cls,
        folder: str | os.PathLike[str],  # what `save` or `equipoise train` wrote
        *,
        generator: nn.Module | None = None,  # networks of one's own, made as they were for fit
        discriminator: nn.Module | None = None,
        device: str = "auto",
        at: str | None = None,  # a checkpoint's name, such as "best"; None: the newest
    ) -> GAN:
        """A GAN from a folder, ready to sample, score and evaluate; `fit` begins anew. Nothing is unpickled."""
        source = Path(folder)
        settings = config.read(source)
        settings = plan.on_device(settings, plan.choose_device(device))
        gan = cls(
            settings.recipe,
            generator=generator,
            discriminator=discriminator,
            seed=settings.seed,
            device=settings.device,
            balance=settings.balance,
            controller=settings.controller,
        )
        if settings.own_networks and gan._own is None:
            raise InputError(
                f"{source} was fitted with networks of your own; give load the same generator and discriminator"
            )
        pair = copy.deepcopy(gan._own) or build.players(settings.recipe, settings.shape, settings.classes)
        step = build.assemble(
            settings.recipe, *pair, torch.device(gan._request.device), sensing=settings.balance != "off"
        )
        state = checkpoint.load(checkpoint.find(source, at), step, randomness=False)
        recalibrate(step.ema.average, settings.classes)
        gan._fitted = Fitted(step, settings, int(state["samples"]))
        kind = source / "tensors.json"
        gan._tensors = kind.is_file() and kind.read_text().strip() == "true"
        return gan

    @property
    def generator(self) -> nn.Module:
        """The averaged generator, for use in code of one's own."""
        return self._trained().step.ema.average

    @property
    def discriminator(self) -> nn.Module:
        """The discriminator."""
        return self._trained().step.networks["D"]

    def _trained(self) -> Fitted:
        if self._fitted is None:
            raise InputError("this GAN has not been fitted yet; call fit(images), or GAN.load(folder)")
        return self._fitted
