"""How good are a run's samples? Four measurements of arrays in a file, which need no trainer and no checkpoint.

    python benchmarks/quality.py split-digits TRAIN.npz           the 900 digits to train on
    python benchmarks/quality.py digits SAMPLES.npz               against the 897 others, and a classifier
    python benchmarks/quality.py features SAMPLES.npz --real R    Fréchet distance and coverage, in named features
    python benchmarks/quality.py labels SAMPLES.npz --train-folder T --test-folder U    do labels come out as asked?

SAMPLES.npz holds `images`, uint8 [N, H, W, C] or [N, H, W], and for `labels` also `labels`, integers [N].
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import math
import os
import sys
import tempfile
import time
import zipfile
from importlib import resources
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # idle threads that spin slow small steps down several times

import numpy as np
from numpy.typing import NDArray

from equipoise import metrics
from equipoise.errors import EquipoiseError, InputError
from equipoise.files import atomic_write
from equipoise.metrics.features import label

Images = NDArray[np.uint8]  # [N, C, H, W]
Result = dict[str, Any]
TRAIN, TEST = 900, 897  # digits
NEIGHBOURS = 5  # k of the balls


# ---------------------------------------------------------------------------------------------------------------------
# Measurements


def split_digits(seed: int) -> tuple[Images, NDArray[np.int64], Images, NDArray[np.int64]]:
    """The digits that come with the package: 900 to train on and their labels, 897 to be judged by and theirs."""
    with (
        (resources.files("equipoise") / "data" / "digits.npz").open("rb") as file,
        np.load(file, allow_pickle=False) as data,
    ):
        images, labels = data["images"], data["labels"].astype(np.int64)
    order = np.random.default_rng(seed).permutation(len(images))
    train, test = order[:TRAIN], order[TRAIN : TRAIN + TEST]
    return images[train], labels[train], images[test], labels[test]


def measure_digits(samples: Images, seed: int) -> Result:
    """Classes that a classifier sees in 8x8 samples, and F = harmonic mean of precision and coverage in pixel space.

    Beside them the same for the 900 training digits (what samples of the data itself reach) and for a hundred of them
    over and over (what memorising a few reaches).
    """
    train, train_labels, test, test_labels = split_digits(seed)
    classifier = metrics.fit_classifier(train, train_labels, num_classes=10, seed=seed)
    samples = _shrink(samples, test.shape[1:])
    some = samples[np.random.default_rng(seed).permutation(len(samples))[:TEST]]
    rows = {
        "samples": (some, samples),
        "real digits": (train[:TEST], train),
        "100 real digits, repeated": (train[np.arange(TEST) % 100],) * 2,
    }
    return {
        "classifier accuracy on unseen digits": classifier.accuracy(test, test_labels),
        "samples": len(samples),
        "rows": {
            name: {**_balls(test, compared), **_histogram(classifier.predict(everything), 10)}
            for name, (compared, everything) in rows.items()
        },
    }


def measure_features(
    samples: Images,
    real: Images,
    heldout: Images | None,
    features: str,
    options: dict[str, Any],
    cache: Path | None,
    seed: int,
) -> Result:
    """Distances from real images of the samples, of a Gaussian fitted to each pixel, and of other real images.

    All sets are cut to one number, since the Fréchet distance depends on it.
    """
    sets = {"samples": samples, "per-pixel Gaussian": _gaussian(real, seed), "held-out real images": heldout}
    given = {name: images for name, images in sets.items() if images is not None}
    number = min(len(images) for images in (real, *given.values()))
    name, rows = label(features, **options), {}
    truth = _features(features, real[:number], options, cache)
    for which, images in given.items():
        found = _features(features, images[:number], options, cache if which == "held-out real images" else None)
        shares = metrics.prdc(truth, found, k=NEIGHBOURS)._asdict()
        rows[which] = {name: metrics.frechet(truth, found), "energy": metrics.energy(truth, found), **shares}
    share = rows["samples"][name] / rows["per-pixel Gaussian"][name]
    return {
        "features": features,
        "images of each": number,
        f"{name}, samples / per-pixel Gaussian": share,
        "rows": rows,
    }


def measure_labels(
    samples: Images,
    asked: NDArray[np.int64],
    classes: tuple[str, ...],
    classifier: metrics.Classifier,
    test: tuple[Images, NDArray[np.int64]] | None,
) -> Result:
    """Share of the samples in which a classifier of real images sees the class that was asked for."""
    if len(asked) != len(samples) or len(asked) == 0 or not 0 <= asked.min() <= asked.max() < len(classes):
        raise InputError(
            f"{len(samples)} samples came with {len(asked)} labels; give one label for each, "
            f"from 0 to {len(classes) - 1} in the order of the class folders ({', '.join(classes)})."
        )
    agree = classifier.predict(samples) == asked
    rows = {"all": _share(int(agree.sum()), len(agree))}
    for index, name in enumerate(classes):
        rows[name] = _share(int(agree[asked == index].sum()), int((asked == index).sum()))
    known = {} if test is None else {"classifier accuracy on test images": classifier.accuracy(*test)}
    return {**known, "rows": rows}


def wilson(hits: int, trials: int, z: float = 1.959964) -> tuple[float, float]:
    """Wilson's 95 % interval (1927, doi:10.1080/01621459.1927.10502953) of a share; 0 to 1 without trials."""
    if trials == 0:
        return 0.0, 1.0
    share, spread = hits / trials, z * z / trials
    centre, reach = share + spread / 2, z * math.sqrt(share * (1 - share) / trials + spread / trials / 4)
    return max(0.0, (centre - reach) / (1 + spread)), min(1.0, (centre + reach) / (1 + spread))


def _balls(real: Images, fake: Images) -> Result:
    found = metrics.prdc(metrics.extract("pixels", real), metrics.extract("pixels", fake), k=NEIGHBOURS)
    return {
        "F": metrics.harmonic_mean(found.precision, found.coverage),
        "precision": found.precision,
        "coverage": found.coverage,
        "recall": found.recall,
    }


def _histogram(predicted: NDArray[np.int64], classes: int) -> Result:
    counts = np.bincount(predicted, minlength=classes)
    shares = counts / counts.sum()
    return {
        "classes seen": int((counts > 0).sum()),
        "largest share": float(shares.max()),
        "KL from uniform": metrics.reverse_kl(counts),
        "shares": [round(float(share), 4) for share in shares],
    }


def _share(hits: int, trials: int) -> Result:
    low, high = wilson(hits, trials)
    return {"agree": hits / trials if trials else None, "95 % low": low, "95 % high": high, "samples": trials}


def _gaussian(real: Images, seed: int) -> Images:
    """As many images as `real`, each value normal with the mean and variance of its pixel and channel."""
    mean, std = real.mean(axis=0), real.std(axis=0)
    noise = np.random.default_rng(seed).standard_normal(real.shape, dtype=np.float32)
    return np.asarray((mean + std * noise).round().clip(0, 255), dtype=np.uint8)


# ---------------------------------------------------------------------------------------------------------------------
# Files


def read_samples(path: Path) -> tuple[Images, NDArray[np.int64] | None]:
    """Images [N, C, H, W] and labels of an .npz file."""
    try:
        with np.load(path, allow_pickle=False) as data:
            images = data["images"]
            labels = data["labels"].astype(np.int64) if "labels" in data else None
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
        raise InputError(
            f"{path} is no .npz file with an array `images`; save one with numpy.savez(file, images=...)."
        ) from None
    images = images[..., None] if images.ndim == 3 else images
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] > 4 or len(images) == 0:
        raise InputError(
            f"the `images` of {path} are {images.dtype} shaped {list(images.shape)}; "
            "save uint8 as [N, H, W] or [N, H, W, C], at least one."
        )
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2)), labels


def read_images(path: Path, shape: tuple[int, ...], count: int, seed: int) -> Images:
    """Up to `count` images drawn from an .npz file or from a folder and its subfolders, of this shape (C, H, W)."""
    generator = np.random.default_rng(seed)
    if path.is_dir():
        files = _files(path)
        return _decode([files[index] for index in generator.permutation(len(files))[:count]], shape)
    images, _ = read_samples(path)
    if images.shape[1:] != shape:
        raise InputError(
            f"the images of {path} are shaped {list(images.shape[1:])} and the samples {list(shape)}; "
            "give images of the samples' shape, or a folder, whose images are resized to it."
        )
    return images[generator.permutation(len(images))[:count]]


def read_classes(
    folder: Path, shape: tuple[int, ...], count: int | None, seed: int
) -> tuple[Images, NDArray[np.int64], tuple[str, ...]]:
    """Images and labels of a folder with one subfolder for each class, the classes in the order of their names."""
    classes = tuple(sorted(part.name for part in folder.iterdir() if part.is_dir())) if folder.is_dir() else ()
    if len(classes) < 2:
        raise InputError(
            f"{folder} has {len(classes)} subfolders, but a classifier needs two classes; give one for each."
        )
    pairs = [(file, index) for index, name in enumerate(classes) for file in _files(folder / name)]
    chosen = [pairs[index] for index in np.random.default_rng(seed).permutation(len(pairs))[:count]]
    return _decode([file for file, _ in chosen], shape), np.array([index for _, index in chosen]), classes


def _files(folder: Path) -> list[Path]:
    known = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif"}
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in known)
    if not files:
        raise InputError(f"no image files are in {folder}; give a folder of {', '.join(sorted(known))} files.")
    return files


def _decode(files: list[Path], shape: tuple[int, ...]) -> Images:
    """The files' middle squares (or what has the samples' proportions), resized to (C, H, W)."""
    from PIL import Image, ImageOps

    channels, height, width = shape
    images = np.empty((len(files), *shape), dtype=np.uint8)
    for row, file in enumerate(files):
        with Image.open(file) as opened:
            image = opened.convert({1: "L", 3: "RGB", 4: "RGBA"}[channels])
        if image.size != (width, height):
            image = ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS)
        images[row] = np.asarray(image).reshape(height, width, channels).transpose(2, 0, 1)
    return images


def _shrink(images: Images, shape: tuple[int, ...]) -> Images:
    """Images averaged down to (C, H, W) over whole blocks, where they are larger; channels are averaged to grey."""
    height, width = images.shape[2] // shape[1], images.shape[3] // shape[2]
    if images.shape[2:] != (height * shape[1], width * shape[2]) or height == 0:
        raise InputError(
            f"samples of {images.shape[2]}x{images.shape[3]} pixels are no digits; give 8x8, or a multiple."
        )
    blocks = images.reshape(len(images), -1, shape[1], height, shape[2], width)
    return np.asarray(blocks.mean(axis=(1, 3, 5)).round()[:, None], dtype=np.uint8)


def _features(name: str, images: Images, options: dict[str, Any], cache: Path | None) -> NDArray[np.float32]:
    """Features of the images, from the cache where it has them."""
    key = hashlib.sha256(f"{name} {options} {images.shape}".encode() + images.tobytes()).hexdigest()[:24]
    file = None if cache is None else cache / f"features-{key}.npz"
    if file is not None and file.exists():
        with np.load(file, allow_pickle=False) as data:
            return np.asarray(data["features"], dtype=np.float32)
    features = metrics.extract(name, images, progress=_progress if sys.stderr.isatty() else None, **options)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(file, _npz({"features": features}))
    return features


def _npz(arrays: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def _progress(done: int, whole: int) -> None:
    print(f"\r{done}/{whole} images", end="\n" if done == whole else "", file=sys.stderr, flush=True)


# ---------------------------------------------------------------------------------------------------------------------
# The command line


def report(result: Result) -> str:
    """A result as text: the plain facts, then one table of the rows."""
    facts = [f"{name}: {_short(value)}" for name, value in result.items() if name != "rows"]
    rows = result["rows"]
    columns = [name for name in next(iter(rows.values())) if name != "shares"]
    table = [["", *columns], *([which, *(_short(row[name]) for name in columns)] for which, row in rows.items())]
    widths = [max(len(line[column]) for line in table) for column in range(len(columns) + 1)]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in table]
    shares = [
        f"{which}, share of each class in %: " + " ".join(f"{100 * share:.1f}" for share in row["shares"])
        for which, row in rows.items()
        if "shares" in row
    ]
    return "\n".join([*facts, "", *lines, *([""] if shares else []), *shares])


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "-" if value is None else str(value)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="How good are a run's samples?")
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name: str, about: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=about, description=about)
        made.add_argument("file", type=Path, help="an .npz file with `images`, uint8 [N, H, W, C] or [N, H, W]")
        return made

    split = command("split-digits", "write the 900 training digits and their labels")
    digits = command("digits", "8x8 samples against the 897 unseen digits")
    for made in (split, digits):
        made.add_argument("--data-seed", type=int, default=0, help="of the split into 900 and 897")
    features = command("features", "distances from real images, beside a per-pixel Gaussian")
    features.add_argument("--real", type=Path, required=True, help=".npz or folder of the images trained on")
    features.add_argument("--heldout", type=Path, help=".npz or folder of real images that were not trained on")
    features.add_argument("--features", default="lite0", help="lite0 or pixels")
    features.add_argument("--count", type=int, default=5000, help="images of each set")
    features.add_argument("--size", type=int, help="pixels the features are taken at (lite0: 64, 128 or 224)")
    features.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "equipoise-features")
    labels = command("labels", "do the samples show the classes asked for? `labels` in the file are integers [N]")
    labels.add_argument("--train-folder", type=Path, required=True, help="real images, a subfolder for each class")
    labels.add_argument("--test-folder", type=Path, help="others, to state the classifier's accuracy")
    labels.add_argument("--count", type=int, help="real images to fit at most; default: all")
    labels.add_argument("--classifier", type=Path, help="file to keep the fitted classifier in, or to take it from")
    for made in (digits, features, labels):
        made.add_argument("--json", type=Path, help="write the result there as well")
    for made in (features, labels):
        made.add_argument("--seed", type=int, default=0, help="of what is drawn from the real images")
    return parser


def _digits(given: argparse.Namespace) -> Result:
    return measure_digits(read_samples(given.file)[0], given.data_seed)


def _features_command(given: argparse.Namespace) -> Result:
    samples = read_samples(given.file)[0][: given.count]
    shape = samples.shape[1:]
    real = read_images(given.real, shape, given.count, given.seed)
    heldout = None if given.heldout is None else read_images(given.heldout, shape, given.count, given.seed)
    options = {} if given.size is None else {"size": given.size}
    return measure_features(samples, real, heldout, given.features, options, given.cache, given.seed)


def _labels(given: argparse.Namespace) -> Result:
    samples, asked = read_samples(given.file)
    if asked is None:
        raise InputError(
            f"{given.file} holds no `labels`, so nothing says what was asked for; save them beside `images`."
        )
    shape = samples.shape[1:]
    classes = tuple(sorted(part.name for part in given.train_folder.glob("*") if part.is_dir()))
    if given.classifier is not None and given.classifier.exists():
        classifier = metrics.Classifier.load(given.classifier)
    else:
        images, real_labels, classes = read_classes(given.train_folder, shape, given.count, given.seed)
        classifier = metrics.fit_classifier(images, real_labels, num_classes=len(classes), seed=given.seed)
        if given.classifier is not None:
            classifier.save(given.classifier)
    test = None if given.test_folder is None else read_classes(given.test_folder, shape, None, given.seed)[:2]
    return measure_labels(samples, asked, classes, classifier, test)


def main(arguments: list[str] | None = None) -> int:
    """Run one sub-command; returns the exit code, 2 for an input that cannot work."""
    given = _parser().parse_args(arguments)
    start = time.perf_counter()
    try:
        if given.command == "split-digits":
            images, labels, _, _ = split_digits(given.data_seed)
            atomic_write(given.file, _npz({"images": images.transpose(0, 2, 3, 1), "labels": labels}))
            print(f"{len(images)} digits and their labels: {given.file}")
            return 0
        result = {"digits": _digits, "features": _features_command, "labels": _labels}[given.command](given)
    except EquipoiseError as error:
        print(f"quality: {error}", file=sys.stderr)
        return error.exit_code
    result["seconds"] = round(time.perf_counter() - start, 1)
    print(report(result))
    if given.json is not None:
        atomic_write(given.json, json.dumps(result, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
