"""The ways to recognise that are compared: all learn from the same labels and choose by the same validation images."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from equipoise.apps.recognise.classes import unsupervised, widened
from equipoise.apps.recognise.features import CHUNK, normal, penultimate, pooled
from equipoise.apps.recognise.probe import Fitted, Standard, probe
from equipoise.networks.protocols import latent_dim
from equipoise.step import frozen
from equipoise.terms.feature_matching import FeatureMatching

BATCH = 64
RATES = (3e-4, 1e-3)  # learning rates of a network that is trained here, one of which is chosen
LOOKS = 20  # at the validation images, evenly over the updates, for the best moment to stop
SCALE = 2000  # images without labels that tell the features' scale


@dataclass(frozen=True)
class Task:
    """Images are uint8 [N, C, H, W], labels int64 [N]."""

    classes: int
    labelled: tuple[Tensor, Tensor]
    validation: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]
    unlabelled: Tensor
    discriminator: nn.Module  # trained without labels
    fresh: Callable[[], tuple[nn.Module, nn.Module]]  # the same pair, newly drawn
    updates: int  # of a network that is trained here
    seed: int


def features(task: Task) -> Fitted:
    """A linear probe on the discriminator's features."""
    return _probed(task, lambda images: pooled(task.discriminator, images))


def untrained(task: Task) -> Fitted:
    """The same probe on the features of a discriminator that has learnt nothing: what training has added."""
    network = task.fresh()[1]
    return _probed(task, lambda images: pooled(network, images))


def pixels(task: Task) -> Fitted:
    """The same probe on the pixels."""
    return _probed(task, lambda images: normal(images).flatten(1))


def scratch(task: Task) -> Fitted:
    """The discriminator's network with an output for each class, trained on the labelled images alone."""
    return _chosen(task, _supervised)


def semi(task: Task) -> Fitted:
    """The same network with K + 1 classes, trained on labelled, unlabelled and generated images.

    The published code halves the unsupervised loss, adds noise to every layer, normalises weights and averages them.
    """
    return _chosen(task, _adversarial)


ARMS: dict[str, Callable[[Task], Fitted]] = {
    "pixels": pixels,
    "untrained": untrained,
    "features": features,
    "scratch": scratch,
    "semi": semi,
}


def _probed(task: Task, see: Callable[[Tensor], Tensor]) -> Fitted:
    scaled = Standard.of(see(task.unlabelled[:SCALE]))
    (x, a), (y, b), (z, c) = task.labelled, task.validation, task.test
    return probe((scaled(see(x)), scaled(see(y)), scaled(see(z))), (a, b, c), task.classes)


def _chosen(task: Task, way: Callable[[Task, float], tuple[nn.Module, Iterator[None]]]) -> Fitted:
    """Train with each learning rate, and report the one that recognises most validation images."""
    return max((_best(task, *way(task, rate)) for rate in RATES), key=lambda fitted: fitted.validation)


def _supervised(task: Task, rate: float) -> tuple[nn.Module, Iterator[None]]:
    network = widened(task.fresh()[1], task.classes).train()

    def updates() -> Iterator[None]:
        optimiser = torch.optim.Adam(network.parameters(), lr=rate)
        for _ in range(task.updates):
            images, labels = _drawn(*task.labelled)
            _move(optimiser, F.cross_entropy(network(images), labels))
            yield

    return network, updates()


def _adversarial(task: Task, rate: float) -> tuple[nn.Module, Iterator[None]]:
    generator, judge = task.fresh()
    network, matching = widened(judge, task.classes).train(), FeatureMatching()
    generator.train()

    def updates() -> Iterator[None]:
        moves = [torch.optim.Adam(own.parameters(), lr=rate, betas=(0.5, 0.999)) for own in (network, generator)]
        for _ in range(task.updates):
            images, labels = _drawn(*task.labelled)
            (real, *_), latents = _drawn(task.unlabelled), torch.randn(BATCH, latent_dim(generator))
            with torch.no_grad():
                fake = generator(latents, None)
            known, truly, made = network(torch.cat([images, real, fake])).split(BATCH)
            _move(moves[0], F.cross_entropy(known, labels) + unsupervised(truly, made).mean())
            with frozen(network), penultimate(network) as found:
                with torch.no_grad():
                    network(real)
                network(generator(torch.randn_like(latents), None))
                _move(moves[1], matching(*found).sum())
            yield

    return network, updates()


def _best(task: Task, network: nn.Module, updates: Iterator[None]) -> Fitted:
    """Train, and report the moment at which most validation images were recognised."""
    best, kept = -1.0, copy.deepcopy(network)
    every = max(1, task.updates // LOOKS)
    for done, _ in enumerate(updates, 1):
        if done % every == 0:
            share = _share(network, *task.validation)
            if share > best:
                best, kept = share, copy.deepcopy(network)
    return Fitted(best, _share(kept, *task.test))


@torch.no_grad()
def _share(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    network.eval()
    found = torch.cat([network(normal(some)).argmax(1) for some in images.split(CHUNK)])
    network.train()
    return float((found == labels).float().mean())


def _drawn(images: Tensor, *labels: Tensor) -> list[Tensor]:
    """A batch with repetition, the images in [-1, 1]."""
    rows = torch.randint(len(images), (BATCH,))
    return [normal(images[rows]), *(one[rows] for one in labels)]


def _move(optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
    optimiser.zero_grad(set_to_none=True)
    torch.autograd.backward(loss)
    optimiser.step()
