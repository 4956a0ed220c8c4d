"""The cache: reuse, locks, eviction, broken builds, and what is said when the disk refuses."""

import errno
import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from equipoise.data import cache, cache_clear, cache_list, decode, locks, open_dataset, sources, survey
from equipoise.errors import InputError


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of 20 images, and a cache of its own."""
    monkeypatch.setenv("EQUIPOISE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(locks, "_held", {})
    (tmp_path / "images").mkdir()
    for number in range(20):
        pixels = np.random.default_rng(number).integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{number:02d}.png")
    return tmp_path / "images"


def filler(side: int = 8, count: int = 10) -> Any:
    """What `fetch` calls to write random images."""

    def fill(folder: Path) -> dict[str, Any]:
        pixels = np.random.default_rng(side).integers(0, 256, (count, 1, side, side), dtype=np.uint8)
        (folder / "images.u8").write_bytes(pixels.tobytes())
        return {"shape": (count, 1, side, side), "source": "test"}

    return fill


def refuse(*_: Any, **__: Any) -> Any:
    raise AssertionError("this was to come from the cache")


def test_a_second_opening_reads_no_file(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = open_dataset(str(images))
    monkeypatch.setattr(survey, "look", refuse)
    monkeypatch.setattr(sources, "decode", refuse)
    second = open_dataset(str(images))
    assert second.fingerprint == first.fingerprint and second.report == first.report
    assert np.array_equal(second.images, first.images) and np.array_equal(second.groups, first.groups)
    assert second.mirror_safe == first.mirror_safe


def test_only_changed_files_are_read_again(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_dataset(str(images))
    (images / "00.png").write_bytes((images / "01.png").read_bytes())
    seen: list[bytes] = []
    monkeypatch.setattr(survey, "look", lambda data: seen.append(data) or decode.look(data))
    assert open_dataset(str(images)).report.exact_duplicates == 1
    assert len(seen) == 1


def test_another_resolution_is_another_entry(images: Path) -> None:
    open_dataset(str(images))
    open_dataset(str(images), resolution=8)
    entries = cache_list()
    assert [entry.shape for entry in entries] == [(3, 8, 8), (3, 16, 16)]  # last used first
    assert all(str(images) in str(entry) and entry.bytes > 20 * 3 * 64 for entry in entries)


def test_entries_in_use_are_kept_and_others_cleared(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = open_dataset(str(images))
    assert len(cache_clear()) == 0 and len(cache_list()) == 1
    for file in locks._held.values():
        file.close()
    cleared = cache_clear()
    assert len(cleared) == 1 and str(cleared).startswith("removed 1 sets") and cache_list() == []
    assert dataset.images[0].any()  # what is mapped already stays readable
    monkeypatch.setattr(locks, "_held", {})
    assert open_dataset(str(images)).fingerprint == dataset.fingerprint


def test_the_oldest_are_evicted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "_held", {})
    monkeypatch.setenv("EQUIPOISE_CACHE_LIMIT", str(40_000 / 1e9))
    for name in ("first", "second", "third"):
        cache.fetch(name, filler(count=200), needed=12_800, root=tmp_path)
        os.utime(tmp_path / "entries" / name / "meta.json", (len(name), {"first": 1, "second": 3, "third": 2}[name]))
        for file in locks._held.values():
            file.close()
        locks._held.clear()
    cache.fetch("fourth", filler(count=200), needed=12_800, root=tmp_path)
    assert {entry.key for entry in cache_list(tmp_path)} == {"second", "fourth"}
    with pytest.raises(InputError, match="EQUIPOISE_CACHE_LIMIT"):
        cache.fetch("large", filler(), needed=10**6, root=tmp_path)
    monkeypatch.setenv("EQUIPOISE_CACHE_LIMIT", "much")
    with pytest.raises(InputError, match="'much', which is no number"):
        cache.fetch("other", filler(), needed=1, root=tmp_path)


def test_a_damaged_entry_is_built_again(tmp_path: Path) -> None:
    images, *_ = cache.fetch("key", filler(), needed=640, root=tmp_path)
    expected = np.array(images)
    path = tmp_path / "entries" / "key"
    for damage in (
        lambda: (path / "images.u8").write_bytes(b"short"),
        lambda: (path / "meta.json").write_text("{"),
        lambda: (path / "groups.npy").unlink(),
    ):
        damage()
        assert np.array_equal(cache.fetch("key", filler(), needed=640, root=tmp_path)[0], expected)


def test_a_build_that_breaks_leaves_nothing(tmp_path: Path) -> None:
    def broken(error: BaseException) -> Any:
        def fill(folder: Path) -> dict[str, Any]:
            (folder / "images.u8").write_bytes(b"half")
            raise error

        return fill

    with pytest.raises(KeyboardInterrupt):
        cache.fetch("key", broken(KeyboardInterrupt()), needed=640, root=tmp_path)
    with pytest.raises(InputError, match="is full"):
        cache.fetch("key", broken(OSError(errno.ENOSPC, "no space")), needed=640, root=tmp_path)
    assert list((tmp_path / "entries").iterdir()) == []
    (tmp_path / "entries" / ".key.dead.tmp").mkdir()  # as a killed process leaves it
    cache.fetch("key", filler(), needed=640, root=tmp_path)
    assert [path.name for path in (tmp_path / "entries").iterdir()] == ["key"]


def test_a_full_disk_is_foreseen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 10}))
    with pytest.raises(InputError, match="is full"):
        cache.fetch("key", filler(), needed=640, root=tmp_path)


def test_a_folder_that_cannot_be_used(images: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cache folder .* cannot be used"):
        open_dataset(str(images), cache=tmp_path / "file")


def test_where_the_cache_lies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EQUIPOISE_CACHE", str(tmp_path))
    assert cache.cache_root() == tmp_path and cache.cache_root(tmp_path / "x") == tmp_path / "x"
    monkeypatch.delenv("EQUIPOISE_CACHE")
    if sys.platform == "linux":
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        assert cache.cache_root() == tmp_path / "equipoise"


def _fetch_slowly(root: Path, tell: Any) -> None:
    def fill(folder: Path) -> dict[str, Any]:
        tell.put(os.getpid())
        time.sleep(0.3)
        return dict(filler()(folder))

    images, *_ = cache.fetch("key", fill, needed=640, root=root)
    tell.put(int(images.sum()))


def test_two_processes_build_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    tell = context.Queue()
    both = [context.Process(target=_fetch_slowly, args=(tmp_path, tell)) for _ in range(2)]
    for one in both:
        one.start()
    told = [tell.get(timeout=20) for _ in range(3)]  # one builds, both read
    for one in both:
        one.join(20)
    assert tell.empty() and len([value for value in told if value in {one.pid for one in both}]) == 1


def test_a_killed_process_holds_no_lock(tmp_path: Path) -> None:
    code = (
        "import os, sys, time; from pathlib import Path; from equipoise.data import cache\n"
        "def fill(folder):\n"
        "    (folder / 'images.u8').write_bytes(b'half'); print('building', flush=True); time.sleep(60)\n"
        f"cache.fetch('key', fill, needed=640, root=Path({str(tmp_path)!r}))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"building\n"
    process.kill()
    process.wait()
    process.stdout.close()
    assert cache.fetch("key", filler(), needed=640, root=tmp_path)[0].shape == (10, 1, 8, 8)
    assert [path.name for path in (tmp_path / "entries").iterdir()] == ["key"]
