"""The sources that come with the package: digits (real, handwritten), ring and grid (mixtures with known modes).

`digits:train` and `digits:test` are halves of the digits, for those who judge by digits that were never trained on.

`digits.npz` holds the 1,797 test digits of "Optical Recognition of Handwritten Digits", E. Alpaydin and C. Kaynak,
UCI Machine Learning Repository, 1998, https://doi.org/10.24432/C50P49, licensed CC BY 4.0
(https://creativecommons.org/licenses/by/4.0/). Changed: the values 0..16 are scaled to 0..255.
"""

from __future__ import annotations

from importlib import resources
from typing import Any

import numpy as np
import numpy.typing as npt

from equipoise.data.dataset import Dataset, assemble
from equipoise.data.report import Report

Array = npt.NDArray[Any]

SPLIT = 1998  # any fixed number: the digits are always divided in the same way


def digits() -> Dataset:
    """1,797 handwritten digits, uint8 [1797, 1, 8, 8], in ten classes."""
    return _digits("digits", *_stored())


def digits_train() -> Dataset:
    """899 of the digits, uint8 [899, 1, 8, 8]: in each class every second one of an order drawn once."""
    return _part("digits:train", 0)


def digits_test() -> Dataset:
    """The 898 digits that `digits:train` leaves out, uint8 [898, 1, 8, 8]."""
    return _part("digits:test", 1)


def _part(name: str, first: int) -> Dataset:
    images, labels = _stored()
    shuffled = np.random.default_rng(SPLIT).permutation(len(labels))
    chosen = np.sort(shuffled[np.argsort(labels[shuffled], kind="stable")][first::2])
    return _digits(name, images[chosen], labels[chosen])


def _stored() -> tuple[Array, Array]:
    with (
        (resources.files("equipoise.data") / "digits.npz").open("rb") as file,
        np.load(file, allow_pickle=False) as data,
    ):
        return data["images"], data["labels"].astype(np.int64)


def _digits(name: str, images: Array, labels: Array) -> Dataset:
    credit = "digits: E. Alpaydin and C. Kaynak, UCI Machine Learning Repository, 1998, doi:10.24432/C50P49, CC BY 4.0"
    report = Report(name, sizes=_sizes(8), modes={"L": len(images)}, notes=(credit,))
    classes = tuple("0123456789")
    return assemble(images, report, labels=labels, classes=classes, content=f"builtin {name} 1", name=name)


def ring() -> Dataset:
    """4,096 points of eight Gaussians of standard deviation 0.05 on the unit circle, float32 [4096, 2]."""
    angles = np.arange(8) * (2 * np.pi / 8)
    return _mixture("ring", np.stack([np.cos(angles), np.sin(angles)], axis=1), count=4096, std=0.05)


def grid() -> Dataset:
    """8,192 points of 25 Gaussians of standard deviation 0.05 on a 5 x 5 grid over [-1, 1]^2, float32 [8192, 2]."""
    axis = np.linspace(-1, 1, 5)
    return _mixture("grid", np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2), count=8192, std=0.05)


BUILTIN = {"digits": digits, "digits:train": digits_train, "digits:test": digits_test, "ring": ring, "grid": grid}


def _mixture(name: str, centres: Array, *, count: int, std: float) -> Dataset:
    generator = np.random.default_rng(2014)  # any fixed number: the points are always the same ones
    which = np.arange(count) % len(centres)
    points = centres[which] + std * generator.standard_normal((count, centres.shape[1]))
    points = points[generator.permutation(count)].astype(np.float32)
    report = Report(name, modes={"float32": count}, notes=(f"{len(centres)} known modes, standard deviation {std}",))
    return assemble(
        points,
        report,
        labels=None,
        classes=(),
        content=f"builtin {name} 1",
        modes=centres.astype(np.float32),
        mode_std=std,
        name=name,
    )


def _sizes(side: int) -> dict[str, Any]:
    return {"smallest": [side, side], "largest": [side, side], "shorter_median": float(side), "kinds": 1}
