"""Networks of one's own, whatever their signatures: two wrappers that say how to generate and how to judge.

    G = GeneratorAdapter(net, lambda net, z, y: net(z[:, :, None, None]) * 2 - 1, latent_dim=100)  # from [0, 1]
    D = DiscriminatorAdapter(judge, lambda net, x, y: net(x)["logits"])

The wrapped network is the attribute `module`, so a state_dict has its keys behind "module.", and
`adapter.module.state_dict()` is the network's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from equipoise.errors import InputError

Generate = Callable[[nn.Module, Tensor, Tensor | None], Tensor]  # (module, latents, labels) -> images
Judge = Callable[[nn.Module, Tensor, Tensor | None], Any]  # (module, images, labels) -> logits, or a list of them


class GeneratorAdapter(nn.Module):
    """Make any module a generator: forward(latents [N, latent_dim], labels [N] | None) to images [N, ...].

    Images are expected in about [-1, 1]. Without `generate` the module is called with the latents, and with the labels
    as second argument when there are classes. Raises InputError when what comes out is no batch of N images.
    """

    def __init__(
        self,
        module: nn.Module,
        generate: Generate | None = None,
        *,
        latent_dim: int,  # numbers in a latent
        num_classes: int = 0,  # 0: unconditional
    ) -> None:
        super().__init__()
        self.module, self.generate = module, generate or _plain_call(num_classes)
        self.latent_dim, self.num_classes = latent_dim, num_classes

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        images = self.generate(self.module, latents, _labels(labels, self.num_classes))
        if not _is_batch(images, len(latents)) or images.ndim < 2:
            raise InputError(
                f"the generator gave {_describe(images)} for {len(latents)} latents where images"
                f" [{len(latents)}, ...] in about [-1, 1] are wanted; pick them out in `generate`."
            )
        return images


class DiscriminatorAdapter(nn.Module):
    """Make any module a discriminator: forward(images, labels [N] | None) to logits [N], a map [N, ...], or a list.

    [N, 1] becomes [N]. Higher logits mean more real, and no sigmoid belongs on them. Without `judge` the module is
    called with the images, and with the labels as second argument when there are classes. Raises InputError when what
    comes out holds no logit per sample.
    """

    def __init__(
        self,
        module: nn.Module,
        judge: Judge | None = None,
        *,
        num_classes: int = 0,  # 0: unconditional
    ) -> None:
        super().__init__()
        self.module, self.judge, self.num_classes = module, judge or _plain_call(num_classes), num_classes

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor | list[Tensor]:
        logits = self.judge(self.module, images, _labels(labels, self.num_classes))
        if isinstance(logits, (list, tuple)) and logits:
            return [_head(head, len(images)) for head in logits]
        return _head(logits, len(images))


def check(
    generator: nn.Module,
    discriminator: nn.Module,
    shape: tuple[int, ...],  # of one image (C, H, W) or vector (d,)
    batch: int = 2,  # samples to try with
) -> None:
    """Try a pair of networks on random latents and raise an InputError, in one sentence, for what does not fit.

    Leaves weights, buffers, modes and torch's random state as they were.
    """
    classes = int(getattr(generator, "num_classes", 0))
    device = next((p.device for p in generator.parameters()), torch.device("cpu"))
    with _undisturbed(generator, discriminator, device):
        latents = torch.randn(batch, int(getattr(generator, "latent_dim", 0)), device=device)
        labels = torch.arange(batch, device=device) % classes if classes else None
        images = _attempt("generator", "generate", generator, latents, labels)
        if tuple(images.shape[1:]) != tuple(shape):
            raise InputError(
                f"the generator makes images of shape {tuple(images.shape[1:])} and the data have {tuple(shape)};"
                " change the network or the resolution of the data."
            )
        _attempt("discriminator", "judge", discriminator, images, labels)


def _attempt(role: str, hook: str, module: nn.Module, inputs: Tensor, labels: Tensor | None) -> Any:
    try:
        return module(inputs, labels)
    except InputError:
        raise
    except (TypeError, ValueError, RuntimeError, IndexError, KeyError, AttributeError) as error:
        reason = str(error).strip().splitlines()
        raise InputError(
            f"the {role} failed on inputs {list(inputs.shape)} {'with' if labels is not None else 'without'} labels"
            f" ({type(error).__name__}: {reason[0] if reason else ''}); say how to call it with"
            f" {role.capitalize()}Adapter(module, {hook}=...)."
        ) from error


@contextmanager
def _undisturbed(generator: nn.Module, discriminator: nn.Module, device: torch.device) -> Iterator[None]:
    """Evaluation mode without gradients; afterwards every module's mode and the random state are what they were."""
    modes = [(layer, layer.training) for network in (generator, discriminator) for layer in network.modules()]
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            for layer, _ in modes:
                layer.training = False
            yield
    finally:
        for layer, training in modes:
            layer.training = training


def _plain_call(num_classes: int) -> Generate:
    if num_classes:
        return lambda module, inputs, labels: module(inputs, labels)
    return lambda module, inputs, labels: module(inputs)


def _labels(labels: Tensor | None, num_classes: int) -> Tensor | None:
    if num_classes and labels is None:
        raise InputError(f"the network has {num_classes} classes and got no labels; pass labels [N], or num_classes=0.")
    return labels if num_classes else None


def _head(logits: Any, batch: int) -> Tensor:
    if not _is_batch(logits, batch):
        raise InputError(
            f"the discriminator gave {_describe(logits)} for {batch} images where a logit per image [{batch}], a"
            f" map [{batch}, ...] or a list of these is wanted; pick the logits out in `judge`, without averaging"
            " over the batch."
        )
    head: Tensor = logits.squeeze(1) if logits.ndim == 2 and logits.shape[1] == 1 else logits
    return head


def _is_batch(value: Any, batch: int) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point() and value.ndim > 0 and len(value) == batch


def _describe(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor {list(value.shape)} of {str(value.dtype).removeprefix('torch.')}"
    return f"a {type(value).__name__}"
