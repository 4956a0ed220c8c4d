"""Files of samples: the same seed gives the same file, and nothing is overwritten."""

import numpy as np
import pytest
from PIL import Image

from equipoise import generate, runs, samples
from equipoise.errors import InputError
from equipoise.generate import generate_files, parse_seeds
from small_runs import TINY, images_file, planned, run


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    run(folder / "run", planned(images_file(folder / "images.npz", classes=3), kimg=0.08))
    return folder / "run"


@pytest.fixture(scope="module")
def ring(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ring")
    run(folder / "run", planned("ring", TINY[:3], kimg=0.3, recipe="ring"))
    return folder / "run"


@pytest.mark.parametrize(
    ("text", "count", "seeds"),
    [(None, None, list(range(64))), (None, 3, [0, 1, 2]), ("5-8", None, [5, 6, 7, 8]), ("1,9,4", None, [1, 9, 4]),
     ("0-2, 7", 4, [0, 1, 2, 7]), ("3", None, [3])],
)  # fmt: skip
def test_seeds(text, count, seeds):
    assert parse_seeds(text, count) == seeds


@pytest.mark.parametrize(
    ("text", "count"),
    [("8-5", None), ("a", None), ("", None), ("-1", None), ("1,", None), ("0-3", 5), (None, 0), (None, 10**9),
     ("0-99999999999", None), (str(2**63), None)],
)  # fmt: skip
def test_bad_seeds(text, count):
    with pytest.raises(InputError):
        parse_seeds(text, count)


def test_the_same_seed_is_the_same_image_in_every_file(trained, tmp_path):
    said = generate_files(trained, seeds="3-9", out=tmp_path / "some")
    assert said == [f"7 samples in {tmp_path / 'some'}"] or said == [f"7 files in {tmp_path / 'some'}"]
    assert {p.name for p in (tmp_path / "some").iterdir()} == {f"seed{n:06d}.png" for n in range(3, 10)}
    generate_files(trained, count=8, out=tmp_path / "all.NPZ")
    with np.load(tmp_path / "all.NPZ", allow_pickle=False) as stored:
        images, labels = stored["images"], stored["labels"]
    assert images.shape == (8, 8, 8, 1) and images.dtype == np.uint8 and labels.shape == (8,)
    for seed in range(3, 8):
        assert (np.asarray(Image.open(tmp_path / f"some/seed{seed:06d}.png")) == images[seed, :, :, 0]).all()


def test_a_grid_is_one_picture(trained, tmp_path):
    said = generate_files(trained, count=4, grid=tmp_path / "deep" / "grid.png")
    assert said == [f"4 samples in {tmp_path / 'deep' / 'grid.png'}"]
    assert Image.open(tmp_path / "deep" / "grid.png").size == (70, 70)
    assert generate_files(trained, count=4) == [f"4 samples in {trained / 'generated.png'}"]


def test_classes_by_name_and_number(trained, tmp_path):
    for name in ("2", "1"):
        generate_files(trained, count=4, label=name, out=tmp_path / f"{name}.npz")
        with np.load(tmp_path / f"{name}.npz") as stored:
            assert stored["labels"].tolist() == [int(name)] * 4
    assert generate.parse_class("dog", ("cat", "dog")) == generate.parse_class("1", ("cat", "dog")) == 1
    assert generate.parse_class("1", ("1", "0")) == 0  # a name comes before a number
    with pytest.raises(InputError, match="there are cat, dog"):
        generate.parse_class("bird", ("cat", "dog"))
    with pytest.raises(InputError, match="no class '²'"):
        generate.parse_class("²", ("cat", "dog"))


def test_networks_and_checkpoints_can_be_chosen(trained, tmp_path):
    for which in ("G", "G_ema"):
        generate_files(trained, count=2, out=tmp_path / f"{which}.npz", which=which, at="000000")
        network, _ = runs.load_network(trained, which)
        expected = samples.from_seeds(network, [0, 1])[0]
        with np.load(tmp_path / f"{which}.npz") as stored:
            assert np.abs(stored["images"][..., 0] - (expected[:, 0].numpy() + 1) * 127.5).max() <= 0.51


def test_points_are_vectors_and_a_picture_over_the_real_ones(ring, tmp_path):
    generate_files(ring, count=5, out=tmp_path / "points.npz", grid=tmp_path / "points.png")
    with np.load(tmp_path / "points.npz") as stored:
        assert stored["images"].shape == (5, 2) and stored["images"].dtype == np.float32
    picture = np.asarray(Image.open(tmp_path / "points.png"))
    assert picture.shape == (512, 512, 3)
    assert ((picture == 150).all(axis=2)).sum() > 100  # the middle of a mode is the grey of real points
    with pytest.raises(InputError, match=r"\.npz"):
        generate_files(ring, out=tmp_path / "folder")


def test_nothing_is_overwritten_and_senseless_targets_are_refused(trained, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    (tmp_path / "old.npz").touch()
    bad = [{"out": tmp_path / "full"}, {"out": tmp_path / "old.npz"}, {"grid": tmp_path / "grid.jpg"},
           {"which": "D"}, {"truncation": -1.0}, {"label": "7"}, {"at": "../x"}, {"out": tmp_path / "old.npz" / "b"},
           {"grid": tmp_path / "old.npz" / "a.png"}]  # fmt: skip
    for arguments in bad:
        with pytest.raises(InputError):
            generate_files(trained, **arguments)
    assert (tmp_path / "old.npz").stat().st_size == 0 and len(list(tmp_path.rglob("*"))) == 3
