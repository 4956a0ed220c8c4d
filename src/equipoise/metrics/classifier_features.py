"""Features of the small classifier that was fitted to labelled training images: what its last layer decides by."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from equipoise.errors import InputError
from equipoise.metrics.classifier import Classifier
from equipoise.metrics.features import _Batches
from equipoise.registry import register


@register(
    "features",
    "classifier",
    claim="what a small classifier fitted to labelled training images tells classes by; sees nothing else",
    resizing="none",
)
def classifier(
    batches: _Batches,
    weights: str | Path | None = None,  # a file of `Classifier.save`; `evaluate` fits one to the training images
) -> Iterator[Tensor]:
    """The last convolutions' output, averaged over the places of the image: 64 or 128 numbers."""
    if weights is None:
        raise InputError(
            "the features 'classifier' are those of a classifier fitted to labelled images; give weights=PATH of a "
            "saved one, or use equipoise.evaluate, which fits it"
        )
    fitted = Classifier.load(weights, batches.device)
    if fitted.shape != batches.shape:
        raise InputError(
            f"the classifier was fitted to images shaped {list(fitted.shape)}, and these are {list(batches.shape)}; "
            "resize them, or fit another"
        )
    fitted.network.eval()
    convolutions = fitted.network[:-3]  # without flattening, dropout, and the linear layer
    for images in batches:
        with torch.no_grad():
            yield convolutions(images / 127.5 - 1).mean(dim=(2, 3))
