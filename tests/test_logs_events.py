"""Event files are read as TensorBoard reads them: checked against files that tensorboardX writes, and by hand."""

import struct

import pytest
from tensorboardX import SummaryWriter

from equipoise.errors import InputError
from equipoise.logs import events


def delimited(field: int, content: bytes) -> bytes:
    return bytes([field << 3 | 2, len(content)]) + content


def framed(message: bytes) -> bytes:
    head = struct.pack("<Q", len(message))
    return head + struct.pack("<I", events.checksum(head)) + message + struct.pack("<I", events.checksum(message))


def event(step: int, *values: bytes) -> bytes:
    """An Event: wall time, step, a summary of these values."""
    summary = b"".join(delimited(1, value) for value in values)
    return bytes([1 << 3 | 1]) + struct.pack("<d", 1.0) + bytes([2 << 3, step]) + delimited(5, summary)


def read(path, *messages):
    path.write_bytes(b"".join(map(framed, messages)))
    return list(events.scalars(path))


def test_what_tensorboardx_writes_is_read(tmp_path):
    with SummaryWriter(str(tmp_path)) as writer:
        for step in (0, 7, 300, 2**40):
            writer.add_scalar("Loss/D/loss", step / 8, step)
            writer.add_text("note", "no scalar", step)
        writer.add_histogram("weights", [1.0, 2.0], 1)
    (file,) = tmp_path.glob(events.PATTERN)
    found = [one for one in events.scalars(file) if one.tag == "Loss/D/loss"]
    assert found == [("Loss/D/loss", step, step / 8) for step in (0, 7, 300, 2**40)]
    assert {one.tag for one in events.scalars(file)} == {"Loss/D/loss"}


def test_the_checksum_is_crc_32c_masked():
    # RFC 3720, B.4: 32 bytes of zeros have the CRC-32C 8a9136aa
    crc = 0x8A9136AA
    assert events.checksum(bytes(32)) == ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def test_scalars_as_tensors_are_read(tmp_path):
    """As TensorFlow 2 writes them: the content raw, or listed."""
    tag = delimited(1, b"a")
    raw = tag + delimited(8, bytes([1 << 3, 1]) + delimited(4, struct.pack("<f", 0.5)))
    double = tag + delimited(8, bytes([1 << 3, 2]) + delimited(4, struct.pack("<d", 0.25)))
    listed = tag + delimited(8, bytes([1 << 3, 1]) + delimited(5, struct.pack("<f", 2.0)))
    wide = tag + delimited(8, bytes([1 << 3, 2]) + bytes([6 << 3 | 1]) + struct.pack("<d", 3.0))
    vector = tag + delimited(8, bytes([1 << 3, 1]) + delimited(4, struct.pack("<2f", 1.0, 2.0)))
    picture = tag + delimited(4, b"png")
    found = read(tmp_path / "tfevents", event(3, raw, double, listed, wide, vector, picture))
    assert found == [("a", 3, value) for value in (0.5, 0.25, 2.0, 3.0)]


def test_several_values_of_an_event_and_events_without_any(tmp_path):
    one = delimited(1, b"x") + bytes([2 << 3 | 5]) + struct.pack("<f", 1.0)
    two = delimited(1, b"y") + bytes([2 << 3 | 5]) + struct.pack("<f", -4.0)
    version = delimited(3, b"brain.Event:2")
    assert read(tmp_path / "tfevents", version, event(1, one, two)) == [("x", 1, 1.0), ("y", 1, -4.0)]


@pytest.mark.parametrize("lost", [1, 5, 20, 30])
def test_a_last_record_that_was_cut_off_is_left_out(tmp_path, lost):
    one = delimited(1, b"x") + bytes([2 << 3 | 5]) + struct.pack("<f", 1.0)
    path = tmp_path / "tfevents"
    path.write_bytes((framed(event(1, one)) + framed(event(2, one)))[:-lost])
    assert [step for _, step, _ in events.scalars(path)] == [1]


def test_something_else_is_refused_in_a_sentence(tmp_path):
    path = tmp_path / "tfevents"
    path.write_bytes(b"this is no event file at all")
    with pytest.raises(InputError, match="damaged at byte 0, or no TensorBoard event file"):
        list(events.scalars(path))
    path.write_bytes(framed(b"\x2a\x7f\x01"))
    with pytest.raises(InputError, match="ends within a field"):
        list(events.scalars(path))
