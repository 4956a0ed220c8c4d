"""Frames as files: all of them are in it, at the right time, and it repeats."""

import builtins
import io

import numpy as np
import pytest
from PIL import Image, ImageSequence

from equipoise import animation
from equipoise.errors import InputError


def moments(count=7, channels=1, side=9):
    ramp = np.arange(side * side, dtype=np.int64).reshape(side, side, 1)
    return [((ramp + 30 * number) % 256).astype(np.uint8).repeat(channels, axis=2) for number in range(count)]


def test_times_add_up_whatever_the_unit():
    assert animation.durations(3, 30, 10) == [30, 40, 30]
    assert animation.durations(4, 25, 10) == [40] * 4 and animation.durations(2, 24, 1) == [42, 41]
    assert sum(animation.durations(300, 29.97, 10)) == 10010


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".apng", ".GIF"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_file_holds_every_frame_as_it_was(suffix, channels):
    frames = moments(channels=channels)
    with Image.open(io.BytesIO(animation.encode(iter(frames), suffix, fps=10))) as stored:
        assert stored.n_frames == 7 and stored.info["loop"] == 0
        found = [(np.asarray(frame.convert("RGB")), frame.info["duration"]) for frame in ImageSequence.Iterator(stored)]
    for frame, (pixels, duration) in zip(frames, found, strict=True):
        assert np.array_equal(pixels, frame.repeat(3 // channels, axis=2)) and duration == 100


def test_an_mp4_holds_every_frame_and_odd_sides_get_a_white_line():
    av = pytest.importorskip("av")
    frames = moments(12, side=33)
    with av.open(io.BytesIO(animation.encode(frames, ".mp4", fps=12.5))) as stored:
        assert float(stored.streams.video[0].average_rate) == 12.5
        found = [frame.to_ndarray(format="rgb24") for frame in stored.decode(video=0)]
    assert len(found) == 12 and found[0].shape == (34, 34, 3)
    for frame, pixels in zip(frames, found, strict=True):
        assert np.abs(pixels[:32, :32] - frame[:32, :32].astype(float)).mean() < 6
        assert pixels[33].mean() > 200


def test_what_cannot_be_written_is_said_before(monkeypatch):
    for suffix, fps in ((".avi", 25), ("", 25), (".gif", 51), (".gif", 0), (".gif", float("nan"))):
        with pytest.raises(InputError):
            animation.check(suffix, fps)
    real = builtins.__import__

    def without(name, *others):
        if name == "av":
            raise ImportError(name)
        return real(name, *others)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match=r"pip install 'equipoise\[video\]'"):
        animation.check(".mp4", 25)
