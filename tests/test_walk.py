"""`equipoise walk`: a file whose first moment is what `generate` makes, and sentences for what cannot be."""

import dataclasses

import numpy as np
import pytest
from PIL import Image, ImageSequence
from typer.testing import CliRunner

from equipoise.apps import walk as walking
from equipoise.apps.walk import Asked
from equipoise.errors import InputError
from equipoise.generate import generate_files
from small_runs import TINY, images_file, planned, run


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("walk")
    run(folder / "run", planned(images_file(folder / "images.npz", classes=3), kimg=0.08))
    return folder / "run"


@pytest.fixture(scope="module")
def ring(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ring")
    run(folder / "run", planned("ring", TINY[:3], kimg=0.3, recipe="ring"))
    return folder / "run"


def cells(picture, side):
    """Cells [N, side, side] of a grid, row by row, without the white between them."""
    rows, columns = ((length - 2) // (side + 2) for length in picture.shape[:2])
    parts = [
        picture[2 + r * (side + 2) :, 2 + c * (side + 2) :][:side, :side] for r in range(rows) for c in range(columns)
    ]
    return np.stack(parts)


def generated(run, tmp_path, **arguments):
    generate_files(run, out=tmp_path / "asked.npz", **arguments)
    with np.load(tmp_path / "asked.npz") as stored:
        return stored["images"][..., 0]


def test_the_first_frame_is_what_generate_makes_of_these_seeds(trained, tmp_path):
    out = tmp_path / "deep" / "walk.gif"
    assert walking.write(trained, out, Asked(seeds="3-14", frames=8, rows=2, columns=2)) == (out, 8)
    own = generated(trained, tmp_path, seeds="3-6")
    with Image.open(out) as stored:
        shown = np.asarray(stored.convert("L"))
        times = [frame.info["duration"] for frame in ImageSequence.Iterator(stored)]
    assert sum(times) == 8 * 40
    assert np.array_equal(cells(shown, 128), own.repeat(16, axis=1).repeat(16, axis=2))


def test_a_picture_has_truncations_as_rows_and_seeds_as_columns(trained, tmp_path):
    asked = Asked(seeds="0-4", truncation="0.5,1,0", label="1")
    assert walking.write(trained, tmp_path / "sweep.png", asked)[1] == 3
    shown = cells(np.asarray(Image.open(tmp_path / "sweep.png")), 32).reshape(3, 5, 32, 32)[:, :, ::4, ::4]
    own = [generated(trained, tmp_path / str(t), seeds="0-4", truncation=t, label="1") for t in (0.5, 1.0, 0.0)]
    assert np.array_equal(shown, own)
    assert (shown[2] == shown[2, :1]).all() and not (shown[1] == shown[1, :1]).all()


def test_a_picture_of_a_morph_begins_and_ends_at_its_classes(trained, tmp_path):
    walking.write(trained, tmp_path / "morph.png", Asked(seeds="2-3", classes="0, 2", frames=5))
    shown = cells(np.asarray(Image.open(tmp_path / "morph.png")), 32).reshape(5, 2, 32, 32)[:, :, ::4, ::4]
    for row, label in ((0, "0"), (4, "2")):
        own = generated(trained, tmp_path / label, seeds="2-3", label=label)
        assert np.array_equal(shown[row], own)
    assert not np.array_equal(shown[0], shown[4])


def test_lengths_and_numbers_that_nobody_named(trained, tmp_path, ring):
    assert walking.write(trained) == (trained / "walk-1.gif", 100)
    assert walking.write(trained, None, Asked(classes="all")) == (trained / "walk-2.gif", 75)
    assert walking.write(trained, tmp_path / "rows.png")[1] == 9
    assert walking.write(trained, tmp_path / "a.webp", Asked(seconds=0.5, fps=20, rows=3))[1] == 10
    with Image.open(tmp_path / "a.webp") as stored:
        assert stored.size == (88 + 4, 3 * 90 + 2)
    assert walking.write(ring, tmp_path / "ring.gif", Asked(frames=3))[1] == 3
    with Image.open(tmp_path / "ring.gif") as stored:
        assert stored.size == (512, 512) and stored.n_frames == 3
        assert (np.asarray(stored.convert("RGB")) == 150).all(axis=2).sum() > 100  # real points beneath


BAD = {
    "cannot be dealt": {"seeds": "0-4", "columns": 2},
    "nothing moves": {"seeds": "3"},
    "there is no class '7'": {"classes": "0,7"},
    "give one of them": {"classes": "0,1", "label": "1"},
    "both fix the length": {"frames": 3, "seconds": 1.0},
    "does not move": {"frames": 1},
    "--truncation a cannot": {"truncation": "a"},
    "scales the latents": {"truncation": "-1,1"},
    "is no length": {"seconds": float("inf")},
    "cannot be shown": {"fps": 60.0},
    "is the most": {"frames": 10**7},
    "walks cannot be shown": {"rows": 10**30},
}


@pytest.mark.parametrize("said", BAD)
def test_bad_input_is_one_sentence(trained, tmp_path, said):
    with pytest.raises(InputError, match=said):
        walking.write(trained, tmp_path / "walk.gif", dataclasses.replace(Asked(), **BAD[said]))
    assert not (tmp_path / "walk.gif").exists()


def test_bad_targets_are_refused_and_left_alone(trained, ring, tmp_path):
    (tmp_path / "old.gif").touch()
    for run_, name, said in ((trained, "old.gif", "overwritten"), (trained, "a.avi", "no animation"),
                             (ring, "a.png", "points in the plane"), (trained, "old.gif/a.gif", "could not be written"),
                             (tmp_path, "a.gif", "no run folder")):  # fmt: skip
        with pytest.raises(InputError, match=said):
            walking.write(run_, tmp_path / name, Asked(frames=2))
    assert [path.name for path in tmp_path.iterdir()] == ["old.gif"] and not (tmp_path / "old.gif").stat().st_size


def test_the_command(trained, tmp_path):
    from equipoise.cli import app

    done = CliRunner().invoke(
        app, ["walk", str(trained), "--out", str(tmp_path / "w.apng"), "--frames", "4", "--class", "2"]
    )
    assert done.exit_code == 0 and done.output == f"4 frames in {tmp_path / 'w.apng'}\n"
