"""The classifier of labelled images: fitted once and kept in the cache folder, so that runs are judged by the same."""

from __future__ import annotations

from pathlib import Path

from equipoise.data import Dataset
from equipoise.data.cache import cache_root, usable
from equipoise.errors import InputError
from equipoise.metrics import Classifier, fit_classifier


def classifier(one: Dataset) -> Classifier:
    """The classifier of labelled images, fitted once (seconds to a minute) and kept in the cache folder.

    Two processes may fit it at the same time: both find the same weights, and the file appears whole.
    """
    path = _classifier_path(one)
    if path not in _known:
        _known[path] = _kept(path, one) or _fitted(path, one)
    return _known[path]


def classifier_file(one: Dataset) -> Path:
    """The file of that classifier, which is fitted if it is not there."""
    path = _classifier_path(one)
    if _kept(path, one) is None:
        _fitted(path, one)
    return path


def _classifier_path(one: Dataset) -> Path:
    return cache_root() / "classifiers" / f"{one.fingerprint}-1.safetensors"


_known: dict[Path, Classifier] = {}  # those of this process


def _kept(path: Path, one: Dataset) -> Classifier | None:
    try:
        found = Classifier.load(path)
    except InputError:  # not there yet, or damaged
        return None
    return found if (found.shape, found.num_classes) == (one.shape, len(one.classes)) else None


def _fitted(path: Path, one: Dataset) -> Classifier:
    found = fit_classifier(one.images, one.labels, num_classes=len(one.classes))
    with usable(cache_root()):
        path.parent.mkdir(parents=True, exist_ok=True)
        found.save(path)
    return found
