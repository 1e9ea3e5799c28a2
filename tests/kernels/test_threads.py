"""Work large enough to be shared: every kernel gives the same bits on one and two threads, and the right ones."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

Run = Callable[..., list[np.ndarray]]
RNG = np.random.default_rng(0)
X = RNG.normal(size=(4, 300, 500)).astype(np.float32)
BYTES = RNG.integers(0, 256, (3, 400, 700)).astype(np.uint8)
TABLE = RNG.permutation(256).astype(np.uint8)
INDICES = RNG.integers(0, 300, 2000)
ONE = (np.ones(1, np.float32), np.full(1, 128, np.uint8))
MEAN = X.astype(np.float64).mean(-1, keepdims=True)


def normalised(x: np.ndarray) -> np.ndarray:
    d = x - MEAN
    return d / np.sqrt((d * d).mean(-1, keepdims=True) + 1e-5)


def softmax(x: np.ndarray, axis: int) -> np.ndarray:
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


D = X.astype(np.float64)
CASES: dict[str, tuple[str, list[np.ndarray | None], np.ndarray, dict[str, Any]]] = {
    "unary": ("unary", [X], np.tanh(D), {"op": "tanh"}),
    "unary_strided": ("unary", [X.T], np.exp(D.T), {"op": "exp"}),
    "binary": ("binary", [X, X[:, ::-1]], D + D[:, ::-1], {"op": "add"}),
    "binary_rows": ("binary", [X, np.broadcast_to(X[:1, :1], X.shape)], D * D[:1, :1], {"op": "mul"}),
    "where": ("where", [X > 0, X, np.broadcast_to(X[:1], X.shape)], np.where(X > 0, X, X[:1]), {}),
    "cast": ("cast", [X * 100], (X * 100).astype(np.int32), {}),
    "copy": ("copy", [X.transpose(1, 2, 0)], X.transpose(1, 2, 0), {}),
    "quantize": ("quantize", [X * 30, *ONE], np.clip(np.rint(X * 30) + 128, 0, 255).astype(np.uint8), {}),
    "dequantize": ("dequantize", [BYTES, *ONE], BYTES.astype(np.float32) - 128, {}),
    "table": ("table", [BYTES, TABLE], TABLE[BYTES], {}),
    "qbinary": ("qbinary", [BYTES, BYTES], np.minimum(2 * BYTES.astype(int), 255).astype(np.uint8), {"op": "add"}),
    "reduce_along": ("reduce", [X], D.sum(-1, keepdims=True), {"op": "sum", "axes": [2]}),
    "reduce_across": ("reduce", [X], D.sum(1, keepdims=True), {"op": "sum", "axes": [1]}),
    "argminmax": ("argminmax", [X], X.argmax(1, keepdims=True), {"op": "max", "axis": 1}),
    "softmax_along": ("softmax", [X], softmax(D, 2), {"axis": 2}),
    "softmax_across": ("softmax", [X], softmax(D, 1), {"axis": 1}),
    "layer_norm": ("layer_norm", [X, np.ones(500, np.float32), None], normalised(D), {}),
    "pool": ("pool", [X[..., None].repeat(3, 3)], D[:, ::2, ::2, None].repeat(3, 3), {"op": "max", "strides": [2, 2]}),
    "pool_global": ("pool", [X[:1]], D[:1].mean(1, keepdims=True), {"op": "average", "kernel": [300]}),
    "resize": ("resize", [X], D.repeat(2, 1), {"mode": "nearest", "coordinate": "asymmetric", "nearest_mode": "floor"}),
    "gather": ("gather", [X, INDICES], D[:, INDICES], {"axis": 1}),
    "cumsum": ("cumsum", [X], D.cumsum(2), {"axis": 2}),
    "pad": (
        "pad",
        [X],
        np.pad(D, ((0, 0), (7, 9), (3, 2)), "reflect"),
        {"mode": "reflect", "pads": [0, 7, 3, 0, 9, 2]},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_threads_agree(run: Run, case: str) -> None:
    family, inputs, expected, attrs = CASES[case]
    dtype = np.float32 if expected.dtype == np.float64 else expected.dtype
    (y,) = run(family, inputs, [(expected.shape, dtype)], **attrs)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-4)


def test_dynamic_quantize(run: Run) -> None:
    y, scale, zero = run("dynamic_quantize", [X], [(X.shape, "u1"), ((), "f4"), ((), "u1")])
    assert np.all(abs((y.astype(np.float32) - zero) * scale - X) <= 0.51 * scale)


def test_topk(run: Run) -> None:
    values, indices = run("topk", [X], [((4, 300, 5), "f4"), ((4, 300, 5), "i8")])
    np.testing.assert_array_equal(values, -np.sort(-X, -1)[..., :5])
    np.testing.assert_array_equal(np.take_along_axis(X, indices, -1), values)
