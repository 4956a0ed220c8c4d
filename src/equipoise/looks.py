"""What the trainer hands the probes at a tick: samples, data and networks, with nothing of the run disturbed.

The networks are in evaluation mode meanwhile and every random number is drawn from a source of its own, seeded by the
run's seed and the samples seen: a resumed run looks at the same samples, and a run without looks ends in the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from equipoise.config import Config
from equipoise.data import Batches
from equipoise.networks.protocols import latent_dim
from equipoise.registry import find
from equipoise.sensors.probes import Probe, View, look
from equipoise.step import Step
from equipoise.turn import Turn, score

FIXED = 32  # latents whose samples are followed from look to look
POOL = 1000  # training samples among which copies are looked for


def size_of(shape: tuple[int, ...], device: torch.device) -> int:
    """How many samples are compared at a tick: 256, or half as many where a CPU draws images above 16x16."""
    return 128 if device.type == "cpu" and len(shape) > 1 and shape[-1] > 16 else 256


def probed(
    step: Step,
    config: Config,
    batches: Batches,
    number: int,
    samples: int,
    probes: Sequence[Probe] | None = None,  # None: all that need not be asked for
) -> dict[str, float]:
    """The signals of the probes due at tick `number`."""
    with aside(step.device, config.seed, samples), evaluating(*step.networks.values(), step.ema.average):
        fields = view(step, config, batches, samples)
        told = look(fields, tick=number, probes=probes)
        if fields.made("fixed"):
            step.kept["before"].copy_(fields["fixed"])
        return told


def prepare(step: Step, config: Config) -> None:
    """Make room for what looks keep: the samples of fixed latents."""
    step.kept["before"] = torch.full((FIXED, *config.shape), torch.nan, device=step.device)


def view(step: Step, config: Config, batches: Batches, samples: int) -> View:
    """The fields of a look at this moment; what no probe asks for is not made."""
    D, G, count = step.networks["D"], step.networks["G"], size_of(config.shape, step.device)
    out = len(batches.holdout.heldout(batches.samples))
    drawing: dict[str, Any] = {"samples_seen": batches.samples, "seed": batches.position}
    training, labels = batches.training(count, **drawing)
    heldout, heldout_labels = batches.heldout(min(count, out), **drawing)
    part = config.recipe.batch // config.recipe.accumulate
    fixed_labels = torch.arange(FIXED, device=step.device) % config.classes if config.classes else None

    def draw(network: nn.Module) -> Tensor:
        return generated(network, count, _seed(config.seed, samples), labels, part)

    fields: dict[str, Any] = {
        "training": step.show(training),
        "heldout": step.show(heldout),
        "labels": labels,
        "judge": lambda images: score(D(images, None if labels is None else labels[: len(images)])),
        "discriminator": D,
        "generator": G,
        "before": step.kept.get("before"),
        "round_kimg": config.recipe.batch * step.moves["D"] / max(step.moves["G"], 1) / 1000,
        "ideal": find("loss", config.recipe.loss).facts.get("ideal", (None,))[0],
    }
    later: dict[str, Callable[[], Any]] = {
        "samples": lambda: draw(G),
        "averaged": lambda: draw(step.ema.average),
        "fixed": lambda: generated(G, FIXED, 0, fixed_labels, part),
        "pool": lambda: step.show(batches.training(min(POOL, len(batches.dataset) - out), **drawing)[0]),
    }
    if any(map(_changes, step.augmentations.values())):
        later["augmented"] = lambda: _augmented(step, step.show(training), labels)

    def losses(generator: nn.Module, discriminator: nn.Module, unseen: bool) -> tuple[Tensor, Tensor]:
        real, known = (heldout, heldout_labels) if unseen else (training, labels)
        return _losses(step, generator, discriminator, step.show(real), known, samples if unseen else None)

    fields["losses"] = losses
    if step.trace is not None:
        later["trace"] = step.trace.read
    return View(fields, later)


def generated(
    generator: nn.Module,
    count: int,
    seed: int,  # of the latents
    labels: Tensor | None,  # [count]
    at_once: int,  # as many as are known to fit into memory
) -> Tensor:
    """Samples `[count, ...]` in float32 of latents drawn from this seed, the same on every device."""
    latents = torch.randn(count, latent_dim(generator), generator=torch.Generator().manual_seed(seed))
    parts = latents.to(next(generator.parameters())).split(at_once)
    wanted = [None] * len(parts) if labels is None else list(labels.split(at_once))
    return torch.cat([generator(part, own) for part, own in zip(parts, wanted, strict=True)]).float()


def _changes(augmentation: object) -> bool:
    """Whether it does the same to any image, whoever made it: one that asks whose move it is does something else."""
    return not hasattr(augmentation, "begin")


def _augmented(step: Step, images: Tensor, labels: Tensor | None) -> Tensor:
    for augmentation in filter(_changes, step.augmentations.values()):
        images, labels = augmentation(images, labels, True)
    return images


def _losses(
    step: Step,
    generator: nn.Module,
    discriminator: nn.Module,
    real: Tensor,
    labels: Tensor | None,
    seed: int | None,  # of the latents; None: fresh ones
) -> tuple[Tensor, Tensor]:
    """Both players' adversarial losses, without augmentation."""
    count = len(real) - len(real) % step.pack
    known = None if labels is None else labels[:count]
    source = None if seed is None else torch.Generator().manual_seed(seed)
    latents = torch.randn(count, step.latent_dim, generator=source).to(next(generator.parameters()))
    fake = generator(latents, known)
    judged = {"real_logits": discriminator(real[:count], known), "fake_logits": discriminator(fake, known)}
    turn = Turn("D", "D", real=real[:count], fake=fake, labels=known, latents=latents, **judged)
    return turn.call(step.objective.loss.g).mean(), turn.call(step.objective.loss.d).mean()


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
