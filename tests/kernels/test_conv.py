"""Family `conv`: every kernel of the registry against NumPy; integers bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gemm_cases import requantize, sums, usable_kernels, weight_limit, windows
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from planish import _core
from planish.errors import PlanishError

Array = NDArray[Any]
KERNELS = usable_kernels("conv", "f32") + usable_kernels("conv", "bf16")[1:] + usable_kernels("conv", "u8")[1:]


def output_size(size: tuple[int, ...], attrs: dict[str, Any]) -> tuple[int, ...]:
    out = []
    for d, n in enumerate(size):
        kernel, stride, dilation = (attrs.get(k, [1] * len(size))[d] for k in ("kernel", "strides", "dilations"))
        pads = attrs.get("pads", [0] * (2 * len(size)))
        reach, pad = (kernel - 1) * dilation + 1, pads[d] + pads[d + len(size)]
        out.append((n - 1) * stride + reach - pad if attrs.get("transposed") else (n + pad - reach) // stride + 1)
    return tuple(out)


def check(
    kernel: str, x_shape: tuple[int, ...], n: int, attrs: dict[str, Any], threads: int = 1, output: str = "uint8"
) -> None:
    """One convolution on small whole numbers, for which float32 is exact too."""
    rng = np.random.default_rng(n)
    groups = attrs.get("groups", 1)
    taps, depth = int(np.prod(attrs.get("kernel", [1]))), x_shape[-1] // groups
    out = output_size(x_shape[1:-1], attrs)
    assert min(out) > 0
    if kernel.startswith("u8"):
        limit = weight_limit(kernel)
        x, w = (
            rng.integers(0, 256, x_shape, dtype=np.uint8),
            rng.integers(-limit, limit, (n, taps, depth), dtype=np.int8),
        )
        bias, zw = rng.integers(-999, 999, n, dtype=np.int32), rng.integers(-9, 9, n, dtype=np.int32)
        scale = rng.uniform(1e-4, 1e-2, n).astype(np.float32)
        packed = np.frombuffer(_core.pack_dense_s8(w, groups), np.uint8)
        rows = windows(x, out, attrs, 119)
        acc = sums(rows, w, groups) + bias - sums(rows, np.ones_like(w), groups) * zw
        y = np.zeros((x_shape[0], *out, n), output)
        _core.run_op(
            "conv",
            [x, packed, bias, None if output == "int32" else scale, zw],
            [y],
            {**attrs, "x_zero": 119, "y_zero": 130 if output == "uint8" else 0, "force": kernel},
            packed=[1],
            threads=threads,
        )
        v = acc.astype(np.float32) * scale
        expected = {"uint8": requantize(v, 0, 255, 130), "int32": acc, "float32": v}[output]
    else:
        x = rng.integers(-8, 9, x_shape).astype(np.float32)
        w = rng.integers(-8, 9, (n, taps, depth)).astype(np.float32)
        bias = rng.integers(-8, 9, n).astype(np.float32)
        residual = rng.integers(-8, 9, (x_shape[0], *out, n)).astype(np.float32)
        bf16 = kernel.startswith("bf16")  # these numbers need no rounding
        packed = np.frombuffer((_core.pack_dense_bf16 if bf16 else _core.pack_dense_f32)(w, groups), np.uint8)
        y = np.zeros(residual.shape, np.float32)
        _core.run_op(
            "conv",
            [x, packed, bias, None, None, residual],
            [y],
            {**attrs, "lo": -100.0, "bf16": int(bf16), "force": kernel},
            packed=[1],
            threads=threads,
        )
        expected = np.maximum(sums(windows(x, out, attrs, 0), w, groups) + bias + residual, -100)
    np.testing.assert_array_equal(y, expected)


CASES: list[tuple[tuple[int, ...], int, dict[str, Any]]] = [
    ((1, 7, 9, 3), 20, {"kernel": [3, 3], "pads": [1, 1, 1, 1], "strides": [2, 2]}),
    ((2, 6, 5, 1), 17, {"kernel": [3, 2], "pads": [1, 0, 0, 1]}),
    ((1, 9, 9, 16), 33, {"kernel": [3, 3], "pads": [1, 1, 1, 1]}),
    ((1, 9, 8, 20), 40, {"kernel": [3, 3], "pads": [2, 2, 2, 2], "dilations": [2, 2]}),
    ((3, 5, 5, 13), 24, {"kernel": [1, 1]}),
    ((3, 5, 5, 13), 24, {"kernel": [1, 1], "strides": [2, 2]}),
    ((1, 6, 6, 24), 36, {"kernel": [3, 3], "pads": [1, 1, 1, 1], "groups": 3}),
    ((1, 6, 6, 12), 12, {"kernel": [3, 3], "pads": [1, 1, 1, 1], "groups": 12}),
    ((1, 6, 6, 6), 24, {"kernel": [3, 3], "pads": [1, 1, 1, 1], "groups": 6}),
    ((2, 30, 5), 18, {"kernel": [7], "pads": [3, 3], "strides": [2]}),
    ((1, 401, 1), 18, {"kernel": [80], "strides": [40]}),
    ((1, 4, 5, 6, 4), 18, {"kernel": [3, 2, 3], "pads": [1, 0, 1, 1, 1, 1], "strides": [1, 2, 1]}),
    ((1, 5, 4, 10), 20, {"kernel": [3, 3], "strides": [2, 2], "pads": [1, 1, 0, 1], "transposed": 1}),
    ((2, 5, 4, 3), 20, {"kernel": [2, 2], "strides": [2, 2], "transposed": 1}),
    ((1, 6, 8), 20, {"kernel": [4], "strides": [3], "dilations": [2], "groups": 2, "transposed": 1}),
    ((1, 6, 7, 8), 20, {"kernel": [3, 3], "pads": [-1, 0, 1, -2]}),
]


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("case", range(len(CASES)))
def test_convolutions(kernel: str, case: int) -> None:
    x_shape, n, attrs = CASES[case]
    for threads in (1, 2):
        check(kernel, x_shape, n, attrs, threads)


@pytest.mark.parametrize("kernel", usable_kernels("conv", "u8")[1:])
@pytest.mark.parametrize("output", ["float32", "int32"])
def test_other_outputs(kernel: str, output: str) -> None:
    check(kernel, (1, 6, 7, 9), 21, {"kernel": [3, 3], "pads": [1, 1, 1, 1]}, output=output)


@st.composite
def random_cases(draw: st.DrawFn) -> tuple[tuple[int, ...], int, dict[str, Any]]:
    spatial = draw(st.integers(1, 3))
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    size = tuple(draw(st.integers(1, 9)) for _ in range(spatial))
    kernel = [draw(st.integers(1, 4)) for _ in range(spatial)]
    attrs: dict[str, Any] = {
        "kernel": kernel,
        "strides": [draw(st.integers(1, 3)) for _ in range(spatial)],
        "dilations": [draw(st.integers(1, 2)) for _ in range(spatial)],
        "pads": [draw(st.integers(0, 3)) for _ in range(2 * spatial)],
        "groups": groups,
        "transposed": draw(st.integers(0, 1)),
    }
    shape = (draw(st.integers(1, 2)), *size, groups * draw(st.integers(1, 18)))
    return shape, groups * draw(st.integers(1, 40)), attrs


@settings(max_examples=60, deadline=None)
@given(random_cases())
def test_random_convolutions(case: tuple[tuple[int, ...], int, dict[str, Any]]) -> None:
    x_shape, n, attrs = case
    if min(output_size(x_shape[1:-1], attrs)) < 1:
        return
    for kernel in KERNELS[1:]:
        check(kernel, x_shape, n, attrs)


def test_the_reference_agrees_for_integers() -> None:
    x = np.random.default_rng(0).integers(0, 256, (1, 5, 6, 7), dtype=np.uint8)
    w = np.random.default_rng(1).integers(-64, 64, (19, 9, 7), dtype=np.int8)  # safe for kernels on pairs
    packed = np.frombuffer(_core.pack_dense_s8(w, 1), np.uint8)
    results = []
    for kernel in usable_kernels("conv", "u8"):
        y = np.zeros((1, 5, 6, 19), np.uint8)
        attrs = {
            "kernel": [3, 3],
            "pads": [1, 1, 1, 1],
            "x_zero": 3,
            "y_zero": 100,
            "lo": 20,
            "hi": 200,
            "force": kernel,
        }
        _core.run_op("conv", [x, packed, None, np.full(19, 1e-3, np.float32)], [y], attrs, packed=[1])
        results.append(y)
    for y in results[1:]:
        np.testing.assert_array_equal(y, results[0])


@pytest.mark.parametrize(
    "attrs",
    [
        {"kernel": [3, 3]},
        {"kernel": [0, 1]},
        {"kernel": [1]},
        {"kernel": [1, 1], "strides": [0, 1]},
        {"kernel": [1, 1], "dilations": [1, 0]},
        {"kernel": [1, 1], "pads": [1, 1]},
        {"kernel": [1, 1], "pads": [1, 1, 1, 1]},
        {"kernel": [1, 1], "groups": 0},
        {"kernel": [1, 1], "groups": 3},
        {"kernel": [2**29, 2**29], "pads": [2**28, 2**28, 2**28, 2**28]},
    ],
)
def test_wrong_attributes_are_refused(attrs: dict[str, Any]) -> None:
    w = np.frombuffer(_core.pack_dense_f32(np.zeros((4, 1, 8), np.float32), 1), np.uint8)
    with pytest.raises(PlanishError):
        _core.run_op(
            "conv", [np.zeros((1, 4, 4, 8), np.float32), w], [np.zeros((1, 4, 4, 4), np.float32)], attrs, packed=[1]
        )
