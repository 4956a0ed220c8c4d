"""Archives, read in place: the good ones equal the folder, the bad ones are refused."""

import io
import json
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from equipoise.data import containers as boxes
from equipoise.data import open_dataset
from equipoise.errors import InputError

Members = list[tuple[str, bytes]]


def png(number: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(number).integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


IMAGES: Members = [(f"0000{number % 2}/img{number:04d}.png", png(number)) for number in range(10)]


def zipped(path: Path, members: Members) -> str:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members:
            archive.writestr(name, data)
    return str(path)


def tarred(path: Path, members: Members, mode: str = "w") -> str:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return str(path)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EQUIPOISE_CACHE", str(tmp_path / "cache"))


def test_archives_equal_the_folder(tmp_path: Path) -> None:
    for name, data in IMAGES:
        (tmp_path / "folder" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "folder" / name).write_bytes(data)
    sources = [
        str(tmp_path / "folder"),
        zipped(tmp_path / "a.zip", IMAGES[::-1]),
        tarred(tmp_path / "a.tar", IMAGES[::-1]),
        tarred(tmp_path / "a.tar.xz", IMAGES, "w:xz"),
        tarred(tmp_path / "a.tgz", [(f"./{name}", data) for name, data in IMAGES], "w:gz"),
    ]
    found = [open_dataset(source, labels="folders") for source in sources]
    assert len({dataset.fingerprint for dataset in found}) == 1
    for dataset in found:
        assert np.array_equal(dataset.images, found[0].images) and dataset.classes == ("00000", "00001")
    wrapped = zipped(tmp_path / "b.zip", [(f"top/{name}", data) for name, data in IMAGES])
    assert open_dataset(wrapped, labels="folders").classes == ("00000", "00001")


def test_stylegan_labels(tmp_path: Path) -> None:
    def source(labels: object, name: str) -> str:
        return zipped(tmp_path / name, [*IMAGES, ("dataset.json", json.dumps({"labels": labels}).encode())])

    table = [[name, number % 5] for number, (name, _) in enumerate(IMAGES)]
    dataset = open_dataset(source(table, "a.zip"))
    assert dataset.classes == tuple("01234") and dataset.labels is not None
    assert dict(zip(dataset.names, dataset.labels.tolist(), strict=True)) == dict(table)
    assert open_dataset(source(None, "b.zip")).labels is None
    one_class = open_dataset(source([[name, 0] for name, _ in IMAGES], "c.zip"))
    assert one_class.labels is None and "only one class" in one_class.report.text()
    with pytest.raises(InputError, match="no label for 1 of 10 images"):
        open_dataset(source(table[:-1], "d.zip"))


@pytest.mark.parametrize("name", ["../evil.png", "/evil.png", "a/../../evil.png", "C:\\evil.png", "..\\evil.png"])
def test_members_that_lead_outside_are_refused_by_name(tmp_path: Path, name: str) -> None:
    for source in (
        zipped(tmp_path / "a.zip", [*IMAGES, (name, png(1))]),
        tarred(tmp_path / "a.tar", [*IMAGES, (name, b"")]),
    ):
        with pytest.raises(InputError, match="points outside the archive"):
            open_dataset(source)


def test_broken_archives_are_one_sentence(tmp_path: Path) -> None:
    def refused(source: Path | str, sentence: str) -> None:
        with pytest.raises(InputError, match=sentence) as caught:
            open_dataset(str(source))
        assert "\n" not in str(caught.value)

    whole = Path(zipped(tmp_path / "whole.zip", IMAGES)).read_bytes()
    (tmp_path / "cut.zip").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "junk.zip").write_bytes(b"junk")
    tarball = Path(tarred(tmp_path / "whole.tar", IMAGES)).read_bytes()
    (tmp_path / "cut.tar").write_bytes(tarball[: len(tarball) // 2])
    (tmp_path / "none.tar").write_bytes(b"")
    locked = bytearray(whole)
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = -1
        while (at := locked.find(mark, at + 1)) >= 0:
            locked[at + offset] |= 1
    (tmp_path / "locked.zip").write_bytes(locked)
    refused(tmp_path / "cut.zip", "is no zip, or only part of one")
    refused(tmp_path / "junk.zip", "is no zip")
    refused(tmp_path / "cut.tar", "cannot be read as a tar")
    refused(tmp_path / "none.tar", "cannot be read as a tar")
    refused(tmp_path / "locked.zip", "encrypted")
    refused(zipped(tmp_path / "empty.zip", []), "holds no images")


def test_a_damaged_member_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.zip"
    data = bytearray(Path(zipped(path, IMAGES)).read_bytes())
    at = data.find(b"IDAT") + 40
    data[at : at + 8] = bytes(8)
    path.write_bytes(data)
    assert list(open_dataset(str(path)).report.unreadable) == [IMAGES[0][0]]
    monkeypatch.setattr(boxes, "LARGEST", len(IMAGES[1][1]))
    swollen = [*IMAGES[1:], ("bomb.png", bytes(10_000))]
    for source in (zipped(tmp_path / "b.zip", swollen), tarred(tmp_path / "b.tar", swollen)):
        assert "more than" in open_dataset(source).report.unreadable["bomb.png"]


def test_what_is_no_file_or_hidden_is_passed_over(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name, data in [*IMAGES, ("__MACOSX/._x.png", b"x"), (".x.png", b"x")]:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        link = tarfile.TarInfo("link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
        archive.addfile(link)
    report = open_dataset(str(tmp_path / "a.tar")).report
    assert report.count == 10 and report.skipped == {"links and devices in the tar": 1} and not report.unreadable
