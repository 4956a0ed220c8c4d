"""What the trainer hands the probes at a tick: samples, data and networks, with nothing of the run disturbed.

The networks are in evaluation mode meanwhile and every random number is drawn from a source of its own, seeded by the
run's seed and the samples seen: a resumed run looks at the same samples, and a run without looks ends in the same bits.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from equipoise.config import Config
from equipoise.data import Batches
from equipoise.sensors.probes import View, look
from equipoise.step import Step
from equipoise.turn import score

POOL = 1000  # training samples among which copies are looked for


def size_of(shape: tuple[int, ...], device: torch.device) -> int:
    """How many samples are compared at a tick: 256, or half as many where a CPU draws images above 16x16."""
    return 128 if device.type == "cpu" and len(shape) > 1 and shape[-1] > 16 else 256


def probed(step: Step, config: Config, batches: Batches, number: int, samples: int) -> dict[str, float]:
    """The signals of all probes due at tick `number`."""
    with aside(step.device, config.seed, samples), evaluating(*step.networks.values(), step.ema.average):
        return look(view(step, config, batches, samples), tick=number)


def view(step: Step, config: Config, batches: Batches, samples: int) -> View:
    """The fields of a look at this moment; what no probe asks for is not made."""
    count, at_once = size_of(config.shape, step.device), config.recipe.batch // config.recipe.accumulate
    inside, outside = len(batches.holdout.training(batches.samples)), len(batches.holdout.heldout(batches.samples))
    heldout, _ = batches.heldout(min(count, outside), batches.samples, seed=batches.position)
    training, labels = batches.training(count, batches.samples, seed=batches.position)
    source = torch.Generator().manual_seed(_seed(config.seed, samples))
    latents = torch.randn(count, step.latent_dim, generator=source).to(next(step.networks["G"].parameters()))

    def generate(generator: nn.Module) -> Tensor:
        known = [None] * count if labels is None else list(labels.split(at_once))
        made = [generator(part, own) for part, own in zip(latents.split(at_once), known, strict=False)]
        return torch.cat(made).float()

    def judge(images: Tensor) -> Tensor:
        known = None if labels is None else labels[: len(images)]
        return score(step.networks["D"](images, known))

    fields = {
        "training": step.show(training),
        "heldout": step.show(heldout),
        "labels": labels,
        "judge": judge,
        "discriminator": step.networks["D"],
        "generator": step.networks["G"],
    }
    later = {
        "pool": lambda: step.show(batches.training(min(POOL, inside), batches.samples, seed=batches.position)[0]),
        "samples": lambda: generate(step.networks["G"]),
        "averaged": lambda: generate(step.ema.average),
    }
    return View(fields, later)


@contextmanager
def evaluating(*networks: nn.Module) -> Iterator[None]:
    """Networks in evaluation mode, and afterwards every part of them in the mode it was in."""
    modes = [(module, module.training) for network in networks for module in network.modules()]
    for network in networks:
        network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def aside(device: torch.device, seed: int, samples: int) -> Iterator[None]:
    """While it lasts, random numbers come from a source of this moment's own."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(_seed(seed, samples))
        yield


def _seed(seed: int, samples: int) -> int:
    return (seed * 1_000_003 + samples) % 2**63
