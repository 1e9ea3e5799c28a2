"""Packed sparse weights: exact round trips, exact sizes, and no damaged block accepted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planish import _core
from planish.errors import PlanishError

FORMATS = ("csr_f32", "block1x4_f32", "block16x4_f32", "csr_s8", "block1x4_s8", "block16x4_s8")
HEADER = 64


def weights(fmt: str, shape: tuple[int, int, int], density: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    dtype = np.int8 if fmt.endswith("s8") else np.float32
    return np.where(rng.random(shape) < density, rng.integers(-128, 128, shape), 0).astype(dtype)


def block_count(fmt: str, w: np.ndarray) -> int:
    """Blocks that hold a nonzero, from the definition."""
    rows, width = (16, 4) if "16x4" in fmt else (1, 4) if "1x4" in fmt else (1, 1)
    n, t, c = w.shape
    padded = np.pad(w != 0, ((0, -n % rows), (0, 0), (0, -c % width)))
    return int(padded.reshape(-(-n // rows), rows, t, -(-c // width), width).any((1, 4)).sum())


@settings(max_examples=80, deadline=None)
@given(
    st.sampled_from(FORMATS),
    st.tuples(st.integers(1, 40), st.integers(1, 4), st.integers(1, 20)),
    st.floats(0, 1),
    st.integers(0, 99),
)
def test_round_trip(fmt: str, shape: tuple[int, int, int], density: float, seed: int) -> None:
    w = weights(fmt, shape, density, seed)
    packed = _core.pack_sparse(w, fmt)
    restored = _core.unpack_sparse(packed)
    assert restored.dtype == w.dtype
    np.testing.assert_array_equal(restored, w)
    blocks = block_count(fmt, w)
    assert _core.count_blocks(w, fmt) == blocks
    assert len(packed) == _core.sparse_size(fmt, *shape, blocks)


def test_the_index_equation_of_16x4() -> None:
    w = np.zeros((20, 2, 6), np.int8)
    w[17, 1, 5] = 77  # row group 1, row 1; padded channels 8, so column 1 * 2 + 1 = 3, lane 1
    packed = np.frombuffer(_core.pack_sparse(w, "block16x4_s8"), np.uint8)
    starts = packed[64:128].view(np.uint32)
    assert starts[:3].tolist() == [0, 0, 1]
    assert packed[128:130].view(np.uint16).tolist() == [3]
    values = packed[192:].view(np.int8)
    assert values.nonzero()[0].tolist() == [1 * 4 + 1]
    assert values[5] == 77


def test_a_pruned_layer_is_smaller() -> None:
    w = weights("csr_f32", (64, 9, 64), 0.05, 0)
    assert len(_core.pack_sparse(w, "csr_f32")) < 0.09 * w.nbytes


@pytest.mark.parametrize("fmt", FORMATS)
def test_damaged_blocks_are_refused(fmt: str) -> None:
    w = weights(fmt, (33, 2, 12), 0.5, 1)
    good = np.frombuffer(_core.pack_sparse(w, fmt), np.uint8).copy()
    starts = slice(HEADER, HEADER + 4 * (len(w) // (16 if "16x4" in fmt else 1)))
    columns = HEADER + -(-4 * (-(-33 // (16 if "16x4" in fmt else 1)) + 1) // 64) * 64

    def refuse(change: object) -> None:
        bad = good.copy()
        change(bad)  # type: ignore[operator]
        with pytest.raises(PlanishError, match="sparse weights"):
            _core.unpack_sparse(_core.Memory.copy_of(bad))

    def write(offset: int, dtype: str, value: int) -> object:
        return lambda bad: bad[offset : offset + np.dtype(dtype).itemsize].view(dtype).__setitem__(0, value)

    refuse(write(0, "<u4", 1))  # not packed weights
    refuse(write(4, "<u2", 99))  # another version
    refuse(write(6, "<u2", 6))  # no such format
    for field in range(8, 40, 8):
        for value in (0, -1, 1 << 20, 1 << 40, (1 << 63) - 1):
            refuse(write(field, "<i8", value))
    refuse(write(starts.start, "<u4", 1))
    refuse(write(starts.start + 4, "<u4", 0xFFFFFFFF))
    refuse(write(columns, "<u2", 0xFFFF))
    refuse(lambda bad: bad[columns : columns + 4].view("<u2").__setitem__(slice(None), 0))  # not ascending
    for length in (0, 63, 64, len(good) - 64):
        with pytest.raises(PlanishError, match="sparse weights"):
            _core.unpack_sparse(_core.Memory.copy_of(good[:length]))
    with pytest.raises(PlanishError, match="sparse weights"):
        _core.unpack_sparse(_core.Memory.copy_of(np.concatenate([good, np.zeros(64, np.uint8)])))


def test_what_cannot_be_packed_is_refused() -> None:
    with pytest.raises(PlanishError, match="65536 columns"):
        _core.pack_sparse(np.zeros((1, 1, 65537), np.float32), "csr_f32")
    with pytest.raises(PlanishError, match="dimension"):
        _core.pack_sparse(np.zeros((0, 1, 4), np.float32), "csr_f32")
    with pytest.raises(PlanishError, match="unknown format"):
        _core.pack_sparse(np.zeros((1, 1, 4), np.float32), "coo_f32")
    with pytest.raises(PlanishError, match="packing"):
        _core.pack_sparse(np.zeros((1, 1, 4), np.float64), "csr_f32")
    with pytest.raises(PlanishError, match="packing"):
        _core.pack_sparse(np.zeros((1, 4, 4), np.float32).transpose(0, 2, 1)[:, ::2], "csr_f32")
