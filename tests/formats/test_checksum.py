"""CRC-32C against its definition, at sizes around the parts that are computed side by side."""

from __future__ import annotations

import numpy as np
import pytest

from planish import _core

POLYNOMIAL = 0x82F63B78  # Castagnoli's, reflected
PART = 4096


def naive(data: bytes) -> int:
    """Bit by bit, RFC 3720."""
    table = []
    for crc in range(256):
        for _ in range(8):
            crc = (crc >> 1) ^ (POLYNOMIAL if crc & 1 else 0)
        table.append(crc)
    crc = 0xFFFFFFFF
    for byte in data:
        crc = (crc >> 8) ^ table[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def test_the_check_values_of_the_standard():
    assert _core.Memory.copy_of(b"123456789").crc32c() == 0xE3069283
    assert _core.Memory.copy_of(bytes(32)).crc32c() == 0x8A9136AA
    assert _core.Memory.copy_of(b"\xff" * 32).crc32c() == 0x62A8AB43


@pytest.mark.parametrize("parts", [0, 3, 6])
@pytest.mark.parametrize("more", [-9, -1, 0, 1, 7, 8, 9])
def test_sizes_around_the_parts(parts, more):
    size = max(0, parts * PART + more)
    data = np.random.default_rng(size).bytes(size)
    assert _core.Memory.copy_of(data).crc32c() == naive(data)
