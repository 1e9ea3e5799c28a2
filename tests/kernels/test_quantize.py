"""Families quantize, dequantize and dynamic_quantize: bit for bit what the formulas give in float32."""

from collections.abc import Callable

import numpy as np
import pytest

from planish import _core
from planish.errors import PlanishError

Run = Callable[..., list[np.ndarray]]
TYPES = ["u1", "i1", "u2", "i2"]


def quantized(x: np.ndarray, scale: np.ndarray, zero: np.ndarray) -> np.ndarray:
    info = np.iinfo(zero.dtype)
    z = zero.astype(np.float32)
    with np.errstate(all="ignore"):
        v = (x / scale).astype(np.float32)
    v = np.where(np.isnan(v), info.min - z, np.clip(v, info.min - z, info.max - z))
    return (np.rint(v) + z).astype(zero.dtype)


def values(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    x = (rng.normal(size=shape) * 40).astype(np.float32)
    flat = x.reshape(-1)
    special = np.array([np.nan, np.inf, -np.inf, 0.5, 1.5, -0.5, 1e30, -1e30], np.float32)
    flat[: special.size] = special[: flat.size]
    return x


@pytest.mark.parametrize("n", [1, 7, 16, 31, 64, 257, 1000])
@pytest.mark.parametrize("dtype", TYPES)
def test_quantize_with_one_scale(run: Run, dtype: str, n: int) -> None:
    x = values(np.random.default_rng(n), (n,))
    scale, zero = np.float32([0.37]), np.array([3 if dtype[0] == "i" else 100], dtype)
    (y,) = run("quantize", [x, scale, zero], [(x.shape, dtype)])
    np.testing.assert_array_equal(y, quantized(x, scale, zero))
    (y,) = run("quantize", [x, scale, None], [(x.shape, dtype)])
    np.testing.assert_array_equal(y, quantized(x, scale, np.zeros(1, dtype)))


def test_ties_round_to_even(run: Run) -> None:
    x = np.arange(-20, 20, dtype=np.float32) / 2
    (y,) = run("quantize", [x, np.ones((), np.float32), np.array(128, np.uint8)], [(x.shape, "u1")])
    np.testing.assert_array_equal(y, np.rint(x) + 128)


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("dtype", TYPES)
def test_quantize_and_dequantize_per_axis(run: Run, dtype: str, axis: int) -> None:
    rng = np.random.default_rng(1)
    x = values(rng, (3, 5, 19))
    n = x.shape[axis]
    shape = [n if i == axis % 3 else 1 for i in range(3)]
    scale = rng.uniform(0.1, 2, n).astype(np.float32)
    zero = rng.integers(0, 100, n).astype(dtype)
    (q,) = run("quantize", [x, scale, zero], [(x.shape, dtype)], axis=axis)
    np.testing.assert_array_equal(q, quantized(x, scale.reshape(shape), zero.reshape(shape)))
    (y,) = run("dequantize", [q, scale, zero], [(x.shape, "f4")], axis=axis)
    centred = (q.astype(np.int32) - zero.astype(np.int32).reshape(shape)).astype(np.float32)
    np.testing.assert_array_equal(y, centred * scale.reshape(shape))


def test_dequantize_int32(run: Run) -> None:
    x = np.array([0, 1, -1, 2**31 - 1, -(2**31), 12345678], np.int32)
    (y,) = run("dequantize", [x, np.float32([0.25]), None], [(x.shape, "f4")])
    np.testing.assert_array_equal(y, x.astype(np.float32) * np.float32(0.25))


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("pixels", [(1, 1), (3, 5), (17, 63), (40, 40)])
def test_quantize_from_planes_to_interleaved_channels(run: Run, channels: int, pixels: tuple[int, int]) -> None:
    x = values(np.random.default_rng(2), (2, channels, *pixels)).transpose(0, 2, 3, 1)
    scale, zero = np.float32([0.4]), np.array([110], np.uint8)
    (y,) = run("quantize", [x, scale, zero], [(x.shape, "u1")])
    np.testing.assert_array_equal(y, quantized(x, scale, zero))


@pytest.mark.parametrize("scale_of_x", [0.0, 1.0, 100.0])
@pytest.mark.parametrize("sign", [-1, 0, 1])
def test_dynamic_quantize(run: Run, scale_of_x: float, sign: int) -> None:
    x = (np.random.default_rng(3).normal(size=(3, 333)) * scale_of_x).astype(np.float32)
    if sign:
        x = sign * abs(x)
    low, high = np.minimum(x.min(), np.float32(0)), np.maximum(x.max(), np.float32(0))
    scale = (high - low) / np.float32(255) if high > low else np.float32(1)
    zero = np.rint(np.clip(np.float32(0) - low / scale, 0, 255)).astype(np.uint8)
    for view in (x, x.T):
        y, s, z = run("dynamic_quantize", [view], [(view.shape, "u1"), ((), "f4"), ((), "u1")])
        assert s == scale
        assert z == zero
        np.testing.assert_array_equal(y, quantized(view, scale, zero))


def test_wrong_parameters_are_refused() -> None:
    x, y = np.zeros((2, 3), np.float32), np.zeros((2, 3), np.uint8)
    for scale, zero, attrs in [
        (np.ones(4, np.float32), np.zeros(4, np.uint8), {"axis": 1}),
        (np.ones(3, np.float32), np.zeros(3, np.uint8), {"axis": 2}),
        (np.ones(1, np.float64), np.zeros(1, np.uint8), {}),
        (np.ones(1, np.float32), np.zeros(1, np.int8), {}),
        (None, np.zeros(1, np.uint8), {}),
    ]:
        with pytest.raises(PlanishError):
            _core.run_op("quantize", [x, scale, zero], [y], attrs)
