"""Whole sources, good and bad, and what the report says of them."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from equipoise.data import Dataset, Report, open_dataset
from equipoise.errors import InputError


def picture(number: int, width: int = 40, height: int = 32) -> Image.Image:
    pixels = np.random.default_rng(number).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def fill(folder: Path, count: int = 12, first: int = 0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        picture(first + number).save(folder / f"{number:02d}.png")
    return folder


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EQUIPOISE_CACHE", str(tmp_path / "cache"))
    return tmp_path


def test_a_folder(place: Path) -> None:
    folder = fill(place / "images")
    (folder / "notes.txt").write_text("x")
    (folder / ".hidden.png").write_bytes(b"x")
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    calls: list[tuple[int, int]] = []
    dataset = open_dataset(str(folder), progress=lambda done, total: calls.append((done, total)))
    assert dataset.shape == (3, 32, 32) and len(dataset) == 12 and dataset.images.dtype == np.uint8
    assert not dataset.images.flags.writeable
    expected = np.asarray(picture(3).crop((4, 0, 36, 32))).transpose(2, 0, 1)
    assert np.array_equal(dataset.images[3], expected) and dataset.names[3] == "03.png"
    assert dataset.report.skipped == {".txt": 1}
    assert dataset.report.converted == {"centre-cropped to a square": 12}
    assert dataset.report.sizes == {"smallest": [40, 32], "largest": [40, 32], "shorter_median": 32.0, "kinds": 1}
    assert calls[-1] == (12, 12)
    assert before == {path: path.stat().st_mtime_ns for path in folder.iterdir()}  # nothing of the user's is touched
    assert json.loads(json.dumps(dataset.report.as_dict()))["count"] == 12
    assert Report.from_dict(json.loads(json.dumps(dataset.report.as_dict()))) == dataset.report


def test_damaged_files_are_left_out_and_named(place: Path) -> None:
    folder = fill(place / "images")
    whole = (folder / "00.png").read_bytes()
    (folder / "05.png").write_bytes(whole[: len(whole) // 2])
    (folder / "junk.png").write_bytes(b"junk")
    (folder / "nothing.jpg").write_bytes(b"")
    dataset = open_dataset(str(folder))
    assert len(dataset) == 11 and len(dataset.images) == len(dataset.names) == len(dataset.groups) == 11
    assert set(dataset.report.unreadable) == {"05.png", "junk.png", "nothing.jpg"}
    assert np.array_equal(dataset.images[5], np.asarray(picture(6).crop((4, 0, 36, 32))).transpose(2, 0, 1))
    text = dataset.report.text()
    assert "junk.png (not an image" in text and "nothing.jpg (empty file)" in text and "05.png" in text


def test_resolution_and_channels(place: Path) -> None:
    folder = fill(place / "images")
    assert open_dataset(str(folder), resolution=8, channels=1).shape == (1, 8, 8)
    assert open_dataset(str(folder), resolution=64).report.converted["enlarged to 64"] == 12
    for number in range(12):
        picture(number, 100, 70).convert("L").save(folder / f"{number:02d}.png")
    assert open_dataset(str(folder)).shape == (1, 64, 64)  # all grey now; 64 is the largest below 70
    for bad in (7, 33, 512, 0):
        with pytest.raises(InputError, match="choose one of 8, 16"):
            open_dataset(str(folder), resolution=bad)


def test_changed_files_are_noticed(place: Path) -> None:
    folder = fill(place / "images")
    first = open_dataset(str(folder))
    picture(99).save(folder / "03.png")
    os.utime(folder / "03.png", ns=(1, 1))
    second = open_dataset(str(folder))
    assert second.fingerprint != first.fingerprint and not np.array_equal(first.images[3], second.images[3])
    shutil.copytree(folder, place / "copy")
    assert open_dataset(str(place / "copy")).fingerprint == second.fingerprint  # content counts, not the place


def test_links_are_followed_but_not_in_circles(place: Path) -> None:
    folder = fill(place / "images")
    fill(place / "elsewhere", 3, first=50)
    (folder / "linked").symlink_to(place / "elsewhere")
    (folder / "up").symlink_to("..")
    (folder / "self").symlink_to(folder)
    (folder / "broken.png").symlink_to("nowhere")
    os.mkfifo(folder / "pipe.png")
    dataset = open_dataset(str(folder))
    assert len(dataset) == 15 and "linked/00.png" in dataset.names


def test_file_names_of_any_bytes(place: Path) -> None:
    folder = fill(place / os.fsdecode(b"images \xff"))
    picture(70).save(folder / "ünï\n.png")
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff\xfe.png")).write_bytes(b"junk")
    dataset = open_dataset(str(folder))
    assert len(dataset) == 13
    dataset.report.text().encode()


def test_labels_from_folders(place: Path) -> None:
    for number, name in enumerate(("cat", "dog", "10", "9")):
        fill(place / "images" / name, 4, first=10 * number)
    dataset = open_dataset(str(place / "images"), labels="folders")
    assert dataset.classes == ("9", "10", "cat", "dog") and dataset.labels is not None
    assert [dataset.classes[label] for label in dataset.labels] == [name.split("/")[0] for name in dataset.names]
    assert dataset.report.classes == {"9": 4, "10": 4, "cat": 4, "dog": 4}
    assert open_dataset(str(place / "images")).labels is None


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda path: path.mkdir(), "holds no images: it is empty"),
        (lambda path: (path.mkdir(), (path / "a.txt").write_text("")), "only other files: 1 .txt"),
        (lambda path: fill(path, 1), "only one usable sample"),
        (lambda path: (path.mkdir(), (path / "a.png").write_bytes(b"junk")), "none of the 1 image files"),
        (lambda path: (path.mkdir(), (path / "a.png").write_bytes(_cut())), "none of the 1 images"),
        (lambda path: path.write_text("hello"), "is no folder, zip, tar"),
        (lambda path: None, "there is no source"),
    ],
)
def test_bad_sources_are_one_sentence(place: Path, make: object, sentence: str) -> None:
    make(place / "bad")  # type: ignore[operator]
    with pytest.raises(InputError, match=sentence) as caught:
        open_dataset(str(place / "bad"))
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")


def _cut() -> bytes:
    import io

    buffer = io.BytesIO()
    picture(0).save(buffer, "PNG")
    return buffer.getvalue()[:900]


def test_a_misspelt_name_is_guessed() -> None:
    with pytest.raises(InputError, match="did you mean digits"):
        open_dataset("digit")


def test_a_single_image_is_no_data_set(place: Path) -> None:
    with pytest.raises(InputError, match="single image"):
        open_dataset(str(fill(place / "images") / "00.png"))


def test_hugging_face_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(InputError, match=r"pip install equipoise\[hf\]"):
        open_dataset("hf:mnist")
    with pytest.raises(InputError, match="hf:name"):
        open_dataset("hf:")


def test_hugging_face_rows(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against a stand-in of the four things used; the real package is tried by hand."""
    import io
    import sys
    import types

    class Kind:
        def __init__(self, decode: bool = True, names: tuple[str, ...] = ()) -> None:
            self.names = list(names)

    image, label = type("Image", (Kind,), {}), type("ClassLabel", (Kind,), {})

    class Table:
        features = {"image": image(), "label": label(names=("cat", "dog"))}  # noqa: RUF012
        _fingerprint = "1"

        def __len__(self) -> int:
            return 6

        def __getitem__(self, key: object) -> object:
            if key == "label":
                return [0, 1] * 3
            buffer = io.BytesIO()
            picture(int(str(key))).save(buffer, "PNG")
            return {"image": {"bytes": buffer.getvalue(), "path": None}}

        def cast_column(self, name: str, kind: object) -> "Table":
            return self

    module = types.SimpleNamespace(Image=image, ClassLabel=label, load_dataset=lambda name: {"train": Table()})
    monkeypatch.setitem(sys.modules, "datasets", module)
    dataset: Dataset = open_dataset("hf:somebody/animals")
    assert len(dataset) == 6 and dataset.classes == ("cat", "dog") and dataset.labels is not None
    assert dataset.labels.tolist() == [0, 1] * 3


@pytest.mark.slow
def test_real_photographs() -> None:
    """CIFAR-10 from the folder named by EQUIPOISE_DATA: flips are safe, near-duplicates few."""
    folder = os.environ.get("EQUIPOISE_DATA")
    if not folder:
        pytest.skip("EQUIPOISE_DATA names no folder with cifar10-jpeg.tar.xz")
    dataset = open_dataset(str(Path(folder) / "cifar10-jpeg.tar.xz"))
    assert dataset.shape == (3, 32, 32) and dataset.mirror_safe
    assert dataset.report.near_duplicates < len(dataset) / 50
