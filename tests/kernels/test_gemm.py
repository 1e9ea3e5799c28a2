"""Family `gemm`: every kernel of the registry against NumPy; integers bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gemm_cases import requantize, usable_kernels, weight_limit, wrap32
from numpy.typing import NDArray

from planish import _core
from planish.errors import PlanishError

Array = NDArray[Any]
EDGES = [1, 2, 3, 4, 5, 7, 13, 14, 15, 16, 17, 29, 31, 32, 33, 47, 63, 64, 65, 129]


def packed_f32(w: Array) -> Array:
    return np.frombuffer(_core.pack_dense_f32(np.ascontiguousarray(w[:, None, :]), 1), np.uint8)


def packed_s8(w: Array) -> Array:
    return np.frombuffer(_core.pack_dense_s8(np.ascontiguousarray(w[:, None, :]), 1), np.uint8)


def run(x: Array, w: Array, y: Array, rest: list[Array | None], **attrs: Any) -> tuple[str, str]:
    threads = attrs.pop("threads", 1)
    return _core.run_op("gemm", [x, w, *rest], [y], attrs, packed=[1], threads=threads)


@pytest.mark.parametrize("kernel", usable_kernels("gemm", "f32"))
@pytest.mark.parametrize("n", [1, 15, 16, 17, 33, 70, 130])
def test_float_agrees_with_numpy(kernel: str, n: int) -> None:
    rng = np.random.default_rng(n)
    for m in EDGES:
        for k in (1, 3, 16, 65):
            x = rng.standard_normal((m, k), dtype=np.float32)
            w = rng.standard_normal((n, k), dtype=np.float32)
            bias, residual = rng.standard_normal(n, dtype=np.float32), rng.standard_normal((m, n), dtype=np.float32)
            y = np.empty((m, n), np.float32)
            assert run(x, packed_f32(w), y, [bias, None, None, residual], lo=0.0, hi=2.5, force=kernel)[0] == kernel
            expected = np.clip(x.astype(np.float64) @ w.T.astype(np.float64) + bias + residual, 0, 2.5)
            bound = (k + 2) * 2.0**-23 * (np.abs(x) @ np.abs(w.T) + np.abs(bias) + np.abs(residual))
            assert np.all(np.abs(y - expected) <= bound)


def bf16(x: Array) -> Array:
    """x rounded to bfloat16, through the packed format."""
    packed = _core.pack_dense_bf16(np.ascontiguousarray(x.reshape(1, 1, -1)), 1)
    return np.asarray(_core.unpack_dense_bf16(packed, 1, 1, x.size, 1)).reshape(x.shape)


@pytest.mark.parametrize("kernel", usable_kernels("gemm", "bf16"))
@pytest.mark.parametrize("n", [1, 15, 16, 17, 33, 70, 130])
def test_bfloat16_weights_agree_with_numpy(kernel: str, n: int) -> None:
    """Only the weights are rounded, or with AMX the inputs too."""
    rng = np.random.default_rng(n)
    for m in EDGES:
        for k in (1, 2, 3, 16, 31, 32, 33, 65):
            x, w = rng.standard_normal((m, k), dtype=np.float32), rng.standard_normal((n, k), dtype=np.float32)
            bias, residual = rng.standard_normal(n, dtype=np.float32), rng.standard_normal((m, n), dtype=np.float32)
            packed = np.frombuffer(_core.pack_dense_bf16(np.ascontiguousarray(w[:, None, :]), 1), np.uint8)
            y = np.empty((m, n), np.float32)
            attrs = {"lo": 0.0, "hi": 2.5, "bf16": 1, "force": kernel}
            assert run(x, packed, y, [bias, None, None, residual], **attrs)[0] == kernel
            used = bf16(x) if kernel == "bf16_amx" else x
            expected = np.clip(used.astype(np.float64) @ bf16(w).T.astype(np.float64) + bias + residual, 0, 2.5)
            bound = (k + 2) * 2.0**-23 * (np.abs(x) @ np.abs(w.T) + np.abs(bias) + np.abs(residual))
            assert np.all(np.abs(y - expected) <= bound)


@pytest.mark.parametrize("kernel", usable_kernels("gemm", "bf16"))
def test_what_bfloat16_weights_hold_of_infinities_and_nan(kernel: str) -> None:
    x, w = np.ones((3, 5), np.float32), np.ones((18, 1, 5), np.float32)
    x[1, 2], x[2, 4], w[4, 0, 0] = np.inf, np.nan, -np.inf
    y = np.empty((3, 18), np.float32)
    run(x, np.frombuffer(_core.pack_dense_bf16(w, 1), np.uint8), y, [None], bf16=1, force=kernel)
    expected = np.repeat(np.array([[5], [np.inf], [np.nan]], np.float32), 18, 1)
    expected[:, 4] = [-np.inf, np.nan, np.nan]
    np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize("kernel", usable_kernels("gemm", "u8"))
@pytest.mark.parametrize("output", ["uint8", "float32", "int32"])
@pytest.mark.parametrize("zero", [False, True])
def test_integers_are_exact(kernel: str, output: str, zero: bool) -> None:
    rng, limit = np.random.default_rng(7), weight_limit(kernel)
    for m in EDGES:
        for n, k in [(1, 1), (16, 4), (17, 5), (33, 63), (50, 64), (150, 67)]:
            x = rng.integers(0, 256, (m, k), dtype=np.uint8)
            w = rng.integers(-limit, limit, (n, k), dtype=np.int8)
            bias = rng.integers(-50000, 50000, n, dtype=np.int32)
            zw = rng.integers(-128, 128, n, dtype=np.int32) if zero else None
            scale = rng.uniform(1e-4, 1e-2, n).astype(np.float32)
            y = np.zeros((m, n), output)
            attrs: dict[str, Any] = {"lo": 3, "hi": 250, "y_zero": 7} if output == "uint8" else {}
            run(x, packed_s8(w), y, [bias, None if output == "int32" else scale, zw], force=kernel, **attrs)
            acc = x.astype(np.int64) @ w.T.astype(np.int64) + bias
            if zw is not None:
                acc -= x.astype(np.int64).sum(1, keepdims=True) * zw
            v = acc.astype(np.float32) * scale
            expected = {"int32": acc, "float32": v, "uint8": requantize(v, 3, 250, 7)}[output]
            np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize("kernel", usable_kernels("gemm", "u8"))
def test_extremes_do_not_saturate(kernel: str) -> None:
    limit = weight_limit(kernel)
    for value in (-limit, min(limit, 127)):
        x, w = np.full((20, 70), 255, np.uint8), np.full((40, 70), value, np.int8)
        y = np.zeros((20, 40), np.int32)
        run(x, packed_s8(w), y, [None], force=kernel)
        assert np.all(y == 255 * value * 70)


@pytest.mark.skipif("u8s8_avx2_pairs" not in usable_kernels("gemm", "u8"), reason="no AVX2 here")
@pytest.mark.parametrize(
    ("pair", "safe"), [((64, 64), True), ((-64, -64), True), ((127, -128), True), ((65, 64), False)]
)
def test_kernels_on_pairs_take_only_weights_that_cannot_saturate(pair: tuple[int, int], safe: bool) -> None:
    x, w = np.full((7, 10), 255, np.uint8), np.zeros((18, 10), np.int8)
    w[3, 4:6] = pair
    y = np.zeros((7, 18), np.int32)
    if safe:
        run(x, packed_s8(w), y, [None], force="u8s8_avx2_pairs")
        np.testing.assert_array_equal(y, x.astype(np.int32) @ w.T.astype(np.int32))
    else:
        with pytest.raises(PlanishError, match="u8s8_avx2_pairs"):
            run(x, packed_s8(w), y, [None], force="u8s8_avx2_pairs")


@pytest.mark.parametrize("kernel", usable_kernels("gemm", "u8"))
def test_accumulators_wrap(kernel: str) -> None:
    value = weight_limit(kernel) - 1
    x, w = np.full((3, 8), 255, np.uint8), np.full((5, 8), value, np.int8)
    bias = np.full(5, 2**31 - 1, np.int32)
    y = np.zeros((3, 5), np.int32)
    run(x, packed_s8(w), y, [bias], force=kernel)
    np.testing.assert_array_equal(y, wrap32(np.full((3, 5), 255 * value * 8 + 2**31 - 1, np.int64)))


@pytest.mark.parametrize("kernel", usable_kernels("gemm", "u8"))
def test_rounding_and_nan(kernel: str) -> None:
    """Halves go to even; an infinite scale times zero is NaN and gives the lower bound."""
    bias = np.arange(-20, 20, dtype=np.int32)
    w = np.zeros((40, 4), np.int8)
    y = np.zeros((2, 40), np.uint8)
    run(np.zeros((2, 4), np.uint8), packed_s8(w), y, [bias, np.full(40, 0.5, np.float32)], y_zero=128, force=kernel)
    np.testing.assert_array_equal(y[0], np.rint(bias * 0.5).astype(np.int64) + 128)
    run(
        np.zeros((2, 4), np.uint8),
        packed_s8(w),
        y,
        [None, np.full(40, np.inf, np.float32)],
        y_zero=9,
        lo=5,
        force=kernel,
    )
    assert np.all(y == 5)


@pytest.mark.parametrize("kernel", usable_kernels("gemm", "f32"))
def test_nan_stays_and_junk_past_the_rows_is_ignored(kernel: str) -> None:
    wide = np.full((9, 40), np.nan, np.float32)
    x = wide[:, :17]
    x[:] = 1
    x[4, 3] = np.nan
    w = np.ones((19, 17), np.float32)
    y = np.zeros((9, 19), np.float32)
    run(x, packed_f32(w), y, [], lo=0.0, force=kernel)
    assert np.all(np.isnan(y[4]))
    assert np.all(np.delete(y, 4, axis=0) == 17)


@pytest.mark.parametrize("kernel", usable_kernels("gemm", "f32") + usable_kernels("gemm", "u8"))
def test_leading_dimensions_of_any_stride(kernel: str) -> None:
    rng = np.random.default_rng(1)
    u8 = kernel.startswith("u8")
    base = rng.integers(0, 9, (4, 6, 10, 24)).astype(np.uint8 if u8 else np.float32)
    x = np.broadcast_to(base[::-1, 1:5, ::3, :21].transpose(1, 0, 2, 3)[:, None], (4, 3, 4, 4, 21))
    w = rng.integers(-4, 5, (18, 21)).astype(np.int8 if u8 else np.float32)
    y = np.zeros((*x.shape[:-1], 18), np.int32 if u8 else np.float32)
    run(x, packed_s8(w) if u8 else packed_f32(w), y, [], force=kernel)
    np.testing.assert_array_equal(y, x.astype(np.int64) @ w.T.astype(np.int64))


def test_results_do_not_depend_on_threads() -> None:
    rng = np.random.default_rng(2)
    x, w = rng.standard_normal((301, 257), dtype=np.float32), rng.standard_normal((130, 257), dtype=np.float32)
    y = [np.zeros((301, 130), np.float32) for _ in range(3)]
    for threads, out in zip((1, 2, 3), y, strict=True):
        run(x, packed_f32(w), out, [], threads=threads)
    assert y[0].tobytes() == y[1].tobytes() == y[2].tobytes()


def test_empty_operands() -> None:
    w = packed_f32(np.ones((3, 2), np.float32))
    run(np.zeros((0, 2), np.float32), w, np.zeros((0, 3), np.float32), [])
    y = np.zeros((2, 3), np.float32)
    run(np.zeros((2, 0), np.float32), packed_f32(np.ones((3, 0), np.float32)), y, [np.arange(3, dtype=np.float32)])
    np.testing.assert_array_equal(y, np.tile(np.arange(3), (2, 1)))


X, W = np.zeros((2, 8), np.float32), packed_f32(np.zeros((3, 8), np.float32))
U, V = np.zeros((2, 8), np.uint8), packed_s8(np.zeros((3, 8), np.int8))
S = np.ones(3, np.float32)


@pytest.mark.parametrize(
    ("x", "w", "rest", "y", "attrs"),
    [
        (X, W[:-4], [], "float32", {}),
        (X, V, [], "float32", {}),
        (X, W, [], "uint8", {}),
        (X, W, [np.zeros(4, np.float32)], "float32", {}),
        (X, W, [np.zeros(3, np.int32)], "float32", {}),
        (X, W, [None, S], "float32", {}),
        (X, W, [None, None, np.zeros(3, np.int32)], "float32", {}),
        (X, W, [None, None, None, np.zeros((2, 4), np.float32)], "float32", {}),
        (X, W, [], "float32", {"lo": 1.0, "hi": 0.0}),
        (X, W, [], "float32", {"lo": float("nan")}),
        (X, W, [], "float32", {"N": 4}),
        (X, W, [], "float32", {"K": 4}),
        (X, W, [], "float32", {"force": "u8s8_scalar"}),
        (X, W, [], "float32", {"force": "nonsense"}),
        (X, W, [], "float32", {"x_zero": 1}),
        (X[:, ::2], packed_f32(np.zeros((3, 4), np.float32)), [], "float32", {}),
        (X.astype(np.float64), W, [], "float32", {}),
        (U, V, [], "uint8", {}),
        (U, V, [None, S], "int32", {}),
        (U, V, [None, S], "uint8", {"y_zero": 256}),
        (U, V, [None, S], "uint8", {"x_zero": -1}),
        (U, V, [None, S], "uint8", {"lo": -1}),
        (U, V, [None, S], "uint8", {"hi": 25.5}),
        (U, V, [None, S], "float64", {}),
    ],
)
def test_wrong_descriptions_are_refused(
    x: Array, w: Array, rest: list[Array | None], y: str, attrs: dict[str, Any]
) -> None:
    with pytest.raises(PlanishError):
        run(x, w, np.zeros((2, 3), y), rest, **attrs)
