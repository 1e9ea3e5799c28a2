"""The sections of a plan file, and the checksums over them."""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping

from planish import _core
from planish.errors import PlanError

MAGIC = b"PLANISH\0"
VERSION = 3
MANIFEST, CONSTANTS, TABLE = 1, 2, 3
HEADER = struct.Struct("<8sIIQI36x")
ENTRY = struct.Struct("<IIQQ8x")
CRC_AT = 24  # where the header's own checksum stands
ALIGN = 64
_PAGE = 4096
_MAX_SECTIONS = 16


def assemble(sections: Mapping[int, bytes | bytearray]) -> list[bytes | bytearray]:
    """The pieces of a file of these sections, in order."""
    end = HEADER.size + len(sections) * ENTRY.size
    listed = b""
    pieces: list[bytes | bytearray] = []
    for kind, data in sections.items():
        start = end + -end % (_PAGE if kind == CONSTANTS else ALIGN)
        listed += ENTRY.pack(kind, crc32c(data), start, len(data))
        pieces += [bytes(start - end), data]
        end = start + len(data)
    crc = crc32c(HEADER.pack(MAGIC, VERSION, len(sections), end, 0) + listed)
    return [HEADER.pack(MAGIC, VERSION, len(sections), end, crc), listed, *pieces]


def crc32c(data: bytes | bytearray) -> int:
    """The checksum of some bytes."""
    return _core.Memory.copy_of(data).crc32c()


def split(where: str, memory: _core.Memory) -> dict[int, _core.Memory]:
    """The sections of a file by kind. Raises PlanError where a checksum or a size is not as it should be."""
    data = memoryview(memory)
    if len(data) < 8 or bytes(data[:8]) != MAGIC:
        raise PlanError(f"{where}: not a plan; make one with `planish export MODEL -o {os.path.basename(where)}`")
    if len(data) < HEADER.size:
        raise PlanError(f"{where}: truncated ({len(data)} bytes); copy or export it again")
    _, version, count, size, crc = HEADER.unpack_from(data)
    if version != VERSION:
        raise PlanError(
            f"{where}: plan format {version}, this planish reads {VERSION}; export it again with this version"
        )
    if size != len(data):
        raise PlanError(
            f"{where}: {len(data)} bytes, {size} expected; the file is truncated or was appended to: copy or export "
            "it again"
        )
    end = HEADER.size + count * ENTRY.size
    if not 0 < count <= _MAX_SECTIONS or end > len(data):
        raise PlanError(f"{where}: the section table is damaged; export it again")
    if crc32c(bytes(data[:CRC_AT]) + bytes(4) + bytes(data[CRC_AT + 4 : end])) != crc:
        raise PlanError(f"{where}: the header was altered (checksum); export it again")
    sections: dict[int, _core.Memory] = {}
    for i in range(count):
        kind, expected, offset, length = ENTRY.unpack_from(data, HEADER.size + i * ENTRY.size)
        if offset < end or bytes(data[end:offset]).strip(b"\0"):
            raise PlanError(f"{where}: the space between sections was altered; copy or export it again")
        end = offset + length
        part = memory.slice(offset, length)
        if part.crc32c() != expected:
            raise PlanError(f"{where}: section {kind} was altered (checksum); copy or export it again")
        sections[kind] = part
    if not sections.keys() >= {MANIFEST, CONSTANTS, TABLE}:
        raise PlanError(f"{where}: a section is missing; export it again")
    return sections
