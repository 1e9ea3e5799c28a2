"""Packed dense formats: round trips, the documented index equation, sizes, refusals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planish import _core
from planish.errors import PlanishError

SIZES = st.tuples(st.integers(1, 3), st.integers(1, 40), st.integers(1, 4), st.integers(0, 19))


@given(SIZES, st.booleans())
def test_round_trip(sizes: tuple[int, int, int, int], integer: bool) -> None:
    groups, per_group, taps, depth = sizes
    dtype = np.int8 if integer else np.float32
    w = np.random.default_rng(0).integers(-128, 128, (groups * per_group, taps, depth)).astype(dtype)
    pack, unpack = (
        (_core.pack_dense_s8, _core.unpack_dense_s8) if integer else (_core.pack_dense_f32, _core.unpack_dense_f32)
    )
    packed = pack(w, groups)
    panels = groups * -(-per_group // 16)
    assert len(packed) == panels * taps * (-(-depth // 4) * 64 if integer else depth * 64)
    np.testing.assert_array_equal(unpack(packed, *w.shape, groups), w)


def test_index_equation() -> None:
    w = np.arange(2 * 18 * 3 * 6).reshape(36, 3, 6)
    f32 = np.frombuffer(_core.pack_dense_f32(w.astype(np.float32), 2), np.float32).reshape(2, 2, 3, 6, 16)
    s8 = np.frombuffer(_core.pack_dense_s8((w % 251 - 125).astype(np.int8), 2), np.int8).reshape(2, 2, 3, 2, 16, 4)
    for n in range(36):
        for t in range(3):
            for k in range(6):
                g, j = divmod(n, 18)
                assert f32[g, j // 16, t, k, j % 16] == w[n, t, k]
                assert s8[g, j // 16, t, k // 4, j % 16, k % 4] == w[n, t, k] % 251 - 125
    assert np.count_nonzero(f32) == np.count_nonzero(w)


@given(SIZES)
def test_bfloat16_round_trip(sizes: tuple[int, int, int, int]) -> None:
    groups, per_group, taps, depth = sizes
    w = np.random.default_rng(0).standard_normal((groups * per_group, taps, depth)).astype(np.float32)
    packed = _core.pack_dense_bf16(w, groups)
    assert len(packed) == groups * -(-per_group // 16) * taps * -(-depth // 2) * 64
    got = _core.unpack_dense_bf16(packed, *w.shape, groups)
    assert np.all(np.abs(got - w) <= np.abs(w) * 2.0**-8)
    assert not np.any(got.view(np.uint32) & 0xFFFF)
    np.testing.assert_array_equal(_core.unpack_dense_bf16(_core.pack_dense_bf16(got, groups), *w.shape, groups), got)


def test_bfloat16_index_equation_and_rounding() -> None:
    w = np.arange(36 * 3 * 5, dtype=np.float32).reshape(36, 3, 5) % 251
    packed = np.frombuffer(_core.pack_dense_bf16(w, 2), np.uint16).reshape(2, 2, 3, 3, 16, 2)
    values = (packed.astype(np.uint32) << 16).view(np.float32)
    for n in range(36):
        g, j = divmod(n, 18)
        for t in range(3):
            for k in range(5):
                assert values[g, j // 16, t, k // 2, j % 16, k % 2] == w[n, t, k]
    assert np.count_nonzero(values) == np.count_nonzero(w)
    ties = np.array([1 + 2.0**-8, 1 + 3 * 2.0**-8, -1 - 2.0**-8, np.inf, np.nan, 3.4e38], np.float32)
    got = _core.unpack_dense_bf16(_core.pack_dense_bf16(ties.reshape(1, 1, -1), 1), 1, 1, len(ties), 1).ravel()
    np.testing.assert_array_equal(got, np.array([1, 1 + 2.0**-6, -1, np.inf, np.nan, np.inf], np.float32))


@given(st.integers(1, 40), st.integers(1, 9), st.booleans())
def test_depthwise_round_trip(channels: int, taps: int, integer: bool) -> None:
    w = np.random.default_rng(1).integers(-300, 300, (channels, taps)).astype(np.int16 if integer else np.float32)
    pack, unpack = (
        (_core.pack_depthwise_s16, _core.unpack_depthwise_s16)
        if integer
        else (_core.pack_depthwise_f32, _core.unpack_depthwise_f32)
    )
    packed = pack(w)
    rows = np.frombuffer(packed, w.dtype).reshape(taps, -(-channels // 16) * 16)
    np.testing.assert_array_equal(rows[:, :channels], w.T)
    assert not rows[:, channels:].any()
    np.testing.assert_array_equal(unpack(packed, channels, taps), w)


def test_refusals() -> None:
    packed = _core.pack_dense_s8(np.zeros((16, 1, 8), np.int8), 1)
    with pytest.raises(PlanishError):
        _core.unpack_dense_s8(packed, 16, 1, 9, 1)
    with pytest.raises(PlanishError):
        _core.unpack_dense_s8(packed, 2**40, 2**40, 2**40, 1)
    with pytest.raises(PlanishError):
        _core.unpack_dense_s8(packed, 16, 1, 8, 3)
    with pytest.raises(PlanishError):
        _core.pack_dense_f32(np.zeros((16, 8), np.float32), 1)
    with pytest.raises(PlanishError):
        _core.pack_depthwise_f32(np.zeros((0, 8), np.float32))
    with pytest.raises(TypeError):
        _core.pack_dense_f32(np.zeros((16, 1, 8), np.int8), 1)
