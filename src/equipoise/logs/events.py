"""Scalars of a TensorBoard event file, read without TensorFlow, protobuf or NumPy.

A file is a chain of records: length (8 bytes), its checksum (4), an `Event` message, its checksum (4); the checksums
are CRC-32C, rotated and offset. Of a message only these fields are read: `Event.step` (2), `Event.summary` (5),
`Summary.value` (1), `Value.tag` (1), `Value.simple_value` (2), `Value.tensor` (8); of a tensor its type (1), content
(4), floats (5), doubles (6) and integers (7, 10). A last record that was cut off is left out, as by TensorBoard.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from equipoise.errors import InputError

PATTERN = "*tfevents*"
PACKED = {1: "f", 2: "d", 3: "i", 9: "q"}  # DataType: float, double, int32, int64
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # wire types
LARGEST = 1 << 31  # bytes of a record; a longer one is damage


class Scalar(NamedTuple):
    """A number that was logged."""

    tag: str
    step: int
    value: float


def scalars(path: Path) -> Iterator[Scalar]:
    """All scalars of a file, in the order written, in the old form (simple values) and the new one (tensors)."""
    for event in records(path):
        step, summaries = 0, []
        for field, kind, value in fields(event):
            if (field, kind) == (2, VARINT):
                step = int.from_bytes(value, "little", signed=True)
            elif (field, kind) == (5, BYTES):
                summaries.append(value)
        for summary in summaries:
            for field, kind, value in fields(summary):
                if (field, kind) == (1, BYTES):
                    tag, number = _value(value)
                    if number is not None:
                        yield Scalar(tag, step, number)


def records(path: Path) -> Iterator[bytes]:
    """The messages of a file; a damaged record is refused, one cut off at the end ends the file."""
    with path.open("rb") as file:
        while len(head := file.read(12)) == 12:
            (length,), (check,) = struct.unpack("<Q", head[:8]), struct.unpack("<I", head[8:])
            if length > LARGEST or check != checksum(head[:8]):
                raise InputError(
                    f"{path} is damaged at byte {file.tell() - 12}, or no TensorBoard event file; remove it from the "
                    "folder, or copy it again"
                )
            body = file.read(length + 4)
            if len(body) < length + 4:
                return
            yield body[:-4]


def fields(message: bytes) -> Iterator[tuple[int, int, bytes]]:
    """The fields of a protobuf message: number, wire type, content; a number's content is its 8 bytes."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        field, kind = key >> 3, key & 7
        if kind == VARINT:
            value, at = _varint(message, at)
            yield field, kind, (value & (1 << 64) - 1).to_bytes(8, "little")
            continue
        if kind == BYTES:
            length, at = _varint(message, at)
        elif kind in (FIXED64, FIXED32):
            length = 8 if kind == FIXED64 else 4
        else:
            raise InputError(f"an event holds a field of the unknown wire type {kind}: the file is damaged")
        if at + length > len(message):
            raise InputError("an event ends within a field: the file is damaged")
        yield field, kind, message[at : at + length]
        at += length


def checksum(data: bytes) -> int:
    """CRC-32C, rotated right by 15 bits and offset, as TFRecord has it."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _value(message: bytes) -> tuple[str, float | None]:
    """Tag and number of a summary's value; None where it is no scalar."""
    tag, number = "", None
    for field, kind, value in fields(message):
        if (field, kind) == (1, BYTES):
            tag = value.decode("utf-8", errors="replace")
        elif (field, kind) == (2, FIXED32):
            (number,) = struct.unpack("<f", value)
        elif (field, kind) == (8, BYTES):
            number = _tensor(value)
    return tag, number


def _tensor(message: bytes) -> float | None:
    """The number of a tensor that holds a single one."""
    code, content = "", b""
    listed: list[float] = []
    for field, kind, value in fields(message):
        if (field, kind) == (1, VARINT):
            code = PACKED.get(int.from_bytes(value, "little"), "")
        elif (field, kind) == (4, BYTES):
            content = value
        elif field in (5, 6):
            size, letter = (4, "f") if field == 5 else (8, "d")
            listed += struct.unpack(f"<{len(value) // size}{letter}", value[: len(value) // size * size])
        elif field in (7, 10) and kind == VARINT:
            listed.append(int.from_bytes(value, "little", signed=True))
    if code and len(content) == struct.calcsize(code):
        listed = list(struct.unpack(f"<{code}", content))
    return float(listed[0]) if len(listed) == 1 else None


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value, shift = 0, 0
    while at < len(message):
        byte = message[at]
        value, at = value | (byte & 0x7F) << shift, at + 1
        if byte < 0x80:
            return value, at
        shift += 7
    raise InputError("an event ends within a number: the file is damaged")


def _row(index: int) -> int:
    for _ in range(8):
        index = index >> 1 ^ (0x82F63B78 if index & 1 else 0)  # Castagnoli's polynomial, bits reversed
    return index


_TABLE = [_row(index) for index in range(256)]
