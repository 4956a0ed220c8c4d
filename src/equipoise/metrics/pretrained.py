"""Feature networks whose weights are no package: the FID's Inception and DINOv2, from a path, or downloaded on request.

Where no path is given, weights that lie in PyTorch's or Hugging Face's cache are used. The FID's come as a .pth file
only: it is read by PyTorch's restricted loader, which makes tensors and runs nothing.
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from equipoise.errors import InputError
from equipoise.metrics.features import _Batches, imagenet_input
from equipoise.registry import register

FID_WEIGHTS = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"  # SHA-256; file 2015-12-05, 96 MB
DINOV2 = "facebook/dinov2-large"  # ViT-L/14 without registers, as recommended in arXiv:2306.04675; 1.2 GB
SIZES = {384: "ViT-S/14", 768: "ViT-B/14", 1024: "ViT-L/14", 1536: "ViT-g/14"}  # arXiv:2304.07193, by width
PATCH = 14  # pixels


def fid(weights: str | Path | None = None, **options: Any) -> str:
    """ "FID" for the weights of 2015-12-05 alone, whose published distances these are comparable with."""
    path = None if weights is None else Path(weights)
    known = path is None or (path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == FID_WEIGHTS)
    return "FID" if known else "FD-inception (other weights)"


@register(
    "features",
    "inception",
    paper="arXiv:1706.08500",
    claim="2,048 features of the FID's own network, through torch-fidelity; only distances in them are an FID",
    called=fid,
    resizing="bilinear to 299 px as in TensorFlow 1",
)
def inception(
    batches: _Batches,
    weights: str | Path | None = None,  # a .pth or .safetensors file; None: the FID's, if they are on this disk
    download: bool = False,  # 96 MB, once, if they are not
) -> Iterator[Tensor]:
    """Pooled features of Inception v3 as TensorFlow had it on 2015-12-05, on its own resizing without antialiasing."""
    batches.coloured("inception")
    network = _inception(None if weights is None else str(weights), download, str(batches.device))
    for images in batches:
        with torch.no_grad():
            yield network(images.to(torch.uint8).expand(-1, 3, -1, -1))[0]


def fd_dinov2(weights: str | Path | None = None, size: int = 224, **options: Any) -> str:
    """Such as "FD-dinov2 (ViT-L/14)"; a folder of weights tells its own size."""
    try:
        width = 1024 if weights is None else json.loads((Path(weights) / "config.json").read_text())["hidden_size"]
    except (OSError, ValueError, KeyError, TypeError):
        return "FD-dinov2 (other weights)"
    details = [SIZES.get(width, f"{width} features")] + ([] if size == 224 else [f"{size} px"])
    return f"FD-dinov2 ({', '.join(details)})"


@register(
    "features",
    "dinov2",
    paper="arXiv:2304.07193",
    claim="1,024 features of DINOv2 ViT-L/14, which agree best with human judges (arXiv:2306.04675); no labels",
    called=fd_dinov2,
    resizing="bicubic to {size} px",
)
def dinov2(
    batches: _Batches,
    weights: str | Path | None = None,  # a folder with config.json and model.safetensors; None: ViT-L/14's, if here
    download: bool = False,  # 1.2 GB, once, if they are not
    size: int = 224,  # pixels a side, a multiple of 14
) -> Iterator[Tensor]:
    """The class token of DINOv2 after the last normalisation, of images resized as arXiv:2306.04675 did."""
    batches.coloured("dinov2")
    if size < PATCH or size % PATCH:
        raise InputError(
            f"dinov2 cuts images into patches of {PATCH} pixels, so a size of {size} does not fit; try 224."
        )
    network = _dinov2(None if weights is None else str(weights), download, str(batches.device))
    for images in batches:
        with torch.no_grad():
            yield network(pixel_values=imagenet_input(images, size)).pooler_output


@functools.lru_cache(maxsize=1)
def _inception(weights: str | None, download: bool, device: str) -> Any:
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3, FeatureExtractorInceptionV3
    except (ImportError, RuntimeError) as error:  # RuntimeError: a torchvision that does not fit this torch
        raise _missing("inception", "torch-fidelity and a torchvision that fits this torch", error) from error
    path = Path(weights) if weights else _downloaded(URL_INCEPTION_V3, download)
    plain = io.BytesIO()  # torch-fidelity unpickles what it is given, so it is given tensors that we have read
    torch.save(_tensors(path), plain)
    plain.seek(0)
    try:
        network = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], plain)
    except RuntimeError as error:
        raise _others(path, "the FID's Inception", error) from None
    return network.eval().requires_grad_(False).to(device)


@functools.lru_cache(maxsize=1)
def _dinov2(weights: str | None, download: bool, device: str) -> Any:
    try:
        from transformers import Dinov2Model
    except (ImportError, RuntimeError) as error:
        raise _missing("dinov2", "transformers", error) from error
    if weights is not None and not (Path(weights) / "config.json").is_file():
        raise InputError(
            f"{weights} is no folder with config.json and model.safetensors; give one, as {DINOV2} has them"
        )
    try:
        network, told = Dinov2Model.from_pretrained(
            weights or DINOV2,
            local_files_only=weights is not None or not download,
            use_safetensors=True,
            output_loading_info=True,
        )
    except (OSError, ValueError, SafetensorError, RuntimeError) as error:
        if weights is None and not download:
            raise _not_here("dinov2", "1.2 GB from Hugging Face", f"a folder with the files of {DINOV2}") from None
        raise _others(Path(weights or DINOV2), "DINOv2", error) from None
    if told["missing_keys"]:
        raise _others(Path(weights or DINOV2), "DINOv2", f"without {min(told['missing_keys'])}")
    return network.float().eval().requires_grad_(False).to(device)


def _downloaded(url: str, download: bool) -> Path:
    """Where PyTorch keeps this file, which is fetched if it is not there and `download` says so."""
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    if not path.is_file():
        if not download:
            raise _not_here(
                "inception",
                "96 MB from torch-fidelity's release",
                f"a file {path.name}, or pytorch-fid's, which is the same",
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, str(path), hash_prefix=FID_WEIGHTS, progress=False)
        except (URLError, OSError, RuntimeError) as error:
            raise InputError(
                f"{url} could not be downloaded ({error}); fetch it by other means, and give weights=PATH"
            ) from None
    return path


def _tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors or .pth file."""
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
        return state
    except (OSError, RuntimeError, SafetensorError, pickle.UnpicklingError, EOFError) as error:
        detail = " ".join(str(error).split())[:200]
        raise InputError(f"{path} cannot be read as weights ({detail}); give a .safetensors or .pth file") from None


def _missing(extra: str, packages: str, error: Exception) -> InputError:
    return InputError(
        f"the features {extra!r} need {packages} ({error}); "
        f"run pip install 'equipoise[{extra}]', or use the features 'lite0' or 'pixels'."
    )


def _not_here(name: str, size: str, what: str) -> InputError:
    return InputError(
        f"the weights of {name!r} are not on this disk, and nothing is downloaded unasked; "
        f"ask for it (download, {size}), or give weights=PATH, {what}."
    )


def _others(path: Path, network: str, error: Exception | str) -> InputError:
    detail = " ".join(str(error).split())[:200]
    return InputError(f"{path} holds no weights of {network} ({detail}); give the network's own.")
