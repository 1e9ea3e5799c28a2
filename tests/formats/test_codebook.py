"""Packed codebook and low-bit weights: exact round trips, exact sizes, and no damaged block accepted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planish import _core
from planish.errors import PlanishError

KINDS = [("f32", b) for b in (2, 3, 4, 8)] + [("s8", b) for b in (2, 3, 4)] + [("affine", b) for b in (2, 4, 8)]


def random_tables(rng: np.random.Generator, kind: str, shape: tuple[int, ...]) -> np.ndarray:
    if kind == "s8":
        return rng.integers(-128, 128, shape).astype(np.int8)
    return rng.standard_normal(shape).astype(np.float32)


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(KINDS),
    st.tuples(st.integers(1, 40), st.integers(1, 3), st.integers(1, 50)),
    st.integers(1, 40),
    st.integers(1, 50),
    st.integers(0, 99),
)
def test_round_trip(kind_bits: tuple[str, int], shape: tuple[int, int, int], down: int, across: int, seed: int) -> None:
    kind, bits = kind_bits
    outputs, taps, channels = shape
    rng = np.random.default_rng(seed)
    down = 1 if kind == "affine" else min(down, outputs)
    across = min(across, channels) if taps == 1 else taps * channels
    tables_shape = (-(-outputs // down), -(-taps * channels // across))
    indices = rng.integers(0, 1 << bits, shape).astype(np.uint8)
    if kind == "affine":
        tables = random_tables(rng, kind, tables_shape)
        zeros = rng.integers(0, 1 << bits, tables_shape).astype(np.uint8) if seed % 2 else None
        packed = _core.pack_affine(indices, tables, zeros, bits, across)
    else:
        tables, zeros = random_tables(rng, kind, (*tables_shape, 1 << bits)), None
        packed = _core.pack_codebook(indices, tables, bits, down, across)
    assert len(packed) == _core.codebook_size(kind, bits, *shape, down, across, zeros is not None)
    i, t, z = _core.unpack_codebook(packed)
    np.testing.assert_array_equal(i, indices)
    np.testing.assert_array_equal(t, tables)
    assert (z is None) == (zeros is None)
    if zeros is not None:
        np.testing.assert_array_equal(z, zeros)


@pytest.mark.parametrize(("bits", "granule"), [(2, 16), (4, 8), (8, 4)])
def test_the_index_equation(bits: int, granule: int) -> None:
    n, k = 21, 2 * granule + 3
    indices = np.zeros((32, 1, 4 * granule), np.uint8)
    indices[n, 0, k] = 1
    packed = np.frombuffer(_core.pack_codebook(indices, np.zeros((1, 1, 1 << bits), np.float32), bits), np.uint8)
    tables = -(-4 * 2**bits // 64) * 64
    words = packed[64 + tables :].view("<u4").reshape(2, 4, 16)
    expected = np.zeros_like(words)
    i = k % granule
    expected[n // 16, k // granule, n % 16] = 1 << (8 * (i % 4) + bits * (i // 4))
    np.testing.assert_array_equal(words, expected)


def test_three_bits_take_three_bits() -> None:
    indices = np.zeros((64, 9, 64), np.uint8)
    packed = _core.pack_codebook(indices, np.zeros((1, 1, 8), np.float32), 3)
    assert len(packed) == 64 + 64 + indices.size * 3 // 8


def damaged(good: np.ndarray, offset: int, dtype: str, value: int) -> _core.Memory:
    bad = good.copy()
    bad[offset : offset + np.dtype(dtype).itemsize].view(dtype)[0] = value
    return _core.Memory.copy_of(bad)


@pytest.mark.parametrize(("kind", "bits"), KINDS)
def test_damaged_blocks_are_refused(kind: str, bits: int) -> None:
    rng = np.random.default_rng(0)
    indices = rng.integers(0, 1 << bits, (20, 2, 12)).astype(np.uint8)
    if kind == "affine":
        packed = _core.pack_affine(indices, np.ones((20, 1), np.float32), None, bits)
    else:
        packed = _core.pack_codebook(indices, random_tables(rng, kind, (1, 1, 1 << bits)), bits)
    good = np.frombuffer(packed, np.uint8)
    cases = [(0, "<u4", 1), (4, "<u2", 99), (6, "u1", 3), (7, "u1", 0), (7, "u1", 5), (7, "u1", 16), (48, "u1", 2)]
    cases += [(field, "<i8", v) for field in range(8, 48, 8) for v in (0, -1, 1 << 40, (1 << 63) - 1)]
    for offset, dtype, value in cases:
        same_meaning = offset == 32 and value >= 20  # one table for at least all outputs is one table
        if same_meaning and kind != "affine":
            continue
        with pytest.raises(PlanishError, match="codebook weights"):
            _core.unpack_codebook(damaged(good, offset, dtype, value))
    for length in (0, 63, 64, len(good) - 64):
        with pytest.raises(PlanishError, match="codebook weights"):
            _core.unpack_codebook(_core.Memory.copy_of(good[:length]))


def test_what_cannot_be_packed_is_refused() -> None:
    indices = np.full((2, 1, 4), 4, np.uint8)
    with pytest.raises(PlanishError, match="index"):
        _core.pack_codebook(indices, np.zeros((1, 1, 4), np.float32), 2)
    with pytest.raises(PlanishError, match="tables do not match"):
        _core.pack_codebook(indices, np.zeros((2, 1, 8), np.float32), 3)
    with pytest.raises(PlanishError, match="bits"):
        _core.pack_codebook(indices, np.zeros((1, 1, 256), np.int8), 8)
    with pytest.raises(PlanishError, match="bits"):
        _core.pack_affine(indices, np.zeros((2, 1), np.float32), None, 3)
    with pytest.raises(PlanishError, match="zero point"):
        _core.pack_affine(indices, np.zeros((2, 1), np.float32), np.full((2, 1), 16, np.uint8), 4)
    with pytest.raises(PlanishError, match="groups"):
        _core.pack_codebook(np.zeros((2, 2, 4), np.uint8), np.zeros((1, 2, 4), np.float32), 2, 0, 4)
