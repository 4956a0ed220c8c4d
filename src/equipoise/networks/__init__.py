"""Generators and discriminators by name, for square images of 8 to 256 pixels and for vectors.

A generator has `latent_dim`, `num_classes` (0: unconditional), `shape` and `forward(latents [N, latent_dim], labels
[N] | None)`, giving images [N, C, H, W] in about [-1, 1] or vectors [N, d]. A discriminator has `num_classes`, `shape`
and `forward(images, labels | None)`, giving logits [N]. An unconditional network ignores labels.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from equipoise.errors import InputError
from equipoise.networks.packing import Packed
from equipoise.registry import find, suggest

if TYPE_CHECKING:
    from torch import nn

RESOLUTIONS = (8, 16, 32, 64, 128, 256)
MOST = 1_000_000  # numbers of a latent, and channels
_GIVEN = ("shape", "latent_dim", "num_classes", "width", "init")  # what every family takes; the rest are its options


def build(
    name: str,  # of the family: mlp, dcgan, resnet, normfree, autoencoder
    shape: tuple[int, ...],  # (C, H, W) with C 1 or 3 and H = W a power of two from 8 to 256, or (d,)
    *,
    latent_dim: int,
    num_classes: int = 0,  # 0: unconditional
    width: int | tuple[int, int] | None = None,  # (of G, of D) where they differ; None: the family's own
    init: str | None = None,  # of equipoise.initialise, several joined by "+"; None: the family's own
    options: Mapping[str, Any] | None = None,  # of the family: see `options_of`
    pack: int = 1,  # images that the discriminator judges at once
) -> tuple[nn.Module, nn.Module]:
    """The generator and the discriminator of a family, initialised with torch's default generator.

    Raises InputError for a shape, a width or an option that the family cannot take.
    """
    family = find("network", name).part
    chosen = dict(options or {})
    _check_shape(name, tuple(shape))
    _check_numbers(name, latent_dim, num_classes, width)
    for option in chosen:
        if option not in options_of(name):
            raise InputError(f"the network {name!r} has no option {option!r}{suggest(option, list(options_of(name)))}")
    common = {"latent_dim": latent_dim, "num_classes": num_classes, "init": init, **chosen}
    if not isinstance(width, tuple) and pack == 1:
        sized = {} if width is None else {"width": width}
        pair: tuple[nn.Module, nn.Module] = family(tuple(shape), **common, **sized)
        return pair
    sizes = [{} if one is None else {"width": one} for one in (width if isinstance(width, tuple) else (width, width))]
    generator, _ = family(tuple(shape), **common, **sizes[0])
    _, discriminator = family((pack * shape[0], *shape[1:]), **common, **sizes[1])
    return generator, Packed(discriminator, pack, tuple(shape)) if pack > 1 else discriminator


def options_of(name: str) -> dict[str, Any]:
    """The options of a family and their defaults."""
    parameters = inspect.signature(find("network", name).part).parameters
    return {key: parameter.default for key, parameter in parameters.items() if key not in _GIVEN}


def _check_shape(name: str, shape: tuple[int, ...]) -> None:
    if len(shape) == 1 and shape[0] >= 1:
        if name in ("mlp", "autoencoder"):
            return
        raise InputError(
            f"the network {name!r} is for images and the data are vectors of {shape[0]}; use 'mlp' instead."
        )
    if len(shape) != 3 or shape[0] not in (1, 3) or shape[1] != shape[2] or shape[1] not in RESOLUTIONS:
        raise InputError(
            f"no network can be built for the shape {shape}: images need 1 or 3 channels and a square side of"
            f" {', '.join(map(str, RESOLUTIONS[:-1]))} or {RESOLUTIONS[-1]} pixels, so resize the data to one of these."
        )


def _check_numbers(name: str, latent_dim: int, num_classes: int, width: int | tuple[int, int] | None) -> None:
    if not 1 <= latent_dim <= MOST or num_classes < 0:
        raise InputError(
            f"latent_dim={latent_dim} and num_classes={num_classes} make no network; give a latent_dim from 1 to"
            f" {MOST:,}, and 0 or the number of classes."
        )
    for one in width if isinstance(width, tuple) else (width,):
        if one is not None and not 1 <= one <= MOST:
            raise InputError(f"width={one} is no number of channels for the network {name!r}; give 1 to {MOST:,}.")
