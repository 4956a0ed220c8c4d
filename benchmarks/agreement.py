"""Do the distances agree with other libraries' on the same features? The largest differences, and values to test by.

    python benchmarks/agreement.py                                            a table
    python benchmarks/agreement.py --freeze tests/fixtures/agreement.json     and the libraries' values into a file

Libraries that cannot be imported are left out. The features are made by a formula, so that the file tests agreement
where no library is installed.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import io
import json
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from equipoise import metrics

Features = NDArray[np.float64]  # [N, d]
Values = dict[str, float]  # by metric
SETS = {"wide": (400, 400, 256), "uneven": (300, 500, 64), "few": (60, 60, 128)}  # real, generated, features
SUBSETS, SUBSET, SEED = 10, 50, 2020  # of the kernel distance over subsets; the seed is torch-fidelity's own


def features(name: str) -> tuple[Features, Features]:
    """Real and generated features of a set: mixed logistic noise, cut off at zero like what a ReLU leaves."""
    real, fake, size = SETS[name]
    generator = np.random.default_rng(7)
    mixing = (generator.random((size, size)) - 0.5) / np.sqrt(size)

    def draw(count: int, scale: float, shift: float) -> Features:
        uniform = generator.random((count, size)) * 0.998 + 0.001
        return np.asarray(np.maximum(scale * np.log(uniform / (1 - uniform)) @ mixing + shift, 0.0))

    return draw(real, 1.0, 0.2), draw(fake, 1.1, 0.25)


def subsets(real: Features, fake: Features) -> Iterator[tuple[Features, Features]]:
    """The pairs of subsets that torch-fidelity draws."""
    generator = np.random.RandomState(SEED)
    for _ in range(SUBSETS):
        yield tuple(part[generator.choice(len(part), SUBSET, replace=False)] for part in (real, fake))  # type: ignore[misc]


def ours(real: Features, fake: Features) -> Values:
    """This package's values."""
    same = min(len(real), len(fake))
    found = {
        "Fréchet": metrics.frechet(real, fake),
        "kernel": metrics.kernel(real[:same], fake[:same]),
        "kernel, subsets": float(np.mean([metrics.kernel(*pair) for pair in subsets(real, fake)])),
    }
    for k in (3, 5):
        found |= {f"{name}, k = {k}": value for name, value in metrics.prdc(real, fake, k=k)._asdict().items()}
    return found


# ------------------------------------------------------------------------------------------------ the libraries


def torch_fidelity(real: Features, fake: Features) -> Values:
    """Needs torchvision."""
    from torch_fidelity import metric_fid, metric_kid, metric_prc

    tensors = [torch.from_numpy(part) for part in (real, fake)]
    same = min(len(real), len(fake))
    moments = [metric_fid.fid_features_to_statistics(part) for part in tensors]
    kernel: dict[str, Any] = {"kid_kernel": "poly", "kid_kernel_poly_degree": 3, "kid_kernel_poly_gamma": None,
                              "kid_kernel_poly_coef0": 1, "verbose": False, "rng_seed": SEED}  # fmt: skip
    whole = metric_kid.kid_features_to_metric(
        *(part[:same] for part in tensors), kid_subsets=1, kid_subset_size=same, **kernel
    )
    parts = metric_kid.kid_features_to_metric(*tensors, kid_subsets=SUBSETS, kid_subset_size=SUBSET, **kernel)
    shares = metric_prc.prc_features_to_metric(
        *reversed(tensors), prc_neighborhood=3, prc_batch_size=10_000, verbose=False
    )
    return {
        "Fréchet": metric_fid.fid_statistics_to_metric(*moments, verbose=False)[metric_fid.KEY_METRIC_FID],
        "kernel": whole[metric_kid.KEY_METRIC_KID_MEAN],
        "kernel, subsets": parts[metric_kid.KEY_METRIC_KID_MEAN],
        "precision, k = 3": shares[metric_prc.KEY_METRIC_PRECISION],
        "recall, k = 3": shares[metric_prc.KEY_METRIC_RECALL],
    }


def torchmetrics(real: Features, fake: Features) -> Values:
    """Its metrics round a network that hands features through."""
    from torchmetrics.image.fid import FrechetInceptionDistance
    from torchmetrics.image.kid import KernelInceptionDistance

    class Through(torch.nn.Identity):
        num_features = real.shape[1]

    same = min(len(real), len(fake))
    found = {}
    for name, metric, count in (
        ("Fréchet", FrechetInceptionDistance(feature=Through(), normalize=False), None),
        ("kernel", KernelInceptionDistance(feature=Through(), subsets=1, subset_size=same), same),
    ):
        for part, is_real in ((real, True), (fake, False)):
            metric.update(torch.from_numpy(part[:count]), real=is_real)
        value = metric.compute()
        found[name] = float(value[0] if isinstance(value, tuple) else value)
    return found


def pytorch_fid(real: Features, fake: Features) -> Values:
    """Needs torchvision."""
    from pytorch_fid.fid_score import calculate_frechet_distance

    moments = [value for part in (real, fake) for value in (part.mean(axis=0), np.cov(part, rowvar=False))]
    return {"Fréchet": float(calculate_frechet_distance(*moments))}


def prdc(real: Features, fake: Features) -> Values:
    """The package of the authors of density and coverage."""
    from prdc import compute_prdc

    return {f"{name}, k = {k}": float(value) for k in (3, 5) for name, value in compute_prdc(real, fake, k).items()}


LIBRARIES: dict[str, Callable[[Features, Features], Values]] = {
    "torch-fidelity": torch_fidelity,
    "torchmetrics": torchmetrics,
    "pytorch-fid": pytorch_fid,
    "prdc": prdc,
}


def values(library: str, name: str) -> Values:
    """What a library says of a set; ImportError where it cannot be imported."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            return LIBRARIES[library](*features(name))
        except RuntimeError as error:  # a torchvision that does not fit this torch
            raise ImportError(str(error)) from error


def measure() -> dict[str, Any]:
    """Versions of the libraries that are here, and their values by set and library."""
    found: dict[str, dict[str, Values]] = {}
    versions = {}
    for library in LIBRARIES:
        try:
            found |= {name: {**found.get(name, {}), library: values(library, name)} for name in SETS}
            versions[library] = importlib.metadata.version(library)
        except ImportError as error:
            print(f"{library} is left out: {error}")
    return {"versions": versions, "values": found}


def table(measured: dict[str, Any]) -> str:
    """The largest difference from ours, by library and metric."""
    lines = ["| library | metric | values | largest difference |", "| --- | --- | --- | --- |"]
    mine = {name: ours(*features(name)) for name in measured["values"]}
    for library, version in measured["versions"].items():
        sets = {name: told[library] for name, told in measured["values"].items()}
        for metric in next(iter(sets.values())):
            shown = ", ".join(f"{told[metric]:.5g}" for told in sets.values())
            worst = max(abs(told[metric] - mine[name][metric]) for name, told in sets.items())
            lines.append(f"| {library} {version} | {metric} | {shown} | {worst:.1e} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, print, and freeze if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--freeze", type=Path, help="write the libraries' values there")
    options = parser.parse_args()
    measured = measure()
    print(table(measured))
    if options.freeze is not None:
        options.freeze.write_text(json.dumps(measured, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
