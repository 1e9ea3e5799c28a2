"""Family cast from and to the types that C++ lacks, against ml_dtypes and ONNX's own conversions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from onnx import numpy_helper

from planish import _core
from planish.errors import PlanishError

Run = Callable[..., list[np.ndarray]]
FLOATS = [ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e4m3fnuz, ml_dtypes.float8_e5m2, ml_dtypes.float8_e5m2fnuz,
          ml_dtypes.float4_e2m1fn]  # fmt: skip
INTEGERS = [ml_dtypes.int4, ml_dtypes.uint4, ml_dtypes.int2, ml_dtypes.uint2]


def bits(a: np.ndarray) -> np.ndarray:
    """The codes, with every NaN made the same: its sign is not specified."""
    return np.where(np.isnan(a.astype(np.float32)), 255, a.view(np.uint8))


@pytest.mark.parametrize("dtype", [*FLOATS, *INTEGERS, ml_dtypes.float8_e8m0fnu])
def test_every_code_has_its_number(run: Run, dtype: Any) -> None:
    width = next((int(c) for c in np.dtype(dtype).name if c in "248"), 8)
    x = np.arange(2**width, dtype=np.uint8).view(dtype)
    expected = x.astype(np.float32)
    (y,) = run("cast", [x], [(x.shape, "f4")])
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(np.signbit(y)[y == 0], np.signbit(expected)[y == 0])


@pytest.mark.parametrize("saturate", [0, 1])
@pytest.mark.parametrize("dtype", FLOATS)
def test_floats_are_rounded_half_to_even(run: Run, dtype: Any, saturate: int) -> None:
    halves = np.arange(2**16, dtype=np.uint16).view(np.float16)
    halves = halves[~np.isnan(halves)].astype(np.float64)
    small = np.random.default_rng(0).normal(size=3000)
    x = np.concatenate([halves, halves * 2.0**-9, small, [1e300, -1e300, 1e-300, np.nan]])
    (y,) = run("cast", [x], [(x.shape, dtype)], saturate=saturate)
    with np.errstate(all="ignore"):
        expected = numpy_helper.saturate_cast(x, np.dtype(dtype)) if saturate else x.astype(dtype)
    np.testing.assert_array_equal(bits(y), bits(expected))


@pytest.mark.parametrize("saturate", [0, 1])
@pytest.mark.parametrize("mode", ["up", "down", "nearest"])
def test_powers_of_two(run: Run, mode: str, saturate: int) -> None:
    x = np.random.default_rng(0).integers(0, 2**32, 5000, dtype=np.uint32)
    x = np.concatenate([x, np.arange(512, dtype=np.uint32) << 22, [0x7F7FFFFF, 0x7F800000, 0x7FC00000, 1]])
    x = x.astype(np.uint32).view(np.float32)
    (y,) = run("cast", [x], [(x.shape, ml_dtypes.float8_e8m0fnu)], saturate=saturate, round_mode=mode)
    expected = numpy_helper.to_float8e8m0(x, bool(saturate), mode)
    np.testing.assert_array_equal(y.view(np.uint8), expected.view(np.uint8))


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers_wrap(run: Run, dtype: Any) -> None:
    x = np.array([*range(-20, 20), 2**62 + 5, -(2**63)], np.int64)
    (y,) = run("cast", [x], [(x.shape, dtype)])
    np.testing.assert_array_equal(y.view(np.uint8), x.astype(dtype).view(np.uint8))


@pytest.mark.parametrize("dtype", [*FLOATS, *INTEGERS, ml_dtypes.float8_e8m0fnu])
def test_small_elements_move_and_fill(run: Run, dtype: Any) -> None:
    x = np.arange(1, 13).astype(np.float32).astype(dtype).reshape(3, 4)
    np.testing.assert_array_equal(run("copy", [x.T], [((4, 3), dtype)])[0], x.T)
    np.testing.assert_array_equal(run("fill", [], [((5,), dtype)], value=1)[0], np.ones(5).astype(dtype))


@pytest.mark.parametrize("dtype", INTEGERS)
def test_fills_with_integers_saturate(run: Run, dtype: Any) -> None:
    limits = ml_dtypes.iinfo(dtype)
    for value, expected in ((1e30, limits.max), (-1e30, limits.min), (float("nan"), limits.min)):
        assert run("fill", [], [((3,), dtype)], value=value)[0].astype(int).tolist() == [expected] * 3


def test_other_conversions_are_refused() -> None:
    for source, to, attrs in (
        (np.float32, ml_dtypes.float8_e5m2, {}),
        (np.float64, ml_dtypes.int4, {}),
        (ml_dtypes.int4, np.int8, {}),
        (np.float32, ml_dtypes.float8_e8m0fnu, {"round_mode": "sideways"}),
    ):
        with pytest.raises(PlanishError, match="cast"):
            _core.run_op("cast", [np.zeros(3, source)], [np.zeros(3, to)], attrs)
