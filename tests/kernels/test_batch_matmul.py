"""Family `batch_matmul`: every kernel of the registry against NumPy; integers bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gemm_cases import requantize, usable_kernels
from numpy.typing import NDArray

from planish import _core
from planish.errors import PlanishError

Array = NDArray[Any]
FLOAT, INTEGER = usable_kernels("batch_matmul", "f32"), usable_kernels("batch_matmul", "u8")
SHAPES = [(1, 1, 1), (1, 17, 5), (3, 16, 4), (14, 33, 64), (15, 31, 63), (40, 70, 18), (5, 2, 130)]


def layouts(a: Array) -> list[Array]:
    """The same matrices with rows contiguous, with columns contiguous, and with neither."""
    wide = np.zeros((*a.shape[:-1], a.shape[-1] * 2), a.dtype)
    wide[..., ::2] = a
    return [a, np.ascontiguousarray(a.swapaxes(-1, -2)).swapaxes(-1, -2), wide[..., ::2]]


@pytest.mark.parametrize("kernel", FLOAT)
@pytest.mark.parametrize("shape", SHAPES)
def test_float(kernel: str, shape: tuple[int, int, int]) -> None:
    m, n, k = shape
    rng = np.random.default_rng(0)
    a, b = rng.integers(-8, 9, (2, 3, m, k)).astype(np.float32), rng.integers(-8, 9, (2, 3, k, n)).astype(np.float32)
    for lhs in layouts(a):
        for rhs in layouts(b):
            for threads in (1, 2):
                y = np.zeros((2, 3, m, n), np.float32)
                _core.run_op("batch_matmul", [lhs, rhs], [y], {"alpha": 0.125, "force": kernel}, threads=threads)
                np.testing.assert_array_equal(y, a @ b * np.float32(0.125))


@pytest.mark.parametrize("dtype", ["f8", "i4", "u4", "i8", "u8"])
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 17, 5), (5, 2, 0)])
def test_plain_types(dtype: str, shape: tuple[int, int, int]) -> None:
    m, n, k = shape
    rng = np.random.default_rng(0)
    a, b = (rng.integers(0, 2**31, s).astype(dtype) for s in ((2, 3, m, k), (2, 3, k, n)))
    alpha = 0.125 if dtype == "f8" else 1.0
    for lhs in layouts(a):
        for rhs in layouts(b):
            for threads in (1, 2):
                y = np.zeros((2, 3, m, n), dtype)
                _core.run_op("batch_matmul", [lhs, rhs], [y], {"alpha": alpha}, threads=threads)
                np.testing.assert_allclose(y, a @ b * alpha if dtype == "f8" else a @ b, rtol=1e-14)


def test_plain_types_are_validated() -> None:
    a, b, y = np.zeros((2, 3)), np.zeros((3, 4)), np.zeros((2, 4))
    for inputs, output, alpha in (
        ([a, b.astype(np.int64)], y, 1.0),
        ([a, b.T], y, 1.0),
        ([a, b], np.zeros((4, 2)), 1.0),
        ([a, b], y, np.inf),
        ([a.astype(np.int32), b.astype(np.int32)], y.astype(np.int32), 2.0),
        ([a[0], b], y[0], 1.0),
    ):
        with pytest.raises(PlanishError, match="batch_matmul"):
            _core.run_op("batch_matmul", inputs, [output], {"alpha": alpha})


@pytest.mark.parametrize("kernel", INTEGER)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("output", ["int32", "float32", "uint8"])
def test_integers(kernel: str, shape: tuple[int, int, int], output: str) -> None:
    m, n, k = shape
    rng = np.random.default_rng(1)
    a, b = rng.integers(0, 256, (2, m, k), dtype=np.uint8), rng.integers(0, 256, (2, k, n), dtype=np.uint8)
    attrs: dict[str, Any] = {"lhs_zero": 130, "rhs_zero": 7, "force": kernel}
    if output != "int32":
        attrs["scale"] = 0.001
    if output == "uint8":
        attrs |= {"y_zero": 99, "lo": 1, "hi": 254}
    acc = (a.astype(np.int64) - 130) @ (b.astype(np.int64) - 7)
    v = acc.astype(np.float32) * np.float32(0.001)
    expected = {"int32": acc, "float32": v, "uint8": requantize(v, 1, 254, 99)}[output]
    for rhs in layouts(b):
        y = np.zeros((2, m, n), output)
        _core.run_op("batch_matmul", [a, rhs], [y], attrs)
        np.testing.assert_array_equal(y, expected)


def test_broadcast_batches_and_threads() -> None:
    rng = np.random.default_rng(2)
    a, b = (
        rng.standard_normal((5, 1, 130, 70), dtype=np.float32),
        rng.standard_normal((1, 3, 70, 260), dtype=np.float32),
    )
    lhs, rhs = np.broadcast_to(a, (5, 3, 130, 70)), np.broadcast_to(b, (5, 3, 70, 260))
    results = []
    for threads in (1, 2, 3):
        y = np.zeros((5, 3, 130, 260), np.float32)
        _core.run_op("batch_matmul", [lhs, rhs], [y], threads=threads)
        results.append(y)
    np.testing.assert_allclose(results[0], a @ b, rtol=0, atol=1e-4)
    assert results[0].tobytes() == results[1].tobytes() == results[2].tobytes()


@pytest.mark.parametrize(
    ("lhs", "rhs", "y", "attrs"),
    [
        ((2, 3), (4, 5), (2, 5), {}),
        ((2, 3), (3, 5), (2, 4), {}),
        ((1, 2, 3), (2, 3, 5), (2, 2, 5), {}),
        ((3,), (3, 5), (5,), {}),
        ((2, 3), (3, 5), (2, 5), {"alpha": float("inf")}),
        ((2, 3), (3, 5), (2, 5), {"lhs_zero": 1}),
        ((2, 3), (3, 5), (2, 5), {"scale": 2.0}),
    ],
)
def test_wrong_descriptions_are_refused(
    lhs: tuple[int, ...], rhs: tuple[int, ...], y: tuple[int, ...], attrs: dict[str, Any]
) -> None:
    with pytest.raises(PlanishError):
        _core.run_op(
            "batch_matmul", [np.zeros(lhs, np.float32), np.zeros(rhs, np.float32)], [np.zeros(y, np.float32)], attrs
        )
